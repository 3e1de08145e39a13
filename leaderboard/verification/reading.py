"""Reads files of untrusted submissions: regular files, known names, bounded sizes, strict JSON."""

import json
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused

MOST_JSON = 8 * 2**20
MOST_TABLE = 64 * 2**20
MOST_FILES = 64


def require_exact_files(names: Iterable[str], files: Iterable[PurePosixPath]) -> None:
    """Raises Refused unless the files of a folder, as `list_files` returns them, are exactly these."""
    expected = {path.as_posix() for path in files}
    present = set(names)
    for problem, wrong in (("lacks", expected - present), ("has unknown files:", present - expected)):
        if wrong:
            listed = ", ".join(quote(name) for name in sorted(wrong)[:3])
            raise Refused(f"the folder {problem} {listed}. Create the record again with harness submit.")


def list_files(folder: Path) -> list[str]:
    """Returns the files below a folder as relative paths with slashes. Links are not followed.

    Raises Refused for a link, a file that is not regular or too large, an empty folder, or too many entries.
    """
    if not folder.is_dir() or folder.is_symlink():
        raise Refused("the folder does not exist. Check the path.")
    files: list[str] = []
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
                    raise Refused(f"the record has more than {MOST_FILES} files. Remove the others.")
                if entry.is_symlink():
                    raise Refused(f"{quote(path.as_posix())} is a link. Replace it by the file.")
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    pending.append(path)
                    if len(path.parts) > 8:
                        raise Refused(f"the folder {quote(path.as_posix())} is nested too deeply. Remove it.")
                    continue
                if not stat.S_ISREG(facts.st_mode):
                    raise Refused(f"{quote(path.as_posix())} is not a regular file. Remove it.")
                if facts.st_size > (most := max_bytes(path.name)):
                    raise Refused(f"{quote(path.as_posix())} has {facts.st_size:,} bytes, the limit is {most:,}.")
                files.append(path.as_posix())
        if seen == before:
            raise Refused(f"the folder {quote(place.as_posix())} is empty. Remove it.")
    return files


def max_bytes(name: str) -> int:
    """Returns the size limit of a file by its name, in bytes."""
    return MOST_TABLE if name.endswith(".parquet") else MOST_JSON


def read_json(path: Path) -> dict[str, Any]:
    """Returns a JSON object. Raises Refused unless it is UTF-8 with unique keys and finite numbers."""
    try:
        if path.is_symlink() or not path.is_file():
            raise Refused(f"{path.name} is missing or is not a regular file. Add the file.")
        if path.stat().st_size > MOST_JSON:
            raise Refused(f"{path.name} is larger than {MOST_JSON:,} bytes, the limit.")
        value = json.loads(
            path.read_bytes().decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_reject_constant,
            parse_float=_finite,
        )
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{path.name} is not JSON in UTF-8 ({quote(str(error))}). Create it again.") from None
    if not isinstance(value, dict):
        raise Refused(f"{path.name} is not a JSON object. Create it again.")
    return value


def require_canonical_json(path: Path, value: object) -> None:
    """Raises Refused unless a JSON file has exactly the bytes that `harness.runs.run.write_json` writes for its value.
    Whitespace and escapes could carry hidden content."""
    if path.read_bytes() != (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode():
        raise Refused(
            f"{path.name} is not formatted as harness submit writes it (indent of 1, newline at the end). "
            "Create the record again with harness submit."
        )


def canonical(value: object) -> str:
    """Returns the JSON text that a value is compared by: 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key occurs twice")
    return value


def _reject_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number
