"""Requests and replies, apart from the sockets they travel on."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

from tests.hub.faults import Cut
from tests.hub.model import Refusal
from tests.hub.store import Repository

PIECE = 2**16


@dataclass(frozen=True)
class Account:
    """Who a token belongs to, and what it is good for."""

    name: str
    role: Literal["read", "write"] = "write"
    orgs: tuple[str, ...] = ()

    def belongs_to(self, id: str) -> bool:
        return id.split("/", maxsplit=1)[0] in (self.name, *self.orgs)


class Body:
    """What a client sends, once, in pieces; ends in a cut where one is planned."""

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
            raise Refusal(400, "The body is not JSON") from None

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
                piece = self._source.read(min(end - seen, PIECE, PIECE if cut_after is None else cut_after - seen))
                if not piece:
                    raise Cut
                seen += len(piece)
                yield piece
        if cut_after is not None:
            raise Cut


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
    found: Repository | None = None

    @property
    def repository(self) -> Repository:
        if self.found is None:
            raise Refusal(404, "Repository not found", "RepoNotFound")
        return self.found

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
            left = self.length
            while piece := stream.read(min(left, PIECE)):
                left -= len(piece)
                yield piece


@dataclass
class Reply:
    content: bytes | Slice = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> "Reply":
        return cls(json.dumps(value).encode(), status, {"Content-Type": "application/json"} | (headers or {}))

    @classmethod
    def refusal(cls, refusal: Refusal) -> "Reply":
        line = " ".join(refusal.message.split()).encode("ascii", "replace").decode()
        headers = {"X-Error-Message": line} | ({"X-Error-Code": refusal.code} if refusal.code else {})
        return cls.json({"error": refusal.message}, refusal.status, headers | refusal.headers)

    def pieces(self) -> Iterator[bytes]:
        return iter([self.content]) if isinstance(self.content, bytes) else iter(self.content)


Access = Literal["open", "read", "account", "write"]
Handler = Callable[[Any, Request], Reply]
