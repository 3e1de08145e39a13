"""Alternating measurements of two functions, the ratio of their fastest turns, tables in Markdown."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Ratio:
    """Seconds of two functions in alternating turns, for `work` units each."""

    first: list[float]
    second: list[float]
    work: tuple[int, int] = (1, 1)

    @property
    def each(self) -> tuple[float, float]:
        """Milliseconds per unit of work in the fastest turn, since noise only adds time."""
        return 1000 * min(self.first) / self.work[0], 1000 * min(self.second) / self.work[1]

    def __str__(self) -> str:
        """Second to first: of the fastest turns, and in brackets the lowest and highest of any one turn."""
        scale = self.work[0] / self.work[1]
        turns = [scale * second / first for first, second in zip(self.first, self.second, strict=True)]
        return f"**{self.each[1] / self.each[0]:.3g}** ({min(turns):.3g} to {max(turns):.3g})"


def take_turns(repeats: int, *sides: Callable[[], tuple[Answer, float]]) -> list[tuple[list[Answer], list[float]]]:
    """The results and seconds of two functions, called alternately."""
    turns: list[list[tuple[Answer, float]]] = [[] for _ in sides]
    for repeat in range(repeats):
        for number, side in enumerate(sides):
            turns[number].append(side())
            echo(f"  turn {repeat + 1} of {repeats}, side {number + 1}: {turns[number][-1][1]:.2f} s")
    return [([result for result, _ in turn], [seconds for _, seconds in turn]) for turn in turns]


def short(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"


def echo(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(title: str, note: str, head: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Prints a table line by line as it is measured."""
    print(f"\n### {title}\n\n{note}{note and chr(10) * 2}| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for line in lines:
        print(f"| {' | '.join(map(str, line))} |", flush=True)
