"""Counting tokens (arXiv 2407.15160): query count and most frequent element over the same sequences.

A sequence with vocabulary size m has n = expected_count * m words, drawn uniformly from m distinct
words, so the expected count of a word does not depend on m. Its binary control has the same length
and the same expected count of the query but only two distinct words: it separates the effect of
vocabulary size from that of length.

Rows cycle through the vocabulary sizes, each sequence followed by its control, so the first N rows are balanced.
"""

from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.config import Config, normalize_integers, require_integer
from fflm_data.seeding import Stream, halves, threshold
from fflm_data.words import items

COLUMNS = [
    ("id", pa.int64()),
    ("tokens", pa.list_(pa.string())),
    ("query", pa.string()),
    ("vocabulary", pa.int64()),
    ("control", pa.bool_()),
    ("question", pa.string()),
    ("answer", pa.int64()),
]


@dataclass(frozen=True)
class Sequence:
    """A sequence of words and the query word."""

    tokens: list[str]
    query: str
    vocabulary: int
    control: bool


@dataclass(frozen=True)
class Counting(Config):
    """Base class of query-count and most-frequent, which share their sequences. A block is one repeat."""

    vocabularies: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 200)
    expected_count: int = 10
    repeats: int = 100

    paper: ClassVar[str] = "arXiv 2407.15160"

    def validate(self) -> None:
        normalize_integers(self, "vocabularies", 2, len(items()))
        require_integer("expected_count", self.expected_count, 1, 1000)
        require_integer("repeats", self.repeats, 1)

    def splits(self) -> dict[str, int]:
        return {"test": self.repeats * self.block_rows("test")}

    def block_rows(self, split: str) -> int:
        return 2 * len(self.vocabularies)

    def sequences(self, split: str, number: int) -> list[Sequence]:
        """Returns the sequences of one block: for each vocabulary size a sequence and its control."""
        key = {"vocabularies": list(self.vocabularies), "expected_count": self.expected_count}
        stream = Stream("counting", key, split, self.seed, number)
        sequences = []
        for size in self.vocabularies:
            length = self.expected_count * size
            words = [items()[index] for index in stream.permutation(len(items()))[:size]]
            tokens = [words[index] for index in stream.below(size, length)]
            sequences.append(Sequence(tokens, words[stream.below(size, 1)[0]], size, control=False))

            query, other = (items()[index] for index in stream.permutation(len(items()))[:2])
            hits = halves(stream.raw(length))[0] < threshold(1 / size)
            sequences.append(Sequence(list(np.where(hits, query, other)), query, size, control=True))
        return sequences

    def block(self, split: str, number: int) -> pa.Table:
        rows = [self.row(sequence) for sequence in self.sequences(split, number)]
        return pa.Table.from_pylist(rows, schema=self.schema.remove(0))

    def baseline_predictions(self, rows: pa.Table) -> dict[str, npt.NDArray[Any]]:
        constant = np.full(rows.num_rows, self.expected_count)
        return {f"always {self.expected_count}": constant, **super().baseline_predictions(rows)}

    @abstractmethod
    def row(self, sequence: Sequence) -> dict[str, Any]:
        """Returns the columns of one row, without `id`."""


@dataclass(frozen=True)
class QueryCount(Counting):
    """How many times does a given word occur in a list of words?"""

    name: ClassVar[str] = "query-count"
    title: ClassVar[str] = "count one word of a list"
    schema: ClassVar[pa.Schema] = pa.schema(COLUMNS)

    def row(self, sequence: Sequence) -> dict[str, Any]:
        question = (
            f'List: {" ".join(sequence.tokens)}\nHow many times does the word "{sequence.query}" occur in the list?'
        )
        return vars(sequence) | {"question": question, "answer": sequence.tokens.count(sequence.query)}


@dataclass(frozen=True)
class MostFrequent(Counting):
    """How many times does the most frequent word occur? Uses the lists of query-count."""

    name: ClassVar[str] = "most-frequent"
    title: ClassVar[str] = "count the most frequent word of a list"
    schema: ClassVar[pa.Schema] = pa.schema([column for column in COLUMNS if column[0] != "query"])

    def row(self, sequence: Sequence) -> dict[str, Any]:
        question = f"List: {' '.join(sequence.tokens)}\nHow many times does the most frequent word occur in the list?"
        answer = max(Counter(sequence.tokens).values())
        columns = {key: value for key, value in vars(sequence).items() if key != "query"}
        return columns | {"question": question, "answer": answer}
