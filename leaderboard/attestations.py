"""Attestations: what maintainers have found out about a record, in a file beside its folder.

    records/<org>--<model>/<revision>/<digest>.<kind>-<8 hex of its content>.json

A record is never edited; what becomes known of it later stands beside it, signed by whoever commits it.

replay     some or all of its sequences were asked again, and compared
fresh      the model was asked other rows, of a seed that nobody knew beforehand
withdrawn  it no longer counts, and why
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.run import write_json
from leaderboard.judging.forms import require_form
from leaderboard.judging.reading import read_json
from leaderboard.judging.refusal import Refused

ATTESTATION_SCHEMA = "fflm-attestation/1"
REPLAY, FRESH, WITHDRAWN = "replay", "fresh", "withdrawn"
KINDS = (REPLAY, FRESH, WITHDRAWN)


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


def write_attestation(record_folder: Path, attestation: Attestation) -> Path:
    """Writes it beside the record; returns the file. Raises UserError for texts that no attestation takes."""
    facts = {"schema": ATTESTATION_SCHEMA, **asdict(attestation)}
    try:
        require_form(facts, "attestation")
    except Refused as refusal:
        raise UserError(f"{refusal}: say it in other words") from None
    content = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path = record_folder.with_name(f"{record_folder.name}.{attestation.kind}-{content[:8]}.json")
    write_json(path, facts)
    return path


def attestation_paths(record_folder: Path) -> list[Path]:
    """The files beside a record that speak of it, in the order of their names."""
    return sorted(path for kind in KINDS for path in record_folder.parent.glob(f"{record_folder.name}.{kind}-*.json"))


def read_attestations(record_folder: Path, digest: str) -> tuple[Attestation, ...]:
    """What is attested of a record, oldest first. Raises UserError for a file that is no attestation of it."""
    found = [_read(path, digest) for path in attestation_paths(record_folder)]
    return tuple(sorted(found, key=lambda one: one.at))


def _read(path: Path, digest: str) -> Attestation:
    try:
        facts = read_json(path)
        require_form(facts, "attestation")
        attestation = Attestation(**{name: value for name, value in facts.items() if name != "schema"})
        if attestation.record != digest or not path.name.startswith(f"{digest[:12]}.{attestation.kind}-"):
            raise Refused("it speaks of another record, or has another kind's name")
    except Refused as refusal:
        raise UserError(f"{path} is no attestation of the record beside it ({refusal}): delete it") from None
    return attestation
