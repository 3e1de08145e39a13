"""A submission among the records that are there: names that pass for another's, and observations that are another's."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.rows import Job
from harness.run import Run
from harness.tasks import CompletionTask
from leaderboard.judging.refusal import Refused, shown
from leaderboard.records import record_folders

# Signs that pass for one another in a name.
_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "_": "", "-": "", ".": ""})
# As many items of a table say whether it is a copy.
_FEW = 4_096


def require_unlike_others(run: Run, submission: dict[str, Any], place: PurePosixPath, records: Path) -> list[str]:
    """Raises Refused for a name that passes for another's, for observations of another record, and for superseding
    what is not there; returns what else a maintainer should know."""
    mine = run.facts["model"]["id"]
    superseded = set(submission["supersedes"])
    remarks = []
    for other, folder in _others(records, place):
        name = other["model"]["id"]
        if name != mine and skeleton(name) == skeleton(mine):
            raise Refused(f"{shown(mine)} passes for {shown(name)}, which has a record")
        if folder.name in superseded:
            if name != mine:
                raise Refused(f"it would supersede {folder.name}, which is of {shown(name)}")
            superseded.discard(folder.name)
            remarks.append(f"it supersedes {folder.name}: ask the contact of that one")
        if copied := _copied(run, other, folder):
            if name != mine:
                raise Refused(f"its log-probabilities of {copied} are those of {shown(name)}, to the last digit")
            remarks.append(f"its log-probabilities of {copied} are those of {folder.name}, an earlier record")
    if superseded:
        raise Refused(f"it would supersede {', '.join(sorted(superseded))}, and there is no such record")
    return remarks


def skeleton(name: str) -> str:
    """A name without what the eye passes over: case, hyphens, and signs that look like another."""
    return name.casefold().translate(_ALIKE).replace("rn", "m").replace("vv", "w")


def _others(records: Path, place: PurePosixPath) -> Iterator[tuple[dict[str, Any], Path]]:
    """run.json and folder of every other record."""
    for folder in record_folders(records):
        if PurePosixPath(folder.relative_to(records)) != place:
            yield json.loads((folder / "run.json").read_text(encoding="utf-8")), folder


def _copied(run: Run, other: dict[str, Any], folder: Path) -> str:
    """The first table whose log-probabilities are those of another record; "" if there is none.

    What is written may well be the same: many answers are right. Log-probabilities of two models never are.
    """
    asked = other["data"]["tasks"]
    for job in run.jobs():
        there = asked.get(job.task.name, {}).get("splits", {})
        path = folder / "observations" / run.table(job).name
        if isinstance(job.task, CompletionTask) or job.split not in there or not path.is_file():
            continue
        if _same(_beginning(run.table(job), job), _beginning(path, job)):
            return job.name
    return ""


def _beginning(path: Path, job: Job) -> Any:
    """The first log-probabilities of a table, float32."""
    with pq.ParquetFile(path) as file:
        batches = list(file.iter_batches(_FEW, row_groups=[0], columns=["logprobs"]))[:1]
    values = (
        pa.concat_arrays([batch.column(0).flatten() for batch in batches]) if batches else pa.array([], pa.float32())
    )
    return values.to_numpy()


def _same(some: Any, others: Any) -> bool:
    """Whether the log-probabilities that both have are alike; a constant says nothing."""
    n = min(len(some), len(others))
    return n > 1 and bool(np.ptp(some[:n]) > 0) and bool(np.abs(some[:n] - others[:n]).max() < 2.0**-15)
