"""Sandboxed processes for untrusted files: limits on memory and time, no secrets in the environment, no imports
from the working directory."""

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

# Environment variables that a process needs. Tokens and other secrets are not among them.
KEPT = ("PATH", "SYSTEMROOT", "SYSTEMDRIVE", "TEMP", "TMP", "TMPDIR", "HOME", "USERPROFILE", "LD_LIBRARY_PATH")
_PROGRAM = """import json, sys
sys.path[:0] = json.loads(sys.argv.pop(1))
from {module} import main
main(*sys.argv[1:])"""


def command(module: str, *arguments: str) -> list[str]:
    """The command that calls `main(*arguments)` of a module of this package.

    It finds packages where this process does, such as in PYTHONPATH, but not in the working directory.
    """
    paths = [str(Path(__file__).parents[2]), *filter(_is_searched, sys.path)]
    return [sys.executable, "-I", "-B", "-c", _PROGRAM.format(module=module), json.dumps(paths), *arguments]


def _is_searched(path: Any) -> bool:
    """Whether an entry of sys.path, which can be any object, is a folder for a sandboxed process."""
    if not isinstance(path, str) or not Path(path).is_absolute():
        return False
    with contextlib.suppress(OSError):  # the working directory or the path does not exist
        return not Path(path).samefile(Path.cwd())
    return True


def environment(*names: str) -> dict[str, str]:
    """The environment of a sandboxed process. names: further variables to copy from this process."""
    kept = {name: os.environ[name] for name in (*KEPT, *names) if name in os.environ}
    return kept | {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def run_json(module: str, *arguments: str, env: dict[str, str]) -> Any:
    """Runs a module in a sandboxed process; returns its output, parsed as JSON. Raises ValueError without output."""
    return json.loads(subprocess.run(command(module, *arguments), env=env, capture_output=True, check=False).stdout)


class Server:
    """A sandboxed process that answers requests, one line of JSON each. It starts with the first request, and restarts
    after a request that ended it."""

    def __init__(self, module: str, **variables: str):
        self._module, self._variables = module, variables
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # pid of the process that started it: a fork must not write into the same pipe

    def request(self, message: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The response to a message; None if the process ended or took more than `seconds` of wall-clock time."""
        with self._lock:
            process = self._running()
            timer = Timer(seconds, process.kill)
            timer.start()
            try:
                return self._respond(process, json.dumps(message).encode() + b"\n")
            finally:
                timer.cancel()

    def close(self) -> None:
        """Ends the process, if it runs."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process = None
        atexit.unregister(self.close)

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._owner = os.getpid()
            atexit.register(self.close)
            self._process = subprocess.Popen(
                command(self._module), env=environment() | self._variables,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self._process

    def _respond(self, process: "subprocess.Popen[bytes]", line: bytes) -> dict[str, Any] | None:
        if process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write(line)
            process.stdin.flush()
            if response := process.stdout.readline():
                return dict(json.loads(response))
        except (OSError, ValueError):
            pass
        except BaseException:  # interrupted: a late response must not be taken for that of the next request
            self.close()
            raise
        self.close()
        return None


def limit(memory: int, seconds: int | None = None) -> None:
    """Limits this process. memory: bytes of private memory; seconds: CPU time. Windows supports neither, macOS only the
    CPU time."""
    with contextlib.suppress(ImportError):
        import resource

        limits = [(resource.RLIMIT_DATA, memory)] + ([(resource.RLIMIT_CPU, seconds)] if seconds else [])
        for kind, bound in limits:
            with contextlib.suppress(ValueError, OSError):  # the limit may be lower already
                resource.setrlimit(kind, (bound, bound))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_cpu_time(seconds: int) -> None:
    """Ends this process after that many more seconds of CPU time."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard_limit = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard_limit))
