"""`.eval_results/*.yaml`, in which a model's repository on the Hub states its scores: read as hostile text, added to.

Every scalar is taken as text (YAML's own types, tags and merge keys are what bombs are made of) and only
the fields that are known are looked at.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from leaderboard.hub.reported import ReportedScore, fault_in, reportable
from leaderboard.verification.refusal import Refused

FOLDER = ".eval_results"
MOST_BYTES = 64 * 1024
_NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)
# How YAML writes that there is nothing.
_NOTHING = {"", "~", "null", "Null", "NULL"}


def parse(content: bytes) -> list[Any]:
    """The entries of a file, all scalars as text. Raises Refused if it is no YAML list."""
    try:
        # Lists and mappings of texts only: nothing is constructed, however it is tagged.
        value = yaml.load(content, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Refused("it is no YAML") from None
    if not isinstance(value, list):
        raise Refused("it is no list of results")
    return value


def subject(entry: Any) -> tuple[str, str] | None:
    """The data set (in lower case) and the task_id that an entry is about; None if it does not say."""
    dataset = entry.get("dataset") if isinstance(entry, dict) else None
    if not isinstance(dataset, dict):
        return None
    name, task = dataset.get("id"), dataset.get("task_id")
    return (name.lower(), task) if isinstance(name, str) and isinstance(task, str) else None


def scores(entries: list[Any], dataset: str) -> Iterator[ReportedScore | str]:
    """What each entry says of a data set: a score, or why it is left in a phrase; entries on others are passed over."""
    for number, entry in enumerate(entries, start=1):
        about = subject(entry)
        if about is None:
            yield f"entry {number}: it does not say of which data set and task it is"
        elif about[0] == dataset.lower():
            try:
                yield _score(entry, about[1], dataset)
            except Refused as refused:
                yield f"entry {number}: {refused}"


def _score(entry: dict[str, Any], task: str, dataset: str) -> ReportedScore:
    if task not in reportable():
        raise Refused("it is about no task that the data set has")
    value = entry.get("value")
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise Refused("its value is no number")
    source = entry.get("source", {})
    if not isinstance(source, dict):
        raise Refused("its source is no mapping")
    name, split = reportable()[task]
    score = ReportedScore(
        name, split, float(value), _line(entry, "date"), _line(source, "url"), _line(entry, "notes"), dataset
    )
    if fault := fault_in(score):
        raise Refused(fault)
    return score


def _line(mapping: dict[str, Any], key: str) -> str:
    """A text on one line, "" if it is not there."""
    text = mapping.get(key, "")
    if not isinstance(text, str):
        raise Refused(f"its {key} is no text")
    if text in _NOTHING:
        return ""
    return " ".join(text.split()) if "\n" in text else text


def add(content: bytes | None, ours: list[dict[str, Any]]) -> str:
    """The file with some entries added to it, in the place of those about the same data set and task.

    What others wrote stays as it is, comments aside. content: None for a new file. Raises Refused if it is no list.
    """
    added = yaml.safe_dump(ours, sort_keys=False, allow_unicode=True, width=120)
    if content is None:
        return added
    replaced = {subject(entry) for entry in parse(added.encode())}
    there = parse(content)
    # Nodes carry how each scalar is written, so that nothing of others has to be understood.
    root = yaml.compose(content, Loader=yaml.SafeLoader)
    kept = [node for node, entry in zip(root.value, there, strict=True) if subject(entry) not in replaced]
    root.value = [*kept, *yaml.compose(added, Loader=yaml.SafeLoader).value]
    root.flow_style = False
    return yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=120)
