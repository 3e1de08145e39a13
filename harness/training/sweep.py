"""Runs a sweep: its folder, the queue of units, the workers.

The folder holds sweep.json (title) and sweep.toml (a copy of the file), a folder per member, results.parquet, and the
logs of the workers. A finished member never runs again; a stopped sweep goes on with the same command.
"""

import json
import queue
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fflm_data.config import ParameterError
from harness.engine import threads
from harness.errors import UserError
from harness.evaluation import distributed
from harness.models.training_statement import RECIPE_FILE
from harness.runs.files import only_writer, require_writable, write_json
from harness.training.recipe import read_recipe
from harness.training.recipe_parts import ArchitectureModel
from harness.training.sweep_file import read_sweep
from harness.training.sweep_member import is_finished
from harness.training.sweep_progress import SweepProgress
from harness.training.sweep_table import write_table
from harness.training.sweep_units import Member, Sweep, Unit, breadth_first
from harness.training.sweep_workers import Worker, worker_environment

SCHEMA = "fflm-sweep/1"
SWEEP_FILE, COPY_FILE, LOGS = "sweep.json", "sweep.toml", "logs"


@dataclass(frozen=True)
class Failure:
    """A unit that could not be trained or evaluated."""

    unit: Unit
    reason: str


@dataclass(frozen=True)
class SweepResult:
    """A sweep after a start. table: results.parquet."""

    title: str
    table: Any
    failures: list[Failure]


def run_sweep(path: Path, output: Path, workers: int | None, execution: Mapping[str, Any]) -> SweepResult:
    """Trains and evaluates all members of a sweep file that are not finished.

    workers: number of processes; None: one per GPU, or one. execution: options of the training, as in
    `execution.Execution`. Raises UserError, before any training, for an invalid file or folder.
    """
    sweep = read_sweep(path)
    require_folder(output, sweep)
    left = [
        unit for unit in breadth_first(sweep.units) if not all(is_finished(output, member) for member in unit.members)
    ]
    _require_buildable(left)
    require_writable(output)
    with only_writer(output):
        write_json(output / SWEEP_FILE, {"schema": SCHEMA, "title": sweep.title})
        shutil.copyfile(path, output / COPY_FILE)
        failures = _run(sweep, left, output, workers, execution) if left else []
        return SweepResult(sweep.title, write_table(sweep, output), failures)


def require_folder(output: Path, sweep: Sweep) -> None:
    """Raises UserError if the folder holds anything else than this sweep, or a member whose recipe was another."""
    if not output.exists() or not any(output.iterdir()):
        return
    try:
        content = json.loads((output / SWEEP_FILE).read_text(encoding="utf-8"))
        title = content["title"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{output} is not empty and holds no sweep. Use another --output.") from None
    if title != sweep.title:
        raise UserError(f"{output} holds the sweep {title!r}, not {sweep.title!r}. Use another --output.")
    for member in sweep.members:
        _require_same_recipe(output, member)


def _require_same_recipe(output: Path, member: Member) -> None:
    path = output / member.folder / RECIPE_FILE
    if not path.exists():
        return
    try:
        other = read_recipe(path)
    except UserError as error:
        raise UserError(f"{error}. Use another --output, or remove its folder.") from None
    if not other.is_same(member.recipe):
        raise UserError(
            f"{member.label} was trained with another recipe ({member.recipe.difference_of(other)}). Rename the group, "
            f"use another --output, or remove {path.parent}."
        )


def _require_buildable(units: Sequence[Unit]) -> None:
    """Raises UserError for an architecture of transformers that cannot be built; the other models always can."""
    checked = set()
    for unit in units:
        recipe = unit.members[0].recipe
        if isinstance(recipe.model, ArchitectureModel) and recipe.digest() not in checked:
            from harness.training.build import build

            checked.add(recipe.digest())
            try:
                build(recipe)
            except (UserError, ParameterError) as error:
                raise UserError(f"{unit.label}: {error}") from None


def _run(
    sweep: Sweep, units: Sequence[Unit], output: Path, workers: int | None, execution: Mapping[str, Any]
) -> list[Failure]:
    """Runs units in workers, which take them in the given order."""
    gpus = distributed.devices()
    number = min(workers or max(1, gpus), len(units))
    environments = worker_environment(number, gpus, threads.cores())
    (output / LOGS).mkdir(exist_ok=True)
    settings = {"output": str(output), "execution": dict(execution)}
    waiting, failures = deque(units), []
    events: queue.Queue[tuple[Worker, dict[str, Any]]] = queue.Queue()
    done = sum(is_finished(output, member) for member in sweep.members)
    pool: list[Worker] = []
    try:
        with SweepProgress(sweep.title, len(sweep.members), done) as progress:
            for index, environment in enumerate(environments):
                pool.append(Worker(output / LOGS / f"worker-{index}.log", environment, settings, events))
                pool[-1].give(waiting.popleft())
            while any(worker.unit for worker in pool):
                progress.show([worker.status for worker in pool if worker.unit])
                try:
                    worker, event = events.get(timeout=0.5)
                except queue.Empty:
                    continue
                unit = worker.unit
                if not worker.take(event) or unit is None:
                    continue
                if reason := worker.failure(event):
                    failures.append(Failure(unit, reason))
                    progress.note(f"{unit.label} failed: {reason}")
                progress.finished(unit, [member for member in unit.members if is_finished(output, member)])
                write_table(sweep, output)
                if waiting:
                    worker.give(waiting.popleft())
    finally:
        for worker in pool:
            worker.stop()
    return failures
