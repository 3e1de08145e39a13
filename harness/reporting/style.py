"""Colours of plots and pages in light and dark mode, and their use in SVG.

Plots are drawn in the light colours, which are distinct. On a page they become CSS variables. A separate SVG file
keeps them, for programs without CSS, and has rules for dark mode.
"""

from copy import deepcopy
from dataclasses import dataclass
from xml.etree import ElementTree


@dataclass(frozen=True)
class Colour:
    """The name of a colour and its values in light and dark mode."""

    name: str
    light: str
    dark: str


PAGE = Colour("page", "#fbfbf9", "#15171a")
INK = Colour("ink", "#1b1c1e", "#ecedee")
SOFT = Colour("soft", "#5f6269", "#a3a7ae")
GRID = Colour("grid", "#e2e3df", "#2c2f35")
AXIS = Colour("axis", "#b9bbb6", "#565b63")
# After Okabe and Ito (2008), adjusted to a contrast of 3:1 on their page. The leaderboard uses the first two.
SERIES = (
    Colour("series-1", "#1f6fb2", "#6cb2ec"),
    Colour("series-2", "#b4571b", "#eb9a5d"),
    Colour("series-3", "#00795a", "#45c79d"),
    Colour("series-4", "#a0417f", "#e294c4"),
    Colour("series-5", "#85690a", "#dcbb4a"),
    Colour("series-6", "#4f4a9c", "#a9a4f0"),
)
COLOURS = (PAGE, INK, SOFT, GRID, AXIS, *SERIES)
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "solid",
    (0, (7, 1.5)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (1.4, 1.2)),
    (0, (9, 1.5, 1.2, 1.5, 1.2, 1.5)),
    (0, (3.5, 1)),
)
BASELINE_DASHES = (0, (3.5, 3))
# Up to this opacity of the first series' colour, text has a contrast of 4.5:1 on a cell.
DEEPEST_CELL = 0.5

PAINTED = {"style", "fill", "stroke"}
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def page_css() -> str:
    """The colours as CSS variables."""
    light = " ".join(f"--{colour.name}: {colour.light};" for colour in COLOURS)
    dark = " ".join(f"--{colour.name}: {colour.dark};" for colour in COLOURS)
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


def with_variables(root: ElementTree.Element) -> ElementTree.Element:
    """A copy of an SVG with its light colours replaced by the variables of `page_css`."""
    root = deepcopy(root)
    for element in root.iter():
        for key in PAINTED.intersection(element.keys()):
            for colour in COLOURS:
                element.set(key, element.attrib[key].replace(colour.light, f"var(--{colour.name})"))
    return root


def standing_alone(root: ElementTree.Element) -> ElementTree.Element:
    """A copy of an SVG with a background and rules for dark mode."""
    root = deepcopy(root)
    namespace = root.tag.removesuffix("svg")
    rules = "".join(
        f'[style*="{part}: {colour.light}"]{{{part}:{colour.dark}!important}}'
        for colour in COLOURS
        for part in ("fill", "stroke")
    )
    sheet = ElementTree.Element(f"{namespace}style")
    sheet.text = f"@media (prefers-color-scheme:dark){{{rules}}}"
    background = {"width": "100%", "height": "100%", "style": f"fill: {PAGE.light}"}
    root.insert(2, sheet)  # after title and description
    root.insert(3, ElementTree.Element(f"{namespace}rect", background))
    return root
