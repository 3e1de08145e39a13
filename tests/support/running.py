"""Runs `harness eval` in subprocesses, and inspects their run folders."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from harness.evaluation.shards import records

HARNESS = [sys.executable, "-m", "harness"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
DEADLINE = 240.0


# One thread per process: more threads on shared cores mostly wait for each other.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}


def start(folder: Path, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
    """Starts a command in a folder, as a separate process group."""
    return subprocess.Popen(
        [*map(str, arguments)], cwd=folder, env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True,
    )  # fmt: skip


def end(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    """Waits for a process. Kills its process group and fails after DEADLINE seconds."""
    try:
        out, err = process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run(folder: Path, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return end(start(folder, *arguments, **environment))


def evaluate(folder: Path, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run(folder, *HARNESS, "eval", *arguments, **environment)


def only_run(folder: Path) -> Path:
    (path,) = folder.glob("runs/*/*/run.json")
    return path.parent


def result(folder: Path) -> bytes:
    return (only_run(folder) / "result.json").read_bytes()


def starts(folder: Path) -> list[dict[str, Any]]:
    info = json.loads((only_run(folder) / "run.json").read_text(encoding="utf-8"))
    return [{key: start[key] for key in ("processes", "machines")} for start in info["starts"]]


def until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Waits until a condition holds while a process runs."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def shard_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("runs/*/*/shards/*.shard"))


def rows_in_shards(folder: Path) -> int:
    return sum(len(record.ids) for shards in folder.glob("runs/*/*/shards") for record in records(shards))


def ranks(process: "subprocess.Popen[str]") -> dict[int, psutil.Process]:
    """Returns the rank processes of a launcher, by rank."""
    return dict(_ranks(psutil.Process(process.pid)))


def _ranks(launcher: psutil.Process) -> Iterator[tuple[int, psutil.Process]]:
    for child in launcher.children(recursive=True):
        try:
            rank = child.environ().get("RANK")
        except psutil.Error:
            continue
        if rank is not None and "harness" in child.cmdline():
            yield int(rank), child


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
