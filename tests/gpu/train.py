"""Part train: the 19M baseline of arXiv 2306.00946 at its full recipe, as many seeds as fit, with records.

First the time of a step in each precision, and the loss after the same steps: the seeds are trained in the fastest
precision whose loss is that of float32.
"""

import json
import tarfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

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
RECORDS = "train-records.tar"
PRECISIONS = {"float32": [], "tf32": ["--tf32"], "bf16": ["--bf16"]}
# The loss of a precision may exceed that of float32 by this share after the same steps.
TOLERANCE = 0.05
# Seconds in which the last seed must have ended.
BUDGET = 480
# For a CPU: a small model, short strings, few steps.
SMALL = ["data.length=32", "model.layers=1", "model.width=16", "model.heads=2", "schedule.steps=20",
         "schedule.warmup_steps=5", "schedule.zero_at=none"]  # fmt: skip


def check(part: Part) -> None:
    start = time.monotonic()
    for name in PRECISIONS:
        part.case(f"steps, {name}", partial(steps, name, 1, part))
    part.case("steps, 4 seeds side by side", partial(steps, fastest(part), 4, part))
    seed, longest = 0, 0.0
    while seed == 0 or (time.monotonic() - start + 1.2 * longest < BUDGET and seed < part.pick(100, 2)):
        before = time.monotonic()
        part.case(f"seed {seed}", partial(one_seed, seed, fastest(part), part))
        longest = max(longest, time.monotonic() - before)
        seed += 1


def changes(part: Part) -> list[str]:
    """Changes of the recipe: none at full size."""
    return part.pick([], SMALL)


def recipe_of(part: Part) -> Recipe:
    """The recipe of this size."""
    return get_recipe(RECIPE).changed(dict(change.split("=") for change in changes(part)))


def steps(precision: str, members: int, part: Part) -> Figures:
    """Milliseconds per step and the loss after some steps of plain training."""
    device = machine.device()
    if device.type != "cuda" and precision == "tf32":
        raise NotMeasuredError("TF32 needs a CUDA GPU")
    recipe = recipe_of(part)
    built = [build(recipe.with_next_seeds(number)) for number in range(members)]
    model: Any = Stack([each.model for each in built]) if members > 1 else built[0].model
    rows = StackedRows([each.rows for each in built]) if members > 1 else built[0].rows
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.optimizer.learning_rate, weight_decay=0.1)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    total, losses = part.pick(200, 10), []
    started = time.perf_counter()
    for step in range(total):
        if step == total // 4:  # kernels are loaded, clocks are up
            losses = [loss.item() for loss in losses]
            started = time.perf_counter()
        size = recipe.data.batch_size
        batch = collate([rows[index] for index in range(step * size, (step + 1) * size)])
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = model(**{name: value.to(device) for name, value in batch.items()})
        loss = output.losses.sum() if members > 1 else output.loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach() / members)
    last = [float(loss) for loss in losses[-total // 4 :]]
    milliseconds = (time.perf_counter() - started) / (total - total // 4) * 1e3
    torch.backends.cuda.matmul.allow_tf32 = False
    return {"ms/step": milliseconds, "ms/step and seed": milliseconds / members, "loss": sum(last) / len(last)}


def fastest(part: Part) -> str:
    """The fastest measured precision whose loss is that of float32."""
    measured = {name: part.figures[f"steps, {name}"] for name in PRECISIONS if f"steps, {name}" in part.figures}
    allowed = measured["float32"]["loss"] * (1 + TOLERANCE)
    right = {name: figures["ms/step"] for name, figures in measured.items() if figures["loss"] <= allowed}
    return min(right, key=lambda name: right[name])


def one_seed(seed: int, precision: str, part: Part) -> Figures:
    """Trains a seed, evaluates it on the three sets, adds its record."""
    folder = part.out / "runs" / f"{RECIPE}-seed-{seed}"
    settings = [*changes(part), *([f"data.seed={seed}", f"model.seed={seed}"] if seed else [])]
    words = [word for setting in settings for word in ("--set", setting)]
    start = time.perf_counter()
    harness("train", RECIPE, *words, *PRECISIONS[precision], "--output", folder)
    trained = time.perf_counter()
    short = part.pick([], ["--limit", 2])
    harness("eval", "--model", folder, "--task", "flipflop", *short, "--output", part.out / "runs" / "eval")
    evaluated = time.perf_counter()
    run = newest(part.out / "runs" / "eval")
    add_record(run.folder, part)
    result = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    errors = {line.split: f"{line.errors:,} / {line.n:,}" for line in headlines(result)}
    return {
        "precision": precision,
        "seconds of training": trained - start,
        "seconds of evaluation": evaluated - trained,
        **errors,
    }


def add_record(run: Path, part: Part) -> None:
    """Adds the record of a run to the archive of records."""
    checkout = part.scratch / "checkout"
    (checkout / "records").mkdir(parents=True, exist_ok=True)
    disclosure = "Trained on the train split of the generator by the GPU check of fflm."
    harness(
        "submit", run, "--to", checkout, "--contact", CONTACT, "--licence", "CC-BY-4.0", "--division",
        "trained on fflm", "--disclosure", disclosure,
    )  # fmt: skip
    with tarfile.open(part.out / RECORDS, "w") as archive:
        archive.add(checkout / "records", "records")
