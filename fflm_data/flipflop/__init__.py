"""Flip-flop strings (arXiv 2306.00946, Definition 1): write, read and ignore instructions on one cell.

A string alternates instructions and data symbols. The first instruction is w, the last is r, and the
others are drawn independently. The symbol after w or i is uniform. The symbol after r equals the
symbol after the latest w, so it is the only predictable symbol.

The same rows are available in two forms: configs for `load_dataset`, and arrays of token ids for
training (`sample`, `reads`, `encode`, `decode`). Token ids follow the published dataset card: w 0,
r 1, i 2, then the data symbols.
"""

from fflm_data.flipflop.configs import FlipFlop, FlipFlopPiecewise, TextConfig
from fflm_data.flipflop.distributions import FFL, Distribution, Mixture, Piecewise
from fflm_data.flipflop.prose import FlipFlopProse
from fflm_data.flipflop.read_counts import ReadCounts, read_counts
from fflm_data.flipflop.sampling import sample
from fflm_data.flipflop.strings import (
    FIRST_SYMBOL,
    IGNORE,
    READ,
    WRITE,
    Ids,
    Reads,
    decode,
    encode,
    faults,
    pieces,
    previous_symbol_right,
    reads,
    symbol_names,
    validate,
)
from fflm_data.flipflop.training import FlipFlopTrain

__all__ = [
    "FFL",
    "FIRST_SYMBOL",
    "IGNORE",
    "READ",
    "WRITE",
    "Distribution",
    "FlipFlop",
    "FlipFlopPiecewise",
    "FlipFlopProse",
    "FlipFlopTrain",
    "Ids",
    "Mixture",
    "Piecewise",
    "ReadCounts",
    "Reads",
    "TextConfig",
    "decode",
    "encode",
    "faults",
    "pieces",
    "previous_symbol_right",
    "read_counts",
    "reads",
    "sample",
    "symbol_names",
    "validate",
]
