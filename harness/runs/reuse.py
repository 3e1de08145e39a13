"""The folder of a new run, and why earlier runs of the same model are not reused."""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from fflm_data.terminal import echo
from harness.errors import UserError
from harness.runs.identity import model_identity, run_id
from harness.runs.json_differences import changes_between, describe, without_consequences
from harness.runs.run import Run, read_run


def run_folder(output: Path, facts: dict[str, Any]) -> Path:
    """The folder of a run, created if needed. For a new run, prints why an earlier one is not reused."""
    folder = output / facts["model"]["id"].replace("/", "--") / run_id(facts["model"], facts["data"])
    if not (folder / "run.json").exists():
        _print_reuse_reason(folder, facts)
    (folder / "observations").mkdir(parents=True, exist_ok=True)
    return folder


def _print_reuse_reason(folder: Path, facts: dict[str, Any]) -> None:
    """Prints how the newest other run of this model that shares a task differs from this one."""
    tasks, others = facts["data"]["tasks"], []
    for path in folder.parent.glob("*/run.json"):
        with suppress(UserError):
            others.append(read_run(path.parent))
    related = [run for run in others if tasks.keys() & _tasks(run).keys()]
    if related:
        newest = max(related, key=lambda run: (run.facts["created"], run.folder.name))
        before = _tasks(newest)
        shared = tasks.keys() & before.keys()
        changes = without_consequences(changes_between(_compared(newest.facts, shared), _compared(facts, shared)))
        reasons = [describe(path, *values) for path, values in changes.items()] + _other_tasks(before, tasks)
        echo(f"{newest.folder} is not reused: {'; '.join(reasons) or 'its run id differs'}")


def _tasks(run: Run) -> dict[str, Any]:
    tasks = run.facts["data"].get("tasks")
    return tasks if isinstance(tasks, dict) else {}


def _other_tasks(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A phrase for the tasks that only the earlier run has, and one for those that only the new run has."""
    sides = (("it also has {}", before.keys() - now.keys()), ("it does not have {}", now.keys() - before.keys()))
    return [phrase.format(", ".join(sorted(names))) for phrase, names in sides if names]


def _compared(facts: dict[str, Any], tasks: Collection[str]) -> dict[str, Any]:
    """The facts that determine a run, restricted to some tasks."""
    data = {**facts["data"], "tasks": {name: task for name, task in facts["data"]["tasks"].items() if name in tasks}}
    return {"harness": facts["environment"].get("fflm"), "model": model_identity(facts["model"]), "data": data}
