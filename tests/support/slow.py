"""Selection of slow tests by changes, and the record of passed slow tests.

A test marked `slow` runs if a covered file has changed since it last passed: its own file, or the folders and files in
the marker (default: harness/engine and harness/evaluation). Otherwise `pytest` deselects it. `pytest -m slow` runs all
slow tests and, if they pass, writes digests of the covered files to `PASSED`, which is committed with the change.
Tests named on the command line always run.
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
    """Returns, for each file with slow tests (relative to the repository), a digest of all files they cover."""
    covered: dict[str, set[str]] = {}
    for item in items:
        if marker := item.get_closest_marker("slow"):
            file = item.path.relative_to(ROOT).as_posix()
            covered.setdefault(file, {file}).update(marker.args or COVERED_BY_DEFAULT)
    return {file: digest(frozenset(paths)) for file, paths in covered.items()}


def is_due(item: pytest.Item, digests: dict[str, str], passed: dict[str, str]) -> bool:
    """Whether a test runs by default: fast tests, and slow tests if a file covered by their test file has changed.

    digests: current digests. passed: digests when the slow tests last passed.
    """
    file = item.path.relative_to(ROOT).as_posix()
    return item.get_closest_marker("slow") is None or digests[file] != passed.get(file)


@cache
def digest(paths: frozenset[str]) -> str:
    """Returns the SHA-256 of names and contents, newlines normalized. Raises FileNotFoundError if a path is missing."""
    combined = hashlib.sha256()
    for file in sorted({file for path in paths for file in _files(ROOT / path)}):
        content = file.read_bytes().replace(b"\r\n", b"\n")
        combined.update(f"{file.relative_to(ROOT).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode())
    return combined.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.suffix in SUFFIXES)
    elif path.is_file():
        yield path
    else:
        raise FileNotFoundError(f"{path} is named in a slow marker but does not exist")


def passed() -> dict[str, str]:
    """Returns, for each test file, the digest when all its slow tests last passed."""
    return json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.exists() else {}


def record(digests: dict[str, str]) -> None:
    """Writes PASSED. Called after all slow tests have passed."""
    PASSED.write_text(json.dumps(dict(sorted(digests.items())), indent=1) + "\n", encoding="utf-8", newline="\n")
