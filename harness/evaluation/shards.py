"""Shards: what ranks have observed so far, in files that only grow and can be cut off anywhere.

    <run folder>/shards/<start>-<rank>.shard

A record is one batch: a line of JSON (job, row ids, length and checksum of what follows), then its
observations as an Arrow IPC stream. A process killed while it writes leaves a torn last record, which
is found by its checksum and dropped; its rows are asked again. Nothing is ever appended to the file of
an earlier start.
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
    """Appends records to one file; every record has reached the operating system when `append` returns."""

    def __init__(self, path: Path):
        self._file = path.open("xb", buffering=0)

    def append(self, job: str, ids: Ints, observations: pa.Table) -> None:
        """The observations of some rows of a job. Raises OSError if they cannot be written."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, observations.schema) as stream:
            stream.write_table(observations)
        payload = sink.getvalue().to_pybytes()
        facts = {"job": job, "ids": ids.tolist(), "bytes": len(payload), "blake2b": _checksum(payload)}
        header = json.dumps(facts, separators=(",", ":")).encode()
        rest = memoryview(header + b" " + _checksum(header).encode() + b"\n" + payload)
        while rest:  # a disk that is nearly full takes a part and refuses the next
            rest = rest[self._file.write(rest) :]

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass(frozen=True)
class Record:
    """Where the observations of some rows of a job are."""

    path: Path
    offset: int
    length: int
    job: str
    ids: Ints

    def observations(self) -> pa.Table:
        """Reads them; their checksum was compared when the record was found."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return pa.ipc.open_stream(file.read(self.length)).read_all()


def records(folder: Path, names: str = "*") -> Iterator[Record]:
    """The whole records of the shards of a folder; of each file those before the first torn one."""
    for path in sorted(path for path in folder.glob(f"{names}.shard") if path.is_file()):
        with path.open("rb") as file:
            while facts := _header(file):
                offset = file.tell()
                payload = file.read(facts["bytes"])
                if len(payload) < facts["bytes"] or _checksum(payload) != facts["blake2b"]:
                    break
                yield Record(path, offset, len(payload), facts["job"], np.array(facts["ids"], dtype=np.int64))


def _header(file: BinaryIO) -> dict[str, Any] | None:
    """The next header, None at the end of the file or of what is whole in it."""
    line = file.readline(MAX_HEADER)
    header, _, checksum = line.removesuffix(b"\n").rpartition(b" ")
    if not line.endswith(b"\n") or _checksum(header).encode() != checksum:
        return None
    facts: dict[str, Any] = json.loads(header)
    return facts


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
