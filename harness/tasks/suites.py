"""Suites: tasks that are evaluated together, and how many rows of each.

The rows of a suite are the first of each split, so that the rows of `quick` are among those of `full`; the binary
controls of counting and the strata of letters keep them balanced. A task declares its memberships itself. A run stores
name and version of its suite: a task that joins a suite makes a new version, and the older ones stay as they were.
"""

from dataclasses import dataclass

from fflm_data.suggestions import did_you_mean
from harness.errors import OtherVersion, UserError
from harness.tasks import Task, all_tasks

# By name: what it is for, and how often dialogues challenge an answer (None: as often as their tasks say).
SUITES: dict[str, tuple[str, int | None]] = {
    "quick": ("every task on a few rows: minutes on a laptop's CPU", 12),
    "paper": ("what the papers scored, at their sizes", None),
    "full": ("every task on all rows", None),
}


@dataclass(frozen=True)
class Suite:
    """rows: by task, how many rows of each split at most, None for all. challenges: how often dialogues challenge an
    answer, None for as often as their tasks say."""

    name: str
    version: int
    about: str
    rows: dict[str, int | None]
    challenges: int | None = None

    def facts(self) -> dict[str, str | int]:
        """Name and version, as run.json stores them."""
        return {"name": self.name, "version": self.version}


def suites() -> dict[str, Suite]:
    """The newest version of each suite, by name."""
    return {name: get_suite(name) for name in SUITES}


def get_suite(name: str, version: int | None = None) -> Suite:
    """A suite, in its newest version if none is given.

    Raises UserError for an unknown name, listing the names, OtherVersion for a version that does not exist here.
    """
    if name not in SUITES:
        raise UserError(f"there is no suite {name!r}: the suites are {', '.join(SUITES)}{did_you_mean(name, SUITES)}")
    newest = max(one.since for task in all_tasks().values() for one in task.suites.get(name, ()))
    version = newest if version is None else version
    if not 1 <= version <= newest:
        raise OtherVersion(
            f"there is no version {version} of suite {name}: install a newer version of fflm",
            f"version {version} of suite {name}, this is version {newest}",
        )
    about, challenges = SUITES[name]
    rows = {task.name: _rows(task, name, version) for task in all_tasks().values()}
    return Suite(name, version, about, {task: most for task, most in rows.items() if most != 0}, challenges)


def _rows(task: Task, suite: str, version: int) -> int | None:
    """The rows of a task in a version of a suite, 0 if it is not in it."""
    joined = [one.rows for one in task.suites.get(suite, ()) if one.since <= version]
    return joined[-1] if joined else 0
