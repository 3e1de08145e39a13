"""Commands on several run folders, such as `runs/MODEL/*`: unusable runs are skipped."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fflm_data.terminal import echo
from harness.errors import UserError
from harness.runs.run import Run, read_run

Result = TypeVar("Result")


def for_each_run(folders: Sequence[Path], function: Callable[[Run], Result]) -> list[Result]:
    """Applies `function` to each run, in order. Prints runs with errors as skipped to stderr.

    Raises the first UserError if all runs have errors.
    """
    results, errors = [], []
    for folder in folders:
        try:
            results.append(function(read_run(folder)))
        except UserError as error:
            errors.append(error)
    if not results and errors:
        raise errors[0]
    for reason in errors:
        echo(f"skipped: {reason}", file=sys.stderr)
    return results


def require_complete(run: Run) -> Run:
    """Returns the run. Raises UserError unless it has all observations."""
    for job in run.jobs():
        run.require_table(job)
    return run
