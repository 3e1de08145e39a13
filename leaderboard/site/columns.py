"""The columns of the table: every task and split that has a cell, in groups; a new task appears by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.tasks import Task, all_tasks
from leaderboard.site.entries import Entry, Place

OTHERS = "others"
# By the data config that a task is over.
GROUPS = {
    "flipflop": "memory",
    "flipflop-piecewise": "memory",
    "flipflop-prose": "memory",
    "query-count": "counting",
    "most-frequent": "counting",
    "letters": "letters",
    "arithmetic": "numbers and facts",
    "capitals": "numbers and facts",
}


@dataclass(frozen=True)
class Column:
    """A task and split. baseline: the best trivial guess of the cell over most rows, guess its name."""

    task: str
    split: str
    group: str
    baseline: float
    guess: str

    @property
    def place(self) -> Place:
        """Under which entries have its cell."""
        return self.task, self.split


def group_of(task: Task) -> str:
    """The group of a task's columns."""
    return GROUPS.get(task.config, OTHERS)


def columns(entries: Sequence[Entry]) -> list[Column]:
    """Group by group, the tasks in the order of their registry."""
    order = [*dict.fromkeys(GROUPS.values()), OTHERS]
    found = []
    for task in sorted(all_tasks().values(), key=lambda task: order.index(group_of(task))):
        for split in task.splits:
            cells = [entry.cells[task.name, split] for entry in entries if (task.name, split) in entry.cells]
            if cells:
                most = max(cells, key=lambda cell: cell.rows)
                found.append(Column(task.name, split, group_of(task), most.baseline, most.guess))
    return found
