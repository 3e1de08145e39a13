"""The members of a sweep: their training and evaluation, and what their folders record.

A member's folder holds its trained model, the runs of its evaluation, and member.json, which is written after the
training and again, with the evaluation, after that.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.runs.files import write_json
from harness.training.recipe_parts import CountingData, FlipFlopData
from harness.training.sweep_units import Evaluation, Member, Unit

MEMBER_FILE, COUNTING_FILE = "member.json", "counting.parquet"
SAVED_EVERY = 5.0
PIECEWISE = "flipflop-piecewise"


def is_finished(output: Path, member: Member) -> bool:
    """Whether a member is trained and evaluated."""
    facts = read_member(output / member.folder)
    return bool(facts) and facts["evaluation"] == evaluation_to_json(member.evaluation)


def read_member(folder: Path) -> dict[str, Any]:
    """member.json: parameters, seconds, cpu_seconds, evaluation and run, both None before the evaluation. Empty if the
    training has not finished."""
    with suppress(OSError, ValueError):
        facts = json.loads((folder / MEMBER_FILE).read_text(encoding="utf-8"))
        if isinstance(facts, dict):
            return facts
    return {}


def evaluation_to_json(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON."""
    return {**asdict(evaluation), "tasks": list(evaluation.tasks)}


def run_unit(unit: Unit, output: Path, execution: Any, report: Callable[[str, int], object]) -> None:
    """Trains and evaluates the members that are not finished. report: called with the phase and the step.

    Raises UserError or ParameterError if a member cannot be trained or evaluated.
    """
    root = output / (unit.members[0].folder.parent if unit.side_by_side else unit.members[0].folder)
    times = root.with_name(f"{root.name}.time.json")
    root.mkdir(parents=True, exist_ok=True)
    execution = replace(execution, progress=_reporting(report))
    for members in _stacks(unit, output, times):
        _train(members, output, root, times, execution)
    for member in unit.members:
        if not is_finished(output, member):
            report("evaluation", 0)
            _evaluate(output / member.folder, member)


def _reporting(report: Callable[[str, int], object]) -> Any:
    """A callback that reports every step."""
    from transformers import TrainerCallback

    class Reporting(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            report("training", state.global_step)

    return Reporting()


def _stacks(unit: Unit, output: Path, times: Path) -> Iterator[list[Member]]:
    """The members to train, in the stacks in which they are trained. A stopped stack goes on as it was; the members
    that were added to the file since are another stack."""
    left = {member.seed: member for member in unit.members if not read_member(output / member.folder)}
    stopped = _read(times).get("seeds", [])
    if stopped and set(stopped) <= {member.seed for member in unit.members}:
        yield [member for member in unit.members if member.seed in stopped]
        left = {seed: member for seed, member in left.items() if seed not in stopped}
    if left:
        yield [*left.values()]


def _train(members: Sequence[Member], output: Path, root: Path, times: Path, execution: Any) -> None:
    """Trains members side by side, or one, and writes their member.json."""
    from harness.training.train import train

    recipes = [member.recipe for member in members]
    folders = [output / member.folder for member in members]
    with _timed(times, [member.seed for member in members]) as spent:
        train(recipes, root if len(members) > 1 else folders[0], execution)
    shares = {name: value / len(members) for name, value in spent.items()}
    for folder in folders:
        if not read_member(folder):
            facts = {"parameters": parameters(folder), **shares, "evaluation": None, "run": None}
            write_json(folder / MEMBER_FILE, facts)
    times.unlink()


@contextmanager
def _timed(times: Path, seeds: Sequence[int]) -> Iterator[dict[str, float]]:
    """Measures seconds and CPU seconds over all starts of a training; they are saved every few seconds."""
    before = _read(times)
    if before.get("seeds") != [*seeds]:
        before = {}
    start, cpu_start = time.monotonic(), time.process_time()
    spent: dict[str, float] = {}
    ended = threading.Event()

    def save() -> None:
        spent["seconds"] = before.get("seconds", 0.0) + time.monotonic() - start
        spent["cpu_seconds"] = before.get("cpu_seconds", 0.0) + time.process_time() - cpu_start
        write_json(times, {"seeds": [*seeds], **spent})

    def save_often() -> None:
        while not ended.wait(SAVED_EVERY):
            save()

    save()
    thread = threading.Thread(target=save_often, daemon=True)
    thread.start()
    try:
        yield spent
    finally:
        ended.set()
        thread.join()
        save()


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _evaluate(folder: Path, member: Member) -> None:
    """Evaluates a trained member and completes its member.json."""
    run: str | None
    if isinstance(member.recipe.data, CountingData):
        run = _evaluate_counting(folder, member.recipe.data, member.evaluation.limit)
    else:
        run = _evaluate_reads(folder, member.recipe.data, member.evaluation)
    facts = read_member(folder) | {"evaluation": evaluation_to_json(member.evaluation), "run": run}
    write_json(folder / MEMBER_FILE, facts)


def _evaluate_reads(folder: Path, data: FlipFlopData, evaluation: Evaluation) -> str | None:
    """Evaluates a language model with `harness.evaluate`; returns the run folder, relative to the member's."""
    if not evaluation.tasks:
        return None
    import harness

    run = harness.evaluate(
        str(folder), tasks=list(evaluation.tasks), limit=evaluation.limit, output=folder / "runs",
        parameters=data_parameters(data, evaluation.tasks),
    )  # fmt: skip
    return run.folder.relative_to(folder).as_posix()


def data_parameters(data: FlipFlopData, tasks: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The parameters of the tasks' data that differ from their defaults: the strings are like those of the training."""
    changed = {name: value for name, value in (("length", data.length), ("symbols", data.symbols))
               if value != getattr(FlipFlopData(), name)}  # fmt: skip
    tail = {"tail": data.length // 4 * 2} if "length" in changed else {}
    return {task: {**changed, **(tail if task == PIECEWISE else {})} for task in tasks} if changed else {}


def _evaluate_counting(folder: Path, data: CountingData, limit: int) -> str:
    """Writes the predicted counts of the first rows of the split test, and returns the name of the file."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoModelForSequenceClassification

    from fflm_data.counting_ids import sample_counting
    from harness.evaluation.distributed import World
    from harness.models.classes import register
    from harness.training.validation import predicted_counts

    register()
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).to(World().device).eval()
    ids, counts = sample_counting(data.task, data.vocabulary, data.expected_count, range(limit), split="test")
    columns = {"row": np.arange(limit), "count": counts, "predicted": predicted_counts(model, ids)}
    partial = folder / f"{COUNTING_FILE}.partial"
    pq.write_table(pa.table(columns), partial)
    partial.replace(folder / COUNTING_FILE)
    return COUNTING_FILE


def parameters(folder: Path) -> int:
    """Number of parameters of a trained model, tied ones counted once."""
    import math

    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="np") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
