"""What a pull request does to a results repository: records may be added, and nothing else may change."""

import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from fflm_data.checksums import file_sha256
from leaderboard.verification.refusal import Refused, shown

MOST_RECORDS = 20
_ATTESTATION = re.compile(r"[0-9a-f]{12}\.(replay|fresh|withdrawn)-[0-9a-f]{64}\.json")


def added_records(
    before: Mapping[str, str], after: Mapping[str, str], place: PurePosixPath, attested: Collection[str] = ()
) -> list[PurePosixPath]:
    """The records that are new, or newly attested, relative to the repository.

    before, after: by path with slashes, something that changes with the content of each file. place: of the records in
    the repository. attested: names of attestations that its maintainers wrote, which may be added.

    Raises Refused if a file was changed or taken away, or is no part of a new record.
    """
    changed = sorted(path for path, content in before.items() if after.get(path) != content)
    if changed:
        what = "taken away" if changed[0] not in after else "changed"
        raise Refused(f"{shown(changed[0])} was {what}: records are only added, and nothing else is touched")
    added = sorted(after.keys() - before.keys())
    folders = {path: _record_of(PurePosixPath(path), place) for path in added}
    new = {folder for folder in folders.values() if folder and not _is_there(folder, before)}
    named = [path for path in added if PurePosixPath(path).name in attested]
    spoken_of = {path: _attested_by(PurePosixPath(path), place) for path in named}
    for path, folder in folders.items():
        if folder not in new and not spoken_of.get(path):
            raise Refused(f"{shown(path)} is no part of a new record")
    if len(new) > MOST_RECORDS:
        raise Refused(f"there are {len(new)} new records, at most {MOST_RECORDS} come at once")
    return sorted(new | {folder for folder in spoken_of.values() if folder})


def contents(checkout: Path) -> dict[str, str]:
    """By path with slashes, the SHA-256 of every file of a checkout but git's own; of a link, where it leads; of what
    is neither, that it is something else."""
    found = {}
    for folder, folders, names in os.walk(checkout):
        if Path(folder) == checkout and ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for path in (Path(folder, name) for name in [*names, *links]):
            if path == checkout / ".git":  # of a worktree
                continue
            found[path.relative_to(checkout).as_posix()] = _content(path)
    return found


def _content(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if not stat.S_ISREG(mode):
        return "no plain file"
    return file_sha256(path)


def _record_of(path: PurePosixPath, place: PurePosixPath) -> PurePosixPath | None:
    """The record that a file is in, if it is in one: <place>/<model>/<revision>/<digest>/..."""
    depth = len(place.parts)
    if path.parts[:depth] == place.parts and len(path.parts) > depth + 3:
        return PurePosixPath(*path.parts[: depth + 3])
    return None


def _is_there(folder: PurePosixPath, files: Iterable[str]) -> bool:
    return any(path.startswith(f"{folder}/") for path in files)


def _attested_by(path: PurePosixPath, place: PurePosixPath) -> PurePosixPath | None:
    """The record that an attestation speaks of by its name, if it is one: <digest>.<kind>-<SHA-256>.json beside it.

    The whole hash: two attestations whose hashes only begin alike are found in an hour.
    """
    if not _ATTESTATION.fullmatch(path.name):
        return None
    return _record_of(path.with_name(path.name.partition(".")[0]) / "run.json", place)
