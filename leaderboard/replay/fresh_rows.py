"""Fresh rows: scores a record's model on rows of a new, unpredictable seed.

A model that has seen the rows of a record in training scores higher on them than on other rows of the same kind. The
gap between the two scores measures that.

Details of the attestation: {"seed": int, "environment": {...}, "left_out": {task: reason}, "gaps": [{"task", "split",
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
from leaderboard.attestations import FRESH, Attestation, require_valid_author
from leaderboard.records import Record
from leaderboard.replay.rerun import ReplayModel, concat_sorted, load_recorded_model, replay_rows, utc_now
from leaderboard.replay.row_sampling import fresh_seed

MOST_ROWS = 500
# Largest share of public rows among the rows of another seed. Word lists have a few percent in common.
MOST_KNOWN = 0.1
METRIC = "accuracy"
COUNTED = ("value", "low", "high", "n")


def score_fresh_rows(
    record: Record, nonce: str, by: str, model: str | None = None, rows: int | None = None
) -> Attestation:
    """Evaluates a record's model on `rows` fresh rows of each split (None: as many as the record has, at most 500).

    nonce: determines the seed, given after submission. by: author. model: a folder to use instead of the recorded id.
    Raises UserError if the recorded model is not available or has changed, or for an invalid nonce or author.
    """
    require_valid_author(by, nonce)
    run, jobs = record.run, record.run.jobs()
    seed = fresh_seed(run.facts["model"]["revision"], nonce)
    known = {job.task.name: share for job in jobs if (share := share_of_public_rows(job, seed)) > MOST_KNOWN}
    public_jobs = [job for job in jobs if job.task.name not in known]
    fresh_jobs = [fresh_job(job, seed, rows) for job in public_jobs]
    loaded = load_recorded_model(run, jobs, model)
    gaps = []
    with Bar(total=sum(job.rows for job in fresh_jobs), desc="fresh", unit="row") as bar:
        for job, new in zip(public_jobs, fresh_jobs, strict=True):
            public, other = _accuracy(grade(run, job)), _accuracy(_graded(loaded, new, bar))
            if public and other:
                gaps.append(_gap(job, public, other))
    details = {
        "seed": seed,
        "environment": environment(loaded.device),
        "left_out": {name: f"{share:.0%} of its rows are the same with any seed" for name, share in known.items()},
        "gaps": gaps,
    }
    return Attestation(record.digest, FRESH, utc_now(), by, nonce, None, details)


def share_of_public_rows(job: Job, seed: int) -> float:
    """Returns the share of rows of another seed that are among the job's rows. It is high for a small set of facts."""
    config = replace(job.config, seed=seed)
    public, other = (job.task.texts(each.table(job.split, 0, CHUNK_ROWS)) for each in (job.config, config))
    return len(set(public).intersection(other)) / len(set(other))


def fresh_job(job: Job, seed: int, rows: int | None) -> Job:
    """Returns a job over `rows` rows of another seed (None: as many as the job has, at most 500)."""
    config = replace(job.config, seed=seed)
    wanted = min(job.rows, MOST_ROWS) if rows is None else rows
    return replace(job, config=config, rows=min(wanted, config.rows(job.split)))


def _graded(model: ReplayModel, job: Job, bar: Bar) -> Graded:
    """Runs the model on all rows of a job and grades its outputs."""
    tables: list[pa.Table] = []
    for replayed in replay_rows(model, [job], {job.name: range(job.rows)}):
        tables.append(replayed.table)
        bar.update(len(replayed.ids))
    return grade_table(job.task, job, concat_sorted(tables))


def _accuracy(graded: Graded) -> dict[str, float] | None:
    """Returns the accuracy of a whole split with interval and n; None if all logits were non-finite."""
    for each in score(graded):
        if each.metric == METRIC and each.group is None:
            return {name: getattr(each, name) for name in COUNTED}
    return None


def _gap(job: Job, public: dict[str, float], other: dict[str, float]) -> dict[str, Any]:
    ends = [Interval(each["low"], each["high"]) for each in (public, other)]
    low, high = difference_interval(public["value"], ends[0], other["value"], ends[1])
    gap = {"gap": public["value"] - other["value"], "low": max(low, -1.0), "high": min(high, 1.0)}
    return {"task": job.task.name, "split": job.split, "public": public, "fresh": other, **gap}
