"""The canvas of a plot (title, legend, axes) and its conversion to SVG.

360 pixels wide, so that nothing is scaled down on a phone of 390 pixels. Text stays text; it is laid out with a font
that is wider than most fonts of readers. The bytes of the SVG depend only on the drawing.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from harness.reporting import style
from harness.reporting.style import Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
WIDTH = 360
MARGIN = 3  # room for a marker on the edge
TITLE, LABEL, TICK = 13.5, 11.5, 11.5
LINE = 17  # line height of text
SAMPLE = 24  # length of the line in a legend

RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": TICK,
    "svg.fonttype": "none",
    "svg.hashsalt": "fflm",
    "svg.image_inline": True,
    "text.parse_math": False,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "path.simplify": False,
    "figure.dpi": 72,
    "savefig.dpi": 72,
    "savefig.bbox": None,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.7,
}


@dataclass(frozen=True)
class Key:
    """A legend entry; without a marker it is the dashed line of a baseline."""

    label: str
    colour: Colour
    marker: str = ""
    dashes: Any = style.BASELINE_DASHES


@dataclass
class Sheet:
    """A figure with its size. top: where the axes may start, in pixels from the upper edge."""

    figure: "Figure"
    name: str
    title: str
    height: float
    top: float

    def write(
        self, x: float, y: float, text: str, *, size: float = LABEL, colour: Colour = style.SOFT, **more: Any
    ) -> Any:
        """Writes text with its baseline `y` pixels below the upper edge."""
        from matplotlib.transforms import IdentityTransform

        options: dict[str, Any] = {"transform": IdentityTransform(), "fontsize": size, "color": colour.light}
        return self.figure.text(x, self.height - y, text, **(options | more))

    def axes(self, bottom: float, xlabel: str, ylabel: str, left: float = 0) -> "Axes":
        """Adds axes that end `bottom` pixels above the lower edge, with both labels; `fit` sets the left margin."""
        top = self.top + LINE + 6
        self.write(MARGIN, self.top + LINE - 4, ylabel, gid="y-label")
        axes = self.figure.add_axes(
            (left / WIDTH, bottom / self.height, (WIDTH - MARGIN - 6 - left) / WIDTH, 1 - (bottom + top) / self.height)
        )
        plain(axes)
        axes.set_xlabel(xlabel, color=style.SOFT.light, fontsize=LABEL, labelpad=5, loc="right", gid="x-label")
        return axes


@contextmanager
def sheet(name: str, title: str, subtitle: str, plot_height: float, keys: Sequence[Key] = ()) -> Iterator[Sheet]:
    """A sheet with title and legend. The matplotlib settings are restored at the end."""
    from matplotlib import rc_context, rcParams, rcParamsDefault
    from matplotlib.figure import Figure

    settings: Any = {key: value for key, value in rcParamsDefault.items() if not key.startswith("backend")} | RC
    with rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that are missing here come from the reader's font
        rcParams.update(settings)
        rows = _legend_rows(keys)
        wrapped = [line for line in subtitle.split("\n") if line]
        top = 18 + LINE * len(wrapped) + (LINE * len(rows) + 4 if rows else 0)
        height = top + plot_height
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        figure.patch.set_visible(False)
        page = Sheet(figure, name, printable(title), height, top)
        page.write(
            MARGIN, 14, fitted(title, WIDTH - 2 * MARGIN, TITLE, bold=True), size=TITLE, colour=style.INK, weight="bold"
        )
        for number, line in enumerate(wrapped):
            page.write(MARGIN, 14 + LINE * (number + 1), line)
        for number, row in enumerate(rows):
            _legend_row(page, 14 + LINE * (len(wrapped) + 1 + number) + 3, row)
        yield page


def plain(axes: "Axes") -> None:
    """Styles axes: base line and horizontal grid only, tick labels without ticks."""
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(style.AXIS.light)
    axes.tick_params(which="both", length=0, colors=style.SOFT.light, labelsize=TICK, pad=5)
    axes.grid(axis="y", color=style.GRID.light, linewidth=0.8)
    axes.set_axisbelow(True)


def fit(*stack: "Axes") -> None:
    """Moves the left edge of the axes so that the tick labels fit."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = stack[0].figure
    renderer = FigureCanvasAgg(figure.get_figure(root=True)).get_renderer()
    widths = []
    for axes in stack:
        box = axes.yaxis.get_tightbbox(renderer)
        widths.append(axes.get_window_extent(renderer).x0 - box.x0 if box else 0)
    left = max(widths) + MARGIN + 1
    for axes in stack:
        box = axes.get_position()
        axes.set_position((left / WIDTH, box.y0, box.x1 - left / WIDTH, box.height))


