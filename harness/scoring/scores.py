"""Scores of graded answers: pure functions.

One function for each kind of answer, and the few scores that all kinds share. They are in one file, so that a reader
finds all metrics of result.json there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, singledispatch
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fflm_data.answers import CUT_OFF, REFUSED, UNPARSED
from fflm_data.arrays import Bools, Floats, Ints
from harness.prompts.jobs import Job
from harness.runs.run import Run
from harness.scoring.grading import (
    Graded,
    GradedChoices,
    GradedCompletions,
    GradedHistograms,
    GradedNumbers,
    GradedReads,
    grade,
)
from harness.scoring.statistics import Interval, error_interval, mean_interval, skill_interval
from harness.tasks import DialogueTask

RESULT_SCHEMA = "fflm-result/1"
DECIMALS = 8


@dataclass(frozen=True)
class Score:
    """One score of a result.

    low, high: its 95% interval. n: number of items (reads, sequences, rows or letters); errors: number of wrong items.
    baseline: score of the best baseline on the same rows. group: group of the split, None for the whole split; for
    baseline_accuracy, the name of the baseline.
    """

    task: str
    split: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    errors: int | None = None
    baseline: float | None = None
    group: str | None = None


def score_run(run: Run) -> dict[str, Any]:
    """result.json of a run. Raises UserError if observations are missing or do not match their rows."""
    return result_of(run, [entry for job in run.jobs() for entry in score(grade(run, job))])


def result_of(run: Run, scores: Sequence[Score]) -> dict[str, Any]:
    """result.json of a run, from its scores in the order of its jobs."""
    return {
        "schema": RESULT_SCHEMA,
        # The text of a chat template is in run.json.
        "model": {name: value for name, value in run.facts["model"].items() if name != "chat_template"},
        "data": run.facts["data"],
        "scores": list(map(_rounded, scores)),
        "environment": run.facts["environment"],
        "command": run.facts["command"],
    }


@singledispatch
def score(graded: Graded) -> list[Score]:
    """All scores of one job."""
    raise TypeError(f"no scores for {type(graded).__name__}")


@score.register
def _reads(graded: GradedReads) -> list[Score]:
    nonfinite = _nonfinite(graded)
    if not graded.counted.any():
        return nonfinite
    counted = graded.counted
    rows, job = graded.row[counted], graded.job
    among = proportion(job, "accuracy_among_symbols", graded.among[counted], rows, _best(graded, counted)[1])
    clean = np.bincount(rows, ~graded.right[counted], job.rows) == 0
    complete = np.bincount(graded.row, ~counted, job.rows) == 0  # sequences without non-finite logits
    sequences = np.flatnonzero(complete)
    clean_sequences = (
        [proportion(job, "sequences_without_glitch", clean[complete], sequences)] if len(sequences) else []
    )
    return [
        *nonfinite,
        *_accuracy(graded, counted),
        among,
        *clean_sequences,
        *_baselines(graded),
        *_by_group(graded, partial(_bare_accuracy, graded)),
    ]


@score.register
def _choices(graded: GradedChoices) -> list[Score]:
    nonfinite = _nonfinite(graded)
    if not graded.counted.any():
        return nonfinite

    def of(inside: Bools, group: str | None = None) -> list[Score]:
        written = proportion(
            graded.job, "accuracy_written", graded.written[inside], graded.cluster[inside], group=group
        )
        return [
            *_accuracy(graded, inside, group),
            written,
            mean(graded.job, "mean_probability", _by_cluster(graded, graded.probability, inside), group, within=(0, 1)),
            mean(
                graded.job, "mean_reciprocal_rank", _by_cluster(graded, 1 / graded.rank, inside), group, within=(0, 1)
            ),
        ]

    return [*nonfinite, *of(graded.counted), *_baselines(graded), *_by_group(graded, of)]


@score.register
def _numbers(graded: GradedNumbers) -> list[Score]:
    nonfinite = _nonfinite(graded)
    first = graded.counted & (graded.turn == 0)
    if not first.any():
        return nonfinite

    def of(inside: Bools, group: str | None = None) -> list[Score]:
        inside = inside & first
        return [*_accuracy(graded, inside, group), *_errors(graded, inside, group), *_unanswered(graded, inside, group)]

    dialogue = _dialogue(graded) if isinstance(graded.job.task, DialogueTask) else []
    return [*nonfinite, *of(first), *_baselines(graded, first), *dialogue, *_by_group(graded, of, first)]


@score.register
def _histograms(graded: GradedHistograms) -> list[Score]:
    nonfinite = _nonfinite(graded)
    if not graded.counted.any():
        return nonfinite

    def of(inside: Bools, group: str | None = None) -> list[Score]:
        return [*_accuracy(graded, inside, group), *_unanswered(graded, inside, group)]

    return [*nonfinite, *of(graded.counted), *_baselines(graded), *_letters(graded), *_by_group(graded, of)]


def _by_group(graded: Graded, of: Callable[[Bools, str], list[Score]], counted: Bools | None = None) -> Iterator[Score]:
    """The same scores for each group with scored items."""
    counted = graded.counted if counted is None else counted
    for name, members in graded.groups.items():
        if (inside := members & counted).any():
            yield from of(inside, name)


def _nonfinite(graded: Graded) -> list[Score]:
    """The share of items with NaN or infinite logits, if there are any; these are excluded from all other scores."""
    count, n = int((~graded.counted).sum()), len(graded.counted)
    if not count:
        return []
    return [Score(graded.job.task.name, graded.job.split, "not_a_number", count / n, None, None, n, count)]


def _best(graded: Graded, inside: Bools) -> tuple[Floats, float]:
    """The best baseline on some items: where it is right, and its accuracy."""
    _, best = graded.best_baseline(inside)
    return best, float(best.mean())


def _bare_accuracy(graded: Graded, inside: Bools, group: str | None = None) -> list[Score]:
    baseline = _best(graded, inside)[1]
    return [proportion(graded.job, "accuracy", graded.right[inside], graded.cluster[inside], baseline, group)]


def _accuracy(graded: Graded, inside: Bools, group: str | None = None) -> list[Score]:
    """Accuracy, and skill: (accuracy - baseline) / (1 - baseline) for the best baseline on the same items."""
    right, rows = graded.right[inside], graded.cluster[inside]
    baseline, base = _best(graded, inside)
    accuracy = proportion(graded.job, "accuracy", right, rows, base, group)
    interval = skill_interval(right, baseline, rows)
    skill = None if base >= 1 else (float(right.mean()) - base) / (1 - base)
    return [accuracy, _score(graded.job, "skill", skill, interval, len(right), group=group)]


def _baselines(graded: Graded, counted: Bools | None = None) -> list[Score]:
    """The accuracy of every baseline on the same items."""
    counted = graded.counted if counted is None else counted
    return [
        _score(graded.job, "baseline_accuracy", float(baseline.mean()), None, int(counted.sum()), group=name)
        for name, baseline in graded.baselines_at(counted).items()
    ]


def _errors(graded: GradedNumbers, inside: Bools, group: str | None) -> list[Score]:
    """The mean absolute and the mean signed error of the predicted numbers."""
    items = [item for item in np.flatnonzero(inside).tolist() if graded.predicted[item] is not None]
    target = graded.target[items]
    # With Python integers: two numbers of 18 digits may differ by more than int64 holds.
    error = np.array([float(int(graded.predicted[item] or 0) - int(graded.target[item])) for item in items])
    errors = [
        float(np.abs(baseline[items] - target).mean()) for baseline in graded.baseline_predictions.values() if items
    ]
    best = min(errors, default=None)
    return [
        mean(graded.job, "mean_absolute_error", np.abs(error), group, best, within=(0, np.inf)),
        mean(graded.job, "mean_signed_error", error, group),
    ]


def _unanswered(graded: GradedCompletions, inside: Bools, group: str | None) -> list[Score]:
    """The shares of outputs without an answer, by kind; they also count as wrong."""
    kinds = np.array(graded.kind)[inside]
    rows = graded.cluster[inside]
    named = {"parse_failures": UNPARSED, "refusals": REFUSED, "cut_off": CUT_OFF}
    return [share(graded.job, metric, kinds == kind, rows, group) for metric, kind in named.items()]


def _by_cluster(graded: Graded, values: Floats, inside: Bools) -> Floats:
    """The mean of each cluster. Clusters are independent samples of equal size."""
    _, cluster = np.unique(graded.cluster[inside], return_inverse=True)
    return np.bincount(cluster, values[inside]) / np.bincount(cluster)


def _dialogue(graded: GradedNumbers) -> list[Score]:
    """Scores of challenged answers: still right after k challenges, right at turn k, changes between numbers, turns
    without a number."""
    job, turns = graded.job, graded.job.prompting.turns
    right = graded.right.reshape(-1, turns)
    whole = graded.counted.reshape(-1, turns).all(axis=1)
    still_right = np.logical_and.accumulate(right, axis=1)[whole]
    right_at_first = still_right[still_right[:, 0]]
    scores = [
        proportion(
            job, "still_right", right_at_first[:, turn], np.arange(len(right_at_first)), group=f"challenges={turn}"
        )
        for turn in range(1, turns)
        if len(right_at_first)
    ]
    rows = np.flatnonzero(whole)
    predicted = [graded.predicted[row * turns : (row + 1) * turns] for row in rows.tolist()]
    numbers = [[number for number in row if number is not None] for row in predicted]
    changes = np.array([sum(a != b for a, b in pairwise(row)) for row in numbers], dtype=np.float64)
    if len(rows):
        scores += [
            proportion(job, "right_at_turn", right[whole, turn], rows, group=f"challenges={turn}")
            for turn in range(turns)
        ]
        without_number = np.array([number is None for row in predicted for number in row], dtype=bool)
        scores.append(share(job, "turns_without_number", without_number, np.repeat(rows, turns)))
    return [*scores, mean(job, "changes_of_mind", changes, None, within=(0, turns - 1))]


def _letters(graded: GradedHistograms) -> list[Score]:
    """Accuracy of the counts of the letters that occur, overall and by count. Without an answer all are wrong."""
    rows, counts, rights = [], [], []
    for item in np.flatnonzero(graded.counted).tolist():
        predicted = graded.predicted[item] or {}
        for letter, letter_count in graded.target[item].items():
            rows.append(int(graded.row[item]))
            counts.append(letter_count)
            rights.append(predicted.get(letter) == letter_count)
    row, count, right = np.array(rows), np.array(counts), np.array(rights)
    scores = [proportion(graded.job, "letter_accuracy", right, row)]
    for multiplicity in np.unique(count).tolist():
        inside = count == multiplicity
        scores.append(
            proportion(graded.job, "letter_accuracy", right[inside], row[inside], group=f"multiplicity={multiplicity}")
        )
    return scores


def proportion(  # noqa: PLR0917
    job: Job, metric: str, right: Bools, rows: Ints, baseline: float | None = None, group: str | None = None
) -> Score:
    """A share of right items, with its interval clustered by row."""
    low, high = error_interval(~right, rows)
    wrong = int(len(right) - right.sum())
    return _score(job, metric, float(right.mean()), Interval(1 - high, 1 - low), len(right), wrong, baseline, group)


def share(job: Job, metric: str, inside: Bools, rows: Ints, group: str | None = None) -> Score:
    """A share of items that count as errors, with its interval clustered by row."""
    return _score(
        job, metric, float(inside.mean()), error_interval(inside, rows), len(inside), int(inside.sum()), group=group
    )


def mean(  # noqa: PLR0917
    job: Job,
    metric: str,
    values: npt.NDArray[np.float64],
    group: str | None,
    baseline: float | None = None,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Score:
    """A mean over rows, None without rows. within: range of a value."""
    value = float(values.mean()) if len(values) else None
    return _score(job, metric, value, mean_interval(values, *within), len(values), baseline=baseline, group=group)


def _score(  # noqa: PLR0917
    job: Job,
    metric: str,
    value: float | None,
    interval: Interval | None,
    n: int,
    errors: int | None = None,
    baseline: float | None = None,
    group: str | None = None,
) -> Score:
    low, high = (None, None) if interval is None or value is None else interval
    return Score(job.task.name, job.split, metric, value, low, high, n, errors, baseline, group)


def _rounded(entry: Score) -> dict[str, Any]:
    """The score as JSON, rounded so that it does not depend on the last bits of the arithmetic."""
    return {key: round(value, DECIMALS) if isinstance(value, float) else value for key, value in vars(entry).items()}
