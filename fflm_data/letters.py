"""Counting letters ("how many r in strawberry"): English words and random strings, balanced over the answer.

Balance is the point: in sets drawn as words come, always answering 1 is right most of the time.
Here every answer 0..4 is as frequent as any other within each stratum, and the letter asked for
where the answer is 0 is as common a letter as elsewhere, so that neither gives the answer away.
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
        """The whole split: words are drawn without replacement, so that it is one block."""
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
        """Words without replacement, the rare answers first; strawberry comes first of all."""
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
        """Words without the letter; the letters are those asked for in the other cells."""
        asked = [letter for cell in cells.values() for _, letter in cell]
        letters = [asked[index] for index in stream.permutation(len(asked))]
        order = iter(stream.permutation(len(words)))
        found: Cell = []
        for letter in letters[: self.words_per_cell]:
            found.append((next(words[index] for index in order if letter not in words[index]), letter))
        return found

    def _random(self, stream: Stream) -> dict[int, Cell]:
        """Strings in which one letter stands `answer` times, the other places hold other letters."""
        cells: dict[int, Cell] = {}
        shortest, longest = RANDOM_LENGTHS
        for answer in ANSWERS:
            cell = cells.setdefault(answer, [])
            for _ in range(self.words_per_cell):
                length = shortest + int(stream.below(longest - shortest + 1, 1)[0])
                letter = ALPHABET[stream.below(len(ALPHABET), 1)[0]]
                others = ALPHABET.replace(letter, "")
                characters = [others[index] for index in stream.below(len(others), length)]
                for place in stream.permutation(length)[:answer]:
                    characters[place] = letter
                cell.append(("".join(characters), letter))
        return cells


def _row(word: str, letter: str, stratum: str, answer: int) -> dict[str, Any]:
    kind = "word" if stratum == "english" else "string"
    question = f'How many times does the letter "{letter}" occur in the {kind} "{word}"?'
    return {"word": word, "letter": letter, "stratum": stratum, "question": question, "answer": answer}


@cache
def english_pairs() -> dict[int, Cell]:
    """By answer, every (word, letter) of the English list in which the letter stands so many times."""
    pairs: dict[int, Cell] = defaultdict(list)
    for word in english():
        for letter, count in sorted(Counter(word).items()):
            pairs[count].append((word, letter))
    return dict(pairs)


@cache
def max_words_per_cell() -> int:
    """How many different English words the rarest answer has."""
    return len({word for word, _ in english_pairs()[ANSWERS[-1]]})
