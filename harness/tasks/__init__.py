"""The tasks by name: every `Task` class in a module of this package. A new task is a new file."""

import inspect
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from harness.errors import UserError
from harness.tasks.base import CompletionTask, ReadTask, Targets, Task

__all__ = ["CompletionTask", "ReadTask", "Targets", "Task", "all_tasks", "get_task"]


@cache
def all_tasks() -> dict[str, Task]:
    """Every task, in the order of the names of their modules, flipflop first."""
    names = sorted((module.name for module in iter_modules(__path__)), key=lambda name: (name != "flipflop", name))
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
        raise UserError(f"there is no task {name!r}: the tasks are {', '.join(tasks)}")
    return tasks[name]
