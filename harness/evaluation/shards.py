"""Shards: append-only files with the observations of each rank, which survive a kill at any time.

    <run folder>/shards/<start>-<rank>.shard

A record is one batch: a line of JSON (job, row ids, length and checksum of the payload), then its observations as an
Arrow IPC stream. A process that is killed while it writes leaves an incomplete last record, which is found by its
checksum and dropped; its rows are evaluated again. Files of earlier starts are never appended to.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Ints

MAX_HEADER = 2**22


class ShardWriter:
    """Appends records to one file, unbuffered."""

    def __init__(self, path: Path):
        self._file = path.open("xb", buffering=0)

    def append(self, job: str, ids: Ints, observations: pa.Table) -> None:
        """Writes the observations of some rows of a job. Raises OSError if they cannot be written."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, observations.schema) as stream:
            stream.write_table(observations)
        payload = sink.getvalue().to_pybytes()
        facts = {"job": job, "ids": ids.tolist(), "bytes": len(payload), "blake2b": _checksum(payload)}
        header = json.dumps(facts, separators=(",", ":")).encode()
        rest = memoryview(header + b" " + _checksum(header).encode() + b"\n" + payload)
        while rest:  # a disk that is nearly full accepts a part, and fails at the next write
            rest = rest[self._file.write(rest) :]

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass(frozen=True)
class Record:
    """Location of the observations of some rows of a job."""

    path: Path
    offset: int
    length: int
    job: str
    ids: Ints

    def observations(self) -> pa.Table:
        """Reads the observations, whose checksum was verified when the record was found."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return pa.ipc.open_stream(file.read(self.length)).read_all()


def records(folder: Path, names: str = "*") -> Iterator[Record]:
    """The records of the shards of a folder; of each file those before the first incomplete one."""
    for path in sorted(path for path in folder.glob(f"{names}.shard") if path.is_file()):
        with path.open("rb") as file:
            while facts := _header(file):
                offset = file.tell()
                payload = file.read(facts["bytes"])
                if len(payload) < facts["bytes"] or _checksum(payload) != facts["blake2b"]:
                    break
                yield Record(path, offset, len(payload), facts["job"], np.array(facts["ids"], dtype=np.int64))


def _header(file: BinaryIO) -> dict[str, Any] | None:
    """The next header; None at the end of the file or at an incomplete one."""
    line = file.readline(MAX_HEADER)
    header, _, checksum = line.removesuffix(b"\n").rpartition(b" ")
    if not line.endswith(b"\n") or _checksum(header).encode() != checksum:
        return None
    facts: dict[str, Any] = json.loads(header)
    return facts


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
