"""Processes for what a stranger wrote: bounds on memory and time, no token in their environment, modules of this
package and no other folder's."""

import contextlib
import os
import sys
from pathlib import Path

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
