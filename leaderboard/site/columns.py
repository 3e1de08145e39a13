"""The columns of the table: every task and split that has a cell, in groups; a new task appears by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.tasks import all_tasks
from leaderboard.site.entries import Entry, Place


@dataclass(frozen=True)
class Column:
    """A task and split. baseline: the best baseline of the cell over most rows, baseline_name its name."""

    task: str
    split: str
    group: str
    baseline: float
    baseline_name: str

    @property
    def place(self) -> Place:
        """Under which entries have its cell."""
        return self.task, self.split


def columns(entries: Sequence[Entry]) -> list[Column]:
    """Group by group, the tasks in the order of their registry."""
    order = list(dict.fromkeys(task.group for task in all_tasks().values()))
    found = []
    for task in sorted(all_tasks().values(), key=lambda task: order.index(task.group)):
        for split in task.splits:
            cells = [entry.cells[task.name, split] for entry in entries if (task.name, split) in entry.cells]
            if cells:
                most = max(cells, key=lambda cell: cell.rows)
                found.append(Column(task.name, split, task.group, most.baseline, most.baseline_name))
    return found
