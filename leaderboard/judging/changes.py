"""What a pull request does to a results repository: records may be added, and nothing else may change."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from leaderboard.judging.refusal import Refused, shown
from leaderboard.records import PLACES

MOST_RECORDS = 20
_HEX = frozenset("0123456789abcdef")


def added_records(before: Mapping[str, str], after: Mapping[str, str], attested: bool = False) -> list[PurePosixPath]:
    """The records that are new, or newly attested, relative to the repository. before, after: by path with slashes,
    something that changes with the content of each file. attested: whether attestations may be added, as maintainers
    do.

    Raises Refused if a file was changed or taken away, or is no part of a new record.
    """
    changed = sorted(path for path, content in before.items() if after.get(path) != content)
    if changed:
        what = "taken away" if changed[0] not in after else "changed"
        raise Refused(f"{shown(changed[0])} was {what}: records are only added, and nothing else is touched")
    added = sorted(after.keys() - before.keys())
    folders = {path: _record_of(PurePosixPath(path)) for path in added}
    new = {folder for path, folder in folders.items() if folder and not _is_there(folder, before)}
    spoken_of = {path: _attested_by(PurePosixPath(path)) for path in added} if attested else {}
    for path, folder in folders.items():
        if folder not in new and not spoken_of.get(path):
            raise Refused(f"{shown(path)} is no part of a new record")
    if len(new) > MOST_RECORDS:
        raise Refused(f"there are {len(new)} new records, at most {MOST_RECORDS} come at once")
    return sorted(new | {folder for folder in spoken_of.values() if folder})


def contents(checkout: Path) -> dict[str, str]:
    """By path with slashes, the SHA-256 of every file of a checkout but git's own; of a link, where it leads."""
    found = {}
    for folder, folders, names in os.walk(checkout):
        folders[:] = [name for name in folders if name != ".git"]
        for name in [*names, *(one for one in folders if Path(folder, one).is_symlink())]:
            path = Path(folder, name)
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            found[path.relative_to(checkout).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def _record_of(path: PurePosixPath) -> PurePosixPath | None:
    """The record that a file is in, if it is in one: <records>/<model>/<revision>/<digest>/..."""
    for place in PLACES:
        depth = len(place.parts)
        if path.parts[:depth] == place.parts and len(path.parts) > depth + 3:
            return PurePosixPath(*path.parts[: depth + 3])
    return None


def _is_there(folder: PurePosixPath, files: Iterable[str]) -> bool:
    return any(path.startswith(f"{folder}/") for path in files)


def _attested_by(path: PurePosixPath) -> PurePosixPath | None:
    """The record that an attestation speaks of by its name, if it is one: <digest>.<kind>-....json beside it."""
    digest, _, rest = path.name.partition(".")
    if len(digest) != 12 or not set(digest) <= _HEX or not rest.endswith(".json"):
        return None
    return _record_of(path.with_name(digest) / "run.json")
