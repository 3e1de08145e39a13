"""Flip-flop strings as English stories about a light switch, for pretrained models (section 3)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from fflm_data.config import Config, normalize_integers, require_integer
from fflm_data.flipflop.distributions import FFL, float_fields
from fflm_data.flipflop.sampling import require_disjoint_splits, sample
from fflm_data.flipflop.strings import FIRST_SYMBOL, READ, WRITE, Ids, decode

WRITE_SENTENCES = ("Alice turns the light off.", "Alice turns the light on.")
IGNORE_SENTENCES = ("Bob eats a banana.", "Bob eats an apple.")
STATES = ("off", "on")
READ_PREFIX = "Now, the light is"
DEMONSTRATION_LENGTH = 16
BLOCK_ROUNDS = 512


@dataclass(frozen=True)
class FlipFlopProse(Config):
    """Is the light on? The flip-flop language as sentences, at several lengths.

    A write turns the light on or off, an ignore instruction is something Bob eats, and a read states
    whether the light is on. The last read is the question. `demonstration` is a solved string of
    length 16, different for each row, as a few-shot example before the question. Rows cycle through
    the lengths. The shortest length has few distinct strings, so its rows repeat.
    """

    lengths: tuple[int, ...] = (10, 50, 100, 150, 200)
    p_ignore: float = 0.6
    rows_per_length: int = 500

    name: ClassVar[str] = "flipflop-prose"
    title: ClassVar[str] = "copy one bit through a story"
    paper: ClassVar[str] = "arXiv 2306.00946"
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("id", pa.int64()),
            ("text", pa.string()),
            ("length", pa.int64()),
            ("demonstration", pa.string()),
            ("question", pa.string()),
            ("answer", pa.string()),
        ]
    )

    def validate(self) -> None:
        lengths = normalize_integers(self, "lengths", 4, 2**16)
        require_integer("rows_per_length", self.rows_per_length, 1)
        for length in (*lengths, DEMONSTRATION_LENGTH):
            require_disjoint_splits(self.distribution(length), "lengths")
        float_fields(self)

    def distribution(self, length: int) -> FFL:
        """Returns the distribution of the strings of one length."""
        return FFL.from_p_ignore(self.p_ignore, length)

    def splits(self) -> dict[str, int]:
        return {"test": self.rows_per_length * len(self.lengths)}

    def block_rows(self, split: str) -> int:
        return BLOCK_ROUNDS * len(self.lengths)

    def block(self, split: str, number: int) -> pa.Table:
        start = number * BLOCK_ROUNDS
        rounds = min(BLOCK_ROUNDS, self.rows_per_length - start)
        strings = [
            sample(self.distribution(length), rounds, split=split, seed=self.seed, start=start)
            for length in self.lengths
        ]
        demonstrations = sample(
            self.distribution(DEMONSTRATION_LENGTH),
            rounds * len(self.lengths),
            split="demonstration",
            seed=self.seed,
            start=start * len(self.lengths),
        )
        texts = [decode(ids).to_pylist() for ids in strings]
        rows: list[dict[str, str | int]] = []
        for index in range(rounds):
            for kind, length in enumerate(self.lengths):
                question, answer = render_story(strings[kind][index])
                demonstration = " ".join(render_story(demonstrations[len(rows)])) + "."
                rows.append(
                    {
                        "text": texts[kind][index],
                        "length": length,
                        "demonstration": demonstration,
                        "question": question,
                        "answer": answer,
                    }
                )
        return pa.Table.from_pylist(rows, schema=self.schema.remove(0))


def render_story(ids: Ids) -> tuple[str, str]:
    """Renders token ids, shape (length,), as a story without the answer to the last read, and that answer."""
    pairs = (ids.reshape(-1, 2).astype(np.int64) - [0, FIRST_SYMBOL]).tolist()
    story = [_sentence(instruction, symbol) for instruction, symbol in pairs[:-1]]
    return " ".join([story[0].removeprefix("Then, "), *story[1:], READ_PREFIX]), STATES[pairs[-1][1]]


def _sentence(instruction: int, symbol: int) -> str:
    if instruction == READ:
        return f"{READ_PREFIX} {STATES[symbol]}."
    return f"Then, {(WRITE_SENTENCES if instruction == WRITE else IGNORE_SENTENCES)[symbol]}"
