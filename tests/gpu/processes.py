"""Part processes: result.json is the same for any number of processes and any placement of layers."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.cli import main
from tests.gpu import machine
from tests.gpu.results import Figures, NotMeasuredError, Part
from tests.support import models

HARNESS = ["-m", "harness", "eval"]
ALONE = "1 process"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]
# `harness`, whose ranks first say of the group they meet in, after one sum over it on their devices.
MEETING = """
import os, sys, torch, torch.distributed as dist
from harness.cli import main
from harness.evaluation.distributed import World
one = torch.ones(1, device=World().device)
dist.all_reduce(one)
assert int(one) == int(os.environ["WORLD_SIZE"])
if os.environ["RANK"] == "0": print("group of", dist.get_backend(), flush=True)
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Runs:
    """Runs of one command with different launchers; `expected`: result.json of the first run."""

    part: Part
    words: list[object]
    expected: bytes = b""

    def same(self, name: str, before: Sequence[object], *more: str) -> Figures:
        """Runs one launcher, after the plain run if needed. Fails if the results differ."""
        if not self.expected and name != ALONE:
            self.same(ALONE, HARNESS)
        output = self.part.scratch / name.replace(" ", "-")
        start = time.perf_counter()
        words = [*before, *self.words, *more, "--output", output]
        printed = here(*words[len(HARNESS) - 1 :]) if name == ALONE else started(*words)
        seconds = time.perf_counter() - start
        (path,) = output.glob("*/*/result.json")
        self.expected = self.expected or path.read_bytes()
        assert path.read_bytes() == self.expected, "result.json is not that of one process"
        if "--num-processes" in more:
            assert ("share 1 GPU" in printed) == (machine.gpus() == 1), (
                "the message about shared GPUs is missing or wrong"
            )
        met = {"group": printed.partition("group of ")[2].split()[0]} if "group of " in printed else {}
        return {"same result.json": True, "seconds": seconds, **met}


def check(part: Part) -> None:
    model = part.scratch / "tiny"
    models.save_tiny(model, models.gpt2_like(), 13_000, kind="llama")
    words = ["--model", model, "--task", "flipflop", "--task", "letters", "--set", "flipflop.length=64"]
    runs = Runs(part, [*words, "--limit", part.pick(200, 8)])
    part.case(ALONE, partial(runs.same, ALONE, HARNESS))
    part.case("2 processes", partial(runs.same, "2 processes", HARNESS, "--num-processes", "2"))
    script = part.scratch / "meeting.py"
    script.write_text(MEETING, encoding="utf-8")
    for processes in sorted({2, machine.gpus() or 2, min(1, machine.gpus()) or 2}):
        part.case(f"torchrun of {processes}", partial(torchrun, runs, processes, script))
    part.case("device map", partial(runs.same, "device map", HARNESS, "--device-map", "auto"))
    part.case("tensor parallel", partial(tensor_parallel, runs))


def tensor_parallel(runs: Runs) -> Figures:
    if machine.gpus() < 2:
        raise NotMeasuredError("it takes two GPUs")
    return runs.same("tensor parallel", HARNESS, "--num-processes", "2", "--tensor-parallel")


def torchrun(runs: Runs, processes: int, script: Path) -> Figures:
    """Fails unless ranks use NCCL with one GPU each, and gloo otherwise."""
    found = runs.same(f"torchrun of {processes}", [*TORCHRUN, "--nproc-per-node", processes, script, "eval"])
    assert found["group"] == ("nccl" if machine.gpus() >= processes else "gloo"), f"they meet by {found['group']}"
    return found


def here(*words: object) -> str:
    """A command of `harness` in this process."""
    assert main([*map(str, words)]) == 0
    return ""


def started(*words: object) -> str:
    """The output of a Python process; fails if the process fails."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=machine.environment(OMP_NUM_THREADS="1"), cwd=machine.ROOT,
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout
