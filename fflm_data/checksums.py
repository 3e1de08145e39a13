"""Checksums of files."""

import hashlib
from pathlib import Path

_CHUNK = 2**20  # bytes


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits. Reads the file in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
