"""The results of a check, written to one JSON file at once, from which a second call resumes.

results.json: {"schema", "machine": what it ran on, "parts": {part: {"status", "seconds", "figures": {case: {name:
value}}, "failures": {case: reason}, "not_measured": {case: reason}}}}. A case that has figures and no failure is done
and not run again.
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SCHEMA = "fflm-gpu-check/1"
FILE = "results.json"
PASSED, FAILED, OUT_OF_TIME = "passed", "failed", "out of time"

Figures = dict[str, Any]


class NotMeasuredError(Exception):
    """A case that this machine cannot run. It is reported, is not a failure, and is retried by the next call."""


class BrokenClaimError(Exception):
    """The measurement contradicts a claim; its figures are kept."""

    def __init__(self, reason: str, figures: Figures):
        super().__init__(reason)
        self.figures = figures


class Results:
    """The results file of a folder. Results of another machine are moved to a separate file."""

    def __init__(self, folder: Path, machine: Figures | None = None):
        self.path = folder / FILE
        self.facts: dict[str, Any] = {"schema": SCHEMA, "machine": machine, "parts": {}}
        if self.path.exists():
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if machine is None or found["machine"] == machine:
                self.facts = found
                return
            number = len(list(folder.glob("results*.json")))
            self.path.rename(folder / f"results-{number}.json")
        self._write()

    def part(self, name: str) -> dict[str, Any]:
        """The results of a part."""
        empty: dict[str, Any] = {"status": None, "seconds": 0.0, "figures": {}, "failures": {}, "not_measured": {}}
        return dict(self.facts["parts"].setdefault(name, empty))

    def update(self, name: str, **changes: Any) -> None:
        """Updates the results of a part, also on disk."""
        self.facts["parts"][name] = self.part(name) | changes
        self._write()

    def _write(self) -> None:
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.facts, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.path)


class Part:
    """A running part of the check. The results of each case are saved when it is done.

    size: "full" for a GPU, "small" for the same code in seconds on a CPU. out: folder of the results; scratch:
    temporary folder for models.
    """

    def __init__(self, name: str, size: str, out: Path, scratch: Path):
        self.name, self.size, self.out, self.scratch = name, size, out, scratch
        self._results = Results(out)

    def pick(self, full: Any, small: Any) -> Any:
        """A parameter by size."""
        return full if self.size == "full" else small

    def open(self, names: Sequence[str]) -> list[str]:
        """The cases that are not done."""
        known = self._results.part(self.name)
        return [name for name in names if name not in known["figures"] or name in known["failures"]]

    def case(self, name: str, measure: Callable[[], Figures]) -> None:
        """Measures a case unless it is done; a failure does not stop the other cases."""
        known = self._results.part(self.name)
        if not self.open([name]):
            print(f"{self.name}, {name}: known from an earlier call", flush=True)
            return
        start = time.perf_counter()
        figures: Figures | None = None
        failure = lacking = None
        try:
            figures = measure()
        except NotMeasuredError as reason:
            lacking = str(reason)
        except BrokenClaimError as broken:
            figures, failure = broken.figures, str(broken)
        except Exception as error:  # whatever a model or a GPU raises is a finding
            traceback.print_exc()
            failure = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        notes_of = {"figures": figures, "failures": failure, "not_measured": lacking}
        changes = {
            kind: {case: value for case, value in known[kind].items() if case != name}
            | ({} if found is None else {name: found})
            for kind, found in notes_of.items()
        }
        self._results.update(self.name, **changes)
        text = ", ".join(f"{key} {shown(value)}" for key, value in (figures or {}).items())
        notes = [f"FAILED, {failure}"] * bool(failure) + [f"not measured: {lacking}"] * bool(lacking)
        seconds = time.perf_counter() - start
        print(f"{self.name}, {name}, {seconds:.1f} s: {'; '.join([*notes, text])}", flush=True)

    @property
    def figures(self) -> dict[str, Figures]:
        """Figures by case."""
        return dict(self._results.part(self.name)["figures"])

    @property
    def failures(self) -> dict[str, str]:
        """Reasons of failures by case."""
        return dict(self._results.part(self.name)["failures"])


def shown(value: Any) -> str:
    """A formatted figure: three significant digits, integers in full."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def output_folder() -> Path:
    """The folder $OUT, or gpu-check in the working directory; created if needed."""
    folder = Path(os.environ.get("OUT") or "gpu-check").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
