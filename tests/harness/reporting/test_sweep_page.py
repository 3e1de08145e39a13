"""Figures and page of a sweep, from made-up results: every run is drawn, at its place, on one page."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from harness.reporting import sweep_summary
from harness.reporting.log_axis import ErrorAxis, spread
from harness.reporting.sweep_data import Panel, Series, all_series, distances, panels
from harness.reporting.sweep_page import write_sweep_report
from harness.training.sweep_table import write_table
from tests.harness.reporting.test_page_in_a_browser import MEASURE, OVERLAPS, opened
from tests.support.sweeps import made_up_sweep

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>owned()</script> {{ 7 * 7 }}"
FILE = f"""
title = {HOSTILE!r}
[[group]]
name = "Transformer"
recipe = "flipflop-small"
seeds = 4
[[group]]
name = "LSTM"
recipe = "flipflop-lstm"
seeds = 3
[[group]]
name = "Positions"
recipe = "flipflop-small"
seeds = 2
grid = {{"model.positions" = ["sinusoidal", "rope"]}}
[[group]]
name = "Counting <b>"
recipe = "query-count"
seeds = 2
grid = {{"schedule.steps" = [1000, 20000], "model.width" = [8, 16], "data.vocabulary" = [4, 8, 10, 11, 12, 13, 64]}}
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def table(output: Path) -> pa.Table:
    file = output / "sweep.toml"
    file.write_text(FILE, encoding="utf-8")
    sweep = made_up_sweep(file, output)
    table = write_table(sweep, output)
    write_sweep_report(sweep.title, output, table, ["Llama, seed 0 failed: the loss is not finite"])
    return table


def points(output: Path, name: str) -> list[tuple[float, float]]:
    """The markers of a figure as x, y, those of the legend first."""
    root = ElementTree.parse(output / "figures" / f"{name}.svg").getroot()
    return [(float(use.attrib["x"]), float(use.attrib["y"])) for use in root.iter(f"{SVG}use")]


def test_one_point_per_run(output: Path, table: pa.Table) -> None:
    legend, runs = 4, 4 + 3 + 2 * 2
    assert len(points(output, "sparse-dense")) == legend + runs
    for name in ("strips-val", "strips-val-sparse", "strips-val-dense"):
        assert len(points(output, name)) == runs
    for steps in ("1-000", "20-000"):
        assert len(points(output, f"accuracy-counting-b-{steps}-steps")) == 2 + 2 * 7 * 2
    assert len(points(output, "errors-transformer")) == 3 * 4 * 10  # sets, seeds, evaluations
    octaves = 6 + 9 + 4
    assert len(points(output, "distance-transformer")) == 3 + octaves


def test_points_are_at_their_rates(output: Path, table: pa.Table) -> None:
    """Sparse rates of one group: the distance of two points is that of their logarithms; runs without errors are left
    of all others."""
    drawn = points(output, "strips-val-sparse")
    rows = [row for row in table.to_pylist() if row["val_sparse_rate"] is not None]
    rates = [row["val_sparse_rate"] for row in rows]
    positive = [(np.log10(rate), x) for rate, (x, _) in zip(rates, drawn, strict=True) if rate > 0]
    slope, start = np.polyfit(*zip(*positive, strict=True), 1)
    np.testing.assert_allclose([x for _, x in positive], [slope * log + start for log, _ in positive], atol=0.01)
    zeros = [x for rate, (x, _) in zip(rates, drawn, strict=True) if rate == 0]
    assert len(zeros) == 3 and max(zeros) < min(x for _, x in positive) - 10
    lines = {row["group"]: round(y) for row, (_, y) in zip(rows, drawn, strict=True)}
    assert lines["Transformer"] < lines["LSTM"] < lines["Positions"]


def test_figures_are_those_of_the_sweep(output: Path, table: pa.Table) -> None:
    names = {path.stem for path in (output / "figures").iterdir()}
    assert {"loss-transformer", "loss-lstm", "loss-positions-rope", "distance-positions-sinusoidal"} <= names
    assert not {name for name in names if "piecewise" in name or name == "distance-lstm"}
    assert len([name for name in names if name.startswith("loss-counting")]) == 2 * 2
    for path in (output / "figures").iterdir():
        root = ElementTree.parse(path).getroot()
        title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
        assert title is not None and title.text and description is not None and description.text


def test_only_counting(output: Path, table: pa.Table, tmp_path: Path) -> None:
    """A sweep without flip-flop models has no figures of them, and an old figure is removed."""
    counting = table.filter(pa.array([task is not None for task in table["task"].to_pylist()])).slice(0, 4)
    for row in counting.to_pylist():
        folder = tmp_path / row["folder"]
        folder.mkdir(parents=True)
        (folder / "curve.parquet").write_bytes((output / row["folder"] / "curve.parquet").read_bytes())
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "sparse-dense.svg").write_text("<svg/>")
    page = write_sweep_report("Counting", tmp_path, counting)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {
        "accuracy-counting-b-1-000-steps", "loss-counting-b-steps-1000-width-8-vocabulary-4"
    }  # fmt: skip
    assert "Errors of all runs" not in page.read_text(encoding="utf-8")


