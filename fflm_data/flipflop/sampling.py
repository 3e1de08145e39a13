"""Strings drawn from a distribution, as arrays of ids; and how train and test are kept apart.

Long strings never meet by chance. Strings of under `APART_LENGTH` symbols do, so that there every
string belongs to one side, a quarter of them to the test splits and the others to train, by a hash
of its ids: whatever the distribution over these symbols, the seed or the split, no test row is a
train row. What that costs: of the shortest strings a side has few, which come again and again, and
the shares of instructions are those of these strings.
"""

import numpy as np
import numpy.typing as npt

from fflm_data.config import ParameterError, require_index
from fflm_data.flipflop.distributions import Distribution, collision
from fflm_data.flipflop.strings import FIRST_SYMBOL, IGNORE, Ids, id_type
from fflm_data.seeding import Stream, UInt32s, UInt64s, halves, less, scale, thresholds

TRAIN = "train"
APART_LENGTH = 256
# So unlikely that 2**40 training rows hold one of 10**6 test rows with a probability of one in a million.
MAX_COLLISION = 1e-24
# Strings (not counting rotations) as if all were equally frequent, a quarter of which must still be a test split.
MIN_DIFFERENT_STRINGS = 50
_MAX_DRAWS = 256


def sample(distribution: Distribution, rows: int, *, split: str = TRAIN, seed: int = 0, start: int = 0) -> Ids:
    """Rows start..start+rows-1 of a distribution: ids of shape (rows, length), uint8 (uint16 above 253 symbols).

    The same rows as `load_dataset("fflm", "flipflop")` has in that split, for the split's distribution.
    Every split but "train" is a test split. Raises ParameterError for so few different strings that
    train and test would have to share them.
    """
    rows, start, seed = (
        require_index(name, value) for name, value in (("rows", rows), ("start", start), ("seed", seed))
    )
    require_apart(distribution)
    ids = np.empty((rows, distribution.length), dtype=id_type(distribution.symbols))
    done = 0
    while done < rows:
        number, skip = divmod(start + done, distribution.block_rows)
        take = min(distribution.block_rows - skip, rows - done)
        ids[done : done + take] = block(distribution, split, seed, number, skip + take)[skip:]
        done += take
    return ids


def block(distribution: Distribution, split: str, seed: int, number: int, rows: int) -> Ids:
    """The first `rows` rows of a block."""
    stream = Stream("flipflop", distribution.key(), split, seed, number)
    if distribution.length >= APART_LENGTH:
        return _draw(distribution, stream, rows)
    kept: list[Ids] = []
    for _ in range(_MAX_DRAWS):
        drawn = _draw(distribution, stream, distribution.block_rows)
        kept.append(drawn[is_test(drawn, distribution.symbols) == (split != TRAIN)])
        if sum(map(len, kept)) >= rows:
            return np.concatenate(kept)[:rows]
    raise ParameterError(f"length={distribution.length} is out of range: length must be greater")


def _draw(distribution: Distribution, stream: Stream, rows: int) -> Ids:
    """Strings as they come. One 64-bit draw an instruction: its upper half chooses w, r or i, its
    lower half the symbol. The first instruction is w, so its upper half chooses the component.

    Each array is gone through as seldom as can be: half of the time is the raw draws, and most of the
    rest the running maximum that carries a write forward.
    """
    shape = (rows, distribution.instructions)
    upper, lower = halves(stream.raw(rows * distribution.instructions))
    choice, free = upper.reshape(shape), lower.reshape(shape)
    write, write_or_read = _limits(distribution, choice[:, 0])
    writes, written = less(choice, write), less(choice, write_or_read)
    writes[:, 0], writes[:, -1], written[:, 0], written[:, -1] = True, False, True, True

    ids = np.empty((rows, distribution.length), dtype=id_type(distribution.symbols))
    symbols = scale(free, distribution.symbols).astype(ids.dtype)
    held = _held(writes, symbols, distribution.symbols)
    # Where it is written (a write) or read, the symbol is the held one; elsewhere the one drawn.
    ids[:, 1::2] = (symbols ^ ((symbols ^ held) * written)) + ids.dtype.type(FIRST_SYMBOL)
    ids[:, 0::2] = IGNORE - written.view(np.uint8) - writes.view(np.uint8)
    return ids


def _held(writes: npt.NDArray[np.bool_], symbols: Ids, alphabet: int) -> Ids:
    """For each instruction, the symbol of the latest write: the running maximum of (place, symbol) pairs."""
    bits = (alphabet - 1).bit_length()
    pair = np.min_scalar_type(-(writes.shape[1] << bits))
    places = np.arange(writes.shape[1], dtype=pair) << bits
    pairs = (places + symbols.astype(pair)) * writes
    return (np.maximum.accumulate(pairs, axis=1) & ((1 << bits) - 1)).astype(symbols.dtype)


def _limits(distribution: Distribution, first: UInt32s) -> tuple[UInt64s, UInt64s]:
    """Draws below the first are writes, below the second writes or reads; they broadcast to (rows, instructions)."""
    values = thresholds(distribution.probabilities())
    chosen = values if len(values) == 1 else values[scale(first, len(values))]
    return chosen[..., 0], chosen[..., 0] + chosen[..., 1]


def is_test(ids: Ids, symbols: int) -> npt.NDArray[np.bool_]:
    """For each string of under APART_LENGTH symbols, whether it belongs to the test splits.

    The symbols are hashed as distances from the first one, modulo their number: strings that differ
    by a rotation of the symbols stay together, so that every answer is as frequent on either side.
    """
    factors = Stream("flipflop-sides", {}, "all", 0, 0).raw(APART_LENGTH) | np.uint64(1)
    turned = ids.astype(np.int64)
    turned[:, 1::2] = (turned[:, 1::2] - turned[:, 1:2]) % symbols
    mixed = turned.astype(np.uint64) @ factors[: ids.shape[1]]
    mixed = (mixed ^ (mixed >> np.uint64(32))) * factors[-1]
    return np.asarray(mixed >> np.uint64(62) == 0)


def require_apart(distribution: Distribution, parameter: str = "length") -> None:
    """Raises ParameterError where test rows would be train rows, or too few strings would be dealt to two sides.

    Two distributions that each pass share no more than the worse of them with itself (Cauchy-Schwarz),
    so that it is enough to look at each alone. Short strings are dealt by rotations of the symbols.
    """
    if distribution.length >= APART_LENGTH:
        apart = collision(distribution, distribution) <= MAX_COLLISION
    else:
        apart = collision(distribution, distribution) * distribution.symbols <= 1 / MIN_DIFFERENT_STRINGS
    if not apart:
        write, read = np.moveaxis(distribution.probabilities(), -1, 0)
        read_heavy = read**2 > (write**2 + (1 - write - read) ** 2) / distribution.symbols
        smaller = f", or p_read smaller than {read.max():g}" if read_heavy.any() else ""
        raise ParameterError(
            f"{parameter}={distribution.length} is out of range: {parameter} must be greater{smaller}, for train and "
            "test to have different rows"
        )
