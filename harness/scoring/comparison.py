"""Paired comparison of two runs: difference of accuracies, and the items on which exactly one model is right.

Compares the accuracy of result.json on the rows that both runs have, without items whose logits are non-finite in
either run. The p-values are not corrected for multiple comparisons: of twenty comparisons of equal models, one is
expected below 0.05.
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
from harness.runs.json_differences import differences
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
    first answers). accuracy_a, accuracy_b, paired: on the items with finite logits in both runs; None if there are
    none. items: the items on which exactly one model is right, as a table of id of the row, place (position of a read,
    turn of a dialogue, else null), target, predictions a and b, and which is right. nonfinite: number of items with
    NaN or infinite logits in either run.
    """

    task: str
    split: str
    rows: int
    group: str | None
    accuracy_a: float | None
    accuracy_b: float | None
    paired: Comparison | None
    items: pa.Table
    nonfinite: int


def compare_runs(run_a: Run, run_b: Run) -> list[JobComparison]:
    """Compares the jobs that two runs share (same task, version, data and split), in the order of the first run.

    Raises UserError if they share none, or if a run is of another version or incomplete.
    """
    jobs_b = {_key(job): job for job in run_b.jobs()}
    shared = [(job, jobs_b[_key(job)]) for job in run_a.jobs() if _key(job) in jobs_b]
    if not shared:
        raise _nothing_shared(run_a, run_b)
    return [entry for job_a, job_b in shared for entry in compare_jobs(grade(run_a, job_a), grade(run_b, job_b))]


def compare_jobs(graded_a: Graded, graded_b: Graded) -> Iterator[JobComparison]:
    """Compares two models on one job; for dialogues, first the first answers, then all turns that both have."""
    job_a, job_b = graded_a.job, graded_b.job
    rows = min(job_a.rows, job_b.rows)
    turns = min(job_a.prompting.turns, job_b.prompting.turns)
    yield _compare(graded_a, graded_b, rows=rows, turns=1, group=None)
    if turns > 1:
        yield _compare(graded_a, graded_b, rows=rows, turns=turns, group="all turns")


def remarks(run_a: Run, run_b: Run, names: tuple[str, str]) -> list[str]:
    """A sentence for each difference between the conditions of two runs: rows, prompting, data of a task."""
    jobs_b = {(job.task.name, job.split): job for job in run_b.jobs()}
    sentences: dict[str, None] = {}
    for job_a in run_a.jobs():
        job_b = jobs_b.get((job_a.task.name, job_a.split))
        if job_b is None:
            continue
        if _key(job_a) == _key(job_b):
            sentences |= dict.fromkeys(f"{job_a.name}: {note}" for note in _notes(job_a, job_b, names))
        else:
            changes = differences(job_a.config.parameters(), job_b.config.parameters(), job_a.task.name)
            sentences[f"{job_a.task.name} has different data and is not compared: {'; '.join(changes)}"] = None
    return list(sentences)


def _key(job: Job) -> tuple[str, str, str]:
    return job.task.name, job.config.fingerprint(), job.split


def compare_accuracy(graded_a: Graded, graded_b: Graded) -> Comparison | None:
    """The difference of two models' headline accuracies on the rows that both have; None if they share no item."""
    if _key(graded_a.job) != _key(graded_b.job):
        return None
    items_a, items_b, _ = _shared_items(graded_a, graded_b, min(graded_a.job.rows, graded_b.job.rows), turns=1)
    if not len(items_a):
        return None
    return paired_comparison(graded_a.right[items_a], graded_b.right[items_b], graded_a.cluster[items_a])


def _shared_items(graded_a: Graded, graded_b: Graded, rows: int, turns: int) -> tuple[Ints, Ints, int]:
    """The items of the first rows and turns with finite logits in both runs, and how many others there are."""
    items_a, items_b = _items(graded_a, rows, turns), _items(graded_b, rows, turns)
    counted = graded_a.counted[items_a] & graded_b.counted[items_b]
    return items_a[counted], items_b[counted], int((~counted).sum())


def _compare(graded_a: Graded, graded_b: Graded, *, rows: int, turns: int, group: str | None) -> JobComparison:
    items_a, items_b, nonfinite = _shared_items(graded_a, graded_b, rows, turns)
    right_a, right_b = graded_a.right[items_a], graded_b.right[items_b]
    job, any_left = graded_a.job, len(items_a) > 0
    return JobComparison(
        job.task.name,
        job.split,
        rows,
        group,
        float(right_a.mean()) if any_left else None,
        float(right_b.mean()) if any_left else None,
        paired_comparison(right_a, right_b, graded_a.cluster[items_a]) if any_left else None,
        _differing_items(graded_a, graded_b, items_a[right_a != right_b], items_b[right_a != right_b]),
        nonfinite,
    )


