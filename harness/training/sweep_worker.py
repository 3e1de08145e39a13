"""A worker of a sweep: trains and evaluates units, one after another, in a process of its own.

Reads a JSON line per unit from its standard input, and writes a JSON line per event to its standard output: step,
done, failed. It ends when its standard input ends, also in the middle of a unit: then the sweep has been stopped.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from fflm_data.terminal import echo
from harness.training.recipe import recipe_from_json
from harness.training.recipe_values import as_tuple
from harness.training.sweep_units import Evaluation, Member, Unit

REPORTED_EVERY = 0.5


def unit_to_json(unit: Unit) -> dict[str, Any]:
    """A unit as JSON."""
    members = [
        {"group": member.group, "cell": member.cell, "recipe": member.recipe.to_json(),
         "tasks": member.evaluation.tasks, "limit": member.evaluation.limit, "folder": str(member.folder)}
        for member in unit.members
    ]  # fmt: skip
    return {"members": members, "side_by_side": unit.side_by_side}


def unit_from_json(content: dict[str, Any]) -> Unit:
    """The unit of `unit_to_json`."""
    members = tuple(
        Member(
            group=member["group"],
            cell=as_tuple(member["cell"]),
            recipe=recipe_from_json(member["recipe"]),
            evaluation=Evaluation(tuple(member["tasks"]), member["limit"]),
            folder=PurePosixPath(member["folder"]),
        )
        for member in content["members"]
    )
    return Unit(members, content["side_by_side"])


def main() -> int:
    """Runs the units. The first line of the standard input has the output folder and the options of the training."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # libraries and the evaluation print; the standard error is the log
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the sweep, which then ends this process
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    settings = json.loads(lines.get())
    from harness.training.execution import Execution

    execution = Execution(**settings["execution"] | {"report_to": tuple(settings["execution"]["report_to"])})
    while True:
        unit = unit_from_json(json.loads(lines.get()))
        _run(unit, Path(settings["output"]), execution, events)


def _read(lines: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _run(unit: Unit, output: Path, execution: Any, events: TextIO) -> None:
    """Runs a unit; its failure is an event."""
    from fflm_data.config import ParameterError
    from harness.errors import UserError
    from harness.training.sweep_member import run_unit

    last = 0.0

    def report(phase: str, step: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORTED_EVERY:
            last = now
            _send(events, phase=phase, step=step)

    echo(f"-- {unit.label}", file=sys.stderr)
    try:
        run_unit(unit, output, execution, report)
    except (UserError, ParameterError) as error:
        _send(events, failed=" ".join(str(error).split()))
    except Exception as error:
        traceback.print_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        _send(events, failed=reason)
    else:
        _send(events, done=True)


def _send(events: TextIO, **event: Any) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


if __name__ == "__main__":
    sys.exit(main())
