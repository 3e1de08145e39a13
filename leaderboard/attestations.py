"""Attestations: what maintainers have found out about a record, in a file beside its folder.

    records/<org>--<model>/<revision>/<digest>.<kind>-<SHA-256 of its content>.json

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
from harness.runs.files import write_json
from harness.runs.run import read_run
from leaderboard.attestation_counts import require_counts
from leaderboard.attestation_rules import require_fresh, require_replay, require_time
from leaderboard.verification.reading import read_json
from leaderboard.verification.refusal import Refused
from leaderboard.verification.schema import require_form

ATTESTATION_SCHEMA = "fflm-attestation/1"
REPLAY, FRESH, WITHDRAWN = "replay", "fresh", "withdrawn"
KINDS = (REPLAY, FRESH, WITHDRAWN)
# So much of the content's hash stood in the names of earlier versions: enough to read them by, and none is added.
SHORT = 8


@dataclass(frozen=True)
class Attestation:
    """record: digest of the record, 64 hex digits. at: when, ISO 8601 in UTC. by: who. nonce: what made the choice
    unforeseeable, given after submission; None if nothing was chosen. agrees: whether the replay said what the record
    says; None if nothing was compared. details: by kind, as `leaderboard.replay` writes them; of a withdrawn record
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
        require_form(facts, "attestation", new=False)  # a nonce looks like a key, and is none
    except Refused as refusal:
        raise UserError(f"{refusal}: say it in other words") from None
    return facts


def _name(record: str, facts: Mapping[str, Any]) -> str:
    """The name of the file of an attestation, by that of the record's folder and the content."""
    content = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{record}.{facts['kind']}-{content}.json"


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
        require_form(facts, "attestation", new=False)
        attestation = Attestation(**{name: value for name, value in facts.items() if name != "schema"})
        if attestation.record != digest or not path.name.startswith(f"{digest[:12]}.{attestation.kind}-"):
            raise Refused("it speaks of another record, or has another kind's name")
        name = _name(digest[:12], facts)
        if path.name not in (name, f"{name[: -len('.json') - 64 + SHORT]}.json"):
            raise Refused("its name is not that of its content: it was changed, or renamed")
        _require_of(record_folder, facts)
    except Refused as refusal:
        raise UserError(f"{path} is no attestation of the record beside it ({refusal}): delete it") from None
    return attestation


def _require_of(record_folder: Path, facts: dict[str, Any]) -> None:
    """Raises Refused unless what is attested can be said of the record in a folder."""
    run = read_run(record_folder).facts
    try:
        require_time(facts["at"], run)
        if facts["kind"] == REPLAY:
            require_replay(run, facts)
            require_counts(record_folder, run, facts)
        elif facts["kind"] == FRESH:
            require_fresh(run, facts)
    except (KeyError, TypeError, AttributeError):
        raise Refused("run.json does not say what was asked of which model") from None
