"""The wrong answers that tell most: confident glitches, counts far off, refusals; over as many tasks as there are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import chain, zip_longest
from typing import cast

import numpy as np

from fflm_data.answers import ANSWERED
from harness.reporting.curves import Bools
from harness.reporting.grids import KINDS
from harness.reporting.series import Floats
from harness.scoring.grading import (
    Judged,
    JudgedChoices,
    JudgedCompletions,
    JudgedHistograms,
    JudgedNumbers,
    JudgedReads,
)
from harness.tasks import ChoiceTask, ReadTask

MOST = 10
A_TASK = 3  # wrong answers of one split that may be shown if others have none
BEFORE, AFTER = 90, 190  # characters of a prompt that are shown, of its beginning and of its end
OUTPUT = 300


@dataclass(frozen=True)
class Wrong:
    """One wrong answer. prompt: an excerpt; said: the model's words, verbatim; why: what is telling about it."""

    task: str
    split: str
    row: int
    prompt: str
    right: str
    said: str
    why: str


def telling(judged: Sequence[Judged]) -> list[Wrong]:
    """At most ten, the first of every split before the second of any."""
    turns = zip_longest(*[chosen(one) for one in judged])
    return [wrong for wrong in chain.from_iterable(turns) if wrong is not None][:MOST]


@singledispatch
def chosen(judged: Judged) -> Iterator[Wrong]:
    """The most telling ones of a split, at most `A_TASK`."""
    yield from ()


@chosen.register
def _reads(judged: JudgedReads) -> Iterator[Wrong]:
    task = cast(ReadTask, judged.job.task)
    symbols = task.symbols(judged.job.config)
    items = np.arange(len(judged.row))
    gold = judged.logprobs[items, judged.gold]
    wrong = np.flatnonzero(~judged.right & judged.counted)
    rows: set[int] = set()
    for item in wrong[np.argsort(gold[wrong], kind="stable")].tolist():
        row = int(judged.row[item])
        if row in rows:
            continue
        rows.add(row)
        table = judged.job.config.table(judged.job.split, row, row + 1)
        targets = task.targets(table)
        (place,) = np.flatnonzero(targets.position == judged.position[item]).tolist()
        said = int(judged.said[item])
        probability = float(np.exp(judged.logprobs[item, said])) if said >= 0 else 0.0
        yield Wrong(
            judged.job.task.name, judged.job.split, row,
            _excerpt(task.texts(table)[0][: int(targets.offset[place])]),
            f"{symbols[judged.gold[item]]}, to which it gave {_share(float(np.exp(gold[item])))}",
            f"{symbols[said]} with {_share(probability)}" if said >= 0 else "another token",
            f"{judged.gap[item]:,} instructions after the write, at position {judged.position[item]:,}",
        )  # fmt: skip
        if len(rows) == A_TASK:
            return


@chosen.register
def _numbers(judged: JudgedNumbers) -> Iterator[Wrong]:
    off = np.array([-1.0 if said is None else abs(float(said) - gold)
                    for said, gold in zip(judged.said, judged.gold.tolist(), strict=True)])  # fmt: skip
    wrong = ~judged.right & judged.counted
    answered = np.array([kind == ANSWERED for kind in judged.kind], dtype=bool)
    for item in _some(np.where(wrong & answered, off, -1.0), wrong, answered):
        right, number = int(judged.gold[item]), judged.said[item]
        turn = f" after {judged.turn[item]} challenges" if judged.turn[item] else ""
        why = f"off by {off[item]:,.0f}{turn}" if number is not None else f"{KINDS[judged.kind[item]]}{turn}"
        yield _completed(judged, item, f"{right:,}", why)


@chosen.register
def _histograms(judged: JudgedHistograms) -> Iterator[Wrong]:
    wrong = ~judged.right & judged.counted
    answered = np.array([kind == ANSWERED for kind in judged.kind], dtype=bool)
    off = np.array([
        -1.0 if said is None else sum(abs(said.get(sign, 0) - gold.get(sign, 0)) for sign in {*said, *gold})
        for said, gold in zip(judged.said, judged.gold, strict=True)
    ], dtype=float)  # fmt: skip
    for item in _some(np.where(wrong & answered, off, -1.0), wrong, answered):
        right = ", ".join(f"{sign} {count}" for sign, count in judged.gold[item].items())
        yield _completed(
            judged, item, right, f"off by {off[item]:,.0f} in all" if answered[item] else KINDS[judged.kind[item]]
        )


@chosen.register
def _choices(judged: JudgedChoices) -> Iterator[Wrong]:
    task = cast(ChoiceTask, judged.job.task)
    wrong = np.flatnonzero(~judged.right & judged.counted)
    for item in wrong[np.argsort(judged.probability[wrong], kind="stable")][:A_TASK].tolist():
        row = int(judged.row[item])
        table = judged.job.config.table(judged.job.split, row, row + 1)
        endings = task.candidates(table)[0]
        yield Wrong(
            judged.job.task.name, judged.job.split, row, _excerpt(task.texts(table)[0]),
            f"{endings[judged.gold[item]].strip()}, to which it gave {_share(float(judged.probability[item]))}",
            endings[judged.said[item]].strip(), f"rank {judged.rank[item]:,} of {len(endings):,}",
        )  # fmt: skip


def _some(off: Floats, wrong: Bools, answered: Bools) -> list[int]:
    """The answer that is furthest off, one without an answer, and the one of middling error; of different items."""
    order = [item for item in np.argsort(-off, kind="stable").tolist() if off[item] >= 0]
    silent = np.flatnonzero(wrong & ~answered).tolist()
    return list(dict.fromkeys([*order[:1], *silent[:1], *order[len(order) // 2 :][:1]]))[:A_TASK]


def _completed(judged: JudgedCompletions, item: int, right: str, why: str) -> Wrong:
    row = int(judged.row[item])
    table = judged.job.config.table(judged.job.split, row, row + 1)
    prompt, said = judged.job.task.texts(table)[0], judged.output[item]
    cut = said if len(said) <= OUTPUT else f"{said[:OUTPUT]} […]"
    return Wrong(judged.job.task.name, judged.job.split, row, _excerpt(prompt), right, cut, why)


def _excerpt(text: str) -> str:
    """Beginning and end of a long text."""
    return text if len(text) <= BEFORE + AFTER + 10 else f"{text[:BEFORE]} […] {text[-AFTER:]}"


def _share(probability: float) -> str:
    percent = 100 * probability
    return f"{percent:.1f}%" if percent >= 0.1 else f"{percent:.2g}%" if percent >= 1e-4 else "under 0.0001%"
