"""The worker processes of a sweep, as seen by the sweep: one per GPU, or sharing the cores."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.engine import threads
from harness.training.sweep_units import Unit
from harness.training.sweep_worker import unit_to_json

MODULE = "harness.training.sweep_worker"
GPUS = "CUDA_VISIBLE_DEVICES"
PATIENCE = 10  # seconds for a worker to end


def worker_environment(number: int, gpus: int, cores: int) -> list[dict[str, str]]:
    """The environment variables of each worker: its GPU, or on a CPU its share of the cores unless the user has set
    the number of threads."""
    if gpus:
        named = [name for name in os.environ.get(GPUS, "").split(",") if name] or [str(index) for index in range(gpus)]
        return [{GPUS: named[index % len(named)]} for index in range(number)]
    share = str(max(1, cores // number))
    return [{} if threads.are_set() else {"OMP_NUM_THREADS": share, threads.DIVIDED: share}] * number


class Worker:
    """A worker process; started again for the next unit if it was killed.

    log: file of everything that it prints. unit: what it works on, None if nothing. events: where it puts its events.
    """

    def __init__(
        self, log: Path, environment: Mapping[str, str], settings: Mapping[str, Any], events: "queue.Queue[Any]"
    ):
        self.log = log
        self.unit: Unit | None = None
        self._environment, self._settings, self._events = environment, settings, events
        self._process: subprocess.Popen[str] | None = None
        self._step = ""

    @property
    def status(self) -> str:
        """Unit and step, for the progress line."""
        return f"{self.unit.label} {self._step}".rstrip() if self.unit else ""

    def give(self, unit: Unit) -> None:
        """Starts a unit."""
        self.unit, self._step = unit, ""
        if self._process is None:
            self._start()
        self._send(unit_to_json(unit))

    def take(self, event: Mapping[str, Any]) -> bool:
        """Takes an event; whether the unit has ended."""
        if self.unit and "phase" in event:
            steps = self.unit.members[0].recipe.schedule.steps
            training = event["phase"] == "training"
            self._step = f"step {event['step']:,} of {steps:,}" if training else event["phase"]
            return False
        if "ended" in event:
            self.stop()
        self.unit = None
        return True

    def failure(self, event: Mapping[str, Any]) -> str:
        """Why the unit of an event failed; empty if it did not."""
        if "ended" in event:
            status = event["ended"]
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            return f"its process {how}, see {self.log}"
        return str(event.get("failed", ""))

    def stop(self) -> None:
        """Ends the process, also in the middle of a unit."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):  # it has ended
            if process.stdin:
                process.stdin.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                encoding="utf-8", env={**os.environ, **self._environment},
            )  # fmt: skip
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        self._send(self._settings)

    def _send(self, content: Mapping[str, Any]) -> None:
        with suppress(OSError):  # it has ended, which is an event too
            if self._process and self._process.stdin:
                self._process.stdin.write(json.dumps(content) + "\n")
                self._process.stdin.flush()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            self._events.put((self, json.loads(line)))
        status = process.wait()
        if process is self._process:  # not stopped
            self._events.put((self, {"ended": status}))
