"""Attestations: what maintainers have found out about a record, in a file beside its folder.

    records/<org>--<model>/<revision>/<digest>.<kind>-<8 hex of its content>.json

A record is never edited; what becomes known of it later stands beside it, signed by whoever commits it.

replay     some or all of its sequences were asked again, and compared
fresh      the model was asked other rows, of a seed that nobody knew beforehand
withdrawn  it no longer counts, and why
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.run import read_run, write_json
from leaderboard.judging.forms import require_form
from leaderboard.judging.reading import read_json
from leaderboard.judging.refusal import Refused

ATTESTATION_SCHEMA = "fflm-attestation/1"
REPLAY, FRESH, WITHDRAWN = "replay", "fresh", "withdrawn"
KINDS = (REPLAY, FRESH, WITHDRAWN)
# In the place of the ids of a table: all of them.
ALL = "all"


@dataclass(frozen=True)
class Attestation:
    """record: digest of the record, 64 hex digits. at: when, ISO 8601 in UTC. by: who. nonce: what made the choice
    unforeseeable, given after submission; None if nothing was chosen. agrees: whether the replay said what the record
    says; None if nothing was compared. details: by kind, as `leaderboard.replaying` writes them; of a withdrawn record
    {"reason": text}."""

    record: str
    kind: str
    at: str
    by: str
    nonce: str | None
    agrees: bool | None
    details: dict[str, Any]


def require_writable(by: str, nonce: str) -> None:
    """Raises UserError for a name or a nonce that no attestation takes, before anything is asked for it."""
    details = {"seed": 0, "environment": {}, "gaps": []}
    _facts(Attestation("0" * 64, FRESH, "2026-01-01T00:00:00Z", by, nonce, None, details))


def write_attestation(record_folder: Path, attestation: Attestation) -> Path:
    """Writes it beside the record; returns the file. Raises UserError for texts that no attestation takes."""
    facts = _facts(attestation)
    path = record_folder.with_name(_name(record_folder.name, facts))
    write_json(path, facts)
    return path


def _facts(attestation: Attestation) -> dict[str, Any]:
    facts = {"schema": ATTESTATION_SCHEMA, **asdict(attestation)}
    try:
        require_form(facts, "attestation")
    except Refused as refusal:
        raise UserError(f"{refusal}: say it in other words") from None
    return facts


def _name(record: str, facts: Mapping[str, Any]) -> str:
    """The name of the file of an attestation, by that of the record's folder and the content."""
    content = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{record}.{facts['kind']}-{content[:8]}.json"


def attestation_paths(record_folder: Path) -> list[Path]:
    """The files beside a record that speak of it, in the order of their names."""
    return sorted(path for kind in KINDS for path in record_folder.parent.glob(f"{record_folder.name}.{kind}-*.json"))


def is_withdrawn(record_folder: Path) -> bool:
    """Whether a file beside a record says so; what is in it is not read."""
    return any(record_folder.parent.glob(f"{record_folder.name}.{WITHDRAWN}-*.json"))


def read_attestations(record_folder: Path, digest: str) -> tuple[Attestation, ...]:
    """What is attested of a record, oldest first. Raises UserError for a file that is no attestation of it."""
    found = [_read(record_folder, path, digest) for path in attestation_paths(record_folder)]
    return tuple(sorted(found, key=lambda one: one.at))


def _read(record_folder: Path, path: Path, digest: str) -> Attestation:
    try:
        facts = read_json(path)
        require_form(facts, "attestation")
        attestation = Attestation(**{name: value for name, value in facts.items() if name != "schema"})
        if attestation.record != digest or not path.name.startswith(f"{digest[:12]}.{attestation.kind}-"):
            raise Refused("it speaks of another record, or has another kind's name")
        if path.name != _name(digest[:12], facts):
            raise Refused("its name is not that of its content: it was changed, or renamed")
        if attestation.kind == REPLAY:
            _require_replay_of(read_run(record_folder).facts, attestation.details)
    except Refused as refusal:
        raise UserError(f"{path} is no attestation of the record beside it ({refusal}): delete it") from None
    return attestation


def _require_replay_of(run: dict[str, Any], details: dict[str, Any]) -> None:
    """Raises Refused unless a replay says of which rows of a run it is, and was no laxer than replays are."""
    from leaderboard.replaying.agreement import tolerance_of

    try:
        rows = {
            f"{task}.{split}": part["rows"]
            for task, asked in run["data"]["tasks"].items()
            for split, part in asked["splits"].items()
        }
        of = sum(rows.values())
        allowed = asdict(tolerance_of(run["model"]))
    except (KeyError, TypeError, AttributeError):
        raise Refused("run.json does not say how many rows of what were asked") from None
    named = {name: rows.get(name, 0) if ids == ALL else len(ids) for name, ids in details["tasks"].items()}
    if not named.keys() <= rows.keys() or any(
        max(ids) >= rows[name] for name, ids in details["tasks"].items() if ids != ALL
    ):
        raise Refused("it names rows that the record does not have")
    if (details["asked"], details["of"]) != (sum(named.values()), of):
        raise Refused(f"it says {details['asked']:,} of {details['of']:,}, and names {sum(named.values()):,} of {of:,}")
    if "right" in details and max(details["right"].values()) > details["right"]["of"]:
        raise Refused("it says that more answers were right than there are")
    if any(details["tolerance"][name] > most for name, most in allowed.items()):
        raise Refused("it allowed numbers to be further apart than a replay of this model does")
