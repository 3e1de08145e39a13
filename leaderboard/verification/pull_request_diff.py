"""Checks what a pull request changes in a results repository: it may add records and nothing else."""

import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from fflm_data.checksums import file_sha256
from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused

MOST_RECORDS = 20
_ATTESTATION = re.compile(r"[0-9a-f]{12}\.(replay|fresh|withdrawn)-[0-9a-f]{64}\.json")


def added_records(
    before: Mapping[str, str], after: Mapping[str, str], place: PurePosixPath, attested: Collection[str] = ()
) -> list[PurePosixPath]:
    """Returns the folders of new or newly attested records, relative to the repository.

    before, after: by path with slashes, a value that changes with the content of the file (a hash or blob id). place:
    the records folder. attested: file names of attestations that maintainers wrote and that may be added.

    Raises Refused if a file was changed or deleted, or if a new file is not part of a new record.
    """
    changed = sorted(path for path, content in before.items() if after.get(path) != content)
    if changed:
        action = "deleted" if changed[0] not in after else "changed"
        raise Refused(f"{quote(changed[0])} was {action}. A pull request may only add records. Restore the file.")
    added = sorted(after.keys() - before.keys())
    folders = {path: _record_of(PurePosixPath(path), place) for path in added}
    new = {folder for folder in folders.values() if folder and not _is_there(folder, before)}
    named = [path for path in added if PurePosixPath(path).name in attested]
    attested_records = {path: _attested_record(PurePosixPath(path), place) for path in named}
    for path, folder in folders.items():
        if folder not in new and not attested_records.get(path):
            raise Refused(f"{quote(path)} is not part of a new record. Remove it from the pull request.")
    if len(new) > MOST_RECORDS:
        raise Refused(
            f"the pull request adds {len(new)} records, the limit is {MOST_RECORDS}. Split it into several requests."
        )
    return sorted(new | {folder for folder in attested_records.values() if folder})


def contents(checkout: Path) -> dict[str, str]:
    """Returns a value for each file of a checkout (except git's own), by path with slashes: the SHA-256 of a regular
    file, the target of a link, a fixed text for anything else."""
    values = {}
    for folder, folders, names in os.walk(checkout):
        if Path(folder) == checkout and ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for path in (Path(folder, name) for name in [*names, *links]):
            if path == checkout / ".git":  # of a worktree
                continue
            values[path.relative_to(checkout).as_posix()] = _content(path)
    return values


def _content(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if not stat.S_ISREG(mode):
        return "not a regular file"
    return file_sha256(path)


def _record_of(path: PurePosixPath, place: PurePosixPath) -> PurePosixPath | None:
    """Returns the record that contains a file: <place>/<model>/<revision>/<digest>/...; None if there is none."""
    depth = len(place.parts)
    if path.parts[:depth] == place.parts and len(path.parts) > depth + 3:
        return PurePosixPath(*path.parts[: depth + 3])
    return None


def _is_there(folder: PurePosixPath, files: Iterable[str]) -> bool:
    return any(path.startswith(f"{folder}/") for path in files)


def _attested_record(path: PurePosixPath, place: PurePosixPath) -> PurePosixPath | None:
    """Returns the record that an attestation's file name refers to: <digest>.<kind>-<SHA-256>.json beside the record.

    The name has the whole hash because a collision of a shortened hash can be computed within an hour.
    """
    if not _ATTESTATION.fullmatch(path.name):
        return None
    return _record_of(path.with_name(path.name.partition(".")[0]) / "run.json", place)
