"""From what is graded to scores: pure functions, wherever the observations came from.

One function for each kind of answer, and under them the few scores that all kinds are made of: in one file, so that
all metrics of a result.json are found in it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
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
    """One number of a result.

    low, high: its 95% interval. n: what was counted (reads, sequences, rows or letters); errors: how many of
    them were wrong. baseline: the score of the best baseline on the same rows. group: the part of the split,
    None for all of it; of a baseline, its name.
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
    """result.json of a run. Raises UserError if its observations are not there or not those of its rows."""
    return result_of(run, [one for job in run.jobs() for one in score(grade(run, job))])


def result_of(run: Run, scores: Sequence[Score]) -> dict[str, Any]:
    """result.json of a run, from its scores in the order of its jobs."""
    return {
        "schema": RESULT_SCHEMA,
        # The text of a chat template stands in run.json.
        "model": {name: value for name, value in run.facts["model"].items() if name != "chat_template"},
        "data": run.facts["data"],
        "scores": [_rounded(one) for one in scores],
        "environment": run.facts["environment"],
        "command": run.facts["command"],
    }


@singledispatch
def score(graded: Graded) -> list[Score]:
    """All scores of one job."""
    raise TypeError(f"no scores for {type(graded).__name__}")


@score.register
def _reads(graded: GradedReads) -> list[Score]:
    lost = _not_a_number(graded)
    if not graded.counted.any():
        return lost
    counted = graded.counted
    rows, job = graded.row[counted], graded.job
    among = proportion(job, "accuracy_among_symbols", graded.among[counted], rows, _best(graded, counted)[1])
    clean = np.bincount(rows, ~graded.right[counted], job.rows) == 0
    told = np.bincount(graded.row, ~counted, job.rows) == 0
    whole = [proportion(job, "sequences_without_glitch", clean[told], np.flatnonzero(told))] if told.any() else []
    return [
        *lost,
        *_accuracy(graded, counted),
        among,
        *whole,
        *_baselines(graded),
        *_by_group(graded, partial(_bare_accuracy, graded)),
    ]


@score.register
def _choices(graded: GradedChoices) -> list[Score]:
    lost = _not_a_number(graded)
    if not graded.counted.any():
        return lost

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

    return [*lost, *of(graded.counted), *_baselines(graded), *_by_group(graded, of)]


@score.register
def _numbers(graded: GradedNumbers) -> list[Score]:
    lost = _not_a_number(graded)
    first = graded.counted & (graded.turn == 0)
    if not first.any():
        return lost

    def of(inside: Bools, group: str | None = None) -> list[Score]:
        inside = inside & first
        return [*_accuracy(graded, inside, group), *_errors(graded, inside, group), *_unanswered(graded, inside, group)]

    dialogue = _dialogue(graded) if isinstance(graded.job.task, DialogueTask) else []
    return [*lost, *of(first), *_baselines(graded, first), *dialogue, *_by_group(graded, of, first)]


@score.register
def _histograms(graded: GradedHistograms) -> list[Score]:
    lost = _not_a_number(graded)
    if not graded.counted.any():
        return lost

    def of(inside: Bools, group: str | None = None) -> list[Score]:
        return [*_accuracy(graded, inside, group), *_unanswered(graded, inside, group)]

    return [*lost, *of(graded.counted), *_baselines(graded), *_letters(graded), *_by_group(graded, of)]


def _by_group(graded: Graded, of: Callable[[Bools, str], list[Score]], counted: Bools | None = None) -> Iterator[Score]:
    """The same scores of the parts in which anything was counted."""
    counted = graded.counted if counted is None else counted
    for name, members in graded.groups.items():
        if (inside := members & counted).any():
            yield from of(inside, name)


def _not_a_number(graded: Graded) -> list[Score]:
    """How often the logits were NaN or infinite, if ever: what is asked there is neither right nor wrong."""
    count, n = int((~graded.counted).sum()), len(graded.counted)
    return [Score(graded.job.task.name, graded.job.split, "not_a_number", count / n, None, None, n, count)] * bool(
        count
    )


def _best(graded: Graded, inside: Bools) -> tuple[Floats, float]:
    """The baseline that is right most often on some items: where it is right, and how often."""
    _, best = graded.best_baseline(inside)
    return best, float(best.mean())


def _bare_accuracy(graded: Graded, inside: Bools, group: str | None = None) -> list[Score]:
    baseline = _best(graded, inside)[1]
    return [proportion(graded.job, "accuracy", graded.right[inside], graded.cluster[inside], baseline, group)]


def _accuracy(graded: Graded, inside: Bools, group: str | None = None) -> list[Score]:
    """Accuracy, and skill: what part of the way from the best baseline on the same items to perfection."""
    right, rows = graded.right[inside], graded.cluster[inside]
    baseline, base = _best(graded, inside)
    accuracy = proportion(graded.job, "accuracy", right, rows, base, group)
    interval = skill_interval(right, baseline, rows)
    skill = None if base >= 1 else (float(right.mean()) - base) / (1 - base)
    return [accuracy, _score(graded.job, "skill", skill, interval, len(right), group=group)]


