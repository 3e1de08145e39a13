"""Several run folders at once, as a shell writes them out of `runs/MODEL/*`: one that cannot be taken is no reason to
leave the others."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fflm_data.terminal import say
from harness.errors import UserError
from harness.runs.run import Run, read_run

Made = TypeVar("Made")


def of_each(folders: Sequence[Path], make: Callable[[Run], Made]) -> list[Made]:
    """What `make` gives of each run, in order; of several, those that it or reading them refuses are named on stderr.

    Raises the first refusal if none is left.
    """
    made, refused = [], []
    for folder in folders:
        try:
            made.append(make(read_run(folder)))
        except UserError as error:
            refused.append(error)
    if not made and refused:
        raise refused[0]
    for reason in refused:
        say(f"skipped: {reason}", file=sys.stderr)
    return made


def complete(run: Run) -> Run:
    """The run itself. Raises UserError unless all of its observations are there."""
    for job in run.jobs():
        run.require_table(job)
    return run