def _items(graded: Graded, rows: int, turns: int) -> Ints:
    """The items of the first rows and turns, which are in the same order in both runs."""
    inside: Bools = graded.row < rows
    if isinstance(graded, GradedNumbers):
        inside = inside & (graded.turn < turns)
    return np.flatnonzero(inside)


def _notes(job_a: Job, job_b: Job, names: tuple[str, str]) -> Iterator[str]:
    """A phrase for each difference between how two models were evaluated on a job."""
    a, b = names
    if job_a.rows != job_b.rows:
        first = min(job_a.rows, job_b.rows)
        yield f"{a} has {job_a.rows:,} rows, {b} has {job_b.rows:,}; compared on the first {first:,}"
    if job_a.prompting.chat != job_b.prompting.chat:
        chat, plain = (a, b) if job_a.prompting.chat else (b, a)
        yield f"{chat} uses its chat template, {plain} plain text"
    if job_a.task.rendering != job_b.task.rendering:
        yield f"rendering: {a} {job_a.task.rendering}, {b} {job_b.task.rendering}"
    # Chat templates and their features belong to the models: only the requested options are compared.
    options_a, options_b = _options(job_a.prompting), _options(job_b.prompting)
    yield from (
        f"{name}: {a} {options_a[name]}, {b} {options_b[name]}"
        for name in options_a
        if options_a[name] != options_b[name]
    )


def _options(prompting: Prompting) -> dict[str, Any]:
    return {
        "few-shot examples": prompting.shots,
        "system prompt": "none" if prompting.system is None else repr(prompting.system),
        "tokens for thinking": prompting.thinking,
        "turns": prompting.turns,
    }


def _differing_items(graded_a: Graded, graded_b: Graded, items_a: Ints, items_b: Ints) -> pa.Table:
    """The table of the items on which exactly one model is right."""
    place, target, predicted_a = item_texts(graded_a, items_a)
    _, _, predicted_b = item_texts(graded_b, items_b)
    right = np.where(graded_a.right[items_a], "a", "b").tolist()
    return pa.table([graded_a.row[items_a], place, target, predicted_a, predicted_b, right], schema=ITEMS)


ItemTexts = tuple[list[int | None], list[str], list[str]]


@singledispatch
def item_texts(graded: Graded, items: Ints) -> ItemTexts:
    """Of some items: the place within the row, the target and the prediction, as text."""
    raise TypeError(f"no answers of {type(graded).__name__} to compare")


@item_texts.register
def _reads(graded: GradedReads, items: Ints) -> ItemTexts:
    task: Any = graded.job.task
    names = (*task.symbols(graded.job.config), "another token")  # -1 is the last
    target, answers = (
        [names[symbol] for symbol in column[items].tolist()] for column in (graded.target, graded.predicted)
    )
    return graded.position[items].tolist(), target, answers


@item_texts.register
def _numbers(graded: GradedNumbers, items: Ints) -> ItemTexts:
    answers = [
        graded.kind[item] if graded.predicted[item] is None else str(graded.predicted[item]) for item in items.tolist()
    ]
    turns = graded.turn[items].tolist() if graded.job.prompting.turns > 1 else [None] * len(items)
    return turns, list(map(str, graded.target[items].tolist())), answers


@item_texts.register
def _histograms(graded: GradedHistograms, items: Ints) -> ItemTexts:
    chosen = items.tolist()
    answers = [
        graded.kind[item] if graded.predicted[item] is None else _counts(graded.predicted[item]) for item in chosen
    ]
    return [None] * len(chosen), [_counts(graded.target[item]) for item in chosen], answers


@item_texts.register
def _choices(graded: GradedChoices, items: Ints) -> ItemTexts:
    task: Any = graded.job.task
    candidates = [row_candidates for _, rows in graded.job.chunks() for row_candidates in task.candidates(rows)]
    chosen = [candidates[row] for row in graded.row[items].tolist()]
    target, answers = (
        [row[index].strip() for row, index in zip(chosen, column[items].tolist(), strict=True)]
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
            reason = "; ".join(changes) or f"only the first has the splits {', '.join(tasks_a[name]['splits'])} of it"
            return UserError(f"{folders} have no rows in common ({reason}). Run harness eval with the same --set.")
    return UserError(
        f"{folders} have no task in common ({', '.join(tasks_a)}; {', '.join(tasks_b)}). Run harness eval on the "
        f"second model with --task {next(iter(tasks_a))}."
    )
