"""Files of a submission, read as what a stranger sends: plain files, known names, bounded sizes, strict JSON."""

import json
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from leaderboard.verification.refusal import Refused, shown

MOST_JSON = 8 * 2**20
MOST_TABLE = 64 * 2**20
MOST_FILES = 64


def require_exactly(found: Iterable[str], files: Iterable[PurePosixPath]) -> None:
    """Raises Refused unless the files of a folder, as `list_files` gives them, are these."""
    expected = {path.as_posix() for path in files}
    for problem, names in (("lacks", expected - set(found)), ("also has", set(found) - expected)):
        if names:
            raise Refused(f"the folder {problem} {', '.join(shown(name) for name in sorted(names)[:3])}")


def list_files(folder: Path) -> list[str]:
    """The files below a folder, relative to it, with slashes; nothing is followed.

    Raises Refused for a link, for what is no plain file, for one that is too large, for an empty folder, and for too
    many of either.
    """
    if not folder.is_dir() or folder.is_symlink():
        raise Refused("there is no such folder")
    found: list[str] = []
    pending = [PurePosixPath()]
    seen = 0
    while pending:
        place = pending.pop()
        before = seen
        with os.scandir(folder / place) as entries:
            for entry in entries:
                path = place / entry.name
                seen += 1
                if seen > MOST_FILES:
                    raise Refused(f"there are more than {MOST_FILES} files")
                if entry.is_symlink():
                    raise Refused(f"{shown(path.as_posix())} is a link")
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    pending.append(path)
                    if len(path.parts) > 8:
                        raise Refused(f"{shown(path.as_posix())} is too deep a folder")
                    continue
                if not stat.S_ISREG(facts.st_mode):
                    raise Refused(f"{shown(path.as_posix())} is no plain file")
                if facts.st_size > (most := most_bytes(path.name)):
                    raise Refused(f"{shown(path.as_posix())} has {facts.st_size:,} bytes, at most {most:,} are read")
                found.append(path.as_posix())
        if seen == before:
            raise Refused(f"{shown(place.as_posix())} is an empty folder")
    return found


def most_bytes(name: str) -> int:
    """How large a file of that name may be."""
    return MOST_TABLE if name.endswith(".parquet") else MOST_JSON


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object: UTF-8, no key twice, every number finite. Raises Refused for anything else."""
    try:
        if path.is_symlink() or not path.is_file():
            raise Refused(f"{path.name} is missing, or no plain file")
        if path.stat().st_size > MOST_JSON:
            raise Refused(f"{path.name} is larger than {MOST_JSON:,} bytes")
        value = json.loads(
            path.read_bytes().decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite
        )
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{path.name} is not JSON in UTF-8 ({shown(str(error))})") from None
    if not isinstance(value, dict):
        raise Refused(f"{path.name} is no JSON object")
    return value


def require_as_written(path: Path, value: object) -> None:
    """Raises Refused unless a JSON file is, byte for byte, what `harness.runs.files.write_json` makes of its value:
    blanks and escapes can carry anything."""
    if path.read_bytes() != (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode():
        raise Refused(f"{path.name} is not written as harness submit writes it: an indent of 1, a line end at its end")


def canonical(value: object) -> str:
    """A JSON value as the one text that it is compared by: 1, 1.0 and true are three things."""
    return json.dumps(value, sort_keys=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number
