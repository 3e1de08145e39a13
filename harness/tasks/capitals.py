"""
name: capitals
what: completing a sentence with a capital, country, continent or internet domain
paper: arXiv 2403.19521
data: fflm_data config capitals, test: facts with one correct answer, several sentences each
scored: rank and probability of the correct answer among all answers of its relation, each scored as a continuation;
    whether greedy decoding generates it
baselines: the most frequent answer of the relation; chance among the candidates
"""

from functools import cache
from typing import ClassVar

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Bools, Ints
from fflm_data.facts import facts_for, with_article
from harness.tasks.base import ChoiceTask, Membership, Suites, column, group_by


class CapitalsTask(ChoiceTask):
    """Fact recall, grouped by relation."""

    name = "capitals"
    version = 1
    order = 110
    group = "numbers and facts"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=12),),
        "paper": (Membership(since=1),),
        "full": (Membership(since=1),),
    }
    config = "capitals"
    splits = ("test",)

    def texts(self, rows: pa.Table) -> list[str]:
        return [str(prompt) for prompt in rows["prompt"].to_pylist()]

    def candidates(self, rows: pa.Table) -> list[tuple[str, ...]]:
        return [_endings(relation) for relation in rows["relation"].to_pylist()]

    def target(self, rows: pa.Table) -> Ints:
        answers = zip(rows["relation"].to_pylist(), rows["answer"].to_pylist(), strict=True)
        return np.array([_answers(relation).index(answer) for relation, answer in answers], dtype=np.int64)

    def facts(self, rows: pa.Table) -> Ints:
        facts = zip(rows["relation"].to_pylist(), rows["subject"].to_pylist(), strict=True)
        numbers: dict[tuple[str, str], int] = {}
        return np.array([numbers.setdefault(fact, len(numbers)) for fact in facts], dtype=np.int64)

    def groups(self, rows: pa.Table) -> dict[str, Bools]:
        return group_by("relation", column(rows, "relation"))


@cache
def _answers(relation: str) -> tuple[str, ...]:
    return tuple(sorted({fact.answer for fact in facts_for(relation)}))


@cache
def _endings(relation: str) -> tuple[str, ...]:
    return tuple(f" {with_article(answer)}" for answer in _answers(relation))
