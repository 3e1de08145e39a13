"""Flip-flop strings (arXiv 2306.00946, Definition 1): write, read and ignore instructions on one cell.

A string alternates an instruction with a data symbol. The first instruction is w, the last r;
the others are drawn independently. The symbol after w or i is uniform, the symbol after r is the
one after the latest w: the only symbol that a model can know, and must.

Two views of the same rows: the config `flipflop` for `load_dataset`, and arrays of integer ids for
training (`sample`, `reads`, `encode`, `decode`). Ids are those of the published data card: w 0,
r 1, i 2, then the data symbols.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.config import Config, plain_fields, require, require_integer
from fflm_data.seeding import Stream, high, low, scale, threshold

WRITE, READ, IGNORE, FIRST_SYMBOL = 0, 1, 2, 3
MAX_SYMBOLS = 10
ALPHABET = "wri0123456789"
MAX_LENGTH = 2**20
BLOCK_SYMBOLS = 2**19

Ids = npt.NDArray[np.uint8]
_ASCII = np.frombuffer(ALPHABET.encode("ascii"), dtype=np.uint8)
_ID_OF_ASCII = np.full(256, 255, dtype=np.uint8)
_ID_OF_ASCII[_ASCII] = np.arange(len(ALPHABET), dtype=np.uint8)


@dataclass(frozen=True)
class FFL:
    """The distribution FFL(T, p) of Definition 1: strings of `length` characters over `symbols` data symbols.

    An instruction is w with probability `p_write`, r with `p_read`, otherwise i.
    """

    length: int = 512
    p_write: float = 0.1
    p_read: float = 0.1
    symbols: int = 2

    def __post_init__(self) -> None:
        plain_fields(self)
        require_integer("length", self.length, 4, MAX_LENGTH)
        require(self.length % 2 == 0, "length", self.length, "even: instructions and symbols alternate")
        require_integer("symbols", self.symbols, 2, MAX_SYMBOLS)
        for name in ("p_write", "p_read"):
            value = getattr(self, name)
            require(_is_probability(value), name, value, "a probability from 0 to 1")
        require(
            threshold(self.p_write) + threshold(self.p_read) <= 2**32,
            "p_write + p_read",
            self.p_write + self.p_read,
            "at most 1",
        )

    @classmethod
    def from_p_ignore(cls, p_ignore: float, length: int = 512, symbols: int = 2) -> "FFL":
        """FFL(p_ignore), the short form: writes and reads share the rest equally."""
        require(_is_probability(p_ignore), "p_ignore", p_ignore, "a probability from 0 to 1")
        return cls(length, (1 - p_ignore) / 2, (1 - p_ignore) / 2, symbols)

    @property
    def instructions(self) -> int:
        """Instructions in a string: half its length."""
        return self.length // 2

    @property
    def block_rows(self) -> int:
        """Rows that are drawn together: 1,024 of length 512, so that a block takes the same memory at any length."""
        return max(1, BLOCK_SYMBOLS // self.length)

    def key(self) -> dict[str, int]:
        """What shapes a row, as integers: 0.1 and (1 - 0.8) / 2 are the same distribution."""
        return {
            "length": self.length,
            "write": threshold(self.p_write),
            "read": threshold(self.p_read),
            "symbols": self.symbols,
        }


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


class Reads(NamedTuple):
    """Every read of a batch of strings, in order of row and position; four arrays of one length.

    row: int32, index into the batch. position: int32, index of the answer in the string (the id to
    predict). answer: uint8, the symbol 0, 1, ... that must stand there. gap: int32, instructions
    since the latest write (1 when the read follows it at once).
    """

    row: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    answer: npt.NDArray[np.uint8]
    gap: npt.NDArray[np.int32]


def sample(ffl: FFL, rows: int, *, split: str = "train", seed: int = 0, start: int = 0) -> Ids:
    """Rows start..start+rows-1 of a distribution: uint8 ids of shape (rows, length).

    The same rows as `load_dataset("fflm", "flipflop")` has in that split, for the split's distribution.
    """
    require_integer("rows", rows, 0)
    require_integer("start", start, 0)
    require_integer("seed", seed, 0)
    ids = np.empty((rows, ffl.length), dtype=np.uint8)
    done = 0
    while done < rows:
        block, skip = divmod(start + done, ffl.block_rows)
        take = min(ffl.block_rows - skip, rows - done)
        ids[done : done + take] = _block(ffl, split, seed, block, skip + take)[skip:]
        done += take
    return ids


def _block(ffl: FFL, split: str, seed: int, number: int, rows: int) -> Ids:
    """The first `rows` rows of a block. One 64-bit draw an instruction: its upper half chooses w, r
    or i, its lower half the symbol."""
    width = ffl.instructions
    raw = Stream("flipflop", ffl.key(), split, seed, number).raw(rows * width)
    choice = high(raw).reshape(rows, width)
    writes = choice < threshold(ffl.p_write)
    reading = ~writes & (choice < threshold(ffl.p_write) + threshold(ffl.p_read))
    writes[:, 0], reading[:, 0] = True, False
    writes[:, -1], reading[:, -1] = False, True

    symbols = scale(low(raw), ffl.symbols).astype(np.uint8).reshape(rows, width)
    latest = _latest_write(writes)
    symbols = np.where(reading, np.take_along_axis(symbols, latest, axis=1), symbols)

    ids = np.empty((rows, ffl.length), dtype=np.uint8)
    ids[:, 0::2] = np.where(writes, WRITE, np.where(reading, READ, IGNORE))
    ids[:, 1::2] = symbols + FIRST_SYMBOL
    return ids


def _latest_write(writes: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """For each instruction, the index of the latest write at or before it."""
    index = np.where(writes, np.arange(writes.shape[1], dtype=np.int32), np.int32(0))
    return np.maximum.accumulate(index, axis=1)


def reads(ids: Ids) -> Reads:
    """All reads of ids of shape (rows, length). Raises ValueError if a string is not legal."""
    _require_legal(ids)
    row, instruction = np.nonzero(ids[:, 0::2] == READ)
    latest = _latest_write(ids[:, 0::2] == WRITE)[row, instruction]
    position = 2 * instruction + 1
    return Reads(
        row.astype(np.int32),
        position.astype(np.int32),
        (ids[row, position] - FIRST_SYMBOL).astype(np.uint8),
        (instruction - latest).astype(np.int32),
    )


def _require_legal(ids: Ids) -> None:
    if ids.ndim != 2:
        raise ValueError(f"ids must have the shape (rows, length), not {ids.shape}")
    if ids.shape[1] < 4 or ids.shape[1] % 2:
        raise ValueError(f"row 0 has {ids.shape[1]} characters: a flip-flop string has an even length of at least 4")
    instructions, symbols = ids[:, 0::2], ids[:, 1::2]
    writes = instructions == WRITE
    expected = np.take_along_axis(symbols, _latest_write(writes), axis=1)
    faults: list[tuple[str, npt.NDArray[np.bool_]]] = [
        ("an instruction (w, r or i) was expected", (instructions < WRITE) | (instructions > IGNORE)),
        ("a data symbol was expected", (symbols < FIRST_SYMBOL) | (symbols >= len(ALPHABET))),
        ("the first instruction must be w", _only(~writes, 0)),
        ("the last instruction must be r", _only(instructions != READ, -1)),
        ("a read must repeat the latest write", (instructions == READ) & (symbols != expected)),
    ]
    for reason, fault in faults:
        if fault.any():
            row, instruction = np.argwhere(fault)[0]
            raise ValueError(f"row {row} is not a flip-flop string: {reason} at instruction {instruction}")


def _only(fault: npt.NDArray[np.bool_], column: int) -> npt.NDArray[np.bool_]:
    kept = np.zeros_like(fault)
    kept[:, column] = fault[:, column]
    return kept


def encode(texts: Sequence[str] | pa.Array | pa.ChunkedArray) -> Ids:
    """Strings of one length, such as `w0i1r0`, to uint8 ids of shape (rows, length).

    Raises ValueError for strings of several lengths or a character outside the alphabet.
    """
    strings = texts.to_pylist() if isinstance(texts, pa.Array | pa.ChunkedArray) else list(texts)
    lengths = {len(text) for text in strings}
    if len(lengths) > 1:
        raise ValueError(f"strings of several lengths cannot be one array: {sorted(lengths)[:5]}")
    joined = "".join(strings).encode("latin-1", errors="replace")
    ids = _ID_OF_ASCII[np.frombuffer(joined, dtype=np.uint8)].reshape(len(strings), -1 if strings else 0)
    if (ids == 255).any():
        row, column = np.argwhere(ids == 255)[0]
        raise ValueError(f"row {row} has {strings[row][column]!r} at character {column}: the alphabet is {ALPHABET}")
    return ids


def decode(ids: Ids) -> pa.Array:
    """Ids of shape (rows, length) to an Arrow array of strings, without copying each string."""
    rows, length = ids.shape
    offsets = np.arange(0, (rows + 1) * length, length, dtype=np.int64)
    large = pa.LargeStringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(_ASCII[ids]))
    return large.cast(pa.string())


def validate(texts: Sequence[str]) -> None:
    """Raises ValueError, naming the row and the fault, unless all strings are legal flip-flop strings."""
    for number, text in enumerate(texts):
        try:
            _require_legal(encode([text]))
        except ValueError as error:
            raise ValueError(f"row {number} " + str(error).removeprefix("row 0 ")) from None


@dataclass(frozen=True)
class FlipFlop(Config):
    """Flip-flop language modeling: FFL(0.8) to train and validate, its sparse and dense tails to stress.

    `p_ignore`, or `p_write` and `p_read`, set the distribution of train and val (0.8 if none is
    given); val_sparse and val_dense stay FFL(0.98) and FFL(0.1), as in section 4. A split of 0 rows
    is left out.
    """

    length: int = 512
    p_ignore: float | None = None
    p_write: float | None = None
    p_read: float | None = None
    symbols: int = 2
    train_rows: int = 160_000
    val_rows: int = 1_000
    val_sparse_rows: int = 100_000
    val_dense_rows: int = 3_000

    name: ClassVar[str] = "flipflop"
    title: ClassVar[str] = "copy one bit over a distance"
    paper: ClassVar[str] = "arXiv 2306.00946"
    schema: ClassVar[pa.Schema] = pa.schema([("id", pa.int64()), ("text", pa.string())])

    def validate(self) -> None:
        both = self.p_write is not None and self.p_read is not None
        neither = self.p_write is None and self.p_read is None
        require(both or neither, "p_write, p_read", (self.p_write, self.p_read), "given together")
        require(
            neither or self.p_ignore is None, "p_ignore", self.p_ignore, "left out when p_write and p_read are given"
        )
        for split in ("train", "val", "val_sparse", "val_dense"):
            require_integer(f"{split}_rows", getattr(self, f"{split}_rows"), 0)
        require(len(self.splits()) > 0, "the rows of all splits", 0, "above 0 for one of them")
        self.distribution("train")

    def splits(self) -> dict[str, int]:
        rows = {split: getattr(self, f"{split}_rows") for split in ("train", "val", "val_sparse", "val_dense")}
        return {split: count for split, count in rows.items() if count}

    def distribution(self, split: str) -> FFL:
        """The distribution a split is drawn from."""
        if split == "val_sparse":
            return FFL.from_p_ignore(0.98, self.length, self.symbols)
        if split == "val_dense":
            return FFL.from_p_ignore(0.1, self.length, self.symbols)
        if self.p_write is not None and self.p_read is not None:
            return FFL(self.length, self.p_write, self.p_read, self.symbols)
        return FFL.from_p_ignore(0.8 if self.p_ignore is None else self.p_ignore, self.length, self.symbols)

    def block_rows(self, split: str) -> int:
        return self.distribution(split).block_rows

    def block(self, split: str, number: int) -> pa.Table:
        ffl = self.distribution(split)
        rows = min(ffl.block_rows, self.rows(split) - number * ffl.block_rows)
        return pa.table({"text": decode(_block(ffl, split, self.seed, number, rows))})
