"""Runs verification in a separate process with limits on memory and time and without write access.

A file that crashes a parser can only end that process, and the caller still gets a verdict. Windows has no memory
limit.
"""

import contextlib
import json
import signal
import subprocess
from collections.abc import Collection
from pathlib import Path

from harness.models import sandbox
from leaderboard.verification.verify_record import Verdict, verify_record

MOST_MEMORY = 2 * 2**30
MOST_SECONDS = 120
NOBODY = "nobody"  # in place of digests: the host was not queried


def verify_in_sandbox(
    folder: Path, records: Path | None = None, *, new: bool = True, own: Collection[str] | None = None
) -> Verdict:
    """Returns the verdict of `verify_record`, or a refusal if its process crashes or exceeds its memory or time."""
    known = NOBODY if own is None else ",".join(sorted(own))
    arguments = [str(folder), "new" if new else "accepted", known, *([str(records)] if records else [])]
    environment = sandbox.environment() | {"HF_HUB_OFFLINE": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(
            sandbox.command("leaderboard.verification.sandbox", *arguments),
            env=environment, capture_output=True, check=False, timeout=MOST_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _refused(folder, f"verification took more than {MOST_SECONDS} seconds, the limit")
    try:
        fields = json.loads(ended.stdout.decode("utf-8"))
        for name in ("reasons", "remarks"):
            fields[name] = tuple(fields[name])
        return Verdict(**fields)
    except (ValueError, KeyError, TypeError):
        how = f"by signal {-ended.returncode}" if ended.returncode < 0 else f"with status {ended.returncode}"
        memory = f" at a limit of {MOST_MEMORY >> 30} GiB of memory" if ended.returncode < 0 else ""
        return _refused(folder, f"the verification process ended {how}{memory}. A file may be damaged.")


def main(folder: str, submission: str, known: str, records: str | None = None) -> None:
    """Entry point of the process: verifies the record and prints the verdict as JSON, whatever happens."""
    _limit()
    try:
        own = None if known == NOBODY else known.split(",")
        verdict = verify_record(Path(folder), Path(records) if records else None, new=submission == "new", own=own)
    except Exception as error:
        memory = f" at a limit of {MOST_MEMORY >> 30} GiB of memory" if isinstance(error, MemoryError) else ""
        verdict = _refused(Path(folder), f"verification failed with {type(error).__name__}{memory}")
    print(json.dumps(vars(verdict)))


def _limit() -> None:
    sandbox.limit(MOST_MEMORY, MOST_SECONDS)
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _refused(folder: Path, reason: str) -> Verdict:
    return Verdict(str(folder), (reason,))
