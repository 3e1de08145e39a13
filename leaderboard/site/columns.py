"""The columns of the table: every task and split with a cell, in groups. New tasks appear automatically."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.tasks import all_tasks
from leaderboard.site.entries import Entry, Place


@dataclass(frozen=True)
class Column:
    """A task and split. baseline, baseline_name: accuracy and name of the best baseline, from the cell with most
    rows."""

    task: str
    split: str
    group: str
    baseline: float
    baseline_name: str

    @property
    def place(self) -> Place:
        """Key of its cells in an entry."""
        return self.task, self.split


def columns(entries: Sequence[Entry]) -> list[Column]:
    """Returns the columns, by group, with the tasks in the order of the registry."""
    order = list(dict.fromkeys(task.group for task in all_tasks().values()))
    result = []
    for task in sorted(all_tasks().values(), key=lambda task: order.index(task.group)):
        for split in task.splits:
            cells = [entry.cells[task.name, split] for entry in entries if (task.name, split) in entry.cells]
            if cells:
                most = max(cells, key=lambda cell: cell.rows)
                result.append(Column(task.name, split, task.group, most.baseline, most.baseline_name))
    return result
