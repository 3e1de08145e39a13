"""The results of a sweep by series: the members that differ in their seeds only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fflm_data.arrays import Floats
from harness.training.curve import CURVE_FILE
from harness.training.sweep_member import read_member
from harness.training.sweep_table import READ_SETS, accuracies
from harness.training.sweep_units import cell_label, slug

# The sets of reads in words.
SETS = {
    "val": "val, FFL(0.8)",
    "val_sparse": "sparse, FFL(0.98)",
    "val_dense": "dense, FFL(0.1)",
    "piecewise": "piecewise",
    "piecewise_head": "head of piecewise",
    "piecewise_tail": "tail of piecewise",
}
CURVE_SETS = ("val", "val_sparse", "val_dense")
THRESHOLD = 0.8

Row = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """Members of one cell. rows: those of results.parquet, by seed."""

    group: str
    cell: str
    rows: list[Row]

    @property
    def label(self) -> str:
        """Group and values of the grid."""
        return cell_label(self.group, self.cell)

    @property
    def name(self) -> str:
        """For file names."""
        return slug(self.label)

    @property
    def size(self) -> str:
        """The number of seeds in words."""
        return "1 seed" if len(self.rows) == 1 else f"{len(self.rows)} seeds"

    @property
    def is_counting(self) -> bool:
        """Whether its models count."""
        return self.rows[0]["task"] is not None

    def has(self, set_name: str) -> bool:
        """Whether its members were evaluated on a set of reads."""
        return all(row[f"{set_name}_rate"] is not None for row in self.rows)

    def rates(self, set_name: str) -> Floats:
        """Error rates in percent, one per seed."""
        return np.array([100 * row[f"{set_name}_rate"] for row in self.rows])

    def curves(self, output: Path) -> list[pa.Table]:
        """The training curves, one per seed."""
        return [pq.read_table(output / row["folder"] / CURVE_FILE) for row in self.rows]


def all_series(table: pa.Table) -> list[Series]:
    """The series of results.parquet, in its order."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in table.to_pylist():
        cells.setdefault((row["group"], row["cell"]), []).append(row)
    return [Series(group, cell, rows) for (group, cell), rows in cells.items()]


def distances(series: Series, output: Path, set_name: str) -> dict[int, tuple[str, Floats]]:
    """Error rates in percent by distance from write to read: first distance of each octave, its name, one rate per seed
    that has such reads."""
    task, split, _ = READ_SETS[set_name]
    found: dict[int, tuple[str, list[float]]] = {}
    for row in series.rows:
        folder = output / row["folder"]
        for score in accuracies(folder / read_member(folder)["run"]):
            kind, _, gap = (score["group"] or "").partition("=")
            if (score["task"], score["split"], kind) == (task, split, "gap") and score["n"]:
                low = int(gap.partition("-")[0])
                found.setdefault(low, (gap, []))[1].append(100 * score["errors"] / score["n"])
    return {low: (found[low][0], np.array(found[low][1])) for low in sorted(found)}


@dataclass(frozen=True)
class Panel:
    """Counting models that differ in width, vocabulary and seed only. by_width: for each width the series, by
    vocabulary."""

    title: str
    by_width: dict[int, list[Series]]

    def threshold(self, width: int) -> int | None:
        """m_thr: the largest vocabulary before the median accuracy falls below 80%; None if it does not fall below, or
        is below for the smallest vocabulary."""
        before = None
        for series in self.by_width[width]:
            if np.median([row["accuracy"] for row in series.rows]) < THRESHOLD:
                return before
            before = series.rows[0]["vocabulary"]
        return None


def panels(series: Sequence[Series]) -> Iterator[Panel]:
    """The counting series by group and the values of its grid other than width and vocabulary."""
    found: dict[str, dict[int, list[Series]]] = {}
    for each in (one for one in series if one.is_counting):
        row = each.rows[0]
        others = [part for part in each.cell.split(", ") if part.split(" ")[0] not in ("", "width", "vocabulary")]
        others = [f"{int(part.split(' ')[1]):,} steps" if part.startswith("steps ") else part for part in others]
        found.setdefault(", ".join([each.group, *others]), {}).setdefault(row["width"], []).append(each)
    for title, by_width in found.items():
        for members in by_width.values():
            members.sort(key=lambda one: one.rows[0]["vocabulary"])
        yield Panel(title, dict(sorted(by_width.items())))
