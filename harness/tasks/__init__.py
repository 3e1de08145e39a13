"""The registry of tasks: every `Task` class in a module of this package. A new task is a new file."""

import inspect
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from fflm_data.suggestions import did_you_mean
from harness.errors import UserError
from harness.tasks.base import (
    ChoiceTask,
    CompletionTask,
    DialogueTask,
    HistogramTask,
    Membership,
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
    "Membership",
    "NumberTask",
    "ReadTask",
    "Targets",
    "Task",
    "all_tasks",
    "get_task",
]


@cache
def all_tasks() -> dict[str, Task]:
    """All tasks by name, in their declared order."""
    tasks: list[Task] = []
    for module in (import_module(f"{__name__}.{file.name}") for file in iter_modules(__path__)):
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Task) and not inspect.isabstract(member) and member.__module__ == module.__name__:
                tasks.append(member())
    return {task.name: task for task in sorted(tasks, key=lambda task: (task.order, task.name))}


def get_task(name: str) -> Task:
    """The task with that name. Raises UserError for an unknown name."""
    tasks = all_tasks()
    if name not in tasks:
        raise UserError(f"there is no task {name!r}: the tasks are {', '.join(tasks)}{did_you_mean(name, tasks)}")
    return tasks[name]
