"""Selection of slow tests by changes, and the record of passed slow tests.

A test marked `slow` runs if a covered file has changed since it last passed: its own file, or the folders and files in
the marker (default: harness/engine and harness/evaluation). Otherwise `pytest` deselects it. `pytest -m slow` runs all
slow tests, and tests named on the command line always run. If all slow tests of a file pass in one call, a digest of
the covered files is written to `PASSED`, which is committed with the change.
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


# By test file, relative to the repository: the digest of all covered files, and the node ids of its slow tests. Plain
# types, because workers of pytest-xdist send it.
Groups = dict[str, tuple[str, list[str]]]


def groups_of(items: Iterable[pytest.Item]) -> Groups:
    """Returns the slow tests among collected ones, by file."""
    covered: dict[str, set[str]] = {}
    tests: dict[str, list[str]] = {}
    for item in items:
        if marker := item.get_closest_marker("slow"):
            file = item.path.relative_to(ROOT).as_posix()
            covered.setdefault(file, {file}).update(marker.args or COVERED_BY_DEFAULT)
            tests.setdefault(file, []).append(item.nodeid)
    return {file: (digest(frozenset(covered[file])), tests[file]) for file in covered}


def is_due(item: pytest.Item, groups: Groups, passed: dict[str, str]) -> bool:
    """Whether a test runs by default: fast tests, and slow tests if a file covered by their test file has changed.

    passed: digests when the slow tests last passed.
    """
    file = item.path.relative_to(ROOT).as_posix()
    return item.get_closest_marker("slow") is None or groups[file][0] != passed.get(file)


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


def record(groups: Groups, done: set[str]) -> None:
    """Updates PASSED with the files whose slow tests are all in `done`, node ids of tests that passed or were skipped.
    Removes files that no longer exist."""
    before = passed()
    after = {file: digest for file, digest in before.items() if (ROOT / file).exists()}
    after |= {file: digest for file, (digest, tests) in groups.items() if done.issuperset(tests)}
    if after != before:
        text = json.dumps(dict(sorted(after.items())), indent=1) + "\n"
        PASSED.write_text(text, encoding="utf-8", newline="\n")
