"""Fresh rows: the model of a record is asked rows of a seed that nobody knew beforehand, and does as well, or not.

Whoever has seen the rows of a record, in training or by chance, does better on them than on others of the same kind:
the gap between the two scores is what that is worth.

The details of its attestation: {"seed": int, "environment": {...}, "left_out": {task: why}, "gaps": [{"task", "split",
"public": {"value", "low", "high", "n"}, "fresh": the same, "gap": public minus fresh, "low", "high"}]}.
"""

from dataclasses import replace
from typing import Any

import pyarrow as pa

from fflm_data.terminal import Bar
from harness.prompts.jobs import CHUNK_ROWS, Job
from harness.runs.environment import environment
from harness.scoring.grading import Graded, grade, grade_table
from harness.scoring.scores import score
from harness.scoring.statistics import Interval, difference_interval
from leaderboard.attestations import FRESH, Attestation, require_writable
from leaderboard.records import Record
from leaderboard.replay.rerun import Again, ask_again, in_order, now, recorded_model
from leaderboard.replay.row_choice import seed_of

MOST_ROWS = 500
# Of the rows that another seed gives, the part that may be among the public ones. Lists of words give a few hundredths.
MOST_KNOWN = 0.1
METRIC = "accuracy"
COUNTED = ("value", "low", "high", "n")


def fresh(record: Record, nonce: str, by: str, model: str | None = None, rows: int | None = None) -> Attestation:
    """Asks the model of a record `rows` fresh rows of each split (None: as many as the record has, at most 500).

    nonce: what decides the seed, given after submission. by: who asks. model: a folder in the place of the recorded id.
    Raises UserError where the recorded model cannot be had, or is another one by now, and for a nonce or a name that no
    attestation takes.
    """
    require_writable(by, nonce)
    run, jobs = record.run, record.run.jobs()
    seed = seed_of(run.facts["model"]["revision"], nonce)
    known = {job.task.name: share for job in jobs if (share := share_known(job, seed)) > MOST_KNOWN}
    asked = [job for job in jobs if job.task.name not in known]
    anew = [rows_anew(job, seed, rows) for job in asked]
    again = recorded_model(run, jobs, model)
    gaps = []
    with Bar(total=sum(job.rows for job in anew), desc="fresh", unit="row") as bar:
        for job, new in zip(asked, anew, strict=True):
            public, other = _accuracy(grade(run, job)), _accuracy(_graded(again, new, bar))
            if public and other:
                gaps.append(_gap(job, public, other))
    details = {
        "seed": seed,
        "environment": environment(again.device),
        "left_out": {name: f"{share:.0%} of its rows are the same with any seed" for name, share in known.items()},
        "gaps": gaps,
    }
    return Attestation(record.digest, FRESH, now(), by, nonce, None, details)


def share_known(job: Job, seed: int) -> float:
    """Which part of a job's rows another seed gives, too: much of it where there are only so many facts."""
    config = replace(job.config, seed=seed)
    public, other = (job.task.texts(one.table(job.split, 0, CHUNK_ROWS)) for one in (job.config, config))
    return len(set(public).intersection(other)) / len(set(other))


def rows_anew(job: Job, seed: int, rows: int | None) -> Job:
    """A job over so many rows of another seed (None: as many as it has, at most 500)."""
    config = replace(job.config, seed=seed)
    wanted = min(job.rows, MOST_ROWS) if rows is None else rows
    return replace(job, config=config, rows=min(wanted, config.rows(job.split)))


def _graded(again: Again, job: Job, bar: Bar) -> Graded:
    """What the model says to all rows of a job, as its observations would be graded."""
    tables: list[pa.Table] = []
    for said in ask_again(again, [job], {job.name: range(job.rows)}):
        tables.append(said.table)
        bar.update(len(said.ids))
    return grade_table(job.task, job, in_order(tables))


def _accuracy(graded: Graded) -> dict[str, float] | None:
    """The score of a whole split, its interval and what was counted; None if nothing was said in numbers."""
    for one in score(graded):
        if one.metric == METRIC and one.group is None:
            return {name: getattr(one, name) for name in COUNTED}
    return None


def _gap(job: Job, public: dict[str, float], other: dict[str, float]) -> dict[str, Any]:
    ends = [Interval(one["low"], one["high"]) for one in (public, other)]
    low, high = difference_interval(public["value"], ends[0], other["value"], ends[1])
    gap = {"gap": public["value"] - other["value"], "low": max(low, -1.0), "high": min(high, 1.0)}
    return {"task": job.task.name, "split": job.split, "public": public, "fresh": other, **gap}
