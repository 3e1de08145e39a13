"""Two runs on the same items: which model is right more often, by how much, and where exactly one is.

What is compared is the accuracy of result.json, on the rows that both runs have and the items of which both
models gave numbers. Each p-value stands for itself: of twenty comparisons of equals one is below 0.05.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Bools, Ints
from harness.errors import UserError
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.runs.differences import differences
from harness.runs.run import Run
from harness.scoring.grading import Graded, GradedChoices, GradedHistograms, GradedNumbers, GradedReads, grade
from harness.scoring.statistics import Comparison, paired_comparison

ITEMS = pa.schema(
    [
        ("id", pa.int64()),
        ("place", pa.int64()),
        ("target", pa.string()),
        ("a", pa.string()),
        ("b", pa.string()),
        ("right", pa.string()),
    ]
)


@dataclass(frozen=True)
class JobComparison:
    """Two models on one split of a task.

    rows: how many first rows both have. group: None, or "all turns" of a dialogue (whose accuracy is that of its
    first answers). accuracy_a, accuracy_b, paired: on the items of which both gave numbers; None if there is none.
    items: where exactly one is right, a table: id of the row, place (position of a read, turn of a dialogue, else
    null), gold (the target), what a and b predicted, which is right. lost: of how many items a model gave no numbers.
    """

    task: str
    split: str
    rows: int
    group: str | None
    accuracy_a: float | None
    accuracy_b: float | None
    paired: Comparison | None
    items: pa.Table
    lost: int


def compare_runs(run_a: Run, run_b: Run) -> list[JobComparison]:
    """All that two runs have in common, in the order of the first: same task, version, data and split.

    Raises UserError if that is nothing, if a run is not of this version, or not complete.
    """
    jobs_b = {_key(job): job for job in run_b.jobs()}
    shared = [(job, jobs_b[_key(job)]) for job in run_a.jobs() if _key(job) in jobs_b]
    if not shared:
        raise _nothing_shared(run_a, run_b)
    return [found for job_a, job_b in shared for found in compare_jobs(grade(run_a, job_a), grade(run_b, job_b))]


def compare_jobs(graded_a: Graded, graded_b: Graded) -> Iterator[JobComparison]:
    """One job as two models answered it; of dialogues first the first answers, then all turns that both have."""
    job_a, job_b = graded_a.job, graded_b.job
    rows = min(job_a.rows, job_b.rows)
    turns = min(job_a.prompting.turns, job_b.prompting.turns)
    yield _compare(graded_a, graded_b, rows=rows, turns=1, group=None)
    if turns > 1:
        yield _compare(graded_a, graded_b, rows=rows, turns=turns, group="all turns")


def remarks(run_a: Run, run_b: Run, names: tuple[str, str]) -> list[str]:
    """What makes two runs unequal, a sentence each: other rows, other ways to put questions, other data of a task."""
    jobs_b = {(job.task.name, job.split): job for job in run_b.jobs()}
    told: dict[str, None] = {}
    for job_a in run_a.jobs():
        job_b = jobs_b.get((job_a.task.name, job_a.split))
        if job_b is None:
            continue
        if _key(job_a) == _key(job_b):
            told |= dict.fromkeys(f"{job_a.name}: {note}" for note in _notes(job_a, job_b, names))
        else:
            changes = differences(job_a.config.parameters(), job_b.config.parameters(), job_a.task.name)
            told[f"{job_a.task.name} is of other data, and not compared: {'; '.join(changes)}"] = None
    return list(told)


def _key(job: Job) -> tuple[str, str, str]:
    return job.task.name, job.config.fingerprint(), job.split


def _compare(graded_a: Graded, graded_b: Graded, *, rows: int, turns: int, group: str | None) -> JobComparison:
    items_a, items_b = _asked(graded_a, rows, turns), _asked(graded_b, rows, turns)
    counted = graded_a.counted[items_a] & graded_b.counted[items_b]
    items_a, items_b = items_a[counted], items_b[counted]
    right_a, right_b = graded_a.right[items_a], graded_b.right[items_b]
    job, any_left = graded_a.job, bool(counted.any())
    return JobComparison(
        job.task.name,
        job.split,
        rows,
        group,
        float(right_a.mean()) if any_left else None,
        float(right_b.mean()) if any_left else None,
        paired_comparison(right_a, right_b, graded_a.cluster[items_a]) if any_left else None,
        _unlike(graded_a, graded_b, items_a[right_a != right_b], items_b[right_a != right_b]),
        int((~counted).sum()),
    )


def _asked(graded: Graded, rows: int, turns: int) -> Ints:
    """The items of the first rows and turns: in both runs the same, in the same order."""
    inside: Bools = graded.row < rows
    if isinstance(graded, GradedNumbers):
        inside = inside & (graded.turn < turns)
    return np.flatnonzero(inside)


def _notes(job_a: Job, job_b: Job, names: tuple[str, str]) -> Iterator[str]:
    """What differs between how two models were asked, a phrase each."""
    a, b = names
    if job_a.rows != job_b.rows:
        yield f"{a} has {job_a.rows:,} rows, {b} {job_b.rows:,}: compared on the first {min(job_a.rows, job_b.rows):,}"
    if job_a.prompting.chat != job_b.prompting.chat:
        chat, plain = (a, b) if job_a.prompting.chat else (b, a)
        yield f"{chat} was asked through its chat template, {plain} by a plain text"
    if job_a.task.rendering != job_b.task.rendering:
        yield f"rendering: {a} {job_a.task.rendering}, {b} {job_b.task.rendering}"
    # A template and what it can do are the model's own: only what was asked of it can be told apart.
    asked = [_requested(job.prompting) for job in (job_a, job_b)]
    yield from (
        f"{name}: {a} {asked[0][name]}, {b} {asked[1][name]}" for name in asked[0] if asked[0][name] != asked[1][name]
    )


def _requested(prompting: Prompting) -> dict[str, Any]:
    return {
        "demonstrations": prompting.shots,
        "system prompt": "none" if prompting.system is None else repr(prompting.system),
        "tokens for thinking": prompting.thinking,
        "turns": prompting.turns,
    }


def _unlike(graded_a: Graded, graded_b: Graded, items_a: Ints, items_b: Ints) -> pa.Table:
    """The table of the items where exactly one model is right."""
    place, target, predicted_a = item_texts(graded_a, items_a)
    _, _, predicted_b = item_texts(graded_b, items_b)
    right = np.where(graded_a.right[items_a], "a", "b").tolist()
    return pa.table([graded_a.row[items_a], place, target, predicted_a, predicted_b, right], schema=ITEMS)


ItemTexts = tuple[list[int | None], list[str], list[str]]


@singledispatch
def item_texts(graded: Graded, items: Ints) -> ItemTexts:
    """Of some items: the place within the row, the right answer, and what the model said."""
    raise TypeError(f"no answers of {type(graded).__name__} to compare")


@item_texts.register
def _reads(graded: GradedReads, items: Ints) -> ItemTexts:
    task: Any = graded.job.task
    names = (*task.symbols(graded.job.config), "another token")  # -1 is the last
    target, answers = ([names[one] for one in column[items].tolist()] for column in (graded.target, graded.predicted))
    return graded.position[items].tolist(), target, answers


@item_texts.register
def _numbers(graded: GradedNumbers, items: Ints) -> ItemTexts:
    answers = [
        graded.kind[one] if graded.predicted[one] is None else str(graded.predicted[one]) for one in items.tolist()
    ]
    turns = graded.turn[items].tolist() if graded.job.prompting.turns > 1 else [None] * len(items)
    return turns, list(map(str, graded.target[items].tolist())), answers


@item_texts.register
def _histograms(graded: GradedHistograms, items: Ints) -> ItemTexts:
    chosen = items.tolist()
    answers = [graded.kind[one] if graded.predicted[one] is None else _counts(graded.predicted[one]) for one in chosen]
    return [None] * len(chosen), [_counts(graded.target[one]) for one in chosen], answers


@item_texts.register
def _choices(graded: GradedChoices, items: Ints) -> ItemTexts:
    task: Any = graded.job.task
    endings = [ending for _, rows in graded.job.chunks() for ending in task.candidates(rows)]
    chosen = [endings[row] for row in graded.row[items].tolist()]
    target, answers = (
        [ending[one].strip() for ending, one in zip(chosen, column[items].tolist(), strict=True)]
        for column in (graded.target, graded.predicted)
    )
    return [None] * len(chosen), target, answers


def _counts(histogram: dict[str, int] | None) -> str:
    return " ".join(f"{letter}={count}" for letter, count in sorted((histogram or {}).items()))


def _nothing_shared(run_a: Run, run_b: Run) -> UserError:
    tasks_a, tasks_b = run_a.facts["data"]["tasks"], run_b.facts["data"]["tasks"]
    folders = f"{run_a.folder} and {run_b.folder}"
    for name in tasks_a:
        if name in tasks_b:
            changes = differences(tasks_a[name]["parameters"], tasks_b[name]["parameters"], name)
            other = "; ".join(changes) or f"its splits are {', '.join(tasks_a[name]['splits'])} in the first alone"
            return UserError(f"{folders} have no rows in common ({other}): run harness eval with the same --set")
    return UserError(
        f"{folders} have no task in common ({', '.join(tasks_a)}; {', '.join(tasks_b)}): run harness eval on the "
        f"second model with --task {next(iter(tasks_a))}"
    )
