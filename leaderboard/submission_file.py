"""Who sends a record, and on which terms: submission.json, the part of a record that people write."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.commands.options import require_one_of
from harness.errors import UserError
from leaderboard.verification.refusal import Refused
from leaderboard.verification.schema import choices, require_form
from leaderboard.verification.secrets import masked
from leaderboard.verification.terms import is_example, require_terms

SUBMISSION_FILE = "submission.json"
SUBMISSION_SCHEMA = "fflm-submission/1"


@dataclass(frozen=True)
class Submission:
    """What `schemas/submission.schema.json` describes.

    contact: whom to ask, a name of the Hub or an address. licence: of the observations. division: whether the model
    was trained on fflm's kind of data. disclosure: what ties the submitter to the model, and what is known of overlap
    of its training data with these rows. submitted: the day, YYYY-MM-DD. supersedes: digests (12 hex digits) of
    earlier records of the same model that this one takes the place of."""

    contact: str
    licence: str
    division: str
    disclosure: str
    submitted: str
    supersedes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As submission.json."""
        return {"schema": SUBMISSION_SCHEMA, **asdict(self), "supersedes": list(self.supersedes)}


def stated(options: Mapping[str, Any], about: Path | None, day: str) -> Submission:
    """The submission that options say (None for one not given), the rest by a TOML file of the same names.

    Raises UserError for one that is missing in both, or that no record takes.
    """
    names = [field.name for field in fields(Submission) if field.name != "submitted"]
    terms = _read_toml(about) if about else {}
    if unknown := sorted(set(terms) - set(names)):
        raise UserError(f"{about} has {unknown[0]!r}, which is none of {', '.join(names)}: take it out")
    terms |= {name: value for name, value in options.items() if value is not None}
    for name in (name for name in names if name != "supersedes"):
        if name not in terms:
            raise UserError(f"the {name} is not said: add --{name}, or a line in the file of --about")
        if is_example(str(terms[name])):
            raise UserError(f"the {name} is still that of the example, {terms[name]!r}: say your own")
    if not isinstance(supersedes := terms.pop("supersedes", []), list | tuple):
        raise UserError(f'supersedes in {about} is no list: write supersedes = ["DIGEST"]')
    for name in ("licence", "division"):
        require_one_of(name, masked(str(terms[name])), choices("submission", name))
    submission = Submission(**terms, submitted=day, supersedes=tuple(supersedes))
    try:
        require_terms({name: str(value) for name, value in submission.to_json().items()})
    except Refused as refusal:
        raise UserError(str(refusal)) from None
    try:
        require_form(submission.to_json(), "submission")
    except Refused as refusal:
        raise UserError(f"{refusal}: say it with --contact, --licence, --division, --disclosure or --about") from None
    return submission


def _read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f'{path} is no TOML file ({" ".join(str(error).split())}): write name = "value" lines'
        ) from None


def read_submission(folder: Path) -> Submission:
    """The submission.json of a record. Raises UserError if it is not one."""
    path = folder / SUBMISSION_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.pop("schema") != SUBMISSION_SCHEMA or set(facts) != {field.name for field in fields(Submission)}:
            raise ValueError("it has other fields")
        return Submission(**{**facts, "supersedes": tuple(facts["supersedes"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not say who submits on which terms ({error}): harness submit writes it") from None
