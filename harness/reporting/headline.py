"""The first table of a report: for every task and split accuracy, best baseline, skill; and two runs compared."""

from dataclasses import dataclass

import numpy as np

from fflm_data.arrays import Bools
from harness.scoring.grading import Graded, GradedNumbers
from harness.scoring.scores import score
from harness.scoring.statistics import Comparison, Interval, paired_comparison


@dataclass(frozen=True)
class Headline:
    """One task and split of one run. rows: of so many (`of`) the first; lost: items without numbers, left out."""

    task: str
    split: str
    rows: int
    of: int
    n: int
    errors: int
    lost: int
    accuracy: float
    interval: Interval
    baseline_name: str
    baseline: float
    skill: float | None
    skill_interval: Interval | None

    @property
    def standing(self) -> str:
        """How it compares with the best baseline: above, below, or not told apart by the interval."""
        low, high = self.interval
        return "above" if low > self.baseline else "below" if high < self.baseline else "near"


def skill_text(value: float) -> str:
    """A skill with as many digits as tell it from 0 and from 1."""
    for digits in range(3, 8):
        text = f"{value:.{digits}f}"
        if value in (0, 1) or float(text) not in (0, 1):
            break
    return text.replace("-", "\N{MINUS SIGN}")


def scored(graded: Graded) -> Bools:
    """The items that the accuracy of a task is over: of a dialogue the first answers."""
    return graded.turn == 0 if isinstance(graded, GradedNumbers) else np.ones(len(graded.row), dtype=bool)


def headline(graded: Graded) -> Headline | None:
    """The line of one task and split, from its scores; None if the model gave numbers nowhere."""
    scores = {(one.metric, one.group): one for one in score(graded)}
    accuracy, skill = scores.get(("accuracy", None)), scores.get(("skill", None))
    if accuracy is None or skill is None:
        return None
    baselines = {
        str(group): one.value or 0.0 for (metric, group), one in scores.items() if metric == "baseline_accuracy"
    }
    lost = scores.get(("not_a_number", None))
    return Headline(
        task=graded.job.task.name,
        split=graded.job.split,
        rows=graded.job.rows,
        of=graded.job.config.rows(graded.job.split),
        n=accuracy.n,
        errors=accuracy.errors or 0,
        lost=(lost.errors or 0) if lost else 0,
        accuracy=accuracy.value or 0.0,
        interval=Interval(accuracy.low or 0.0, accuracy.high or 0.0),
        baseline_name=max(baselines, key=lambda name: baselines[name]),
        baseline=accuracy.baseline or 0.0,
        skill=skill.value,
        skill_interval=None if skill.low is None or skill.high is None else Interval(skill.low, skill.high),
    )


def difference(graded: Graded, other: Graded) -> Comparison | None:
    """The first against another run on the rows that both were asked; None unless these are the same items."""
    if graded.job.config != other.job.config or graded.job.split != other.job.split:
        return None
    rows = min(graded.job.rows, other.job.rows)
    inside, inside_other = (one.row[scored(one)] < rows for one in (graded, other))
    counted = graded.counted[scored(graded)][inside] & other.counted[scored(other)][inside_other]
    if not counted.any():
        return None
    right = graded.right[scored(graded)][inside][counted]
    return paired_comparison(
        right, other.right[scored(other)][inside_other][counted], graded.cluster[scored(graded)][inside][counted]
    )