def printable(text: str) -> str:
    """Replaces characters that XML forbids or that do not fit on a line."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a text in pixels, in the layout font."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        properties = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
        return float(TextToPath().get_text_width_height_descent(text, properties, ismath=False)[0])


def fitted(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """The text, its middle replaced by an ellipsis if it is wider than `width` pixels."""
    text = printable(text if len(text) <= 200 else text[:100] + text[-100:])
    original, kept = text, len(text)
    while kept > 2 and text_width(text, size, bold=bold) > width:
        kept -= 1
        text = f"{original[: (kept + 1) // 2]}…{original[-(kept // 2) :]}"
    return text


def _legend_rows(keys: Sequence[Key]) -> list[list[tuple[float, Key]]]:
    """The keys with their x coordinates, broken into lines."""
    rows: list[list[tuple[float, Key]]] = []
    x = float(WIDTH)
    for key in keys:
        label = fitted(key.label, WIDTH - SAMPLE - 6 - 2 * MARGIN, LABEL)
        width = SAMPLE + 6 + text_width(label, LABEL)
        if x + width > WIDTH - MARGIN:
            rows.append([])
            x = MARGIN
        rows[-1].append((x, Key(label, key.colour, key.marker, key.dashes)))
        x += width + 16
    return rows


def _legend_row(page: Sheet, y: float, row: list[tuple[float, Key]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.transforms import IdentityTransform

    for x, key in row:
        level = page.height - y + 4
        line = Line2D(
            [x, x + SAMPLE / 2, x + SAMPLE], [level] * 3, transform=IdentityTransform(), color=key.colour.light,
            linewidth=1.6 if key.marker else 1.2, linestyle=key.dashes, marker=key.marker or None, markersize=5.5,
            markevery=[1], markeredgewidth=1.6 if key.marker == "|" else 0,
        )  # fmt: skip
        page.figure.add_artist(line)
        page.write(x + SAMPLE + 6, y, key.label, colour=style.INK)


def to_svg(page: Sheet, description: str) -> tuple[str, str]:
    """The drawing as a complete SVG file and as inline SVG for a page."""
    target = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        page.figure.savefig(target, format="svg", metadata=metadata)
    root = ElementTree.fromstring(target.getvalue())
    ours = {"viewBox": f"0 0 {WIDTH} {page.height:g}", "width": str(WIDTH), "height": f"{page.height:g}"}
    root.attrib = ours | {"role": "img", "aria-labelledby": f"{page.name}-title {page.name}-desc"}
    for child in list(root):
        if child.tag == f"{{{SVG}}}metadata" or child.find(f"{{{SVG}}}style") is not None:
            root.remove(child)
    _rename(root, page.name)
    for index, (tag, text) in enumerate((("title", page.title), ("desc", printable(description)))):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{page.name}-{tag}"})
        element.text = text
        root.insert(index, element)
    return _written(style.standing_alone(root)), _written(style.with_variables(root))


def _rename(root: ElementTree.Element, name: str) -> None:
    """Makes referenced ids unique, turns the labels' ids into classes, drops other ids, and sets the font."""
    elements = list(root.iter())
    references = re.compile(r"(?<=url\(#)[\w.-]+|(?<=^#)[\w.-]+")
    used = {target for element in elements for value in element.attrib.values() for target in references.findall(value)}
    for element in elements:
        element.text = element.text if element.text and element.text.strip() else None
        element.tail = None
        for key, value in element.attrib.items():
            element.set(key, references.sub(rf"{name}-\g<0>", value))
        identity = element.attrib.pop("id", None)
        if identity in used:
            element.set("id", f"{name}-{identity}")
        elif identity in ("x-label", "y-label"):
            element.set("class", identity)
        if "DejaVu Sans" in element.get("style", ""):
            element.set("style", re.sub(r"'?DejaVu Sans'?[^;]*", style.FONT, element.attrib["style"]))


def _written(root: ElementTree.Element) -> str:
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    ElementTree.indent(root, "")
    return ElementTree.tostring(root, encoding="unicode") + "\n"
