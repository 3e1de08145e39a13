"""The progress of a sweep: a line with the members that are done and the steps of the current ones."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from fflm_data.terminal import Bar, echo
from harness.training.sweep_units import Member, Unit

# Without a terminal: seconds between lines in which nothing has finished.
LINES_EVERY = 300.0


class SweepProgress:
    """Shows progress on stderr: one line on a terminal, elsewhere a line per unit that has ended and every minutes.

    total: number of members. done: number of those that were finished before.
    """

    def __init__(self, title: str, total: int, done: int):
        self._is_terminal = sys.stderr.isatty()
        self._total, self._done = total, done
        self._start = self._last = time.monotonic()
        self._before = done
        self._bar = Bar(
            total=total, initial=done, desc=title, unit="member", leave=False, disable=not self._is_terminal,
            bar_format="{desc}: {n_fmt} of {total_fmt} members |{bar:12}| {elapsed}{postfix}",
        )  # fmt: skip
        if done:
            self._line(f"{done:,} of {total:,} members done before, resuming")

    def __enter__(self) -> "SweepProgress":
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def show(self, current: Sequence[str]) -> None:
        """Shows what the workers do."""
        text = "; ".join(current)
        if self._is_terminal:
            self._bar.set_postfix_str(text)
        elif time.monotonic() - self._last >= LINES_EVERY:
            self._line(f"{self._done:,} of {self._total:,} members in {self._elapsed()}, {text}")

    def finished(self, unit: Unit, members: Sequence[Member]) -> None:
        """Counts the members of a unit that are finished."""
        self._done += len(members)
        self._bar.update(len(members))
        if members:
            self._line(f"{self._done:,} of {self._total:,} members in {self._elapsed()}: {unit.label}", quiet=True)

    def note(self, text: str) -> None:
        """Prints a line above the progress."""
        self._line(text)

    def _elapsed(self) -> str:
        return str(Bar.format_interval(time.monotonic() - self._start))

    def _line(self, text: str, quiet: bool = False) -> None:
        """quiet: not on a terminal, where the bar shows it."""
        self._last = time.monotonic()
        if quiet and self._is_terminal:
            return
        with Bar.external_write_mode(file=sys.stderr):
            echo(text, file=sys.stderr)
