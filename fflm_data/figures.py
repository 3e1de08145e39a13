"""SVG histograms of the distance from write to read, one per flip-flop split, for the dataset card."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from fflm_data.config import Config
from fflm_data.flipflop import ReadCounts, TextConfig, read_counts
from fflm_data.number_formats import short_percent

FOLDER = "figures"
WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 46, 44
# A blue and a grey with enough contrast on both white and black backgrounds.
BAR, INK = "#4c8bf5", "#808890"


def figure_file(config: Config, split: str) -> str:
    """Returns the path of the histogram of a split, relative to the folder."""
    return f"{FOLDER}/{config.name}-{split}.svg"


def write_figures(folder: Path, configs: Iterable[Config]) -> None:
    """Writes the histogram of every flip-flop split."""
    for config in configs:
        if isinstance(config, TextConfig):
            (folder / FOLDER).mkdir(exist_ok=True)
            for split in config.splits():
                text = histogram(read_counts(config, split), f"{config.name} / {split}")
                (folder / figure_file(config, split)).write_text(text, encoding="utf-8", newline="\n")


def bins(instructions: int) -> list[tuple[int, int]]:
    """Returns bins of distances, 1, 2, 3-4, 5-8, ..., as (low, high) up to the longest distance in a string."""
    edges, low = [], 1
    while low < instructions:
        high = 1 if low == 1 else 2 * (low - 1)
        edges.append((low, min(high, instructions - 1)))
        low = high + 1
    return edges


def histogram(counts: ReadCounts, title: str) -> str:
    """Returns an SVG histogram of the distances from write to read, in instructions, over the reads of a split."""
    edges = bins(len(counts.gaps))
    shares = [float(counts.gaps[low : high + 1].sum()) / counts.reads for low, high in edges]
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    step, top = width / len(edges), max(shares)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="Reads of {title} by distance to their write" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}" text-anchor="middle">',
        f'<text x="{LEFT}" y="16" text-anchor="start" font-size="13" font-weight="600">{title}: '
        f"{counts.reads:,} reads by distance to their write</text>",
        f'<text transform="translate(14 {TOP + height / 2:.0f}) rotate(-90)">share of reads</text>',
    ]
    for (low, high), share, place in zip(edges, shares, range(len(edges)), strict=True):
        x, tall = LEFT + place * step, height * share / top
        above = escape(short_percent(share)) if share else "0"
        label = f"{low}" if low == high else f"{low}\u2013{high}"
        parts += [
            f'<rect x="{x + 3:.1f}" y="{TOP + height - tall:.1f}" width="{step - 6:.1f}" height="{tall:.1f}" '
            f'rx="2" fill="{BAR}"><title>{label}: {share:.2%}</title></rect>',
            f'<text x="{x + step / 2:.1f}" y="{TOP + height - tall - 4:.1f}" font-size="11">{above}</text>',
            f'<text x="{x + step / 2:.1f}" y="{HEIGHT - BOTTOM + 16}">{label}</text>',
        ]
    parts += [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{TOP + height}" y2="{TOP + height}" stroke="{INK}"/>',
        f'<text x="{LEFT + width / 2:.0f}" y="{HEIGHT - 8}">instructions from write to read</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
