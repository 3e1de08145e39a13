"""The table of a sweep, results.parquet: one row per finished member."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.training.curve import ACCURACY, CURVE_FILE, ERROR
from harness.training.recipe_parts import CountingData
from harness.training.sweep_member import COUNTING_FILE, PIECEWISE, is_finished, read_member
from harness.training.sweep_units import Member, Sweep, cell_words

TABLE_FILE = "results.parquet"
RESULT_FILE = "result.json"
# Sets of reads by task, split and group of reads.
READ_SETS = {
    "val": ("flipflop", "val", None),
    "val_sparse": ("flipflop", "val_sparse", None),
    "val_dense": ("flipflop", "val_dense", None),
    "piecewise": (PIECEWISE, "test", None),
    "piecewise_head": (PIECEWISE, "test", "head"),
    "piecewise_tail": (PIECEWISE, "test", "tail"),
}
NUMBERS = {"errors": pa.int64(), "reads": pa.int64(), "rate": pa.float64(), "low": pa.float64(), "high": pa.float64()}
SCHEMA = pa.schema(
    [
        ("group", pa.string()), ("cell", pa.string()), ("recipe", pa.string()), ("changes", pa.string()),
        ("seed", pa.int64()), ("digest", pa.string()), ("folder", pa.string()), ("parameters", pa.int64()),
        ("steps", pa.int64()), ("seconds", pa.float64()), ("cpu_seconds", pa.float64()), ("loss", pa.float64()),
        *((f"{name}_{number}", kind) for name in READ_SETS for number, kind in NUMBERS.items()),
        ("task", pa.string()), ("width", pa.int64()), ("vocabulary", pa.int64()), ("sequences", pa.int64()),
        (ACCURACY, pa.float64()), (ERROR, pa.float64()),
    ]
)  # fmt: skip


def write_table(sweep: Sweep, output: Path) -> pa.Table:
    """Writes results.parquet, one row per finished member in the order of the file, and returns it.

    cell: values of the grid, in words. changes: values that differ from the recipe's, as JSON. seconds, cpu_seconds: of
    the training over all its starts; of models trained side by side, the share of one. loss: the last one, in nats (for
    counting, squared counts). Then errors, reads, rate and its 95% interval, clustered by sequence, of each set of
    reads; for counting the task, width, vocabulary, number of sequences, accuracy and mean absolute error.
    """
    rows = [_row(member, output / member.folder) for member in sweep.members if is_finished(output, member)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    partial = output / f"{TABLE_FILE}.partial"
    pq.write_table(table, partial)
    partial.replace(output / TABLE_FILE)
    return table


def _row(member: Member, folder: Path) -> dict[str, Any]:
    facts, recipe = read_member(folder), member.recipe
    losses = pq.read_table(folder / CURVE_FILE, columns=["loss"])["loss"].drop_null()
    row: dict[str, Any] = {
        "group": member.group,
        "cell": cell_words(member.cell),
        "recipe": recipe.name,
        "changes": json.dumps(recipe.to_json()["changes"]),
        "seed": member.seed,
        "digest": recipe.digest(),
        "folder": str(member.folder),
        "parameters": facts["parameters"],
        "steps": recipe.schedule.steps,
        "seconds": facts["seconds"],
        "cpu_seconds": facts["cpu_seconds"],
        "loss": losses[-1].as_py() if len(losses) else None,
    }
    if isinstance(recipe.data, CountingData):
        sizes = {"task": recipe.data.task, "width": getattr(recipe.model, "width", None)}
        return row | sizes | {"vocabulary": recipe.data.vocabulary} | counting_numbers(folder)
    return row | (read_numbers(folder / facts["run"]) if facts["run"] else {})


def read_numbers(run: Path) -> dict[str, Any]:
    """Errors, reads, rate and interval of each set of a run, from its result.json."""
    scores = {(score["task"], score["split"], score["group"]): score for score in accuracies(run)}
    return {
        f"{name}_{number}": value
        for name, key in READ_SETS.items()
        if key in scores
        for number, value in _numbers(scores[key]).items()
    }


def accuracies(run: Path) -> Iterator[Mapping[str, Any]]:
    """The accuracies of all tasks, splits and groups of a run."""
    result = json.loads((run / RESULT_FILE).read_text(encoding="utf-8"))
    return (score for score in result["scores"] if score["metric"] == "accuracy")


def _numbers(score: Mapping[str, Any]) -> dict[str, Any]:
    rate = score["errors"] / score["n"] if score["n"] else None
    low, high = (None if value is None else 1 - value for value in (score["high"], score["low"]))
    return {"errors": score["errors"], "reads": score["n"], "rate": rate, "low": low, "high": high}


def counting_numbers(folder: Path) -> dict[str, Any]:
    """Accuracy and mean absolute error of the predicted counts, rounded to integers."""
    observed = pq.read_table(folder / COUNTING_FILE)
    count, predicted = observed["count"].to_numpy(), np.rint(observed["predicted"].to_numpy())
    return {
        "sequences": len(count),
        ACCURACY: float((predicted == count).mean()),
        ERROR: float(np.abs(predicted - count).mean()),
    }
