"""The jobs of a run in run.json: written as facts, rebuilt from them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fflm_data import GENERATOR_VERSION, ParameterError, get_config
from harness.errors import OtherVersion, UserError
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.tasks import CompletionTask, get_task


def data_facts(jobs: Sequence[Job]) -> dict[str, Any]:
    """`data` of run.json: enough to regenerate every row."""
    tasks: dict[str, Any] = {}
    for job in jobs:
        task = tasks.setdefault(
            job.task.name,
            {
                "version": job.version,
                "config": job.config.name,
                "parameters": job.config.parameters(),
                "fingerprint": job.config.fingerprint(),
                "splits": {},
            },
        )
        if isinstance(job.task, CompletionTask):
            task["prompting"] = job.prompting.facts()
        task["splits"][job.split] = {"rows": job.rows, "of": job.config.rows(job.split)}
    return {"generator": GENERATOR_VERSION, "tasks": tasks}


def recorded_jobs(folder: Path, facts: dict[str, Any]) -> list[Job]:
    """The jobs of run.json, `facts`, in `folder`. Raises UserError if this version cannot regenerate their rows."""
    try:
        generator = facts["data"]["generator"]
        if generator != GENERATOR_VERSION:
            raise OtherVersion(
                f"{folder} was made with generator version {generator}, and this is version {GENERATOR_VERSION}. "
                "Install the version of fflm that is recorded in run.json.",
                f"version {generator} of the data, this is {GENERATOR_VERSION}",
            )
        jobs = [job for name, task in facts["data"]["tasks"].items() for job in _task_jobs(folder, name, task)]
        if len({job.task.name for job in jobs}) < len(facts["data"]["tasks"]) or not jobs:
            raise invalid_run_json(folder, "a task without rows, or no task")
        return jobs
    except (KeyError, TypeError, AttributeError, ParameterError) as error:
        raise invalid_run_json(folder, error) from None


def _task_jobs(folder: Path, name: str, recorded: dict[str, Any]) -> Iterator[Job]:
    """The jobs of one task, one per split."""
    task = get_task(name)
    if not task.has_same_prompts(recorded["version"]):
        raise OtherVersion(
            f"{folder} has version {recorded['version']} of task {name}, and this is version {task.version}. "
            "Run harness eval again.",
            f"version {recorded['version']} of task {name}, this is version {task.version}",
        )
    if "text" in recorded.get("rendering", {}):
        task = task.rendered(recorded["rendering"]["text"])
    config = get_config(task.config, **recorded["parameters"])
    prompting = Prompting(**recorded.get("prompting", {}))
    for split, size in recorded["splits"].items():
        rows = size["rows"]
        if split not in task.splits or type(rows) is not int or not 1 <= rows <= config.rows(split):
            raise invalid_run_json(folder, f"{rows!r} rows of {name}.{split}")
        if size["of"] != config.rows(split) or recorded["fingerprint"] != config.fingerprint():
            raise invalid_run_json(folder, f"the size or the fingerprint of {name}.{split}")
        older = recorded["version"] if recorded["version"] != task.version else None
        yield Job(task, config, split, rows, prompting, older)


def invalid_run_json(folder: Path, reason: object) -> UserError:
    """The error for a run.json whose content is not valid."""
    return UserError(f"{folder}/run.json is invalid ({reason!r}). Delete the folder and run harness eval again.")