def _baselines(graded: Graded, counted: Bools | None = None) -> list[Score]:
    """Every baseline on the same items, by name."""
    counted = graded.counted if counted is None else counted
    return [
        _score(graded.job, "baseline_accuracy", float(baseline.mean()), None, int(counted.sum()), group=name)
        for name, baseline in graded.baselines_at(counted).items()
    ]


def _errors(graded: GradedNumbers, inside: Bools, group: str | None) -> list[Score]:
    """How far the numbers that were said are from the right ones, and to which side."""
    place = [one for one in np.flatnonzero(inside).tolist() if graded.predicted[one] is not None]
    target = graded.target[place]
    # In Python's numbers: two of 18 digits may differ by more than int64 holds.
    off = np.array([float(int(graded.predicted[one] or 0) - int(graded.target[one])) for one in place])
    errors = [
        float(np.abs(baseline[place] - target).mean()) for baseline in graded.baseline_predictions.values() if place
    ]
    best = min(errors, default=None)
    return [
        mean(graded.job, "mean_absolute_error", np.abs(off), group, best, within=(0, np.inf)),
        mean(graded.job, "mean_signed_error", off, group),
    ]


def _unanswered(graded: GradedCompletions, inside: Bools, group: str | None) -> list[Score]:
    """How often nothing was answered, by how: those are wrong answers too."""
    kinds = np.array(graded.kind)[inside]
    rows = graded.cluster[inside]
    named = {"parse_failures": UNPARSED, "refusals": REFUSED, "cut_off": CUT_OFF}
    return [share(graded.job, metric, kinds == kind, rows, group) for metric, kind in named.items()]


def _by_cluster(graded: Graded, values: Floats, inside: Bools) -> Floats:
    """The mean of each cluster: those are independent draws, and as large as one another."""
    _, cluster = np.unique(graded.cluster[inside], return_inverse=True)
    return np.bincount(cluster, values[inside]) / np.bincount(cluster)


def _dialogue(graded: GradedNumbers) -> list[Score]:
    """What becomes of answers that are challenged: still right after k challenges, changes of mind from one number to
    another, and how often nothing was answered."""
    job, turns = graded.job, graded.job.prompting.turns
    right = graded.right.reshape(-1, turns)
    whole = graded.counted.reshape(-1, turns).all(axis=1)
    standing = np.logical_and.accumulate(right, axis=1)[whole]
    at_first = standing[standing[:, 0]]
    scores = [
        proportion(job, "still_right", at_first[:, turn], np.arange(len(at_first)), group=f"challenges={turn}")
        for turn in range(1, turns)
        if len(at_first)
    ]
    rows = np.flatnonzero(whole)
    scores += [
        proportion(job, "right_at_turn", right[whole, turn], rows, group=f"challenges={turn}") for turn in range(turns)
    ] * bool(len(rows))
    said = [graded.predicted[row * turns : (row + 1) * turns] for row in rows.tolist()]
    numbers = [[one for one in turn if one is not None] for turn in said]
    changes = np.array([sum(a != b for a, b in pairwise(row)) for row in numbers], dtype=np.float64)
    silent = np.array([one is None for row in said for one in row], dtype=bool)
    scores += [share(job, "turns_without_number", silent, np.repeat(rows, turns))] * bool(len(rows))
    return [*scores, mean(job, "changes_of_mind", changes, None, within=(0, turns - 1))]


def _letters(graded: GradedHistograms) -> list[Score]:
    """Letters that occur, by how often they do; those of an answer that says no counts are wrong."""
    rows, times, right = [], [], []
    for place in np.flatnonzero(graded.counted).tolist():
        said = graded.predicted[place] or {}
        for letter, count in graded.target[place].items():
            rows.append(int(graded.row[place]))
            times.append(count)
            right.append(said.get(letter) == count)
    row, count, good = np.array(rows), np.array(times), np.array(right)
    found = [proportion(graded.job, "letter_accuracy", good, row)]
    for multiplicity in np.unique(count).tolist():
        inside = count == multiplicity
        found.append(
            proportion(graded.job, "letter_accuracy", good[inside], row[inside], group=f"multiplicity={multiplicity}")
        )
    return found


def proportion(  # noqa: PLR0917
    job: Job, metric: str, right: Bools, rows: Ints, baseline: float | None = None, group: str | None = None
) -> Score:
    """A share of what is right, its interval clustered by row."""
    low, high = error_interval(~right, rows)
    wrong = int(len(right) - right.sum())
    return _score(job, metric, float(right.mean()), Interval(1 - high, 1 - low), len(right), wrong, baseline, group)


def share(job: Job, metric: str, inside: Bools, rows: Ints, group: str | None = None) -> Score:
    """A share of something that is counted as an error."""
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
    """A mean over rows, None if there are none. within: what a value can be."""
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


def _rounded(one: Score) -> dict[str, Any]:
    """As JSON: rounded, so that the last bits of a processor's arithmetic do not show."""
    return {key: round(value, DECIMALS) if isinstance(value, float) else value for key, value in asdict(one).items()}
