"""What repositories consist of: files, commits, changes, and the events of a discussion."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any

LFS_SUFFIXES = (".parquet", ".safetensors")
REGULAR_LIMIT = 10 * 2**20


class Refusal(Exception):
    """What the Hub answers instead of doing it."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


@dataclass(frozen=True)
class File:
    """A file at a commit; one in LFS has the `oid` of its pointer and its content under `sha256`."""

    oid: str
    size: int
    sha256: str | None = None

    @property
    def key(self) -> str:
        """The name of its content, in the store as in a client's cache."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    tree: dict[str, File]

    @property
    def id(self) -> str:
        return hashlib.sha1(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Commit":
        fields = json.loads(text)
        return cls(**fields | {"tree": {path: File(**file) for path, file in fields["tree"].items()}})


Change = tuple[str, File | None]
"""A path and what it becomes; None deletes it, and all below it where the path ends with a slash."""


def goes_to_lfs(path: str, size: int) -> bool:
    return size > 0 and (path.endswith(LFS_SUFFIXES) or size > REGULAR_LIMIT)


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs_file(sha256: str, size: int) -> File:
    return File(git_oid(lfs_pointer(sha256, size)), size, sha256)


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(type: str, author: str, **data: Any) -> dict[str, Any]:
    date = now()
    identity = hashlib.sha1(json.dumps([type, author, data, date]).encode()).hexdigest()
    return {"id": identity, "type": type, "createdAt": date, "author": {"name": author}, "data": data}


def comment(author: str, text: str) -> dict[str, Any]:
    latest = {"raw": text, "html": text, "updatedAt": now(), "author": {"name": author}}
    return event("comment", author, edited=False, hidden=False, latest=latest, history=[])


def changed(tree: dict[str, File], changes: Iterable[Change]) -> dict[str, File]:
    tree = dict(tree)
    for path, file in changes:
        if file is None:
            gone = [name for name in tree if name == path or (path.endswith("/") and name.startswith(path))]
            if not gone:
                raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for name in gone:
                del tree[name]
        elif not path or str(PurePosixPath(path)) != path or {"", "/", "..", ".git"} & {*PurePosixPath(path).parts}:
            raise Refusal(400, f"Invalid path: {path!r}")
        else:
            tree[path] = file
    return tree


def differences(one: dict[str, File], other: dict[str, File]) -> set[str]:
    return {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}
