"""
name: flipflop
what: flip-flop language modeling: the symbol after each read, given the correct prefix
paper: arXiv 2306.00946, section 4 (deterministic mode)
data: fflm_data config flipflop: val FFL(0.8), val_sparse FFL(0.98), val_dense FFL(0.1)
scored: whether the most probable next token of a read is the correct symbol; otherwise it is a glitch
rendering: symbols joined by single spaces, without instructions; for tokenizers trained on the column `text`, which has
    no spaces: --set flipflop.rendering=plain
baselines: chance; the most frequent symbol; the previous data symbol
"""

from dataclasses import replace
from typing import ClassVar, TypeVar

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Bools, Ints
from fflm_data.config import ParameterError
from fflm_data.flipflop import (
    FIRST_SYMBOL,
    FlipFlop,
    FlipFlopPiecewise,
    Ids,
    encode,
    pieces,
    previous_symbol_right,
    reads,
    symbol_names,
)
from harness.tasks.base import Membership, ReadTask, Suites, Targets

StringsT = TypeVar("StringsT", bound=FlipFlop | FlipFlopPiecewise)
SECTIONS = 16
# Separators of symbols, by rendering.
SEPARATORS = {"spaced": " ", "plain": ""}


class FlipFlopTask(ReadTask[StringsT]):
    """The reads of flip-flop strings."""

    name = "flipflop"
    version = 1
    order = 10
    group = "memory"
    suites: ClassVar[Suites] = {
        "quick": (Membership(since=1, rows=6),),
        "paper": (Membership(since=1),),
        "full": (Membership(since=1),),
    }
    config = "flipflop"
    splits: ClassVar[tuple[str, ...]] = ("val", "val_sparse", "val_dense")
    renderings: ClassVar[tuple[str, ...]] = tuple(SEPARATORS)

    def symbols(self, config: StringsT) -> tuple[str, ...]:
        return symbol_names(config.symbols)

    def texts(self, rows: pa.Table) -> list[str]:
        return [SEPARATORS[self.rendering].join(symbols) for symbols in map(pieces, rows["text"].to_pylist())]

    def targets(self, rows: pa.Table) -> Targets:
        ids = encode(rows["text"])
        all_reads = reads(ids)
        position = all_reads.position.astype(np.int64)
        previous = previous_symbol_right(ids, all_reads)
        return Targets(
            row=all_reads.row.astype(np.int64),
            position=position,
            offset=_offsets(ids, len(SEPARATORS[self.rendering]))[all_reads.row, position],
            gap=all_reads.gap.astype(np.int64),
            target=all_reads.answer.astype(np.int64),
            baselines={"previous symbol": previous.astype(np.float64)},
        )

    def groups(self, config: StringsT, position: Ints, gap: Ints) -> dict[str, Bools]:
        """By distance to the write, and by position in equal sections of the string."""
        length = config.length
        width = -(-length // SECTIONS)
        sections = {
            f"position={low}-{min(low + width, length) - 1}": (position >= low) & (position < low + width)
            for low in range(0, length, width)
        }
        return super().groups(config, position, gap) | {
            name: members for name, members in sections.items() if members.any()
        }

    def advice(self, config: StringsT, tokens_per_row: Ints, rows: pa.Table, context: int) -> str:
        length = config.length
        tokens = int(tokens_per_row.max())
        per_symbol = round(tokens / length)
        fits = (context - (tokens - per_symbol * length)) // per_symbol // 2 * 2
        try:
            replace(config, length=max(fits, 0))
        except ParameterError:
            return ""
        return f"lengths up to {fits} fit: add --set {self.name}.length={fits}"


def _offsets(ids: Ids, separator: int) -> Ints:
    """Character offsets of the symbols in the texts, int64 (rows, length). separator: its length in characters."""
    widths = 1 + separator + (ids >= FIRST_SYMBOL + 10).astype(np.int64) + (ids >= FIRST_SYMBOL + 100)
    return np.cumsum(widths, axis=1) - widths
