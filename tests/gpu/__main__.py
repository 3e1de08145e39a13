"""Runs the parts of the GPU check, each in a separate process with a time limit, and writes their results.

python -m tests.gpu [PART ...] [--size full|small]     (tests/gpu/check.sh also installs packages)
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import psutil

from tests.gpu import machine, table
from tests.gpu.results import FAILED, FILE, OUT_OF_TIME, PASSED, Part, Results, output_folder

# Seconds on a GPU, in total less than nine minutes. The small size has longer limits, for a shared CPU.
PARTS = {"exact": 90, "memory": 50, "speed": 170, "processes": 100, "quantized": 40, "smollm2": 85}
# Parts that run only if they are named.
NAMED = {"train": 540}
PATIENCE = {"full": 1, "small": 8}
# Unfinished runs, which the next call resumes.
RUNS = "runs.tar"


def main() -> int:
    """The exit status: 1 if anything failed or ran out of time."""
    parser = argparse.ArgumentParser(prog="tests/gpu/check.sh", description=__doc__.splitlines()[0])
    known = f"{', '.join(PARTS)} (default: all of them), or {', '.join(NAMED)}"
    parser.add_argument("parts", nargs="*", metavar="PART", help=known)
    parser.add_argument(
        "--size", choices=["full", "small"], default="full" if machine.has_gpu() else "small",
        help="full for a GPU, small for the same code in two minutes on a CPU (default: full if there is a GPU)",
    )  # fmt: skip
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS | NAMED]:
        parser.error(f"there is no part {unknown[0]!r}: {', '.join(PARTS | NAMED)}")
    out = output_folder()
    if given.inside:
        return run_inside(given.parts[0], given.size, out)
    signal.signal(signal.SIGTERM, stop)
    Results(out, machine.describe(given.size))
    unpack(out)
    try:
        statuses = [run_part(name, given.size, out) for name in given.parts or PARTS]
    finally:
        pack(out)
    print(f"\n{table.write(out)}\n{out}: {FILE}, {table.FILE}")
    return int(any(status != PASSED for status in statuses))


def run_part(name: str, size: str, out: Path) -> str:
    """Runs one part in a separate process; kills it at the time limit, and processes that it leaves running."""
    known = Results(out).part(name)
    if known["status"] == PASSED and not known["not_measured"]:
        print(f"{name}: passed in an earlier call", flush=True)
        return PASSED
    start = time.monotonic()
    Results(out).update(name, status=None)
    command = [sys.executable, "-m", "tests.gpu", name, "--size", size, "--inside"]
    process = subprocess.Popen(command, cwd=machine.ROOT, env=machine.environment())
    try:
        status = PASSED if process.wait((PARTS | NAMED)[name] * PATIENCE[size]) == 0 else FAILED
    except subprocess.TimeoutExpired:
        status = OUT_OF_TIME
    finally:
        end(process)
    seconds = time.monotonic() - start
    Results(out).update(name, status=status, seconds=round(seconds, 1))
    print(f"{name}: {status}, {seconds:.0f} s", flush=True)
    return status


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kills a process with all its descendants: workers of launchers have their own sessions."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for one in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


def stop(number: int, frame: object) -> None:
    """Ends the running part on SIGTERM and keeps its results."""
    raise SystemExit(128 + number)


def run_inside(name: str, size: str, out: Path) -> int:
    """Runs a part in this process."""
    with tempfile.TemporaryDirectory() as scratch:
        part = Part(name, size, out, Path(scratch))
        import_module(f"tests.gpu.{name}").check(part)
        return int(bool(part.failures))


def unpack(out: Path) -> None:
    """The unfinished runs of an earlier call."""
    if (out / RUNS).exists():
        with tarfile.open(out / RUNS) as archive:
            archive.extractall(out, filter="data")
        (out / RUNS).unlink()


def pack(out: Path) -> None:
    """Packs the runs into one file, since some machines return only few files."""
    if (runs := out / "runs").is_dir():
        with tarfile.open(out / RUNS, "w") as archive:
            archive.add(runs, "runs")
        shutil.rmtree(runs)


if __name__ == "__main__":
    sys.exit(main())
