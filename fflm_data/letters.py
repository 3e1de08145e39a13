"""Counting letters ("how many r in strawberry"): English words and random strings, balanced over the answer.

In an unbalanced set of words, always answering 1 would be right most of the time. Here the answers
0..4 are equally frequent in each stratum, and rows with answer 0 have the same distribution of query
letters as the other rows, so that the letter does not reveal the answer.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import pyarrow as pa

from fflm_data.config import Config, require_integer
from fflm_data.seeding import Stream
from fflm_data.words import english

ANSWERS = (0, 1, 2, 3, 4)
STRATA = ("english", "random")
FIRST = ("strawberry", "r", 3)
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
RANDOM_LENGTHS = (6, 12)

Cell = list[tuple[str, str]]


@dataclass(frozen=True)
class Letters(Config):
    """How many times does a letter occur in a word? `words_per_cell` rows for each stratum and answer."""

    words_per_cell: int = 100

    name: ClassVar[str] = "letters"
    title: ClassVar[str] = "count one letter of a word"
    paper: ClassVar[str] = "arXiv 2412.18626"
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("id", pa.int64()),
            ("word", pa.string()),
            ("letter", pa.string()),
            ("stratum", pa.string()),
            ("question", pa.string()),
            ("answer", pa.int64()),
        ]
    )

    def validate(self) -> None:
        require_integer("words_per_cell", self.words_per_cell, 1, max_words_per_cell())

    def splits(self) -> dict[str, int]:
        return {"test": self.block_rows("test")}

    def block_rows(self, split: str) -> int:
        return self.words_per_cell * len(STRATA) * len(ANSWERS)

    def block(self, split: str, number: int) -> pa.Table:
        """Returns the whole split. It is one block because words are drawn without replacement."""
        stream = Stream(self.name, {"words_per_cell": self.words_per_cell}, split, self.seed, number)
        strata = {"english": self._english(stream), "random": self._random(stream)}
        rows = []
        for index in range(self.words_per_cell):
            for stratum, cells in strata.items():
                for answer in sorted(ANSWERS, key=lambda answer: answer != FIRST[2]):
                    word, letter = cells[answer][index]
                    rows.append(_row(word, letter, stratum, answer))
        return pa.Table.from_pylist(rows, schema=self.schema.remove(0))

    def _english(self, stream: Stream) -> dict[int, Cell]:
        """Draws words without replacement, rare answers first. The first word is always strawberry."""
        used = {FIRST[0]}
        cells: dict[int, Cell] = {FIRST[2]: [FIRST[:2]]}
        for answer in sorted(ANSWERS[1:], reverse=True):
            cell = cells.setdefault(answer, [])
            pairs = english_pairs()[answer]
            for index in stream.permutation(len(pairs)):
                if len(cell) == self.words_per_cell:
                    break
                word, letter = pairs[index]
                if word not in used:
                    used.add(word)
                    cell.append((word, letter))
        cells[0] = self._absent(stream, cells, [word for word in english() if word not in used])
        return cells

    def _absent(self, stream: Stream, cells: dict[int, Cell], words: list[str]) -> Cell:
        """Draws pairs of a word and a letter that it lacks. The letters are those of the other cells."""
        queries = [letter for cell in cells.values() for _, letter in cell]
        letters = [queries[index] for index in stream.permutation(len(queries))]
        order = iter(stream.permutation(len(words)))
        absent: Cell = []
        for letter in letters[: self.words_per_cell]:
            absent.append((next(words[index] for index in order if letter not in words[index]), letter))
        return absent

    def _random(self, stream: Stream) -> dict[int, Cell]:
        """Draws random strings in which the query letter occurs `answer` times, among other letters."""
        cells: dict[int, Cell] = {}
        shortest, longest = RANDOM_LENGTHS
        for answer in ANSWERS:
            cell = cells.setdefault(answer, [])
            for _ in range(self.words_per_cell):
                length = shortest + int(stream.below(longest - shortest + 1, 1)[0])
                letter = ALPHABET[stream.below(len(ALPHABET), 1)[0]]
                others = ALPHABET.replace(letter, "")
                characters = [others[index] for index in stream.below(len(others), length)]
                for position in stream.permutation(length)[:answer]:
                    characters[position] = letter
                cell.append(("".join(characters), letter))
        return cells


def _row(word: str, letter: str, stratum: str, answer: int) -> dict[str, Any]:
    kind = "word" if stratum == "english" else "string"
    question = f'How many times does the letter "{letter}" occur in the {kind} "{word}"?'
    return {"word": word, "letter": letter, "stratum": stratum, "question": question, "answer": answer}


@cache
def english_pairs() -> dict[int, Cell]:
    """Returns, for each count, every (word, letter) of the English list in which the letter occurs that often."""
    pairs: dict[int, Cell] = defaultdict(list)
    for word in english():
        for letter, count in sorted(Counter(word).items()):
            pairs[count].append((word, letter))
    return dict(pairs)


@cache
def max_words_per_cell() -> int:
    """Returns the number of distinct English words with the rarest answer."""
    return len({word for word, _ in english_pairs()[ANSWERS[-1]]})
