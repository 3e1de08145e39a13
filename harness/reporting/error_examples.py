"""Examples of errors: confident glitches, counts far off, refusals; from as many tasks as there are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import chain, zip_longest
from typing import cast

import numpy as np

from fflm_data.answers import ANSWERED
from fflm_data.arrays import Bools, Floats
from harness.reporting.grids import KINDS
from harness.scoring.grading import (
    Graded,
    GradedChoices,
    GradedCompletions,
    GradedHistograms,
    GradedNumbers,
    GradedReads,
)
from harness.tasks import ChoiceTask, ReadTask

MOST = 10
A_TASK = 3  # wrong answers of one split that may be shown if others have none
BEFORE, AFTER = 90, 190  # characters of a prompt that are shown, of its beginning and of its end
OUTPUT = 300


@dataclass(frozen=True)
class ErrorExample:
    """One wrong answer. prompt: an excerpt. predicted: the model's output, verbatim. detail: how wrong it is."""

    task: str
    split: str
    row: int
    prompt: str
    target: str
    predicted: str
    detail: str


def error_examples(graded: Sequence[Graded]) -> list[ErrorExample]:
    """At most ten, the first of every split before the second of any."""
    turns = zip_longest(*[chosen(one) for one in graded])
    return [wrong for wrong in chain.from_iterable(turns) if wrong is not None][:MOST]


@singledispatch
def chosen(graded: Graded) -> Iterator[ErrorExample]:
    """The examples of one split, at most `A_TASK`."""
    yield from ()


@chosen.register
def _reads(graded: GradedReads) -> Iterator[ErrorExample]:
    task = cast(ReadTask, graded.job.task)
    symbols = task.symbols(graded.job.config)
    items = np.arange(len(graded.row))
    target = graded.logprobs[items, graded.target]
    wrong = np.flatnonzero(~graded.right & graded.counted)
    rows: set[int] = set()
    for item in wrong[np.argsort(target[wrong], kind="stable")].tolist():
        row = int(graded.row[item])
        if row in rows:
            continue
        rows.add(row)
        table = graded.job.config.table(graded.job.split, row, row + 1)
        targets = task.targets(table)
        (place,) = np.flatnonzero(targets.position == graded.position[item]).tolist()
        said = int(graded.predicted[item])
        probability = float(np.exp(graded.logprobs[item, said])) if said >= 0 else 0.0
        yield ErrorExample(
            graded.job.task.name, graded.job.split, row,
            _excerpt(task.texts(table)[0][: int(targets.offset[place])]),
            f"{symbols[graded.target[item]]}, to which it gave {_share(float(np.exp(target[item])))}",
            f"{symbols[said]} with {_share(probability)}" if said >= 0 else "another token",
            f"{graded.gap[item]:,} instructions after the write, at position {graded.position[item]:,}",
        )  # fmt: skip
        if len(rows) == A_TASK:
            return


@chosen.register
def _numbers(graded: GradedNumbers) -> Iterator[ErrorExample]:
    off = np.array([-1.0 if said is None else abs(float(said) - target)
                    for said, target in zip(graded.predicted, graded.target.tolist(), strict=True)])  # fmt: skip
    wrong = ~graded.right & graded.counted
    answered = np.array([kind == ANSWERED for kind in graded.kind], dtype=bool)
    for item in _some(np.where(wrong & answered, off, -1.0), wrong, answered):
        right, number = int(graded.target[item]), graded.predicted[item]
        turn = f" after {graded.turn[item]} challenges" if graded.turn[item] else ""
        why = f"off by {off[item]:,.0f}{turn}" if number is not None else f"{KINDS[graded.kind[item]]}{turn}"
        yield _completed(graded, item, f"{right:,}", why)


@chosen.register
def _histograms(graded: GradedHistograms) -> Iterator[ErrorExample]:
    wrong = ~graded.right & graded.counted
    answered = np.array([kind == ANSWERED for kind in graded.kind], dtype=bool)
    off = np.array([
        -1.0 if said is None else sum(abs(said.get(sign, 0) - target.get(sign, 0)) for sign in {*said, *target})
        for said, target in zip(graded.predicted, graded.target, strict=True)
    ], dtype=float)  # fmt: skip
    for item in _some(np.where(wrong & answered, off, -1.0), wrong, answered):
        right = ", ".join(f"{sign} {count}" for sign, count in graded.target[item].items())
        yield _completed(
            graded, item, right, f"off by {off[item]:,.0f} in all" if answered[item] else KINDS[graded.kind[item]]
        )


@chosen.register
def _choices(graded: GradedChoices) -> Iterator[ErrorExample]:
    task = cast(ChoiceTask, graded.job.task)
    wrong = np.flatnonzero(~graded.right & graded.counted)
    for item in wrong[np.argsort(graded.probability[wrong], kind="stable")][:A_TASK].tolist():
        row = int(graded.row[item])
        table = graded.job.config.table(graded.job.split, row, row + 1)
        endings = task.candidates(table)[0]
        yield ErrorExample(
            graded.job.task.name, graded.job.split, row, _excerpt(task.texts(table)[0]),
            f"{endings[graded.target[item]].strip()}, to which it gave {_share(float(graded.probability[item]))}",
            endings[graded.predicted[item]].strip(), f"rank {graded.rank[item]:,} of {len(endings):,}",
        )  # fmt: skip


def _some(off: Floats, wrong: Bools, answered: Bools) -> list[int]:
    """The answer that is furthest off, one without an answer, and the one of middling error; of different items."""
    order = [item for item in np.argsort(-off, kind="stable").tolist() if off[item] >= 0]
    silent = np.flatnonzero(wrong & ~answered).tolist()
    return list(dict.fromkeys([*order[:1], *silent[:1], *order[len(order) // 2 :][:1]]))[:A_TASK]


def _completed(graded: GradedCompletions, item: int, right: str, why: str) -> ErrorExample:
    row = int(graded.row[item])
    table = graded.job.config.table(graded.job.split, row, row + 1)
    prompt, said = graded.job.task.texts(table)[0], graded.output[item]
    cut = said if len(said) <= OUTPUT else f"{said[:OUTPUT]} […]"
    return ErrorExample(graded.job.task.name, graded.job.split, row, _excerpt(prompt), right, cut, why)


def _excerpt(text: str) -> str:
    """Beginning and end of a long text."""
    return text if len(text) <= BEFORE + AFTER + 10 else f"{text[:BEFORE]} […] {text[-AFTER:]}"


def _share(probability: float) -> str:
    percent = 100 * probability
    return f"{percent:.1f}%" if percent >= 0.1 else f"{percent:.2g}%" if percent >= 1e-4 else "under 0.0001%"
