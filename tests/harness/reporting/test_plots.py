"""Plots: required content, and nothing from hostile labels."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from harness.reporting import bar_plots, grid_plots, line_plots, style
from harness.reporting.plot_types import Answers, Curve, Grid, Plot
from harness.reporting.sections import sections
from harness.reporting.sections.base import GradedRun
from harness.scoring.grading import grade
from tests.harness.reporting.test_page import HOSTILE, made_up_run

SVG = "{http://www.w3.org/2000/svg}"
DRAWN = {"svg", "title", "desc", "style", "rect", "g", "path", "text", "defs", "use", "clipPath", "pattern"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[list[Plot]]:
    """The plots of one run, and of two runs, one with a hostile name."""
    runs = [made_up_run(tmp_path_factory.mktemp("made") / "run", seed=seed) for seed in (1, 2)]
    runs = [
        GradedRun(label, run, {(job.task.name, job.split): grade(run, job) for job in run.jobs()})
        for label, run in zip(("org/a-model", HOSTILE), runs, strict=True)
    ]
    return [[plot for part in sections(chosen) for plot in part.plots] for chosen in (runs[:1], runs)]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_series_colours_have_contrast(dark: bool) -> None:
    page, *others = (
        (colour.dark if dark else colour.light) for colour in (style.PAGE, style.INK, style.SOFT, *style.SERIES)
    )
    for colour, least in zip(others, (4.5, 4.5, *[4.5] * len(style.SERIES)), strict=True):
        first, second = sorted((luminance(colour), luminance(page)))
        assert (second + 0.05) / (first + 0.05) >= least, colour
    assert len({colour.light for colour in style.COLOURS}) == len(style.COLOURS)
    assert len(style.SERIES) == len(style.MARKERS) == len(style.DASHES) == len(set(style.MARKERS))


def test_plots_are_complete(pages: list[list[Plot]]) -> None:
    """Title, description, axis labels, data; no script, no external request."""
    for plot in (plot for page in pages for plot in page):
        for text in (plot.svg, plot.inline):
            root = ElementTree.fromstring(text)
            assert root.get("role") == "img" and root[0].tag == f"{SVG}title" and root[0].text == plot.title
            assert root[1].tag == f"{SVG}desc" and (root[1].text or "").startswith(plot.title)
            labels = {element.get("class"): "".join(element.itertext()).strip() for element in root.iter(f"{SVG}g")}
            assert labels["x-label"] and labels["y-label"], plot.name
            assert {element.tag.removeprefix(SVG) for element in root.iter()} <= DRAWN
            assert not any(key.startswith("on") for element in root.iter() for key in element.attrib)
            values = [value for element in root.iter() for value in element.attrib.values()]
            own = {element.get("id") for element in root.iter()}
            assert {name for value in values for name in re.findall(r"url\((.+?)\)", value)} <= {
                f"#{one}" for one in own
            }
            references = [value for element in root.iter() for key, value in element.attrib.items() if "href" in key]
            assert all(value.startswith("#") and value[1:] in own for value in references)
        assert "var(--" in plot.inline and "var(--" not in plot.svg and style.INK.light not in plot.inline
        assert plot.rows and all(len(row) == len(plot.header) for row in plot.rows)


def test_no_two_plots_of_a_page_share_an_id(pages: list[list[Plot]]) -> None:
    for page in pages:
        ids = [one.get("id") for plot in page for one in ElementTree.fromstring(plot.inline).iter() if one.get("id")]
        assert len(ids) == len(set(ids)) and len({plot.name for plot in page}) == len(page)
        assert all(re.fullmatch(r"[a-z0-9-_]+", plot.name) for plot in page)


def test_several_runs_are_series_of_the_same_plots(pages: list[list[Plot]]) -> None:
    one, two = pages
    assert {"org/a-model", HOSTILE} == {row[1] for plot in two for row in plot.rows}
    assert {"val", "val_sparse", "val_dense"} == {row[1] for row in one[0].rows}
    for split in ("val", "val_sparse", "val_dense"):
        (alone,) = (plot for plot in two if plot.name == f"flipflop-distance-{split}")
        mine = [row[2:] for row in alone.rows if row[1] == "org/a-model"]
        assert mine == [row[2:] for row in one[0].rows if row[1] == split]


def made_up_curve(label: str, value: list[float], n: int = 1000) -> Curve:
    values = np.array(value)
    return Curve(label, 2.0 ** np.arange(len(value)), tuple(map(str, range(len(value)))), values, values * 0.5,
                 values * 2 + 0.004, np.full(len(value), n), baseline=np.full(len(value), 0.5))  # fmt: skip


def test_drawing_is_deterministic_and_changes_no_setting() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    mpl.rcParams["font.size"] = 31  # what a user has set has no say
    try:
        first, second = (
            line_plots.error_rate_plot("x", HOSTILE, [made_up_curve(HOSTILE, [0, 0.1])], x_label="x") for _ in range(2)
        )
        assert mpl.rcParams["font.size"] == 31
    finally:
        mpl.rcParams["font.size"] = before["font.size"]
    third = line_plots.error_rate_plot("x", HOSTILE, [made_up_curve(HOSTILE, [0, 0.1])], x_label="x")
    assert first == second == third and dict(mpl.rcParams) == before
    assert "<script" not in first.svg and ElementTree.fromstring(first.svg)[0].text == HOSTILE.replace("\x01", "\ufffd")


def test_rates_are_on_a_logarithmic_axis() -> None:
    plot = line_plots.error_rate_plot("x", "t", [made_up_curve("a", [0.001, 0.01, 0.1])], x_label="x", log_x=True)
    paths = [
        e.get("d", "")
        for e in ElementTree.fromstring(plot.svg).iter(f"{SVG}path")
        if "stroke: #1f6fb2" in e.get("style", "")
    ]
    points = [[tuple(map(float, pair)) for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)] for path in paths]
    (line,) = (found for found in points if len(found) == 3 and found[0][1] > found[1][1])
    first, second = (line[0][1] - line[1][1], line[1][1] - line[2][1])
    assert first == pytest.approx(second, abs=0.01) and first > 10
    assert plot.rows[0][:6] == ("0", "a", "0.10", "0.05 to 0.60", "\N{EN DASH}", "1,000")


def test_points_without_errors_are_open_markers() -> None:
    some = line_plots.error_rate_plot("x", "t", [made_up_curve("a", [0.001, 0.01])], x_label="x")
    none = line_plots.error_rate_plot("x", "t", [made_up_curve("a", [0.0, 0.0])], x_label="x")
    assert "open marker: no error" in none.svg and "open marker: no error" not in some.svg
    hollow = f"fill: {style.PAGE.light}; stroke: {style.SERIES[0].light}"
    assert hollow in none.svg and none.svg.count("<use") > 2


def test_zero_errors_are_below_other_rates() -> None:
    """Whatever the width of its interval: few reads give a high upper bound without errors."""
    perfect = replace(made_up_curve("perfect", [0.0, 0.0]), high=np.array([0.9, 0.8]))
    plot = line_plots.error_rate_plot("x", "t", [perfect, made_up_curve("b", [0.0001, 0.01])], x_label="x")
    root = ElementTree.fromstring(plot.svg)
    curves = {
        colour: [float(use.get("y", "nan")) for use in root.iter(f"{SVG}use") if colour in use.get("style", "")]
        for colour in (style.SERIES[0].light, style.SERIES[1].light)
    }
    perfect_ones, others = (points[:-1] for points in curves.values())  # the last of each is that of the legend
    assert len(perfect_ones) == len(others) == 2 and min(perfect_ones) > max(others)  # pixels from the upper edge
    assert "0" in ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_long_and_unusual_labels() -> None:
    for label in ("o" * 300, "日本語" * 30, "$x_1^2$", "_hidden", "&<>\"'", "\u202e\x00"):
        plot = line_plots.error_rate_plot("x", "t", [made_up_curve(label, [0.1, 0.2])], x_label="x")
        texts = ["".join(text.itertext()) for text in ElementTree.fromstring(plot.svg).iter(f"{SVG}text")]
        (legend,) = (text for text in texts if "n = 2,000" in text)
        assert len(legend) < 60 and (len(label) > 20 or "\x00" in label or legend == f"{label}, n = 2,000")


def test_grids_show_answers_without_number() -> None:
    answers = Answers(
        [1, 2, 2, 3, 3], [1, 2, None, None, 50], ["answered", "answered", "refused", "cut_off", "answered"]
    )
    plot = grid_plots.predicted_against_target("x", "t", answers, x_label="true count")
    assert set(plot.rows) == {
        ("1", "1", "1"),
        ("2", "2", "1"),
        ("2", "refused", "1"),
        ("3", "cut off", "1"),
        ("3", "off the scale", "1"),
    }
    assert "refused 20%" in plot.svg and "off the scale 20%" in plot.svg
    grid = Grid(("0", "1"), ("5",), np.array([[0.25], [0.0]]), np.array([[4], [0]]))
    assert grid_plots.heat_map("y", "t", grid, x_label="x", y_label="y", what="right").rows == [("0", "5", "25", "4")]


def test_bars_mark_the_right_answer() -> None:
    plot = bar_plots.answer_bars("x", "t", ["2", "3", "refused"], [5, 0, 1], 1, numbers=2)
    assert plot.rows == [("2", "5", ""), ("3", "0", "yes"), ("refused", "1", "")]
