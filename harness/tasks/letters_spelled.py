"""
name: letters-spelled
what: the control of letters: the word is spelled out ("s t r a w b e r r y"), one token per letter
paper: arXiv 2412.18626; arXiv 2410.19730 on separators
data: fflm_data config letters, test: the same words and letters
scored: as letters; the difference to letters is the cost of tokenization
baselines: the most frequent answer
"""

from typing import ClassVar

import pyarrow as pa

from harness.tasks.base import Membership, Suites
from harness.tasks.letters import LettersTask


class LettersSpelledTask(LettersTask):
    """Counting a letter of a word written with spaces between its letters."""

    name = "letters-spelled"
    version = 2
    same_prompts_since = 1
    order = 70
    group = "letters"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=60),),
        "full": (Membership(since=1),),
    }

    def texts(self, rows: pa.Table) -> list[str]:
        words = zip(rows["question"].to_pylist(), rows["word"].to_pylist(), strict=True)
        return [question.replace(f'"{word}"', f'"{" ".join(word)}"') for question, word in words]
