"""Requests and responses, independent of sockets."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

from tests.hub.faults import ConnectionCut
from tests.hub.model import HttpError
from tests.hub.store import Repository

CHUNK_BYTES = 2**16


@dataclass(frozen=True)
class Account:
    """The account of a token, and its permissions."""

    name: str
    role: Literal["read", "write"] = "write"
    orgs: tuple[str, ...] = ()

    def belongs_to(self, id: str) -> bool:
        return id.split("/", maxsplit=1)[0] in (self.name, *self.orgs)


class Body:
    """The body of a request, read once in chunks. Raises ConnectionCut after `cut_after` bytes."""

    def __init__(self, source: BufferedIOBase, headers: Message, cut_after: int | None = None) -> None:
        self._source = source
        chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
        lengths = self._chunks() if chunked else iter([int(headers.get("Content-Length") or 0)])
        self._pieces = self._read(lengths, cut_after)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def read(self) -> bytes:
        return b"".join(self)

    def json(self) -> Any:
        try:
            return json.loads(self.read() or b"{}")
        except ValueError:
            raise HttpError(400, "The body is not JSON") from None

    def _chunks(self) -> Iterator[int]:
        while length := int(self._source.readline().split(b";")[0] or b"0", 16):
            yield length
            self._source.readline()
        while self._source.readline().strip():
            pass

    def _read(self, lengths: Iterator[int], cut_after: int | None) -> Iterator[bytes]:
        seen = end = 0
        for length in lengths:
            end += length
            while seen < end:
                piece = self._source.read(
                    min(end - seen, CHUNK_BYTES, CHUNK_BYTES if cut_after is None else cut_after - seen)
                )
                if not piece:
                    raise ConnectionCut
                seen += len(piece)
                yield piece
        if cut_after is not None:
            raise ConnectionCut


@dataclass
class Request:
    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: Message
    body: Body
    parameters: dict[str, str] = field(default_factory=dict)
    account: Account | None = None
    target_repository: Repository | None = None

    @property
    def repository(self) -> Repository:
        if self.target_repository is None:
            raise HttpError(404, "Repository not found", "RepoNotFound")
        return self.target_repository

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.read().decode())

    @property
    def author(self) -> str:
        return self.account.name if self.account else ""


@dataclass(frozen=True)
class Slice:
    """A part of a file on disk."""

    path: Path
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            remaining = self.length
            while piece := stream.read(min(remaining, CHUNK_BYTES)):
                remaining -= len(piece)
                yield piece


@dataclass
class Response:
    content: bytes | Slice = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> "Response":
        return cls(json.dumps(value).encode(), status, {"Content-Type": "application/json"} | (headers or {}))

    @classmethod
    def from_error(cls, error: HttpError) -> "Response":
        line = " ".join(error.message.split()).encode("ascii", "replace").decode()
        headers = {"X-Error-Message": line} | ({"X-Error-Code": error.code} if error.code else {})
        return cls.json({"error": error.message}, error.status, headers | error.headers)

    def pieces(self) -> Iterator[bytes]:
        return iter([self.content]) if isinstance(self.content, bytes) else iter(self.content)


Access = Literal["open", "read", "account", "write"]
Handler = Callable[[Any, Request], Response]
