"""Examples of errors: confident glitches, large count errors, refusals; from as many tasks as possible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import chain, zip_longest
from typing import cast

import numpy as np

from fflm_data.answers import ANSWERED
from fflm_data.arrays import Bools, Floats
from fflm_data.number_formats import short_percent
from harness.reporting.grid_plots import KINDS
from harness.scoring.grading import (
    Graded,
    GradedChoices,
    GradedCompletions,
    GradedHistograms,
    GradedNumbers,
    GradedReads,
)
from harness.tasks import ChoiceTask, ReadTask

MAX_EXAMPLES = 10
PER_SPLIT = 3  # used in full only if other splits have no errors
BEFORE, AFTER = 90, 190  # characters of the beginning and of the end of a prompt
OUTPUT = 300  # characters of an output


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
    """At most ten examples: the first of every split before the second of any."""
    rounds = zip_longest(*map(split_examples, graded))
    return [example for example in chain.from_iterable(rounds) if example is not None][:MAX_EXAMPLES]


@singledispatch
def split_examples(graded: Graded) -> Iterator[ErrorExample]:
    """The examples of one split, at most `PER_SPLIT`."""
    yield from ()


@split_examples.register
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
        (read,) = np.flatnonzero(targets.position == graded.position[item]).tolist()
        predicted = int(graded.predicted[item])
        probability = float(np.exp(graded.logprobs[item, predicted])) if predicted >= 0 else 0.0
        yield ErrorExample(
            graded.job.task.name, graded.job.split, row,
            _excerpt(task.texts(table)[0][: int(targets.offset[read])]),
            f"{symbols[graded.target[item]]}, probability {short_percent(float(np.exp(target[item])))}",
            f"{symbols[predicted]}, probability {short_percent(probability)}" if predicted >= 0 else "another token",
            f"{graded.gap[item]:,} instructions after the write, at position {graded.position[item]:,}",
        )  # fmt: skip
        if len(rows) == PER_SPLIT:
            return


@split_examples.register
def _numbers(graded: GradedNumbers) -> Iterator[ErrorExample]:
    pairs = zip(graded.predicted, graded.target.tolist(), strict=True)
    error = np.array([-1.0 if predicted is None else abs(float(predicted) - target) for predicted, target in pairs])
    wrong = ~graded.right & graded.counted
    answered = np.array([kind == ANSWERED for kind in graded.kind], dtype=bool)
    for item in _chosen(np.where(wrong & answered, error, -1.0), wrong, answered):
        target, number = int(graded.target[item]), graded.predicted[item]
        turn = f" after {graded.turn[item]} challenges" if graded.turn[item] else ""
        detail = f"off by {error[item]:,.0f}{turn}" if number is not None else f"{KINDS[graded.kind[item]]}{turn}"
        yield _completion(graded, item, f"{target:,}", detail)


@split_examples.register
def _histograms(graded: GradedHistograms) -> Iterator[ErrorExample]:
    wrong = ~graded.right & graded.counted
    answered = np.array([kind == ANSWERED for kind in graded.kind], dtype=bool)
    error = np.array([
        -1.0 if predicted is None
        else sum(abs(predicted.get(letter, 0) - target.get(letter, 0)) for letter in {*predicted, *target})
        for predicted, target in zip(graded.predicted, graded.target, strict=True)
    ], dtype=float)  # fmt: skip
    for item in _chosen(np.where(wrong & answered, error, -1.0), wrong, answered):
        target = ", ".join(f"{letter} {count}" for letter, count in graded.target[item].items())
        detail = f"off by {error[item]:,.0f} in total" if answered[item] else KINDS[graded.kind[item]]
        yield _completion(graded, item, target, detail)


@split_examples.register
def _choices(graded: GradedChoices) -> Iterator[ErrorExample]:
    task = cast(ChoiceTask, graded.job.task)
    wrong = np.flatnonzero(~graded.right & graded.counted)
    for item in wrong[np.argsort(graded.probability[wrong], kind="stable")][:PER_SPLIT].tolist():
        row = int(graded.row[item])
        table = graded.job.config.table(graded.job.split, row, row + 1)
        candidates = task.candidates(table)[0]
        probability = short_percent(float(graded.probability[item]))
        yield ErrorExample(
            graded.job.task.name, graded.job.split, row, _excerpt(task.texts(table)[0]),
            f"{candidates[graded.target[item]].strip()}, probability {probability}",
            candidates[graded.predicted[item]].strip(), f"rank {graded.rank[item]:,} of {len(candidates):,}",
        )  # fmt: skip


def _chosen(error: Floats, wrong: Bools, answered: Bools) -> list[int]:
    """The answer with the largest error, one without a number, and the one with the median error."""
    order = [item for item in np.argsort(-error, kind="stable").tolist() if error[item] >= 0]
    unanswered = np.flatnonzero(wrong & ~answered).tolist()
    return list(dict.fromkeys([*order[:1], *unanswered[:1], *order[len(order) // 2 :][:1]]))[:PER_SPLIT]


def _completion(graded: GradedCompletions, item: int, target: str, detail: str) -> ErrorExample:
    row = int(graded.row[item])
    table = graded.job.config.table(graded.job.split, row, row + 1)
    prompt, output = graded.job.task.texts(table)[0], graded.output[item]
    shown = output if len(output) <= OUTPUT else f"{output[:OUTPUT]} […]"
    return ErrorExample(graded.job.task.name, graded.job.split, row, _excerpt(prompt), target, shown, detail)


def _excerpt(text: str) -> str:
    """Beginning and end of a long text."""
    return text if len(text) <= BEFORE + AFTER + 10 else f"{text[:BEFORE]} […] {text[-AFTER:]}"
