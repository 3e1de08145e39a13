"""Suites: sets of tasks, with a number of rows for each.

A suite uses the first rows of each split, so that the rows of `quick` are among those of `full`; they stay balanced
over strata and binary controls. Each task declares its memberships. A run stores name and version of its suite: adding
a task to a suite makes a new version, and older versions do not change.
"""

from dataclasses import dataclass

from fflm_data.suggestions import did_you_mean
from harness.errors import OtherVersion, UserError
from harness.tasks import Task, all_tasks

# By name: description, and number of challenges in a dialogue (None: the task's default).
SUITES: dict[str, tuple[str, int | None]] = {
    "quick": ("every task on a few rows; minutes on a laptop CPU", 12),
    "paper": ("the tasks of the papers, at their sizes", None),
    "full": ("every task on all rows", None),
}


@dataclass(frozen=True)
class Suite:
    """A version of a suite.

    rows: maximum number of rows of each split, by task, None for all. challenges: number of challenges in a dialogue,
    None for the task's default.
    """

    name: str
    version: int
    about: str
    rows: dict[str, int | None]
    challenges: int | None = None

    def facts(self) -> dict[str, str | int]:
        """Name and version for run.json."""
        return {"name": self.name, "version": self.version}


def suites() -> dict[str, Suite]:
    """The newest version of each suite, by name."""
    return {name: get_suite(name) for name in SUITES}


def get_suite(name: str, version: int | None = None) -> Suite:
    """A suite in a version (default: the newest).

    Raises UserError for an unknown name, OtherVersion for a version that this installation does not have.
    """
    if name not in SUITES:
        raise UserError(f"there is no suite {name!r}: the suites are {', '.join(SUITES)}{did_you_mean(name, SUITES)}")
    newest = max(member.since for task in all_tasks().values() for member in task.suites.get(name, ()))
    version = newest if version is None else version
    if not 1 <= version <= newest:
        raise OtherVersion(
            f"there is no version {version} of suite {name}: install a newer version of fflm",
            f"version {version} of suite {name}, this is version {newest}",
        )
    about, challenges = SUITES[name]
    rows = {task.name: _rows(task, name, version) for task in all_tasks().values()}
    return Suite(name, version, about, {task: number for task, number in rows.items() if number != 0}, challenges)


def _rows(task: Task, suite: str, version: int) -> int | None:
    """The maximum number of rows of a task in a version of a suite, 0 if the task is not in it."""
    rows = [member.rows for member in task.suites.get(suite, ()) if member.since <= version]
    return rows[-1] if rows else 0
