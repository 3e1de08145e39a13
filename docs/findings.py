"""Updates the tables and figures of findings.md from the folder of the sweep:

    harness train --sweep docs/findings.toml --output findings
    python docs/findings.py findings

Without a folder it writes the tables again from findings/results.parquet.
"""

import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fflm_data.number_formats import NO_VALUE, percent
from harness.reporting.sweep_data import Series, all_series, panels
from harness.reporting.sweep_plots import quartet
from harness.training.sweep_table import TABLE_FILE

HERE = Path(__file__).parent
PAGE, RESULTS = HERE / "findings.md", HERE / "findings" / TABLE_FILE
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
FIGURE = re.compile(r"\(findings/([\w.-]+\.svg)\)")
TAILS = {"val_sparse": "sparse", "val_dense": "dense"}


@dataclass(frozen=True)
class Finding:
    """A finding of arXiv 2306.00946 or of a run by others, and the models here that it is about. sets: sets of reads to
    show."""

    claim: str
    models: tuple[str, ...]
    sets: tuple[str, ...] = ("val", *TAILS)


MIXTURES = ("Mixture", "Mixture, 9,000 steps")
POSITIONS = ("Learned positions", "Positions, sinusoidal", "Positions, rope", "No positions")
FINDINGS = (
    Finding(
        "R1. Transformers (19M) make no errors in distribution, and many, irregularly, out of it. One run by "
        "others: sparse 5.99, dense 1.57",
        ("Transformer",),
    ),
    Finding("R2. LSTMs (133K) make no errors in 100 of 100 runs", ("LSTM",)),
    Finding(
        "R4. Training on an equal mixture of all three distributions removes most errors. Three runs by others: 0 on "
        "all sets",
        MIXTURES,
    ),
    Finding(
        "The same three runs: 1.4 to 2.7 on piecewise strings",
        MIXTURES,
        ("piecewise", "piecewise_head", "piecewise_tail"),
    ),
    Finding("R5. Size helps far less than R4", ("Larger Transformer",)),
    Finding("R6. Embedding dropout of 0.5 reduces sparse errors about a hundredfold", ("Embedding dropout",)),
    Finding("R6. So does attention sharpening", ("Sharpening",)),
    Finding("R6. Positions that are not trained reduce dense errors", (*POSITIONS, "Transformer")),
    Finding("Further architectures", ("GRU", "Llama", "Mamba-2")),
)


def page(text: str, table: pa.Table) -> str:
    """The text of the page with its tables written again. table: results.parquet of the sweep."""
    series = all_series(table)
    reading = [one for one in series if one.has("val")]
    tables = {
        "findings": _findings({one.label: one for one in reading}),
        "flipflop": _flipflop(reading),
        "piecewise": _piecewise([one for one in reading if one.has("piecewise")]),
        "counting": _counting(series),
        "sizes": _sizes(series),
    }
    return TABLE.sub(lambda found: f"{found[1]}\n{_markdown(tables[found[2]])}\n{found[3]}", text)


def _findings(series: Mapping[str, Series]) -> Iterator[Sequence[str]]:
    yield "paper", "models here", "errors here, % of reads: median (minimum to maximum)"
    for finding in FINDINGS:
        claim = finding.claim
        for label in (label for label in finding.models if label in series):
            one = series[label]
            rates = "; ".join(f"{_short(name)} {_spread(one, name)}" for name in finding.sets)
            yield claim, f"{label}, {one.size}", rates
            claim = ""


def _short(name: str) -> str:
    return name.removeprefix("val_").removeprefix("piecewise_")


def _flipflop(series: Sequence[Series]) -> Iterator[Sequence[str]]:
    yield ("models", "parameters", "seeds", "val: errors / reads", *(f"{name}: wrong %" for name in TAILS.values()),
           "seeds without errors: val, sparse, dense")  # fmt: skip
    for one in series:
        right = (sum(row[f"{name}_errors"] == 0 for row in one.rows) for name in ("val", *TAILS))
        yield (one.label, f"{one.rows[0]['parameters']:,}", f"{len(one.rows)}", _errors(one, "val"),
               *(_spread(one, name) for name in TAILS), ", ".join(map(str, right)))  # fmt: skip


def _piecewise(series: Sequence[Series]) -> Iterator[Sequence[str]]:
    yield "models", "seeds", "errors / reads", "wrong %", "dense head: wrong %", "sparse tail: wrong %"
    for one in series:
        spreads = (_spread(one, name) for name in ("piecewise", "piecewise_head", "piecewise_tail"))
        yield one.label, f"{len(one.rows)}", _errors(one, "piecewise"), *spreads


def _counting(series: Sequence[Series]) -> Iterator[Sequence[str]]:
    found = list(panels(series))
    sizes = sorted({row["vocabulary"] for panel in found for each in panel.by_width.values() for one in each
                    for row in one.rows})  # fmt: skip
    yield "models", "width", "seeds", *(f"m = {size}" for size in sizes), "m_thr"
    for panel in found:
        for width, members in panel.by_width.items():
            cells = {one.rows[0]["vocabulary"]: one for one in members}
            threshold = panel.threshold(width)
            yield (panel.title, f"{width}", f"{max(len(one.rows) for one in members)}",
                   *(_accuracy(cells[size]) if size in cells else NO_VALUE for size in sizes),
                   NO_VALUE if threshold is None else f"{threshold}")  # fmt: skip


def _sizes(series: Sequence[Series]) -> Iterator[Sequence[str]]:
    yield "models", "seeds", "steps", "CPU minutes per seed, training"
    for one in (each for each in series if not each.is_counting):
        _, minutes, _ = quartet([row["cpu_seconds"] / 60 for row in one.rows])
        yield one.label, f"{len(one.rows)}", f"{one.rows[0]['steps']:,}", f"{minutes:.1f}"


def _errors(series: Series, name: str) -> str:
    errors, reads = (sum(row[f"{name}_{part}"] for row in series.rows) for part in ("errors", "reads"))
    return f"{errors:,} / {reads:,}"


def _spread(series: Series, name: str) -> str:
    """Median, then minimum and maximum over the seeds."""
    low, median, high = (percent(value / 100) for value in quartet(series.rates(name)))
    return median if low == high else f"{median} ({low} to {high})"


def _accuracy(series: Series) -> str:
    low, median, high = (f"{100 * value:.0f}" for value in quartet([row["accuracy"] for row in series.rows]))
    return f"{median}% ({low} to {high})"


def _markdown(rows: Iterator[Sequence[str]]) -> str:
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    """Copies results and figures of a sweep, if its folder is given, and rewrites the tables."""
    text = PAGE.read_text(encoding="utf-8")
    if sys.argv[1:]:
        sweep = Path(sys.argv[1])
        shutil.copyfile(sweep / TABLE_FILE, RESULTS)
        for name in FIGURE.findall(text):
            shutil.copyfile(sweep / "figures" / name, RESULTS.parent / name)
    PAGE.write_text(page(text, pq.read_table(RESULTS)), encoding="utf-8")


if __name__ == "__main__":
    main()
