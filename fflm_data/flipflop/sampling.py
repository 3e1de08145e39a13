"""Samples flip-flop strings as arrays of token ids, with disjoint train and test strings.

Long strings never coincide by chance. Shorter strings (under `HASH_SPLIT_LENGTH`) can, so a hash of
the ids assigns each string to one side: a quarter to the test splits, the rest to train. No test row
is therefore a train row, for any seed, split and distribution over the same symbols. The cost: for
the shortest lengths each side has few distinct strings, which repeat, and the shares of the
instructions are those of these strings.
"""

import numpy as np
import numpy.typing as npt

from fflm_data.config import ParameterError, require_index
from fflm_data.flipflop.distributions import Distribution, collision_probability
from fflm_data.flipflop.strings import FIRST_SYMBOL, IGNORE, Ids, id_type
from fflm_data.seeding import Stream, UInt32s, UInt64s, halves, less, scale, thresholds

TRAIN = "train"
HASH_SPLIT_LENGTH = 256
# At this probability, 2**40 training rows contain any of 10**6 test rows with a probability of one in a million.
MAX_COLLISION = 1e-24
# Minimum effective number of strings, up to rotations of the symbols: a quarter of them are test strings.
MIN_DISTINCT_STRINGS = 50
_MAX_DRAWS = 256


def sample(distribution: Distribution, rows: int, *, split: str = TRAIN, seed: int = 0, start: int = 0) -> Ids:
    """Returns rows start..start+rows-1 as token ids of shape (rows, length), uint8 (uint16 above 253 symbols).

    They are the rows of `load_dataset("fflm", "flipflop")` for the same split and distribution. Every
    split except "train" is a test split. Raises ParameterError if the distribution has too few distinct
    strings for disjoint train and test rows.
    """
    rows, start, seed = (
        require_index(name, value) for name, value in (("rows", rows), ("start", start), ("seed", seed))
    )
    require_disjoint_splits(distribution)
    ids = np.empty((rows, distribution.length), dtype=id_type(distribution.symbols))
    done = 0
    while done < rows:
        number, skip = divmod(start + done, distribution.block_rows)
        take = min(distribution.block_rows - skip, rows - done)
        ids[done : done + take] = block(distribution, split, seed, number, skip + take)[skip:]
        done += take
    return ids


def block(distribution: Distribution, split: str, seed: int, number: int, rows: int) -> Ids:
    """Returns the first `rows` rows of a block."""
    stream = Stream("flipflop", distribution.key(), split, seed, number)
    if distribution.length >= HASH_SPLIT_LENGTH:
        return _draw(distribution, stream, rows)
    kept: list[Ids] = []
    for _ in range(_MAX_DRAWS):
        drawn = _draw(distribution, stream, distribution.block_rows)
        kept.append(drawn[is_test_string(drawn, distribution.symbols) == (split != TRAIN)])
        if sum(map(len, kept)) >= rows:
            return np.concatenate(kept)[:rows]
    raise ParameterError(f"length={distribution.length} is out of range: length must be larger")


def _draw(distribution: Distribution, stream: Stream, rows: int) -> Ids:
    """Draws strings without regard to train and test.

    Each instruction uses one 64-bit draw: the upper half selects w, r or i, the lower half the symbol.
    The first instruction is always w, so its upper half selects the component of a mixture.

    Optimized to read each array as rarely as possible: half of the time goes to the raw draws, most of
    the rest to the running maximum that propagates the latest write.
    """
    shape = (rows, distribution.instructions)
    upper, lower = halves(stream.raw(rows * distribution.instructions))
    choice, free = upper.reshape(shape), lower.reshape(shape)
    write, write_or_read = _thresholds(distribution, choice[:, 0])
    writes, written = less(choice, write), less(choice, write_or_read)
    writes[:, 0], writes[:, -1], written[:, 0], written[:, -1] = True, False, True, True

    ids = np.empty((rows, distribution.length), dtype=id_type(distribution.symbols))
    symbols = scale(free, distribution.symbols).astype(ids.dtype)
    held = _last_written(writes, symbols, distribution.symbols)
    # Writes and reads have the symbol of the latest write; ignore instructions have the drawn symbol.
    ids[:, 1::2] = (symbols ^ ((symbols ^ held) * written)) + ids.dtype.type(FIRST_SYMBOL)
    ids[:, 0::2] = IGNORE - written.view(np.uint8) - writes.view(np.uint8)
    return ids


def _last_written(writes: npt.NDArray[np.bool_], symbols: Ids, alphabet: int) -> Ids:
    """Returns the symbol of the latest write at each instruction, by a running maximum of (position, symbol) pairs."""
    bits = (alphabet - 1).bit_length()
    dtype = np.min_scalar_type(-(writes.shape[1] << bits))
    positions = np.arange(writes.shape[1], dtype=dtype) << bits
    pairs = (positions + symbols.astype(dtype)) * writes
    return (np.maximum.accumulate(pairs, axis=1) & ((1 << bits) - 1)).astype(symbols.dtype)


def _thresholds(distribution: Distribution, first: UInt32s) -> tuple[UInt64s, UInt64s]:
    """Returns thresholds for writes and for writes or reads, broadcastable to (rows, instructions).

    first: the upper draws of the first instructions, which select the component.
    """
    values = thresholds(distribution.probabilities())
    chosen = values if len(values) == 1 else values[scale(first, len(values))]
    return chosen[..., 0], chosen[..., 0] + chosen[..., 1]


def is_test_string(ids: Ids, symbols: int) -> npt.NDArray[np.bool_]:
    """Returns, for each string shorter than HASH_SPLIT_LENGTH, whether it belongs to the test splits.

    The hash uses differences from the first symbol, modulo the number of symbols. Strings that differ by
    a rotation of the symbols are on the same side, so all answers are equally frequent on both sides.
    """
    factors = Stream("flipflop-sides", {}, "all", 0, 0).raw(HASH_SPLIT_LENGTH) | np.uint64(1)
    rotated = ids.astype(np.int64)
    rotated[:, 1::2] = (rotated[:, 1::2] - rotated[:, 1:2]) % symbols
    mixed = rotated.astype(np.uint64) @ factors[: ids.shape[1]]
    mixed = (mixed ^ (mixed >> np.uint64(32))) * factors[-1]
    return np.asarray(mixed >> np.uint64(62) == 0)


def require_disjoint_splits(distribution: Distribution, parameter: str = "length") -> None:
    """Raises ParameterError if test rows could equal train rows, or if there are too few distinct strings to split.

    Checking each distribution alone is enough: by Cauchy-Schwarz, the collision probability of two
    distributions is at most the larger of their own. Short strings are split up to rotations of the symbols.
    """
    if distribution.length >= HASH_SPLIT_LENGTH:
        disjoint = collision_probability(distribution, distribution) <= MAX_COLLISION
    else:
        disjoint = collision_probability(distribution, distribution) * distribution.symbols <= 1 / MIN_DISTINCT_STRINGS
    if not disjoint:
        write, read = np.moveaxis(distribution.probabilities(), -1, 0)
        read_heavy = read**2 > (write**2 + (1 - write - read) ** 2) / distribution.symbols
        smaller = f", or p_read smaller than {read.max():g}" if read_heavy.any() else ""
        raise ParameterError(
            f"{parameter}={distribution.length} is out of range: {parameter} must be larger{smaller}, so that "
            "train and test rows differ"
        )
