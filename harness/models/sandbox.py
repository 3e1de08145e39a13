"""Processes for what a stranger wrote: bounds on memory and time, no token in their environment, modules of this
package and no other folder's."""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock, Timer
from typing import Any

# What a process needs of its environment; tokens and other secrets are not among it.
KEPT = ("PATH", "SYSTEMROOT", "SYSTEMDRIVE", "TEMP", "TMP", "TMPDIR", "HOME", "USERPROFILE", "LD_LIBRARY_PATH")
_PROGRAM = "import sys; sys.path[:0] = [sys.argv.pop(1)]; from {module} import main; main(*sys.argv[1:])"


def command(module: str, *arguments: str) -> list[str]:
    """The command that calls `main` of a module of this package, wherever it lies, with some arguments. The folder that
    it is called in is not searched for modules."""
    package = Path(__file__).parents[2]
    return [sys.executable, "-I", "-B", "-c", _PROGRAM.format(module=module), str(package), *arguments]


def environment(*more: str) -> dict[str, str]:
    """The environment of such a process; more: names of what else of this one's it gets."""
    kept = {name: os.environ[name] for name in (*KEPT, *more) if name in os.environ}
    return kept | {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def said(module: str, *arguments: str, env: dict[str, str]) -> Any:
    """What such a process prints, from JSON. Raises ValueError if it ends before it has printed any."""
    return json.loads(subprocess.run(command(module, *arguments), env=env, capture_output=True, check=False).stdout)


class Answering:
    """A process that answers lines of JSON until nobody asks any more; started when it is first needed and again after
    it has ended over a question."""

    def __init__(self, module: str, **variables: str):
        self._module, self._variables = module, variables
        self._lock = Lock()
        self._started: subprocess.Popen[bytes] | None = None
        self._by = 0  # the process that started it: a fork must not write into the same pipe

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Its answer, None if it has ended over it or took so many seconds by the clock."""
        with self._lock:
            process = self._running()
            late = Timer(seconds, process.kill)
            late.start()
            try:
                return self._answer(process, json.dumps(request).encode() + b"\n")
            finally:
                late.cancel()

    def end(self) -> None:
        """Ends it, if it runs."""
        if self._started is not None and self._by == os.getpid():
            self._started.kill()
            self._started.communicate()
        self._started = None
        atexit.unregister(self.end)

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._started is None or self._by != os.getpid() or self._started.poll() is not None:
            self._by = os.getpid()
            atexit.register(self.end)
            self._started = subprocess.Popen(
                command(self._module), env=environment() | self._variables,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self._started

    def _answer(self, process: "subprocess.Popen[bytes]", line: bytes) -> dict[str, Any] | None:
        if process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write(line)
            process.stdin.flush()
            if answer := process.stdout.readline():
                return dict(json.loads(answer))
        except (OSError, ValueError):
            pass
        except BaseException:  # interrupted: what it still says answers no later question
            self.end()
            raise
        self.end()
        return None


def limit(memory: int, seconds: int | None = None) -> None:
    """Bounds this process: bytes of memory of its own, seconds of processor time. Windows has no such bounds, and macOS
    heeds the one on time alone."""
    with contextlib.suppress(ImportError):
        import resource

        limits = [(resource.RLIMIT_DATA, memory)] + ([(resource.RLIMIT_CPU, seconds)] if seconds else [])
        for which, most in limits:
            with contextlib.suppress(ValueError, OSError):  # it may be lower already
                resource.setrlimit(which, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def may_take(seconds: int) -> None:
    """Ends this process after so much more processor time."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, most))
