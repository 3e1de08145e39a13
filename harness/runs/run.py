"""A run folder: run.json (request and environment), observations/ with checksums, result.json (scores).

    runs/<org>--<model>/<run id>/

The run id is a hash of everything that determines the model's outputs. The same command therefore finds its folder
again and resumes with the missing rows. Finished rows are in shards/ until all is scored.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.models import name_suggestions
from harness.models.training_statement import fault_of
from harness.prompts.jobs import Job
from harness.runs.files import CHECKSUMS, checksum_name, read_checksums, record_checksum, sha256, write_json
from harness.runs.recorded_jobs import invalid_run_json, recorded_jobs

RUN_SCHEMA = "fflm-run/1"
# Placeholder for unknown facts of a model whose outputs are external; also the value of `outputs` in run.json.
EXTERNAL = "supplied"
MODEL_FORMS = {"id": r"[\w.-]+(/[\w.-]+)?", "revision": r"[0-9a-f]{40}", "dtype": r"\w+"}


@dataclass(frozen=True)
class Run:
    """A run folder and the content of its run.json."""

    folder: Path
    facts: dict[str, Any]

    def table(self, job: Job) -> Path:
        """Path of the observation table of a job."""
        return self.folder / "observations" / f"{job.name}.parquet"

    @property
    def external(self) -> bool:
        """Whether its outputs are external, so that they cannot be replayed."""
        return self.facts.get("outputs") == EXTERNAL

    @property
    def shards(self) -> Path:
        """Folder of the processes' shards."""
        return self.folder / "shards"

    def jobs(self) -> list[Job]:
        """The jobs, rebuilt from run.json. Raises UserError if this version cannot regenerate their rows."""
        return recorded_jobs(self.folder, self.facts)

    def seal(self, job: Job) -> None:
        """Records the checksum of a finished table, so that a change of one bit is found."""
        record_checksum(self.folder, self.table(job))

    def require_table(self, job: Job) -> Path:
        """Path of the observation table of a job. Raises UserError if the table is missing, or if it has changed since
        its checksum was recorded (runs of earlier versions have no checksums)."""
        path = self.table(job)
        if not path.exists():
            raise UserError(
                f"{self.folder} has no observations of {job.name} yet. Resume the run with its command: "
                f"{self.facts.get('command')}"
            )
        recorded = read_checksums(self.folder).get(checksum_name(path))
        if recorded is not None and sha256(path) != recorded:
            raise UserError(
                f"{path} has changed since it was written ({self.folder / CHECKSUMS} has another checksum). Delete it "
                f"and resume the run with its command: {self.facts.get('command')}"
            )
        return path


def tasks_of_older_versions(run: Run) -> frozenset[str]:
    """The tasks that an older version evaluated: result.json may hold scores of its parsing rules."""
    return frozenset(job.task.name for job in run.jobs() if job.recorded_version is not None)


def open_run(folder: Path, facts: dict[str, Any]) -> Run:
    """Opens the run of a locked folder. Writes run.json if there is none; an existing one is kept."""
    if not (folder / "run.json").exists():
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        run_json = {"schema": RUN_SCHEMA, "id": folder.name, "created": created, **facts, "starts": []}
        write_json(folder / "run.json", run_json)
    return read_run(folder)


def record_start(run: Run, start: dict[str, Any]) -> int:
    """Adds a start of processes to run.json; returns its number, which no earlier start has."""
    starts = run.facts.setdefault("starts", [])
    taken = [int(path.name.split("-")[0]) for path in run.shards.glob("[0-9]*-*.shard")]
    starts.append({"at": datetime.now(timezone.utc).isoformat(timespec="seconds"), **start})
    write_json(run.folder / "run.json", run.facts)
    return max([len(starts) - 1, *(number + 1 for number in taken)])


def require_shared_folder(folder: Path, start: int) -> None:
    """Raises UserError on a machine that does not see the folder of rank 0."""
    if not (folder / "shards").is_dir():
        raise UserError(
            f"this machine does not see the run folder {folder} of rank 0 (start {start}). Use a folder that all "
            "machines share with --output."
        )


def read_run(folder: Path) -> Run:
    """The run in a folder. Raises UserError if there is none."""
    if not name_suggestions.is_run(folder):
        raise name_suggestions.no_run(folder)
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{folder}/run.json cannot be read ({error}). Restore it, or delete the folder and run harness eval again."
        ) from None
    schema = facts.get("schema") if isinstance(facts, dict) else None
    if schema != RUN_SCHEMA:
        raise UserError(
            f"{folder}/run.json has schema {schema!r}, not {RUN_SCHEMA!r}. Use a run folder of harness eval."
        )
    if fault := _fault(facts):
        raise invalid_run_json(folder, fault)
    return Run(folder, facts)


def _fault(facts: dict[str, Any]) -> str:
    """The first invalid key among those that are used in paths and pages; "" if all are valid."""
    kinds = {"created": str, "command": str, "model": dict, "data": dict, "environment": dict}
    for key, kind in kinds.items():
        if not isinstance(facts.get(key), kind):
            return key
    if not isinstance(facts.get("starts", []), list):
        return "starts"
    model = facts["model"]
    for key, pattern in MODEL_FORMS.items():
        if not isinstance(model.get(key), str) or not re.fullmatch(pattern, model[key], re.ASCII) or ".." in model[key]:
            return f"model.{key}"
    if type(model.get("parameters")) is not int or model["parameters"] < 0:
        return "model.parameters"
    if "training" in model and fault_of(model["training"]):
        return "model.training"
    return "" if isinstance(facts["environment"].get("device"), str) else "environment.device"
