"""Part train: the 19M baseline of arXiv 2306.00946 at its full recipe, as many seeds as fit, with records.

First the time of a step in each precision, and the loss after the same steps: the seeds are trained in the fastest
precision whose loss is that of float32, side by side if that takes less time per seed. Models are evaluated in
processes of their own, while the next ones are trained.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.models.float32 import set_tf32
from harness.scoring.headline_score import headlines
from harness.training.build import build
from harness.training.data import StackedRows, collate
from harness.training.recipe import Recipe
from harness.training.recipes import get_recipe
from harness.training.stack import Stack
from tests.gpu import machine
from tests.gpu.results import Figures, NotMeasuredError, Part
from tests.gpu.smollm2 import CONTACT, harness, newest

RECIPE = "flipflop-transformer"
COUNTING = "query-count"
# One archive per seed, since some machines return only small files.
RECORDS = "train-record-*.tar"
COMPILED = "bf16, compiled"
PRECISIONS = {"float32": [], "tf32": ["--tf32"], "bf16": ["--bf16"], COMPILED: ["--bf16", "--compile"]}
# The loss of a precision may exceed that of float32 by this share after the same steps.
TOLERANCE = 0.05
# Seconds in which the last training must have ended.
BUDGET = 430
# Seeds trained side by side, and models evaluated at once.
TOGETHER = 4
# For a CPU: a small model, short strings, few steps.
SMALL = ["data.length=32", "model.layers=1", "model.width=16", "model.heads=2", "schedule.steps=20",
         "schedule.warmup_steps=5", "schedule.zero_at=none"]  # fmt: skip


def check(part: Part) -> None:
    start = time.monotonic()
    recipe = get_recipe(RECIPE).changed(dict(change.split("=") for change in changes(part)))
    for name in PRECISIONS:
        part.case(f"steps, {name}", partial(steps, recipe, name, 1, part))
    part.case(f"steps, {TOGETHER} seeds side by side", partial(steps, recipe, fastest(part), TOGETHER, part))
    counting = get_recipe(COUNTING).changed({"model.width": 16, "data.vocabulary": 16})
    for members in (1, 8, 25):
        part.case(f"{COUNTING}, seeds side by side: {members}", partial(steps, counting, "float32", members, part))
    number = seeds_together(recipe, part)
    evaluations: dict[int, Future[float]] = {}
    with ThreadPoolExecutor(TOGETHER) as pool:
        longest = 0.0
        while not evaluations or (
            time.monotonic() - start + 1.1 * longest < BUDGET and len(evaluations) < part.pick(100, TOGETHER)
        ):
            before, seeds = time.monotonic(), range(len(evaluations), len(evaluations) + number)
            case = f"training, seeds {seeds[0]} to {seeds[-1]}"
            part.case(case, partial(trained, seeds, fastest(part), part))
            if case in part.failures:
                break
            longest = max(longest, time.monotonic() - before)
            evaluations |= {seed: pool.submit(evaluate, seed, part) for seed in seeds}
        for seed, evaluation in evaluations.items():
            part.case(f"seed {seed}", partial(recorded, seed, evaluation, part))


def changes(part: Part) -> list[str]:
    """Changes of the recipe: none at full size."""
    return part.pick([], SMALL)


def steps(recipe: Recipe, precision: str, members: int, part: Part) -> Figures:
    """Milliseconds per step and the loss after some steps of plain training."""
    device = machine.device()
    if device.type != "cuda" and precision in {"tf32", COMPILED}:
        raise NotMeasuredError("it needs a CUDA GPU")
    built = [build(recipe.with_next_seeds(number)) for number in range(members)]
    model: Any = Stack([each.model for each in built]) if members > 1 else built[0].model
    rows = StackedRows([each.rows for each in built]) if members > 1 else built[0].rows
    model.to(device).train()
    model = torch.compile(model) if precision == COMPILED else model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.optimizer.learning_rate, fused=device.type == "cuda" or None
    )
    set_tf32(precision == "tf32")
    total, losses = part.pick(200, 10), []
    size = recipe.data.batch_size
    batches = [
        collate([rows[index] for index in range(step * size, (step + 1) * size)]) for step in range(total)
    ]  # drawn before: in a training, another process draws them
    started = time.perf_counter()
    for step, batch in enumerate(batches):
        if step == total // 4:  # kernels are loaded, clocks are up
            losses = [loss.item() for loss in losses]
            started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision.startswith("bf16")):
            output = model(**{name: value.to(device) for name, value in batch.items()})
        loss = output.losses.sum() if members > 1 else output.loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach() / members)
    last = [float(loss) for loss in losses[-total // 4 :]]
    milliseconds = (time.perf_counter() - started) / (total - total // 4) * 1e3
    return {"ms/step": milliseconds, "ms/step and seed": milliseconds / members, "loss": sum(last) / len(last)}


def fastest(part: Part) -> str:
    """The fastest measured precision whose loss is that of float32."""
    measured = {name: part.figures[f"steps, {name}"] for name in PRECISIONS if f"steps, {name}" in part.figures}
    allowed = measured["float32"]["loss"] * (1 + TOLERANCE)
    right = {name: figures["ms/step"] for name, figures in measured.items() if figures["loss"] <= allowed}
    return min(right, key=lambda name: right[name])


def seeds_together(recipe: Recipe, part: Part) -> int:
    """How many seeds are trained side by side: several if that takes less time per seed, and they fit."""
    stacked = part.figures.get(f"steps, {TOGETHER} seeds side by side")
    alone = part.figures[f"steps, {fastest(part)}"]
    if stacked is None or stacked["ms/step"] * recipe.schedule.steps / 1e3 > BUDGET:
        return 1
    return TOGETHER if stacked["ms/step and seed"] < 0.9 * alone["ms/step"] else 1


def model_folder(seed: int, part: Part) -> Path:
    """The folder of a trained model, whose name is that of the record."""
    return part.out / "runs" / f"{RECIPE}-seed-{seed}"


def trained(seeds: Sequence[int], precision: str, part: Part) -> Figures:
    """Trains seeds, side by side if there are several."""
    settings = [*changes(part), *([f"data.seed={seeds[0]}", f"model.seed={seeds[0]}"] if seeds[0] else [])]
    words: list[object] = [RECIPE, *PRECISIONS[precision]]
    words += [word for setting in settings for word in ("--set", setting)]
    together = part.out / "runs" / f"{RECIPE}-{seeds[0]}-to-{seeds[-1]}"
    words += (
        ["--output", model_folder(seeds[0], part)] if len(seeds) == 1 else ["--seeds", len(seeds), "--output", together]
    )
    start = time.perf_counter()
    harness("train", *words)
    seconds = time.perf_counter() - start
    if len(seeds) > 1:
        for seed in seeds:
            shutil.copytree(together / f"seed-{seed}", model_folder(seed, part), dirs_exist_ok=True)
    return {"precision": precision, "seconds": seconds, "seconds per seed": seconds / len(seeds)}


def evaluate(seed: int, part: Part) -> float:
    """Evaluates a model on the three sets in a process of its own; returns the seconds it took."""
    words = ["--model", model_folder(seed, part), "--task", "flipflop", *part.pick([], ["--limit", 2])]
    command = [sys.executable, "-m", "harness", "eval", *words, "--output", evaluation_folder(seed, part)]
    start = time.perf_counter()
    done = subprocess.run(
        [*map(str, command)], env=machine.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"harness eval failed: {done.stdout[-400:]}"
    return time.perf_counter() - start


def evaluation_folder(seed: int, part: Part) -> Path:
    """The folder of the runs of a model."""
    return part.out / "runs" / "evaluations" / f"seed-{seed}"


def recorded(seed: int, evaluation: "Future[float]", part: Part) -> Figures:
    """Waits for the evaluation of a seed; its errors, and an archive of its record."""
    seconds = evaluation.result()
    run = newest(evaluation_folder(seed, part))
    checkout = part.scratch / f"checkout-{seed}"
    (checkout / "records").mkdir(parents=True)
    disclosure = "Trained on the train split of the generator by the GPU check of fflm."
    harness(
        "submit", run.folder, "--to", checkout, "--contact", CONTACT, "--licence", "CC-BY-4.0", "--division",
        "trained on fflm", "--disclosure", disclosure,
    )  # fmt: skip
    with tarfile.open(part.out / RECORDS.replace("*", str(seed)), "w") as archive:
        archive.add(checkout / "records", "records")
    result = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    errors = {line.split: f"{line.errors:,} / {line.n:,}" for line in headlines(result)}
    return {"seconds of evaluation": seconds, **errors}
