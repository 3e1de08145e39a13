"""Reported scores: numbers that model repositories state. They cannot be recomputed.

    reported/<org>--<model>.json    beside the records; written by `leaderboard.hub.model_pages`

Their content is untrusted and is checked when it is written and when it is read.
"""

import re
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from fflm_data import get_config
from fflm_data.eval_yaml import scored_splits, task_id
from harness.errors import UserError
from harness.runs.files import write_json
from harness.tasks import all_tasks
from leaderboard.verification.reading import read_json
from leaderboard.verification.refusal import Refused
from leaderboard.verification.text_safety import text_fault

REPORTED_SCHEMA = "fflm-reported/1"
REPOSITORY = re.compile(r"(?!.*\.\.)[\w.-]{1,64}/[\w.-]{1,96}", re.ASCII)
MOST_SCORES = 200
# Maximum number of characters of each text.
_MOST = {"task": 64, "split": 64, "date": 40, "source": 500, "notes": 500, "dataset": 161}
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
# No user name before the host, which could be taken for the host, and no character that ends an attribute.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]*)?")


@dataclass(frozen=True)
class ReportedScore:
    """A stated score. value: from 0 to 1. date: ISO 8601, "" if unknown. source: http(s) address, "" if none. notes:
    one line, may be "". dataset: the dataset of the Hub that has the task."""

    task: str
    split: str
    value: float
    date: str
    source: str
    notes: str
    dataset: str


@dataclass(frozen=True)
class Reported:
    """The scores that a model repository states. model: ORG/NAME."""

    model: str
    scores: tuple[ReportedScore, ...]


@cache
def reportable() -> dict[str, tuple[str, str]]:
    """Returns, by task_id of `eval.yaml`, the task and split of the harness with the same rows and prompts.

    A task whose name differs from its config (letters-spelled) changes the prompt, so the dataset has no such task.
    """
    return {
        task_id(config, split): (task.name, split)
        for task in all_tasks().values()
        if task.name == task.config
        for config in [get_config(task.config)]
        for split in scored_splits(config)
    }


def fault_in(score: ReportedScore) -> str:
    """Returns what is wrong with a score; "" if nothing."""
    for name, most in _MOST.items():
        text = getattr(score, name)
        if not isinstance(text, str):
            return f"its {name} is not a text"
        fault = f"is longer than {most} characters" if len(text) > most else text_fault(text, heuristic=False)
        if fault or "\n" in text or "\t" in text:
            return f"its {name} {fault or 'has more than one line'}"
    faults = {
        "its task is not a task of the dataset": (score.task, score.split) not in reportable().values(),
        "its value is not between 0 and 1": type(score.value) not in (int, float) or not 0 <= score.value <= 1,
        "its date is not in ISO 8601": bool(score.date) and not _DATE.fullmatch(score.date),
        "its source is not an http or https address": bool(score.source) and not _ADDRESS.fullmatch(score.source),
        "its dataset is not ORG/NAME": not REPOSITORY.fullmatch(score.dataset),
    }
    return next((fault for fault, found in faults.items() if found), "")


def reported_file(folder: Path, model: str) -> Path:
    """Returns the file of a model's scores."""
    return folder / f"{model.replace('/', '--')}.json"


def write_reported(folder: Path, reported: Reported) -> Path:
    """Writes the file of a model and returns it."""
    folder.mkdir(exist_ok=True)
    path = reported_file(folder, reported.model)
    scores = [asdict(score) for score in reported.scores]
    write_json(path, {"schema": REPORTED_SCHEMA, "model": reported.model, "scores": scores})
    return path


def read_reported(folder: Path) -> list[Reported]:
    """Returns all reported scores, sorted by file; empty if there is no folder.

    Raises UserError for a file with a fault.
    """
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> Reported:
    try:
        return _reported(path, read_json(path))
    except (Refused, KeyError, TypeError) as error:
        raise UserError(f"{path} has no valid reported scores: {error}. Delete it and import them again.") from None


def _reported(path: Path, facts: dict[str, Any]) -> Reported:
    model, listed = facts["model"], facts["scores"]
    if facts["schema"] != REPORTED_SCHEMA or set(facts) != {"schema", "model", "scores"}:
        raise Refused("its schema is not fflm-reported/1")
    if not isinstance(model, str) or not REPOSITORY.fullmatch(model) or path != reported_file(path.parent, model):
        raise Refused("its file name does not match its model")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_SCORES:
        raise Refused(f"it does not have 1 to {MOST_SCORES} scores")
    names = {field.name for field in fields(ReportedScore)}
    if not all(isinstance(score, dict) and set(score) == names for score in listed):
        raise Refused("a score has other fields")
    scores = tuple(ReportedScore(**score) for score in listed)
    for number, score in enumerate(scores, start=1):
        if fault := fault_in(score):
            raise Refused(f"score {number}: {fault}")
    if len({(score.task, score.split) for score in scores}) < len(scores):
        raise Refused("it has a task and split twice")
    return Reported(model, scores)
