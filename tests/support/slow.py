"""Slow tests: which of them are due, and where it is recorded that they passed.

A test marked `slow` runs if something that it covers has changed since it last passed: its own file and the folders or
files named in the marker, by default harness/engine and harness/evaluation. Otherwise `pytest` deselects it. `pytest -m
slow` runs all of them and, if they pass, records digests of what they cover in `PASSED`, which is committed with the
change. Tests named on the command line always run.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PASSED = ROOT / "tests" / "slow_passed.json"
COVERED_BY_DEFAULT = ("harness/engine", "harness/evaluation")
SUFFIXES = {".py", ".sh", ".json", ".jinja", ".html"}


def digests_of(items: Iterable[pytest.Item]) -> dict[str, str]:
    """By file with slow tests, relative to the repository: a digest of all that they cover."""
    covered: dict[str, set[str]] = {}
    for item in items:
        if marker := item.get_closest_marker("slow"):
            file = item.path.relative_to(ROOT).as_posix()
            covered.setdefault(file, {file}).update(marker.args or COVERED_BY_DEFAULT)
    return {file: digest(frozenset(paths)) for file, paths in covered.items()}


def is_due(item: pytest.Item, digests: dict[str, str], passed: dict[str, str]) -> bool:
    """Whether a test runs by default: a fast one, or a slow one if something that its file's slow tests cover has
    changed. digests: of what they cover now; passed: when they last passed."""
    file = item.path.relative_to(ROOT).as_posix()
    return item.get_closest_marker("slow") is None or digests[file] != passed.get(file)


@cache
def digest(paths: frozenset[str]) -> str:
    """SHA-256 over names and contents, line ends aside. Raises FileNotFoundError for a path that does not exist."""
    whole = hashlib.sha256()
    for file in sorted({file for path in paths for file in _files(ROOT / path)}):
        content = file.read_bytes().replace(b"\r\n", b"\n")
        whole.update(f"{file.relative_to(ROOT).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.suffix in SUFFIXES)
    elif path.is_file():
        yield path
    else:
        raise FileNotFoundError(f"{path}: a slow test covers it, and it does not exist")


def passed() -> dict[str, str]:
    """By test file, the digest of what its slow tests covered when they all passed."""
    return json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.exists() else {}


def record(digests: dict[str, str]) -> None:
    """Writes PASSED; called after all slow tests have passed."""
    PASSED.write_text(json.dumps(dict(sorted(digests.items())), indent=1) + "\n", encoding="utf-8", newline="\n")
