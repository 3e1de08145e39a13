"""Plots over two quantities: heat maps of shares, and predicted against true numbers."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from fflm_data.number_formats import significant
from harness.reporting import style
from harness.reporting.canvas import LABEL, MARGIN, WIDTH, Sheet, fit, fitted, plain, sheet, text_width, to_svg
from harness.reporting.plot_types import Answers, Grid, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL_HEIGHT = 38.0
STRIP_HEIGHT = 22.0
BOTTOM = 46.0
MAIN_HEIGHT = 215.0
# Labels of answers without a number on the scale.
KINDS = {"unparsed": "no single number", "refused": "refused", "cut_off": "cut off", "larger": "off the scale"}


def heat_map(name: str, title: str, grid: Grid, *, x_label: str, y_label: str, what: str, note: str = "") -> Plot:
    """Shares as shaded cells, each with its percentage and n; cells without rows are hatched."""
    subtitle = f"{what} in %, and n below; hatched: no rows"
    with sheet(name, title, subtitle, BOTTOM + 24 + CELL_HEIGHT * len(grid.rows)) as page:
        axes = page.axes(BOTTOM, x_label, y_label)
        axes.set_xlim(0, len(grid.columns))
        axes.set_ylim(len(grid.rows), 0)
        axes.set_xticks(np.arange(len(grid.columns)) + 0.5, grid.columns)
        axes.set_yticks(np.arange(len(grid.rows)) + 0.5, grid.rows)
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        for row, column in np.ndindex(grid.n.shape):
            _cell(axes, column, row, float(grid.value[row, column]), int(grid.n[row, column]))
        fit(axes)
        total = int(grid.n.sum())
        svg, inline = to_svg(page, f"{title}: {what} in percent by {y_label} and {x_label}, n = {total:,}.")
    header = (y_label, x_label, f"{what}, %", "n")
    rows = [
        (grid.rows[i], grid.columns[j], significant(100 * float(grid.value[i, j])), f"{int(grid.n[i, j]):,}")
        for i, j in np.ndindex(grid.n.shape)
        if grid.n[i, j]
    ]
    return Plot(name, title, note, svg, inline, header, rows)


def _cell(axes: "Axes", x: int, y: int, value: float, n: int) -> None:
    from matplotlib.patches import Rectangle

    cell = {"xy": (x + 0.02, y + 0.03), "width": 0.96, "height": 0.94, "linewidth": 0}
    if not n:
        axes.add_patch(
            Rectangle(**cell, facecolor="none", edgecolor=style.GRID.light, hatch="////")  # type: ignore[arg-type]
        )
        return
    axes.add_patch(Rectangle(**cell, facecolor=style.GRID.light, alpha=0.45))  # type: ignore[arg-type]
    opacity = style.DEEPEST_CELL * value
    axes.add_patch(Rectangle(**cell, facecolor=style.SERIES[0].light, alpha=opacity))  # type: ignore[arg-type]
    middle = {"ha": "center", "va": "center", "color": style.INK.light, "fontsize": LABEL}
    axes.text(x + 0.5, y + 0.32, f"{100 * value:.0f}", weight="bold", **middle)  # type: ignore[arg-type]
    axes.text(x + 0.5, y + 0.72, f"{n:,}", **middle)  # type: ignore[arg-type]


def predicted_against_target(name: str, title: str, answers: Answers, *, x_label: str, note: str = "") -> Plot:
    """Circles at (true, predicted) whose area is the number of answers; right answers are on the diagonal.

    The scale ends at 1.5 times the largest target. Numbers beyond it and outputs without a single number are in
    separate strips below.
    """
    target = np.array(answers.target)
    top = max(3 * int(target.max()) // 2, 6)
    counts: Counter[tuple[int, str | int]] = Counter()
    for true, number, kind in zip(answers.target, answers.predicted, answers.kind, strict=True):
        inside = number is not None and 0 <= number <= top
        key: str | int = (number or 0) if inside else "larger" if number is not None else kind
        counts[true, key] += 1
    strips = [kind for kind in KINDS if any(key == kind for _, key in counts)]
    most = max(counts.values())
    subtitle = f"area: number of answers, up to {most:,}; n = {len(target):,}\nblue, on the line: right"
    below = BOTTOM + STRIP_HEIGHT * len(strips) + (6 if strips else 0)
    with sheet(name, title, subtitle, below + MAIN_HEIGHT) as page:
        axes = page.axes(below, "", "predicted number")
        strip = page.figure.add_axes((0, BOTTOM / page.height, (WIDTH - MARGIN - 6) / WIDTH, 0.1)) if strips else axes
        _set_scale(axes, target, top)
        strip.set_xlabel(x_label, color=style.SOFT.light, fontsize=LABEL, labelpad=5, loc="right", gid="x-label")
        axes.plot([0, top], [0, top], color=style.AXIS.light, linewidth=1.2, zorder=1)
        if strips:
            _strips(page, strip=strip, axes=axes, strips=strips, counts=counts, n=len(target))
        widest = min(0.8 * (WIDTH - 90) / max(len(set(answers.target)), 1), 26)
        for (true, key), count in sorted(counts.items(), key=lambda item: -item[1]):
            size = max(widest * np.sqrt(count / most), 2.6)
            colour = style.SERIES[0] if key == true else style.SERIES[1] if isinstance(key, int) else style.SOFT
            where, y = (axes, key) if isinstance(key, int) else (strip, strips.index(key))
            face = {"color": colour.light, "alpha": 0.75, "markeredgewidth": 0, "zorder": 3}
            where.plot([true], [y], marker="o", markersize=size, clip_on=False, **face)  # type: ignore[arg-type]
        fit(*([axes, strip] if strips else [axes]))
        right = sum(count for (true, key), count in counts.items() if key == true)
        svg, inline = to_svg(
            page, f"{title}: predicted number against {x_label}; {right:,} of {len(target):,} answers are right."
        )
    header = (x_label, "predicted", "answers")
    order = sorted(counts, key=lambda key: (key[0], isinstance(key[1], str), str(key[1]).rjust(9)))
    rows = [(f"{true:,}", KINDS[key] if isinstance(key, str) else f"{key:,}", f"{counts[true, key]:,}")
            for true, key in order]  # fmt: skip
    return Plot(name, title, note, svg, inline, header, rows)


def _set_scale(axes: "Axes", target: "np.typing.NDArray[np.int64]", top: int) -> None:
    from matplotlib.ticker import MaxNLocator

    pad = 0.08 * top
    axes.set_ylim(-pad, top + pad)
    low, high = int(target.min()), int(target.max())
    side = max(0.05 * (high - low), 0.5)
    axes.set_xlim(low - side, high + side)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _strips(
    page: Sheet, *, strip: "Axes", axes: "Axes", strips: list[str], counts: "Counter[tuple[int, str | int]]", n: int
) -> None:
    """Draws the strips for answers that are not on the scale, each with its share of all answers."""
    from matplotlib.ticker import MaxNLocator

    plain(strip)
    strip.set_position(
        (0, BOTTOM / page.height, (WIDTH - MARGIN - 6) / WIDTH, STRIP_HEIGHT * len(strips) / page.height)
    )
    strip.set_xlim(axes.get_xlim())
    strip.set_ylim(len(strips) - 0.5, -0.5)
    strip.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.tick_params(labelbottom=False)
    shares = [sum(count for (_, key), count in counts.items() if key == kind) / n for kind in strips]
    labels = [f"{KINDS[kind]} {significant(100 * share)}%" for kind, share in zip(strips, shares, strict=True)]
    room = max(text_width(label, LABEL) for label in labels)
    strip.set_yticks(range(len(strips)), [fitted(label, room, LABEL) for label in labels])
    strip.grid(axis="y", color=style.GRID.light, linewidth=0.8)
