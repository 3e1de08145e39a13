"""Reads and extends `.eval_results/*.yaml`, in which a model repository on the Hub states its scores. Untrusted input.

Every scalar is read as text, because YAML's types, tags and merge keys can be abused, and only known fields are used.
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
# YAML's notations of null.
_NOTHING = {"", "~", "null", "Null", "NULL"}


def parse(content: bytes) -> list[Any]:
    """Returns the entries of a file, all scalars as text. Raises Refused if it is not a YAML list."""
    try:
        # BaseLoader builds lists, mappings and strings only, whatever the tags.
        value = yaml.load(content, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Refused("it is not valid YAML") from None
    if not isinstance(value, list):
        raise Refused("it is not a list of results")
    return value


def subject(entry: Any) -> tuple[str, str] | None:
    """Returns the dataset (in lower case) and task_id of an entry; None if it has none."""
    dataset = entry.get("dataset") if isinstance(entry, dict) else None
    if not isinstance(dataset, dict):
        return None
    name, task = dataset.get("id"), dataset.get("task_id")
    return (name.lower(), task) if isinstance(name, str) and isinstance(task, str) else None


def scores(entries: list[Any], dataset: str) -> Iterator[ReportedScore | str]:
    """Yields for each entry about a dataset its score, or the reason why it is skipped."""
    for number, entry in enumerate(entries, start=1):
        about = subject(entry)
        if about is None:
            yield f"entry {number}: it has no dataset or task"
        elif about[0] == dataset.lower():
            try:
                yield _score(entry, about[1], dataset)
            except Refused as refused:
                yield f"entry {number}: {refused}"


def _score(entry: dict[str, Any], task: str, dataset: str) -> ReportedScore:
    if task not in reportable():
        raise Refused("its task is not a task of the dataset")
    value = entry.get("value")
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise Refused("its value is not a number")
    source = entry.get("source", {})
    if not isinstance(source, dict):
        raise Refused("its source is not a mapping")
    name, split = reportable()[task]
    score = ReportedScore(
        name, split, float(value), _line(entry, "date"), _line(source, "url"), _line(entry, "notes"), dataset
    )
    if fault := fault_in(score):
        raise Refused(fault)
    return score


def _line(mapping: dict[str, Any], key: str) -> str:
    """Returns a text on one line, "" if it is missing."""
    text = mapping.get(key, "")
    if not isinstance(text, str):
        raise Refused(f"its {key} is not a text")
    if text in _NOTHING:
        return ""
    return " ".join(text.split()) if "\n" in text else text


def add(content: bytes | None, ours: list[dict[str, Any]]) -> str:
    """Returns the file with entries added. They replace entries about the same dataset and task.

    Other entries stay as they are, except comments. content: None for a new file. Raises Refused if it is not a list.
    """
    added = yaml.safe_dump(ours, sort_keys=False, allow_unicode=True, width=120)
    if content is None:
        return added
    replaced = {subject(entry) for entry in parse(added.encode())}
    there = parse(content)
    # Nodes keep the notation of each scalar, so that entries of others need not be interpreted.
    root = yaml.compose(content, Loader=yaml.SafeLoader)
    kept = [node for node, entry in zip(root.value, there, strict=True) if subject(entry) not in replaced]
    root.value = [*kept, *yaml.compose(added, Loader=yaml.SafeLoader).value]
    root.flow_style = False
    return yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=120)
