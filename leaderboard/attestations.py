"""Attestations: findings of maintainers about a record, in files beside its folder.

    records/<org>--<model>/<revision>/<digest>.<kind>-<SHA-256 of its content>.json

A record is never edited. Later findings are separate files, signed by the author of the commit.

replay     some or all sequences were run again and compared
fresh      the model was evaluated on rows of a new, unpredictable seed
withdrawn  the record no longer counts, with the reason
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.runs.files import write_json
from harness.runs.run import read_run
from leaderboard.attestation_counts import require_counts
from leaderboard.attestation_rules import require_fresh, require_replay, require_time
from leaderboard.verification.reading import read_json
from leaderboard.verification.refusal import Refused
from leaderboard.verification.schema import require_schema

ATTESTATION_SCHEMA = "fflm-attestation/1"
REPLAY, FRESH, WITHDRAWN = "replay", "fresh", "withdrawn"
KINDS = (REPLAY, FRESH, WITHDRAWN)
# Length of the hash in file names of earlier versions, which are still read.
SHORT_HASH = 8


@dataclass(frozen=True)
class Attestation:
    """record: digest of the record, 64 hex digits. at: time, ISO 8601 in UTC. by: author. nonce: makes the choice of
    rows unpredictable, given after submission; None if no rows were chosen. agrees: whether the replay matches the
    record; None if nothing was compared. details: by kind, as `leaderboard.replay` writes them; for a withdrawn record
    {"reason": text}."""

    record: str
    kind: str
    at: str
    by: str
    nonce: str | None
    agrees: bool | None
    details: dict[str, Any]


def require_valid_author(by: str, nonce: str) -> None:
    """Raises UserError for an author or nonce that no attestation accepts. Called before the model is run."""
    details = {"seed": 0, "environment": {}, "gaps": []}
    _to_json(Attestation("0" * 64, FRESH, "2026-01-01T00:00:00Z", by, nonce, None, details))


def write_attestation(record_folder: Path, attestation: Attestation) -> Path:
    """Writes an attestation beside its record and returns the file. Raises UserError for invalid texts."""
    facts = _to_json(attestation)
    path = record_folder.with_name(_file_name(record_folder.name, facts))
    write_json(path, facts)
    return path


def _to_json(attestation: Attestation) -> dict[str, Any]:
    facts = {"schema": ATTESTATION_SCHEMA, **asdict(attestation)}
    try:
        require_schema(facts, "attestation", new=False)  # new records must have no text like a key, and a nonce is one
    except Refused as refusal:
        raise UserError(f"{refusal}. Use another text.") from None
    return facts


def _file_name(record: str, facts: Mapping[str, Any]) -> str:
    """Returns the file name of an attestation. record: folder name of the record."""
    content = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{record}.{facts['kind']}-{content}.json"


def attestation_paths(record_folder: Path) -> list[Path]:
    """Returns the attestation files of a record, sorted by name."""
    return sorted(path for kind in KINDS for path in record_folder.parent.glob(f"{record_folder.name}.{kind}-*.json"))


def is_withdrawn(record_folder: Path) -> bool:
    """Returns whether a record has a withdrawal. The file is not validated."""
    return any(record_folder.parent.glob(f"{record_folder.name}.{WITHDRAWN}-*.json"))


def read_attestations(record_folder: Path, digest: str) -> tuple[Attestation, ...]:
    """Returns the attestations of a record, oldest first. Raises UserError for an invalid file."""
    attestations = [_read(record_folder, path, digest) for path in attestation_paths(record_folder)]
    return tuple(sorted(attestations, key=lambda attestation: attestation.at))


def _read(record_folder: Path, path: Path, digest: str) -> Attestation:
    try:
        facts = read_json(path)
        require_schema(facts, "attestation", new=False)
        attestation = Attestation(**{name: value for name, value in facts.items() if name != "schema"})
        if attestation.record != digest or not path.name.startswith(f"{digest[:12]}.{attestation.kind}-"):
            raise Refused("it is about another record, or its name has another kind")
        name = _file_name(digest[:12], facts)
        if path.name not in (name, f"{name[: -len('.json') - 64 + SHORT_HASH]}.json"):
            raise Refused("its name does not match its content: it was changed or renamed")
        _require_of(record_folder, facts)
    except Refused as refusal:
        raise UserError(f"{path} is not a valid attestation of its record: {refusal}. Delete the file.") from None
    return attestation


def _require_of(record_folder: Path, facts: dict[str, Any]) -> None:
    """Raises Refused unless an attestation is consistent with its record."""
    run = read_run(record_folder).facts
    try:
        require_time(facts["at"], run)
        if facts["kind"] == REPLAY:
            require_replay(run, facts)
            require_counts(record_folder, run, facts)
        elif facts["kind"] == FRESH:
            require_fresh(run, facts)
    except (KeyError, TypeError, AttributeError):
        raise Refused("run.json lacks the model or the tasks") from None
