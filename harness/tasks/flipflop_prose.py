"""
name: flipflop-prose
what: flip-flop strings as a story of a light switch: "Now, the light is" on or off
paper: arXiv 2306.00946, section 3 (pretrained models)
data: fflm_data config flipflop-prose, test: FFL(0.6) at growing lengths
scored: whether the correct word is more probable than the other, and whether it is the most probable token of the
    whole vocabulary
rendering: a solved example of length 16, the story, "Now, the light is"; plain text for base and chat models
baselines: chance; the most frequent answer
"""

from typing import ClassVar

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Bools, Ints
from fflm_data.config import Config
from fflm_data.flipflop.prose import STATES
from harness.tasks.base import Membership, ReadTask, Suites, Targets, column, group_by


class FlipFlopProseTask(ReadTask[Config]):
    """The last read of each story, grouped by length and by distance to the write."""

    name = "flipflop-prose"
    version = 1
    order = 30
    group = "memory"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=25),),
        "paper": (Membership(since=1),),
        "full": (Membership(since=1),),
    }
    config = "flipflop-prose"
    splits = ("test",)

    def symbols(self, config: Config) -> tuple[str, ...]:
        return STATES

    def texts(self, rows: pa.Table) -> list[str]:
        columns = zip(*(rows[name].to_pylist() for name in ("demonstration", "question", "answer")), strict=True)
        return [f"{demonstration} {question} {answer}" for demonstration, question, answer in columns]

    def targets(self, rows: pa.Table) -> Targets:
        answers, lengths = rows["answer"].to_pylist(), column(rows, "length").astype(np.int64)
        ends = [len(text) - len(answer) for text, answer in zip(self.texts(rows), answers, strict=True)]
        return Targets(
            row=np.arange(rows.num_rows),
            position=lengths - 1,
            offset=np.array(ends, dtype=np.int64),
            gap=np.array([_last_gap(text) for text in rows["text"].to_pylist()], dtype=np.int64),
            target=np.array([STATES.index(answer) for answer in answers], dtype=np.int64),
        )

    def groups(self, config: Config, position: Ints, gap: Ints) -> dict[str, Bools]:
        return group_by("length", position + 1) | super().groups(config, position, gap)

    def advice(self, config: Config, tokens_per_row: Ints, rows: pa.Table, context: int) -> str:
        lengths = column(rows, "length")
        fits = sorted({*lengths.tolist()} - {*lengths[tokens_per_row > context].tolist()})
        listed = ",".join(map(str, fits))
        return f"lengths {listed} fit: add --set {self.name}.lengths={listed}" if fits else ""


def _last_gap(text: str) -> int:
    """The number of instructions from the last write to the final read."""
    instructions = text[::2]
    return len(instructions) - 1 - instructions.rindex("w")
