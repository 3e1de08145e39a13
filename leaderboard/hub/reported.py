"""Reported scores: numbers that models' repositories state of themselves, of which nothing can be recomputed.

    reported/<org>--<model>.json    beside the records; `leaderboard.hub.model_pages` writes them

What stands in them was written by anybody: it is checked when it is written and again when it is read.
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
from leaderboard.verification.texts import fault_of

REPORTED_SCHEMA = "fflm-reported/1"
REPOSITORY = re.compile(r"(?!.*\.\.)[\w.-]{1,64}/[\w.-]{1,96}", re.ASCII)
MOST_SCORES = 200
# How many characters each text may have.
_MOST = {"task": 64, "split": 64, "date": 40, "source": 500, "notes": 500, "dataset": 161}
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
# No user before the host, which would be taken for the host, and nothing that ends an attribute.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]*)?")


@dataclass(frozen=True)
class ReportedScore:
    """A number that somebody stated. value: a share, 0 to 1. date: when it was taken, ISO 8601, "" if not said. source:
    an http(s) address, "" if none. notes: one line, may be "". dataset: the data set of the Hub whose task it is."""

    task: str
    split: str
    value: float
    date: str
    source: str
    notes: str
    dataset: str


@dataclass(frozen=True)
class Reported:
    """What one model's repository states. model: ORG/NAME."""

    model: str
    scores: tuple[ReportedScore, ...]


@cache
def reportable() -> dict[str, tuple[str, str]]:
    """By task_id of `eval.yaml`, the task and split of the harness that ask the same rows in the same words.

    A task with a name of its own (letters-spelled) changes the question, and is no task of the data set.
    """
    return {
        task_id(config, split): (task.name, split)
        for task in all_tasks().values()
        if task.name == task.config
        for config in [get_config(task.config)]
        for split in scored_splits(config)
    }


def fault_in(score: ReportedScore) -> str:
    """What is wrong with a score, in a phrase; "" if nothing."""
    for name, most in _MOST.items():
        text = getattr(score, name)
        if not isinstance(text, str):
            return f"its {name} is no text"
        fault = f"is longer than {most} characters" if len(text) > most else fault_of(text, guess=False)
        if fault or "\n" in text or "\t" in text:
            return f"its {name} {fault or 'has more than one line'}"
    faults = {
        "it is about no task that the data set has": (score.task, score.split) not in reportable().values(),
        "its value is no share from 0 to 1": type(score.value) not in (int, float) or not 0 <= score.value <= 1,
        "its date is none of ISO 8601": bool(score.date) and not _DATE.fullmatch(score.date),
        "its source is no http or https address": bool(score.source) and not _ADDRESS.fullmatch(score.source),
        "its data set is no ORG/NAME": not REPOSITORY.fullmatch(score.dataset),
    }
    return next((fault for fault, found in faults.items() if found), "")


def reported_file(folder: Path, model: str) -> Path:
    """Where the scores of a model lie."""
    return folder / f"{model.replace('/', '--')}.json"


def write_reported(folder: Path, reported: Reported) -> Path:
    """Writes the file of a model; returns it."""
    folder.mkdir(exist_ok=True)
    path = reported_file(folder, reported.model)
    scores = [asdict(score) for score in reported.scores]
    write_json(path, {"schema": REPORTED_SCHEMA, "model": reported.model, "scores": scores})
    return path


def read_reported(folder: Path) -> list[Reported]:
    """All that is reported, in the order of the files; nothing if there is no folder.

    Raises UserError for a file with anything in it that `fault_in` finds.
    """
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> Reported:
    try:
        return _reported(path, read_json(path))
    except (Refused, KeyError, TypeError) as error:
        raise UserError(f"{path} holds no reported scores ({error}): delete it and import them again") from None


def _reported(path: Path, facts: dict[str, Any]) -> Reported:
    model, listed = facts["model"], facts["scores"]
    if facts["schema"] != REPORTED_SCHEMA or set(facts) != {"schema", "model", "scores"}:
        raise Refused("it has another schema")
    if not isinstance(model, str) or not REPOSITORY.fullmatch(model) or path != reported_file(path.parent, model):
        raise Refused("its name is not that of its model")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_SCORES:
        raise Refused(f"it has no list of 1 to {MOST_SCORES} scores")
    names = {field.name for field in fields(ReportedScore)}
    if not all(isinstance(one, dict) and set(one) == names for one in listed):
        raise Refused("a score has other fields")
    scores = tuple(ReportedScore(**one) for one in listed)
    for number, score in enumerate(scores, start=1):
        if fault := fault_in(score):
            raise Refused(f"score {number}: {fault}")
    if len({(score.task, score.split) for score in scores}) < len(scores):
        raise Refused("a task and split are there twice")
    return Reported(model, scores)
