"""Data model of repositories: files, commits, changes, and events of discussions."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any

LFS_SUFFIXES = (".parquet", ".safetensors")
REGULAR_LIMIT = 10 * 2**20


class HttpError(Exception):
    """An error response of the Hub."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


@dataclass(frozen=True)
class File:
    """A file at a commit. For LFS files, `oid` is the id of the pointer and `sha256` that of the content."""

    oid: str
    size: int
    sha256: str | None = None

    @property
    def key(self) -> str:
        """Name of its content in the store and in the cache of a client."""
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
"""A path and its new file. None deletes the file, or the whole folder if the path ends with a slash."""


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


def apply_changes(tree: dict[str, File], changes: Iterable[Change]) -> dict[str, File]:
    tree = dict(tree)
    for path, file in changes:
        if file is None:
            deleted = [name for name in tree if name == path or (path.endswith("/") and name.startswith(path))]
            if not deleted:
                raise HttpError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for name in deleted:
                del tree[name]
        elif not path or str(PurePosixPath(path)) != path or {"", "/", "..", ".git"} & {*PurePosixPath(path).parts}:
            raise HttpError(400, f"Invalid path: {path!r}")
        else:
            tree[path] = file
    return tree


def differences(first: dict[str, File], second: dict[str, File]) -> set[str]:
    return {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)}