def test_page_is_self_contained_and_escapes(output: Path, table: pa.Table) -> None:
    text = (output / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;owned()" in text and "{{ 7 * 7 }}" in text
    assert "Counting &lt;b&gt;" in text and "<b>" not in text
    assert not re.findall(r"""(?:src|href)=["'](?!#)[^"']*""", text)
    assert "the loss is not finite" in text and text.count("<figure>") == len(list((output / "figures").iterdir()))
    files = [output / "report.html", *(output / "figures").iterdir()]
    before = [path.read_bytes() for path in files]
    write_sweep_report(HOSTILE, output, table, ["Llama, seed 0 failed: the loss is not finite"])
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_in_browser(browser: Any, output: Path, table: pa.Table, width: int, scheme: str) -> None:
    page, problems = opened(browser, output / "report.html", width, scheme)
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
    page.set_viewport_size({"width": width, "height": page.evaluate(f"{root}.scrollHeight")})
    texts = page.evaluate(MEASURE)
    figures = [one for one in texts if one["svg"]]
    assert len(figures) > 300
    assert [one for one in texts if one["contrast"] < 4.5] == []
    assert [one for one in figures if one["size"] < 10.5] == []
    assert [one for one in figures if one["right"] > 0] == []
    assert page.evaluate(OVERLAPS) == []
    assert problems == []
    page.context.close()


def test_tables_in_the_terminal(table: pa.Table, capsys: pytest.CaptureFixture[str]) -> None:
    sweep_summary.show(all_series(table))
    text = capsys.readouterr().out
    (lstm,) = re.findall(r"flipflop-lstm.*val, FFL.*\n(.*sparse.*)", text)
    assert "3 of 3" in lstm and f"0 / {3 * 35_000:,}" in lstm
    rows = [row for row in table.to_pylist() if row["group"] == "Transformer"]
    rates = sorted(100 * row["val_sparse_rate"] for row in rows)
    (line,) = re.findall(r"flipflop-small.*val, FFL.*\n(.*sparse.*)", text)
    for value in (rates[0], (rates[1] + rates[2]) / 2, rates[-1]):
        assert f" {value:.2f} " in line
    assert len(re.findall("steps 20000, width 16, vocabulary 64", text)) == 1


def test_distances_are_those_of_result_json(output: Path, table: pa.Table) -> None:
    series = all_series(table)[0]
    found = distances(series, output, "val_dense")
    assert [(low, name) for low, (name, _) in found.items()] == [(1, "1"), (2, "2-3"), (4, "4-7"), (8, "8-15")]
    assert all(len(rates) == 4 for _, rates in found.values())
    for seed, row in enumerate(series.rows):  # the rate of the last octave is 3/4 of the rate of the set
        assert found[8][1][seed] == pytest.approx(75 * row["val_dense_rate"], abs=0.01)


def counting(accuracies: dict[int, list[float]]) -> Panel:
    rows = {m: [{"group": "c", "vocabulary": m, "accuracy": value} for value in values]
            for m, values in accuracies.items()}  # fmt: skip
    return Panel("c", {8: [Series("c", str(m), members) for m, members in rows.items()]})


@pytest.mark.parametrize(
    ("accuracies", "threshold"),
    [
        ({4: [1, 1, 1], 8: [0.9, 0.8, 0.1], 16: [0.9, 0.7, 0.1]}, 8),
        ({4: [1], 8: [0.79], 16: [0.95]}, 4),  # before it falls below for the first time
        ({4: [0.5], 8: [0.9]}, None),
        ({4: [1], 8: [0.8]}, None),  # it never falls below
        ({4: [0.9, 0.6], 8: [0.1, 0.1]}, None),
        ({4: [0.95, 0.7], 8: [0.1, 0.1]}, 4),
    ],
)
def test_threshold(accuracies: dict[int, list[float]], threshold: int | None) -> None:
    assert counting(accuracies).threshold(8) == threshold


def test_panels_divide_by_what_is_neither_width_nor_vocabulary(table: pa.Table) -> None:
    found = list(panels(all_series(table)))
    assert [panel.title for panel in found] == ["Counting <b>, 1,000 steps", "Counting <b>, 20,000 steps"]
    for panel in found:
        assert [*panel.by_width] == [8, 16]
        sizes = [[one.rows[0]["vocabulary"] for one in members] for members in panel.by_width.values()]
        assert sizes == [[4, 8, 10, 11, 12, 13, 64]] * 2


@pytest.mark.parametrize(
    ("values", "floor", "has_zero"),
    [
        ([0.5, 20], 0.1, False),
        ([0.0, 0.0], 10, True),
        ([0.0, 0.003], 0.001, True),
        ([100], 10, False),
        ([0.1], 0.1, False),
    ],
)
def test_axis_of_errors(values: list[float], floor: float, has_zero: bool) -> None:
    axis = ErrorAxis(np.array(values, dtype=float))
    assert axis.floor == pytest.approx(floor) and (axis.zero is not None) == has_zero
    placed = axis.place(np.array(values, dtype=float))
    assert all(place == value for place, value in zip(placed, values, strict=True) if value > 0)
    assert all(place < axis.floor for place, value in zip(placed, values, strict=True) if value == 0)


def test_equal_points_are_spread() -> None:
    places = np.array(spread(25))
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert apart[~np.eye(25, dtype=bool)].min() > 3 and np.abs(places).max() < 20
    assert spread(1) == [(0.0, 0.0)]
