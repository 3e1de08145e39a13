"""The training curve as a table: loss and learning rate at log lines, errors at evaluations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.evaluation.glitch_rates import SETS

CURVE_FILE = "curve.parquet"
ERRORS, READS, ACCURACY, ERROR = "errors", "reads", "accuracy", "mean_absolute_error"
# Columns of the curve with the names under which Trainer logs them.
_LOGGED = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    **{f"{name}_{part}": f"{name}/{part}" for name in SETS for part in (ERRORS, READS)},
    ACCURACY: ACCURACY,
    ERROR: ERROR,
}


def curve_of(history: Sequence[Mapping[str, Any]], member: int | None) -> pa.Table:
    """The curve of a model from Trainer's log history: one row per step with a log line, null where nothing is logged.

    member: index of the model in a stack. Columns: step int64, loss (mean since the previous row with a loss, in nats)
    and learning_rate float64, then errors and reads of each set, int64, or accuracy and mean_absolute_error, float64.
    """
    rows: dict[int, dict[str, Any]] = {}
    for logs in history:
        row = rows.setdefault(int(logs["step"]), {"step": int(logs["step"])})
        for column, name in _LOGGED.items():
            value = _of_member(logs, name, member)
            if value is not None:
                row[column] = value
    used = [column for column in _LOGGED if any(column in row for row in rows.values())]
    types = {column: pa.int64() if column.endswith((ERRORS, READS)) else pa.float64() for column in used}
    schema = pa.schema([("step", pa.int64()), *types.items()])
    return pa.Table.from_pylist([rows[step] for step in sorted(rows)], schema=schema)


def _of_member(logs: Mapping[str, Any], name: str, member: int | None) -> Any:
    if member is None or name == "learning_rate":
        return logs.get(name)
    return logs.get(f"loss/{member}" if name == "loss" else f"{member}/{name}")


def read_curve(folder: Path) -> pa.Table:
    """The curve of a trained model."""
    import pyarrow.parquet as pq

    return pq.read_table(folder / CURVE_FILE)


def last_numbers(curve: pa.Table) -> dict[str, Any]:
    """The latest value of every column that has one, by the name under which it was logged."""
    numbers = {}
    for name in curve.column_names:
        values = curve[name].drop_null()
        if len(values):
            numbers[_LOGGED.get(name, name)] = values[-1].as_py()
    return numbers
