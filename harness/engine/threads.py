"""The number of CPU threads, chosen by timing the passes of the run.

On an idle machine all cores are fastest. On a shared machine, threads that spin while they wait for each other take
the cores from the threads they wait for, and a single thread can be ten times faster. The best number depends on the
model, the batch and the load, and changes over time; so each number is tried repeatedly. A number set by the user
(OMP_NUM_THREADS) is kept.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

# How long an idle thread spins before it sleeps, for the OpenMP libraries of GNU and of LLVM and Intel. 1,000 turns are
# some microseconds, as long as waking it takes; the default is milliseconds.
WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Set together with OMP_NUM_THREADS if the harness divided the cores among its processes.
DIVIDED = "FFLM_CORES_DEALT"
# A number of threads is measured after this many passes or seconds.
ENOUGH_PASSES, ENOUGH_SECONDS = 3, 0.2
# The share of the time for retrying slower numbers.
RETRY_SHARE = 1 / 20
# Older passes are dropped beyond this many passes and seconds.
REMEMBERED_PASSES, REMEMBERED_SECONDS = 5, 0.5


def wait_briefly() -> None:
    """Makes idle threads sleep soon, unless the user has set a policy. Must be called before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in WAITING.items():
            os.environ.setdefault(name, value)


def cores() -> int:
    """The number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def divide(processes: int) -> int | None:
    """Divides the cores among the processes of this machine; returns the threads per process, None if the user has set
    the number."""
    if are_set():
        return None
    threads = max(1, cores() // processes)
    os.environ.update({"OMP_NUM_THREADS": str(threads), DIVIDED: str(threads)})
    return threads


def are_set() -> bool:
    """Whether the user has set the number of threads."""
    divided = os.environ.get(DIVIDED)
    return any(os.environ.get(name) not in (None, divided) for name in VARIABLES)


@contextmanager
def single_thread() -> Iterator[None]:
    """Uses one thread unless the user has set a number: for results that are bit-identical on every machine."""
    import torch

    before = torch.get_num_threads()
    if not are_set():
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Threads:
    """Chooses the number of threads of each pass.

    counts: candidates; default: one, half and all of torch's threads, or only the number set by the user. use: sets the
    number; default: torch.set_num_threads.
    """

    def __init__(
        self,
        counts: Sequence[int] | None = None,
        use: Callable[[int], object] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        import torch

        most = torch.get_num_threads()
        self._counts = counts or ([most] if are_set() else sorted({1, max(1, most // 2), most}, reverse=True))
        self._use = use or torch.set_num_threads
        self._clock = clock
        self._used = self._counts[0]
        self._classes: dict[tuple[int, int], _SizeClass] = {}

    @contextmanager
    def passing(self, rows: int, tokens: int) -> Iterator[None]:
        """Around one pass over a batch of `rows` times `tokens`."""
        if len(self._counts) == 1:
            yield
            return
        # Passes of similar size are compared by their time per token.
        size_class = self._classes.setdefault(
            (rows.bit_length(), tokens.bit_length()), _SizeClass(self._counts, self._used)
        )
        count = size_class.next()
        if count != self._used:
            self._use(count)
            self._used = count
        start = self._clock()
        yield
        size_class.record(count, self._clock() - start, rows * tokens)


class _SizeClass:
    """Measurements of passes of similar size."""

    def __init__(self, counts: Sequence[int], first: int):
        self._tries = {count: _Tries() for count in [first, *(count for count in counts if count != first)]}
        self._is_new = True

    def next(self) -> int:
        """The number for the next pass: an unmeasured one, else the fastest, occasionally another."""
        for count, tries in self._tries.items():
            if not tries.is_measured:
                return count
        best = min(self._tries, key=lambda count: self._tries[count].cost)
        for count, tries in self._tries.items():
            if count != best and tries.waited * RETRY_SHARE > tries.last:
                return count
        return best

    def record(self, count: int, seconds: float, work: int) -> None:
        """Records the time of a pass."""
        if self._is_new:  # the first pass loads memory and kernels, so its time is not representative
            self._is_new = False
            return
        for other, tries in self._tries.items():
            tries.waited = 0.0 if other == count else tries.waited + seconds
        self._tries[count].add(seconds, work)


class _Tries:
    """The last passes of one size with one number. waited: seconds of other passes since the last of them."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque()
        self._work: deque[int] = deque()
        self._total = 0.0
        self.waited = 0.0

    def add(self, seconds: float, work: int) -> None:
        self._seconds.append(seconds)
        self._work.append(work)
        self._total += seconds
        while len(self._seconds) > REMEMBERED_PASSES and self._total - self._seconds[0] > REMEMBERED_SECONDS:
            self._total -= self._seconds.popleft()
            self._work.popleft()

    @property
    def is_measured(self) -> bool:
        return len(self._seconds) >= ENOUGH_PASSES or self._total >= ENOUGH_SECONDS

    @property
    def last(self) -> float:
        """Seconds of the last pass."""
        return self._seconds[-1]

    @property
    def cost(self) -> float:
        """Seconds per token."""
        return self._total / sum(self._work)
