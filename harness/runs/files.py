"""Writing files of a run: atomically, with checksums, by one process at a time."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import UserError

# Checksums of the finished observation tables of a run, beside run.json, in the format of `sha256sum --check`.
CHECKSUMS = "observations.sha256"


def write_json(path: Path, value: object) -> None:
    """Writes JSON atomically: readers see the old file or the new one."""
    _write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def record_checksum(folder: Path, table: Path) -> None:
    """Adds the SHA-256 of a finished observation table to the checksums of a run folder."""
    sums = read_checksums(folder) | {checksum_name(table): sha256(table)}
    _write_atomically(folder / CHECKSUMS, "".join(f"{checksum}  {name}\n" for name, checksum in sorted(sums.items())))


def read_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 by file name; empty for runs of earlier versions, which recorded none."""
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    return {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}


def checksum_name(table: Path) -> str:
    """The name of an observation table in the list of checksums."""
    return f"observations/{table.name}"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_writable(output: Path) -> None:
    """Creates `output` if needed. Raises UserError unless files can be written to it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {output} ({error.strerror}). Use another folder.") from None


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Locks a run folder against other writers; the lock of a killed process is released by the system.

    Raises UserError while another process holds the lock.
    """
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process is writing {folder}. Wait until it ends, or stop it.") from None
    except NotImplementedError:
        raise UserError(
            f"the file system of {folder} does not support locks. Use a folder on another file system with --output."
        ) from None
    with lock:
        yield


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
