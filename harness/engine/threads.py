"""How many threads of the CPU compute, found by timing what has to be computed anyway.

On a machine of one's own all cores are fastest. Where others use the cores too, threads that spin while they wait for
each other take those cores from the very threads they wait for, and one thread can be ten times faster. Which it is
depends on the model, on the batch and on what else runs, and changes: so each count is tried, and tried again.
A count that the user has chosen (OMP_NUM_THREADS) is left alone.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

# How long a thread looks for its next work before it sleeps, for the OpenMP libraries of GNU and of LLVM and Intel.
# 1,000 turns are some microseconds, as long as waking it would take; by default it is milliseconds.
WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Set beside OMP_NUM_THREADS where that is the harness's own division of the cores among its processes.
DEALT = "FFLM_CORES_DEALT"
# A count of threads is known after so many passes, or so many seconds of them.
ENOUGH_PASSES, ENOUGH_SECONDS = 3, 0.2
# The part of the time that counts which have been slower may take to show that they no longer are.
AGAIN = 1 / 20
# Older passes are forgotten beyond so many that have taken so many seconds.
REMEMBERED_PASSES, REMEMBERED_SECONDS = 5, 0.5


def wait_briefly() -> None:
    """Threads that wait sleep soon, unless the user has said how they wait; must be called before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in WAITING.items():
            os.environ.setdefault(name, value)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def divide(processes: int) -> int | None:
    """Gives each of some processes of this machine its part of the cores; how many threads that is, None if the user
    has chosen."""
    if are_chosen():
        return None
    threads = max(1, cores() // processes)
    os.environ.update({"OMP_NUM_THREADS": str(threads), DEALT: str(threads)})
    return threads


def are_chosen() -> bool:
    """Whether the user has said how many threads there shall be."""
    dealt = os.environ.get(DEALT)
    return any(os.environ.get(name) not in (None, dealt) for name in CHOSEN)


@contextmanager
def a_single_one() -> Iterator[None]:
    """One thread, unless the user has chosen: for what must come out the same on every machine, to the last bit."""
    import torch

    before = torch.get_num_threads()
    if not are_chosen():
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Threads:
    """Chooses how many threads make each pass.

    counts: the numbers to choose from; default: one, half and all of those that torch may use, a single one if the user
    has chosen. use: makes a number count; default: torch.set_num_threads.
    """

    def __init__(
        self,
        counts: Sequence[int] | None = None,
        use: Callable[[int], object] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        import torch

        most = torch.get_num_threads()
        self._counts = counts or ([most] if are_chosen() else sorted({1, max(1, most // 2), most}, reverse=True))
        self._use = use or torch.set_num_threads
        self._clock = clock
        self._used = self._counts[0]
        self._kinds: dict[tuple[int, int], _Kind] = {}

    @contextmanager
    def passing(self, rows: int, tokens: int) -> Iterator[None]:
        """Around one pass over so many rows of so many tokens each."""
        if len(self._counts) == 1:
            yield
            return
        # Passes of about one size are compared with one another, token by token.
        kind = self._kinds.setdefault((rows.bit_length(), tokens.bit_length()), _Kind(self._counts, self._used))
        count = kind.next()
        if count != self._used:
            self._use(count)
            self._used = count
        start = self._clock()
        yield
        kind.note(count, self._clock() - start, rows * tokens)


class _Kind:
    """What is known of passes of about one size."""

    def __init__(self, counts: Sequence[int], first: int):
        self._tries = {count: _Tries() for count in [first, *(count for count in counts if count != first)]}
        self._is_new = True

    def next(self) -> int:
        """The count for the next pass: one that is not known yet, else the fastest, at times another."""
        for count, tries in self._tries.items():
            if not tries.are_enough:
                return count
        best = min(self._tries, key=lambda count: self._tries[count].cost)
        for count, tries in self._tries.items():
            if count != best and tries.waited * AGAIN > tries.last:
                return count
        return best

    def note(self, count: int, seconds: float, work: int) -> None:
        """How long a pass took."""
        if self._is_new:  # memory and kernels are fetched in the first one: it tells nothing of its threads
            self._is_new = False
            return
        for other, tries in self._tries.items():
            tries.waited = 0.0 if other == count else tries.waited + seconds
        self._tries[count].add(seconds, work)


class _Tries:
    """The last passes of one kind with one count. waited: for how long others were preferred since the last of them."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque()
        self._work: deque[int] = deque()
        self._whole = 0.0
        self.waited = 0.0

    def add(self, seconds: float, work: int) -> None:
        self._seconds.append(seconds)
        self._work.append(work)
        self._whole += seconds
        while len(self._seconds) > REMEMBERED_PASSES and self._whole - self._seconds[0] > REMEMBERED_SECONDS:
            self._whole -= self._seconds.popleft()
            self._work.popleft()

    @property
    def are_enough(self) -> bool:
        return len(self._seconds) >= ENOUGH_PASSES or self._whole >= ENOUGH_SECONDS

    @property
    def last(self) -> float:
        """Seconds that the last of them took."""
        return self._seconds[-1]

    @property
    def cost(self) -> float:
        """Seconds a token."""
        return self._whole / sum(self._work)
