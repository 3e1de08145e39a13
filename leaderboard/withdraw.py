"""`harness leaderboard withdraw`: writes an attestation that a record no longer counts, with the reason."""

from datetime import datetime, timezone
from pathlib import Path

from fflm_data.terminal import echo
from harness.errors import UserError
from leaderboard.attestations import WITHDRAWN, Attestation, write_attestation
from leaderboard.records import read_record


def command(folder: Path, reason: str, by: str) -> None:
    """Writes the attestation and prints its path. Raises UserError if the record is already withdrawn."""
    record = read_record(folder)
    if record.withdrawn:
        raise UserError(f"{folder} was already withdrawn on {record.withdrawn.at[:10]}. There is nothing to do.")
    at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    echo(write_attestation(folder, Attestation(record.digest, WITHDRAWN, at, by, None, None, {"reason": reason})))
