"""The number of threads follows the fastest passes, and the user's setting is kept."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
import torch

from harness.engine import threads
from harness.engine.threads import Threads


class Machine:
    """A simulated machine; rule: (threads, rows, tokens) to seconds."""

    def __init__(self, seconds: Callable[[int, int, int], float]):
        self.seconds = seconds
        self.now = 0.0
        self.used = 0
        self.spent = 0.0

    def use(self, count: int) -> None:
        self.used = count

    def run(self, chooser: Threads, passes: int, rows: int = 8, tokens: int = 64) -> list[int]:
        """The number of threads of each of some passes."""
        counts = []
        self.spent = 0.0
        for _ in range(passes):
            with chooser.passing(rows, tokens):
                took = self.seconds(self.used, rows, tokens)
                self.now += took
            self.spent += took
            counts.append(self.used)
        return counts

    def chooser(self, counts: Sequence[int] = (4, 2, 1)) -> Threads:
        self.used = counts[0]
        return Threads(counts, self.use, lambda: self.now)


IDLE = {4: 1.0, 2: 1.9, 1: 3.6}
BUSY = {4: 30.0, 2: 9.0, 1: 4.0}  # threads that wait for each other
HALF = {4: 5.0, 2: 2.0, 1: 3.6}  # others use half of the cores


@pytest.mark.parametrize("speeds", [IDLE, BUSY, HALF], ids=["idle", "busy", "half"])
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0], ids=["short passes", "passes", "long passes"])
def test_fastest_count_is_used(speeds: dict[int, float], scale: float) -> None:
    machine = Machine(lambda count, rows, tokens: scale * speeds[count])
    chooser = machine.chooser()
    machine.run(chooser, 20)
    machine.run(chooser, 500)
    assert machine.spent < 1.3 * 500 * scale * min(speeds.values())


@pytest.mark.parametrize("scale", [1e-3, 0.1])
@pytest.mark.parametrize(("before", "after"), [(IDLE, BUSY), (BUSY, IDLE), (HALF, IDLE)])
def test_counts_are_retried_after_load_change(before: dict[int, float], after: dict[int, float], scale: float) -> None:
    speeds = before
    machine = Machine(lambda count, rows, tokens: scale * speeds[count])
    chooser = machine.chooser()
    machine.run(chooser, 300)
    speeds = after
    machine.run(chooser, 3_000)  # what it takes to see it
    machine.run(chooser, 500)
    assert machine.spent < 1.3 * 500 * scale * min(after.values())


def test_size_classes_are_separate() -> None:
    """One thread for a step of one token, all for a long text."""
    machine = Machine(lambda count, rows, tokens: 0.001 * (IDLE if tokens > 1 else BUSY)[count] * rows * tokens)
    chooser = machine.chooser()
    for tokens in (1, 300):
        machine.run(chooser, 50, tokens=tokens)
    small, large = [], []
    for _ in range(100):
        small += machine.run(chooser, 1, tokens=1)
        large += machine.run(chooser, 1, tokens=300)
    assert small.count(1) > 80 and large.count(4) > 80


def test_speed_is_per_token() -> None:
    """Passes of one size class differ in their tokens; the time per token is compared."""
    machine = Machine(lambda count, rows, tokens: 1e-5 * IDLE[count] * rows * tokens)
    chooser = machine.chooser()
    counts = [count for tokens in [*range(64, 128)] * 10 for count in machine.run(chooser, 1, tokens=tokens)]
    assert counts[50:].count(4) > 0.9 * len(counts[50:])


def test_single_count_is_never_set() -> None:
    machine = Machine(lambda count, rows, tokens: 1.0)
    machine.run(machine.chooser([3]), 50)
    assert machine.used == 3


@pytest.mark.parametrize("name", threads.VARIABLES)
def test_user_setting_is_kept(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in threads.VARIABLES:
        monkeypatch.delenv(other, raising=False)
    assert not threads.are_set()
    monkeypatch.setenv(name, "3")
    assert threads.are_set() and threads.divide(1) is None and "FFLM_CORES_DEALT" not in os.environ
    before = torch.get_num_threads()
    with threads.single_thread():
        assert torch.get_num_threads() == before


def test_divide_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process gets its part of the cores and may use fewer."""
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cores", lambda: 8)
    for name in ("OMP_NUM_THREADS", threads.DIVIDED):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    for processes, expected in ((1, 8), (3, 2), (20, 1), (2, 4)):
        assert threads.divide(processes) == expected
        assert os.environ["OMP_NUM_THREADS"] == str(expected) and not threads.are_set()
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads.are_set()


SEEN = """
import os, sys
from harness.engine import threads
before, calls = threads.wait_briefly, []
threads.wait_briefly = lambda: (calls.append("torch" in sys.modules), before())
from harness.cli import main
main(["tasks", "--show", "letters"])
print(calls, *(os.environ.get(name) for name in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")))
"""


@pytest.mark.slow("harness/engine")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "[False] 1000 0"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "[False] None None"),
        ({"GOMP_SPINCOUNT": "7"}, "[False] 7 0"),
        ({"KMP_BLOCKTIME": "infinite"}, "[False] 1000 infinite"),
    ],
)
def test_wait_briefly_before_torch_import(given: dict[str, str], expected: str) -> None:
    own = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
    done = subprocess.run(
        [sys.executable, "-c", SEEN], env=own | given, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.splitlines()[-1] == expected
