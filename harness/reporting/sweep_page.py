"""The page of a sweep, report.html, a single file, and its figures as SVG in `figures`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from harness.reporting.counting_plots import accuracy_plot
from harness.reporting.page import template, write_page
from harness.reporting.sections.base import Section
from harness.reporting.style import page_css
from harness.reporting.sweep_curves import counting_curves, distance_plot, error_curves, loss_curves
from harness.reporting.sweep_data import SETS, Series, all_series, panels
from harness.reporting.sweep_plots import sparse_against_dense, strips
from harness.reporting.sweep_summary import group_tables

FIGURES, PAGE = "figures", "report.html"


def write_sweep_report(title: str, output: Path, table: pa.Table, failures: Sequence[str] = ()) -> Path:
    """Writes report.html and figures/*.svg; returns the page. table: results.parquet. failures: a sentence each."""
    series = all_series(table)
    sections = [section for section in _sections(series, output) if section.plots]
    text = template("sweep.html").render(
        css=page_css(), title=title, members=table.num_rows, groups=list(group_tables(series)), failures=failures,
        sections=sections,
    )  # fmt: skip
    return write_page(output, PAGE, text, sections, FIGURES)


def _sections(series: Sequence[Series], output: Path) -> Iterator[Section]:
    reading = [one for one in series if not one.is_counting]
    found = list(panels(series))
    yield Section(
        "Errors of all runs",
        "Wrong reads of flip-flop strings: the two tails against each other, then each set by group.",
        [plot for plot in (sparse_against_dense(reading), *(strips(reading, name) for name in SETS)) if plot],
    )
    yield Section("Counting", "Accuracy of the predicted counts, rounded to integers.", [*map(accuracy_plot, found)])
    plots = [distance_plot(one, output) for one in reading]
    without = [one.label for one, plot in zip(reading, plots, strict=True) if plot is None]
    yield Section(
        "Errors by distance",
        "Distance is the number of instructions from the write to the read, in octaves."
        + (f" Without any error: {'; '.join(without)}." if without else ""),
        [plot for plot in plots if plot],
    )
    losses = [
        loss_curves(f"loss-{one.name}", f"Loss: {one.label}", [(one.label, one.curves(output))], "nats")
        for one in reading
    ]
    losses += [counting_curves(panel, width, output) for panel in found for width in panel.by_width]
    yield Section("Loss", "The loss of every seed, the mean between two points.", losses)
    yield Section(
        "Errors in training",
        "Wrong reads among the first rows of each set.",
        [plot for plot in (error_curves(one, output) for one in reading) if plot],
    )
