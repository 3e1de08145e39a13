"""A logarithmic axis of error rates in percent with a place for exactly 0, beyond a dashed line."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fflm_data.arrays import Floats
from harness.reporting import style
from harness.reporting.line_plots import set_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOP = 100.0
# Up to this number of decades there are ticks at 1, 2 and 5.
FEW = 1


class ErrorAxis:
    """An axis for some values in percent, from a power of ten below the smallest one above 0 up to 100."""

    def __init__(self, values: Floats):
        values = values[np.isfinite(values)]
        lowest = float(values[values > 0].min(initial=TOP / 10))
        self.floor = float(10.0 ** np.floor(np.log10(min(lowest, TOP / 10)) + 1e-9))
        self.decades = round(np.log10(TOP / self.floor))
        # 0 is as far from the floor as a share of the axis, so that its points have room.
        self.zero = float(self.floor / 10 ** (0.2 * self.decades + 0.15)) if (values <= 0).any() else None

    def place(self, values: Floats) -> Floats:
        """Coordinates of values."""
        return np.where(values > 0, values, self.zero or self.floor)

    def apply(self, axes: "Axes", which: str, powers: int = 6) -> None:
        """Sets scale, limits and ticks of the x or y axis, and draws the dashed line. powers: most ticks at powers of
        ten."""
        is_x = which == "x"
        (axes.set_xscale if is_x else axes.set_yscale)("log")
        margin = 10 ** (0.045 * self.decades)
        low = 0.9 * self.floor / margin**0.5 if self.zero is None else self.zero / margin**1.6
        (axes.set_xlim if is_x else axes.set_ylim)(low, TOP * margin)
        step = -(-(self.decades + 1) // powers)
        inner = (1, 2, 5) if self.decades <= FEW else (1,)
        ticks = [TOP / 10**power * k for power in range(0, self.decades + 1, step) for k in inner]
        ticks = sorted(tick for tick in ticks if tick <= TOP)
        set_ticks(axes, which, ticks if self.zero is None else [self.zero, *ticks], self.zero)
        if self.zero is not None:
            line: dict[str, Any] = {"color": style.AXIS.light, "linewidth": 1, "linestyle": style.BASELINE_DASHES}
            at = float(np.sqrt(self.zero * self.floor))
            (axes.axvline if is_x else axes.axhline)(at, zorder=1, **line)


def spread(count: int, apart: float = 3.4) -> list[tuple[float, float]]:
    """Offsets in pixels, right and up, that spread equal points around their place."""
    turns = np.arange(count) * 2.399963  # the golden angle
    radius = apart * np.sqrt(np.arange(count))
    return list(zip((radius * np.cos(turns)).tolist(), (radius * np.sin(turns)).tolist(), strict=True))
