"""The tasks by name: every `Task` class in a module of this package. A new task is a new file."""

import inspect
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from fflm_data.names import did_you_mean
from harness.errors import UserError
from harness.tasks.base import (
    ChoiceTask,
    CompletionTask,
    DialogueTask,
    HistogramTask,
    NumberTask,
    ReadTask,
    Targets,
    Task,
)

__all__ = [
    "ChoiceTask",
    "CompletionTask",
    "DialogueTask",
    "HistogramTask",
    "NumberTask",
    "ReadTask",
    "Targets",
    "Task",
    "all_tasks",
    "get_task",
]

# The order of a table and a page; what is not named here comes after.
ORDER = (
    "flipflop", "flipflop_piecewise", "flipflop_prose", "query_count", "most_frequent", "letters", "letters_spelled",
    "letters_histogram", "strawberry",
)  # fmt: skip


@cache
def all_tasks() -> dict[str, Task]:
    """Every task: memory, counting words, counting letters, then the others by name."""
    place = {name: number for number, name in enumerate(ORDER)}
    found = (module.name for module in iter_modules(__path__))
    names = sorted(found, key=lambda name: (place.get(name, len(place)), name))
    tasks: dict[str, Task] = {}
    for module in (import_module(f"{__name__}.{name}") for name in names):
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Task) and not inspect.isabstract(member) and member.__module__ == module.__name__:
                tasks[member.name] = member()
    return tasks


def get_task(name: str) -> Task:
    """The task of that name. Raises UserError, listing the names, if there is none."""
    tasks = all_tasks()
    if name not in tasks:
        raise UserError(f"there is no task {name!r}: the tasks are {', '.join(tasks)}{did_you_mean(name, tasks)}")
    return tasks[name]
