"""Judging in a process of its own, with bounds on memory and time and nothing it may write.

A file made to break a parser can at worst end that process; whoever asked gets a verdict all the same. On
Windows there are no such bounds on memory, the rest holds.
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
NOBODY = "nobody"  # in the place of digests: nobody has asked who sent them


def verify_in_sandbox(
    folder: Path, records: Path | None = None, *, new: bool = True, own: Collection[str] | None = None
) -> Verdict:
    """The verdict of `verify_record`; a refusal if its process ends, runs out of memory or takes too long."""
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
        return _refused(folder, f"judging it took more than {MOST_SECONDS} seconds")
    try:
        said = json.loads(ended.stdout.decode("utf-8"))
        for name in ("reasons", "remarks"):
            said[name] = tuple(said[name])
        return Verdict(**said)
    except (ValueError, KeyError, TypeError):
        how = f"by signal {-ended.returncode}" if ended.returncode < 0 else f"with status {ended.returncode}"
        memory = f", which may have {MOST_MEMORY >> 30} GiB of memory" if ended.returncode < 0 else ""
        return _refused(folder, f"it ends the process that reads it ({how}{memory})")


def main(folder: str, submission: str, known: str, records: str | None = None) -> None:
    """In that process: judges, and prints the verdict as JSON, whatever happens on the way."""
    _limit()
    try:
        own = None if known == NOBODY else known.split(",")
        verdict = verify_record(Path(folder), Path(records) if records else None, new=submission == "new", own=own)
    except Exception as error:
        memory = f", which may have {MOST_MEMORY >> 30} GiB of memory" if isinstance(error, MemoryError) else ""
        verdict = _refused(Path(folder), f"the judge failed on it ({type(error).__name__}{memory})")
    print(json.dumps(vars(verdict)))


def _limit() -> None:
    sandbox.limit(MOST_MEMORY, MOST_SECONDS)
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _refused(folder: Path, reason: str) -> Verdict:
    return Verdict(str(folder), (reason,))
