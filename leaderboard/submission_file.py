"""submission.json: sender and terms of a record."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.commands.options import require_one_of
from harness.errors import UserError
from leaderboard.verification.refusal import Refused
from leaderboard.verification.schema import choices, require_schema
from leaderboard.verification.secrets import mask_secrets
from leaderboard.verification.terms import is_example, require_terms

SUBMISSION_FILE = "submission.json"
SUBMISSION_SCHEMA = "fflm-submission/1"


@dataclass(frozen=True)
class Submission:
    """The fields of `schemas/submission.schema.json`.

    contact: a name of the Hub or an address. licence: of the observations. division: whether the model was trained on
    data like fflm's. disclosure: what ties the submitter to the model, and known overlap of its training data with
    these rows. submitted: date, YYYY-MM-DD. supersedes: digests (12 hex digits) of earlier records of the same
    model."""

    contact: str
    licence: str
    division: str
    disclosure: str
    submitted: str
    supersedes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the content of submission.json."""
        return {"schema": SUBMISSION_SCHEMA, **asdict(self), "supersedes": list(self.supersedes)}


def submission_from_options(options: Mapping[str, Any], about: Path | None, day: str) -> Submission:
    """Returns the submission given by options (None: not given) and a TOML file with the same names.

    Raises UserError for a missing or invalid value.
    """
    names = [field.name for field in fields(Submission) if field.name != "submitted"]
    terms = _read_toml(about) if about else {}
    if unknown := sorted(set(terms) - set(names)):
        raise UserError(f"{about} has the unknown field {unknown[0]!r}. Known fields: {', '.join(names)}.")
    terms |= {name: value for name, value in options.items() if value is not None}
    for name in (name for name in names if name != "supersedes"):
        if name not in terms:
            raise UserError(f"the {name} is missing. Add --{name}, or a line in the file of --about.")
        if is_example(str(terms[name])):
            raise UserError(f"the {name} is the placeholder {terms[name]!r}. Write your own.")
    if not isinstance(supersedes := terms.pop("supersedes", []), list | tuple):
        raise UserError(f'supersedes in {about} is not a list. Write supersedes = ["DIGEST"].')
    for name in ("licence", "division"):
        require_one_of(name, mask_secrets(str(terms[name])), choices("submission", name))
    submission = Submission(**terms, submitted=day, supersedes=tuple(supersedes))
    try:
        require_terms({name: str(value) for name, value in submission.to_json().items()})
    except Refused as refusal:
        raise UserError(str(refusal)) from None
    try:
        require_schema(submission.to_json(), "submission")
    except Refused as refusal:
        raise UserError(
            f"{refusal}. Correct --contact, --licence, --division, --disclosure or the file of --about."
        ) from None
    return submission


def _read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Name another file with --about.") from None
    except ValueError as error:
        raise UserError(
            f'{path} is not a TOML file ({" ".join(str(error).split())}). Write lines such as name = "value".'
        ) from None


def read_submission(folder: Path) -> Submission:
    """Returns the submission.json of a record. Raises UserError if it is missing or invalid."""
    path = folder / SUBMISSION_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.pop("schema") != SUBMISSION_SCHEMA or set(facts) != {field.name for field in fields(Submission)}:
            raise ValueError("it has other fields")
        return Submission(**{**facts, "supersedes": tuple(facts["supersedes"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a valid submission.json: {error}. Create it with harness submit.") from None
