"""Progress of a run: phase, share of the work that is done, remaining time.

Work is measured in characters that the model reads and may write, so that the bar moves evenly with time. Every process
reports its progress, also within a batch, to shared counters; rank 0 prints. On a terminal this is one line, updated
every half second. Elsewhere it is a line in the first seconds, one for each later phase, and then lines at growing
intervals.

Imports nothing heavy, since importing torch is the first phase.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import TextIO, cast

from fflm_data.terminal import Bar, echo
from harness.errors import LostProcess
from harness.evaluation.distributed import World
from harness.planning.work_queue import WorkItem
from harness.prompts.jobs import Job
from harness.tasks import CompletionTask

# Characters per generated token.
TOKEN = 4
DRAWN_EVERY = 0.5
REPORTED_EVERY = 0.25
# Without a terminal: seconds before the first line, and seconds before the line of a new phase.
FIRST_LINE, NEXT_PHASE = 1.0, 5.0
# Other lines are at least this many seconds and this share of the elapsed time apart.
LINES_EVERY, LINES_SHARE = 30.0, 1 / 4
IMPORTING = "importing torch and transformers"
BAR = "{percentage:3.0f}% |{bar}| {desc}"


def weight(job: Job, item: WorkItem) -> int:
    """The work of a work item in characters: its prompts, and the maximum output."""
    if not isinstance(job.task, CompletionTask):
        return item.cost
    tokens = job.prompting.max_new_tokens(job.task) * job.prompting.turns
    return item.cost + TOKEN * tokens * len(item.ids)


class ProgressReporter:
    """Adds the progress of one process to the shared counters."""

    def __init__(self, world: World, jobs: Sequence[Job]):
        self._world = world
        self._jobs = jobs
        self._last = time.monotonic()
        self._reported = 0

    def report(self, item: WorkItem, share: float) -> None:
        """Reports the share of a work item that is done. Trials of the model before the first batch do not count."""
        now = time.monotonic()
        if share == 0:
            self._last, self._reported = now, 0
        elif share == 1 or now - self._last >= REPORTED_EVERY:
            done = int(share * weight(self._jobs[item.job], item))
            self._world.add(f"weight {item.job}", done - self._reported)
            self._world.add(f"milliseconds {item.job}", int(1000 * (now - self._last)))
            self._last, self._reported = now, done


@dataclass(frozen=True)
class WorkWeights:
    """The total work: weight by job, and number of rows."""

    jobs: Sequence[Job]
    each: list[int]
    rows: int

    @classmethod
    def of(cls, jobs: Sequence[Job], items: Sequence[WorkItem]) -> "WorkWeights":
        weights = [0] * len(jobs)
        for item in items:
            weights[item.job] += weight(jobs[item.job], item)
        return cls(jobs, weights, sum(len(item.ids) for item in items))

    def seconds_left(self, done: Sequence[int], milliseconds: Sequence[int]) -> float | None:
        """Remaining seconds of one process, from the rate of each job so far. A job that has not started is assumed to
        be as fast as others of its kind, or as all. None before anything is done."""
        if not any(done) or not any(milliseconds):
            return None
        kinds = [isinstance(job.task, CompletionTask) for job in self.jobs]

        def rate(jobs: list[int]) -> float | None:
            total = sum(done[job] for job in jobs)
            return sum(milliseconds[job] for job in jobs) / total if total else None

        all_jobs = [*range(len(self.jobs))]
        left = 0.0
        for job, kind in enumerate(kinds):
            same_kind = [other for other in all_jobs if kinds[other] == kind]
            known = next(value for value in map(rate, ([job], same_kind, all_jobs)) if value is not None)
            left += max(0, self.each[job] - done[job]) * known
        return left / 1000


class Progress:
    """The progress line on stderr. Shown on rank 0 only."""

    def __init__(self, shown: bool = True, stream: TextIO | None = None):
        self._shown = shown
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._bar = Bar(
            total=0, bar_format="{desc}", file=self._stream, leave=False, disable=not (shown and self._is_terminal)
        )
        self._phase = self._printed_phase = ""
        self._since = time.monotonic()
        self._line_at = self._since
        self._estimated = False
        self._world: World | None = None
        self._work: WorkWeights | None = None
        self._ended = Event()
        self._thread = Thread(target=self._draw, daemon=True)

    def __enter__(self) -> "Progress":
        if self._shown:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._shown:
            self._thread.join()
        self._bar.close()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around other output, which is printed above the progress line."""
        with Bar.external_write_mode(file=self._stream):
            yield
            sys.stdout.flush()

    def start_phase(self, phase: str) -> None:
        """Sets the current phase."""
        self._phase = phase

    @contextmanager
    def working(self, world: World, work: WorkWeights) -> Iterator[None]:
        """Around the evaluation of the rows. At the end prints their number and the elapsed time."""
        self._since = self._line_at = time.monotonic()
        self._world, self._work = world, work
        self._bar.bar_format, self._bar.total = BAR, max(1, sum(work.each))
        yield
        self._world = self._work = None
        self._bar.bar_format = "{desc}"
        self.start_phase("merging")
        self._show_phase()
        if self._shown and work.rows:
            took = clock(time.monotonic() - self._since)
            with self.aside():
                echo(f"100%: {work.rows:,} rows in {took}", file=self._stream)

    def _draw(self) -> None:
        with suppress(LostProcess):  # the process with the counters has ended, which is reported elsewhere
            while not self._ended.wait(DRAWN_EVERY):
                if self._work is None or self._world is None:
                    self._show_phase()
                else:
                    self._show_work(self._work, self._world)

    def _show_phase(self) -> None:
        phase, now = self._phase, time.monotonic()
        self._bar.set_description_str(f"{phase} ... {clock(now - self._since)}")
        patience = NEXT_PHASE if self._printed_phase else FIRST_LINE
        self._line(f"{phase} ...", is_due=phase != self._printed_phase and now - self._line_at >= patience)

    def _show_work(self, work: WorkWeights, world: World) -> None:
        done = [world.add(f"weight {job}", 0) for job in range(len(work.jobs))]
        taken = [world.add(f"milliseconds {job}", 0) for job in range(len(work.jobs))]
        rows = f"{world.add('done', 0):,} of {work.rows:,} rows"
        left = work.seconds_left(done, taken)
        passed = clock(time.monotonic() - self._since)
        rest = self._phase if left is None else f"{self._phase}, about {clock(left / world.size)} left"
        self._bar.n = max(self._bar.n, sum(done))
        self._bar.set_description_str(f"{rows}, {passed}, {rest}")
        share = min(99, 100 * sum(done) // max(1, sum(work.each)))
        is_first = left is not None and not self._estimated and left / world.size > LINES_EVERY
        self._estimated = self._estimated or is_first
        self._line(f"{share}%: {rows} in {passed}, {rest}", is_due=is_first)

    def _line(self, text: str, is_due: bool) -> None:
        """Prints a line if there is no terminal and the last line is old enough."""
        now = time.monotonic()
        apart = max(LINES_EVERY, LINES_SHARE * (now - self._since))
        if not self._is_terminal and (is_due or now - self._line_at >= apart):
            self._line_at, self._printed_phase = now, self._phase
            echo(text, file=self._stream)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours if there are any."""
    return cast(str, Bar.format_interval(seconds))
