"""The list of tasks and suites: as text for a terminal, as Markdown for `docs/tasks.md`."""

import re
import sys

from harness.tasks import Task, all_tasks
from harness.tasks.suites import Suite, suites

# A field of a header, with the lines that continue it.
_FIELD = re.compile(r"^([a-z]+): (.*(?:\n {2,}.*)*)", re.MULTILINE)


def header(task: Task) -> str:
    """The docstring of a task's file: name, what, paper, data, scored, baselines; and its version."""
    return (sys.modules[type(task).__module__].__doc__ or "").strip() + f"\nversion: {task.version}"


def fields(task: Task) -> dict[str, str]:
    """The header by field, each on one line."""
    return {name: " ".join(text.split()) for name, text in _FIELD.findall(header(task))}


def as_text() -> str:
    """All headers, then all suites."""
    blocks = [header(task) + "\n" for task in all_tasks().values()]
    for suite in suites().values():
        challenges = f" ({suite.challenges} challenges)" if suite.challenges else ""
        blocks.append(f"--suite {suite.name}, version {suite.version}: {suite.about}{challenges}\n    {_rows(suite)}")
    return "\n".join(blocks)


def as_markdown() -> str:
    """The same as a page, a section for each group of tasks."""
    lines = ["# Tasks", "", "This page is printed by `harness tasks --format markdown`.", ""]
    for group in dict.fromkeys(task.group for task in all_tasks().values()):
        lines += [f"## {group.capitalize()}", ""]
        for task in (one for one in all_tasks().values() if one.group == group):
            lines += [f"### {task.name}", ""]
            lines += [f"- {name}: {text}" for name, text in fields(task).items() if name != "name"] + [""]
    lines += ["## Suites", "", "| suite | version | what | rows of each split |", "|---|---|---|---|"]
    lines += [f"| `{one.name}` | {one.version} | {one.about} | {_rows(one)} |" for one in suites().values()]
    return "\n".join(lines)


def _rows(suite: Suite) -> str:
    return ", ".join(task if rows is None else f"{task} {rows}" for task, rows in suite.rows.items())
