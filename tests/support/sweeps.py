"""Folders of finished sweeps with made-up results, as `harness train --sweep` would leave them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.training.recipe_parts import CountingData
from harness.training.sweep_file import read_sweep
from harness.training.sweep_member import evaluation_to_json
from harness.training.sweep_units import Member, Sweep

GAPS = {"val": 6, "val_sparse": 9, "val_dense": 4}
READS = {"val": 26_508, "val_sparse": 35_000, "val_dense": 115_000}


def made_up_sweep(file: Path, output: Path, seed: int = 0) -> Sweep:
    """Writes the members of a sweep file with random results; recurrent models and the first seeds have no errors."""
    sweep = read_sweep(file)
    for number, member in enumerate(sweep.members):
        folder = output / member.folder
        folder.mkdir(parents=True)
        rng = np.random.default_rng([seed, number])
        run = "counting.parquet" if isinstance(member.recipe.data, CountingData) else "runs/one"
        if run == "runs/one":
            _reads(folder / run, member, rng)
        else:
            _counts(folder / run, member, rng)
        _curve(folder / "curve.parquet", member, rng)
        facts = {"parameters": 100_416, "seconds": 700.0, "cpu_seconds": 650.0 + number, "run": run}
        (folder / "member.json").write_text(json.dumps(facts | {"evaluation": evaluation_to_json(member.evaluation)}))
    return sweep


def _reads(run: Path, member: Member, rng: Any) -> None:
    run.mkdir(parents=True)
    perfect = member.recipe.model.kind == "recurrent"
    rates = {"val": 0.0, "val_sparse": 10 ** rng.uniform(-4, -0.5), "val_dense": 10 ** rng.uniform(-5, -1)}
    rates |= {"val_dense": 0.0} if member.seed % 3 == 0 else {}
    scores = []
    for name, reads in READS.items():
        groups = {None: (reads, rates[name])}
        for octave in range(GAPS[name]):
            low = 2**octave
            gap = f"gap={low}" if low == 1 else f"gap={low}-{2 * low - 1}"
            groups[gap] = (reads // GAPS[name], min(0.5, rates[name] * octave / 4))
        for group, (n, rate) in groups.items():
            errors = 0 if perfect else round(n * rate)
            value = 1 - errors / n
            scores.append(
                {"task": "flipflop", "split": name, "metric": "accuracy", "group": group, "value": value,
                 "low": value - 1e-4, "high": min(1.0, value + 1e-4), "n": n, "errors": errors}
            )  # fmt: skip
    (run / "result.json").write_text(json.dumps({"scores": scores}))


def _counts(path: Path, member: Member, rng: Any) -> None:
    data, width = member.recipe.data, member.recipe.model.width
    count = rng.poisson(10, 1_000)
    noise = 0.2 * data.vocabulary / width * (1 + 0.3 * rng.random())
    predicted = (count + rng.normal(0, noise, 1_000)).astype(np.float32)
    pq.write_table(pa.table({"row": np.arange(1_000), "count": count, "predicted": predicted}), path)


def _curve(path: Path, member: Member, rng: Any) -> None:
    steps = np.arange(10, 2_001, 10)
    loss = np.exp(-steps / rng.uniform(150, 400)) * 0.7 + 10 ** rng.uniform(-6, -3)
    columns: dict[str, Any] = {"step": steps, "loss": loss * rng.uniform(0.8, 1.2, len(steps))}
    if not isinstance(member.recipe.data, CountingData):
        for name in READS:
            rates = 0.5 * np.exp(-steps / rng.uniform(150, 400))
            evaluated = [bool(step % 200 == 0) for step in steps]
            counts = [int(rate * 5_000) if on else None for rate, on in zip(rates, evaluated, strict=True)]
            columns |= {f"{name}_errors": counts, f"{name}_reads": [5_000 if on else None for on in evaluated]}
    pq.write_table(pa.table(columns), path)
