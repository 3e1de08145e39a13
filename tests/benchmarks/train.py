"""Training by a recipe compared with the same steps on a fixed batch: forward, backward, optimizer.

    python -m tests.benchmarks.train [--turns 3] [--steps 30] [--seeds [RECIPE ...]]

Training draws fresh rows, logs, and shows progress; evaluations and checkpoints, which depend on their number, are not
counted. Both sides alternate; times are CPU seconds of one thread, and the fastest turn of each counts. The goal is a
ratio of 1.15 for a model of 1M parameters and 1.4 for one of 100,000. `--seeds`: times per seed for 1, 8 and 25
seeds side by side.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import TrainerCallback

from harness.console import quiet_libraries
from harness.training.allocator import keep_freed_memory
from harness.training.build import build
from harness.training.data import StackedRows, collate
from harness.training.execution import Execution, training_arguments
from harness.training.recipe import Recipe
from harness.training.recipes import get_recipe
from harness.training.stack import Stack
from harness.training.trainer import RecipeTrainer
from tests.benchmarks.measuring import short, show

WARM_UP = 5
SIZES = {
    "flipflop-small, 100,416 parameters": {},
    "flipflop-small of width 128, 6 layers, 1.2M parameters": {"model.width": 128, "model.layers": 6},
}
CELLS = {"query-count": {"model.width": 16, "data.vocabulary": 16}, "flipflop-small": {}, "flipflop-lstm": {}}


class Clock(TrainerCallback):
    """CPU time at the end of the warm-up and of the training."""

    def __init__(self) -> None:
        self.start = self.end = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step == WARM_UP:
            self.start = time.process_time()
        self.end = time.process_time()


def by_recipe(recipe: Recipe) -> float:
    """CPU seconds per step of a training."""
    built = build(recipe)
    clock = Clock()
    with TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        arguments = training_arguments(recipe, Path(folder), Execution(), 1, True)
        arguments.save_strategy = "no"
        trainer = RecipeTrainer(recipe, built.model, built.rows, arguments, evaluate_model=dict, evaluations=0)
        trainer.add_callback(clock)
        trainer.train()
    return (clock.end - clock.start) / (recipe.schedule.steps - WARM_UP)


def on_a_fixed_batch(recipe: Recipe, members: int = 1) -> float:
    """CPU seconds per step of the plain loop; members: models side by side."""
    built = [build(recipe.with_next_seeds(number)) for number in range(members)]
    model: Any = Stack([each.model for each in built]).train() if members > 1 else built[0].model
    rows = StackedRows([each.rows for each in built]) if members > 1 else built[0].rows
    batch = collate([rows[index] for index in range(recipe.data.batch_size)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    start = 0.0
    for step in range(recipe.schedule.steps):
        if step == WARM_UP:
            start = time.process_time()
        output = model(**batch)
        loss = output.losses.sum() if members > 1 else output.loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return (time.process_time() - start) / (recipe.schedule.steps - WARM_UP)


def fastest(turns: int, *sides: Callable[[], float]) -> list[float]:
    """The fastest turn of each side; the sides alternate."""
    times = [[side() for side in sides] for _ in range(turns)]
    return [min(column) for column in zip(*times, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seeds", nargs="*", choices=CELLS, metavar="RECIPE", help=f"default: {', '.join(CELLS)}")
    given = parser.parse_args()
    quiet_libraries()
    keep_freed_memory()
    torch.set_num_threads(1)
    schedule = {"schedule.steps": given.steps, "schedule.warmup_steps": 1, "schedule.zero_at": None}
    if given.seeds is not None:
        head = ("recipe", "alone, ms per step", "8 seeds, ms per step and seed", "25 seeds, ms per step and seed")
        show("Seeds side by side", "", head, (seeds_line(name, schedule, given.turns) for name in given.seeds or CELLS))
        return
    head = ("model", "by recipe, ms per step", "on a fixed batch, ms per step", "ratio")
    show("Training", "", head, (ratio_line(name, schedule, given.turns) for name in SIZES))


def ratio_line(name: str, schedule: dict[str, Any], turns: int) -> list[str]:
    recipe = get_recipe("flipflop-small").changed(SIZES[name] | schedule)
    ours, bare = fastest(turns, lambda: by_recipe(recipe), lambda: on_a_fixed_batch(recipe))
    return [name, short(ours * 1e3), short(bare * 1e3), f"**{ours / bare:.2f}**"]


def seeds_line(name: str, schedule: dict[str, Any], turns: int) -> list[str]:
    recipe = get_recipe(name).changed(CELLS[name] | schedule)
    sides = [partial(on_a_fixed_batch, recipe, members) for members in (1, 8, 25)]
    alone, *together = fastest(turns, *sides)
    each = [seconds / members for seconds, members in zip(together, (8, 25), strict=True)]
    return [
        name,
        short(alone * 1e3),
        *(f"{short(seconds * 1e3)} ({alone / seconds:.2f} times faster)" for seconds in each),
    ]


if __name__ == "__main__":
    main()
