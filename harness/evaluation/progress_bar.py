"""What a run shows while it goes on: what it is doing, how much of the work is done, how long the rest takes.

Work is weighed in characters that the model reads and may write, so that the bar moves as evenly as time. Every process
tells the counters that all share how far it is, also within a batch; rank 0 draws. On a terminal that is one line,
renewed every half second; elsewhere a line in the first seconds, one for each step that comes seconds later, and then
one now and then, ever more rarely.

Nothing heavy is imported: importing torch is the first thing that is shown.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import TextIO, cast

from fflm_data.terminal import Bar, say
from harness.errors import LostProcess
from harness.evaluation.distributed import World
from harness.planning.work_queue import WorkItem
from harness.prompts.jobs import Job
from harness.tasks import CompletionTask

# Of a written token, in characters.
TOKEN = 4
DRAWN_EVERY = 0.5
TOLD_EVERY = 0.25
# Where no terminal is, the first line comes after so many seconds; one that names another step, so many after the last.
FIRST_LINE, NEXT_STEP = 1.0, 5.0
# Others are so many seconds apart at least, and this part of what has passed.
LINES_EVERY, LINES_SHARE = 30.0, 1 / 4
IMPORTING = "importing torch and transformers"
BAR = "{percentage:3.0f}% |{bar}| {desc}"


def weight(job: Job, item: WorkItem) -> int:
    """What the rows of a work item take, in characters: what is read, and all that may be written."""
    if not isinstance(job.task, CompletionTask):
        return item.cost
    tokens = job.prompting.max_new_tokens(job.task) * job.prompting.turns
    return item.cost + TOKEN * tokens * len(item.ids)


class ProgressReporter:
    """One process's part: adds what it has done to the shared counters."""

    def __init__(self, world: World, jobs: Sequence[Job]):
        self._world = world
        self._jobs = jobs
        self._last = time.monotonic()
        self._told = 0

    def report(self, item: WorkItem, share: float) -> None:
        """So much of a work item is done. Trying the model out, before anything is, counts as no work."""
        now = time.monotonic()
        if share == 0:
            self._last, self._told = now, 0
        elif share == 1 or now - self._last >= TOLD_EVERY:
            done = int(share * weight(self._jobs[item.job], item))
            self._world.add(f"weight {item.job}", done - self._told)
            self._world.add(f"milliseconds {item.job}", int(1000 * (now - self._last)))
            self._last, self._told = now, done


@dataclass(frozen=True)
class WorkWeights:
    """All that is to be done, by job: weights and rows."""

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
        """For one process, from what each job has taken so far; a job of which nothing is known is taken for as fast as
        the others of its kind, or as all. None before anything is done."""
        if not any(done) or not any(milliseconds):
            return None
        kinds = [isinstance(job.task, CompletionTask) for job in self.jobs]

        def rate(jobs: list[int]) -> float | None:
            whole = sum(done[job] for job in jobs)
            return sum(milliseconds[job] for job in jobs) / whole if whole else None

        everything = [*range(len(self.jobs))]
        left = 0.0
        for job, kind in enumerate(kinds):
            alike = [other for other in everything if kinds[other] == kind]
            found = next(one for one in map(rate, ([job], alike, everything)) if one is not None)
            left += max(0, self.each[job] - done[job]) * found
        return left / 1000


class Progress:
    """The line on stderr. Other ranks than 0 have one that shows nothing."""

    def __init__(self, shown: bool = True, stream: TextIO | None = None):
        self._shown = shown
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._bar = Bar(
            total=0, bar_format="{desc}", file=self._stream, leave=False, disable=not (shown and self._is_terminal)
        )
        self._phase = self._said = ""
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
        """Around what is printed meanwhile: it stands above what is drawn."""
        with Bar.external_write_mode(file=self._stream):
            yield
            sys.stdout.flush()

    def doing(self, phase: str) -> None:
        """What is done from now on."""
        self._phase = phase

    @contextmanager
    def working(self, world: World, work: WorkWeights) -> Iterator[None]:
        """While the rows are asked. The last word is a line that stays: how many, how long."""
        self._since = self._line_at = time.monotonic()
        self._world, self._work = world, work
        self._bar.bar_format, self._bar.total = BAR, max(1, sum(work.each))
        yield
        self._world = self._work = None
        self._bar.bar_format = "{desc}"
        self.doing("merging")
        self._show_phase()
        if self._shown and work.rows:
            took = clock(time.monotonic() - self._since)
            with self.aside():
                say(f"100%: {work.rows:,} rows in {took}", file=self._stream)

    def _draw(self) -> None:
        with suppress(LostProcess):  # the counters are gone with the process that kept them, and others say so
            while not self._ended.wait(DRAWN_EVERY):
                if self._work is None or self._world is None:
                    self._show_phase()
                else:
                    self._show_work(self._work, self._world)

    def _show_phase(self) -> None:
        phase, now = self._phase, time.monotonic()
        self._bar.set_description_str(f"{phase} ... {clock(now - self._since)}")
        patience = NEXT_STEP if self._said else FIRST_LINE
        self._line(f"{phase} ...", at_once=phase != self._said and now - self._line_at >= patience)

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
        self._line(f"{share}%: {rows} in {passed}, {rest}", at_once=is_first)

    def _line(self, text: str, at_once: bool) -> None:
        """A line where no terminal is, if it is time for one."""
        now = time.monotonic()
        apart = max(LINES_EVERY, LINES_SHARE * (now - self._since))
        if not self._is_terminal and (at_once or now - self._line_at >= apart):
            self._line_at, self._said = now, self._phase
            say(text, file=self._stream)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    return cast(str, Bar.format_interval(seconds))
