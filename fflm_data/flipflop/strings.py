"""Flip-flop strings as text and as arrays of ids: encode, decode, find the reads, check that all is legal.

As text, a symbol is its decimal number: `w0i1r0`, and `w17i203r17` where there are more than ten of them.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.flipflop.distributions import MAX_SYMBOLS

WRITE, READ, IGNORE, FIRST_SYMBOL = 0, 1, 2, 3
INSTRUCTIONS = "wri"
ALPHABET = INSTRUCTIONS + "0123456789"

Ids = npt.NDArray[Any]
"""uint8, or uint16 where there are more than 253 data symbols: w 0, r 1, i 2, symbol k 3 + k."""

_ID_OF_CHARACTER = np.full(256, 255, dtype=np.uint8)
_ID_OF_CHARACTER[np.frombuffer(ALPHABET.encode("ascii"), dtype=np.uint8)] = np.arange(len(ALPHABET), dtype=np.uint8)
_PIECES = [*INSTRUCTIONS, *map(str, range(MAX_SYMBOLS))]
_ID_OF_PIECE = {piece: number for number, piece in enumerate(_PIECES)}
_TWO_DIGITS = re.compile(r"\d\d")
_PIECE = re.compile(r"\D|\d+", re.ASCII)


def symbol_names(symbols: int) -> tuple[str, ...]:
    """The data symbols as text writes them."""
    return tuple(map(str, range(symbols)))


def id_type(symbols: int) -> type[np.uint8] | type[np.uint16]:
    """The type that holds the ids of an alphabet of so many data symbols."""
    return np.uint8 if FIRST_SYMBOL + symbols <= 256 else np.uint16


class Reads(NamedTuple):
    """Every read of a batch of strings, in order of row and position; four arrays of one length.

    row: int32, index into the batch. position: int32, index of the answer in the string (the id to
    predict). answer: of the type of the ids, the symbol 0, 1, ... that must stand there. gap: int32, instructions
    since the latest write (1 when the read follows it at once).
    """

    row: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    answer: npt.NDArray[Any]
    gap: npt.NDArray[np.int32]

    @property
    def answer_id(self) -> npt.NDArray[Any]:
        """The id that must stand at each position, 3, 4, ... as in the strings: what an argmax over ids is compared
        with, where `answer` is the symbol 0, 1, ..."""
        return np.asarray(self.answer + FIRST_SYMBOL, dtype=self.answer.dtype)


def latest_write(writes: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """For each instruction of (rows, instructions), the index of the latest write at or before it."""
    index = np.where(writes, np.arange(writes.shape[1], dtype=np.int32), np.int32(0))
    return np.maximum.accumulate(index, axis=1)


def reads(ids: Ids) -> Reads:
    """All reads of ids of shape (rows, length). Raises ValueError if a string is not legal."""
    _require_legal(ids)
    row, instruction = np.nonzero(ids[:, 0::2] == READ)
    latest = latest_write(ids[:, 0::2] == WRITE)[row, instruction]
    position = 2 * instruction + 1
    return Reads(
        row.astype(np.int32),
        position.astype(np.int32),
        (ids[row, position] - FIRST_SYMBOL).astype(ids.dtype),
        (instruction - latest).astype(np.int32),
    )


def previous_symbol_right(ids: Ids, found: Reads) -> npt.NDArray[np.bool_]:
    """For each read, whether the data symbol just before it is the answer: the best baseline on dense strings."""
    return np.asarray(ids[found.row, found.position - 2] - FIRST_SYMBOL == found.answer)


def _require_legal(ids: Ids) -> None:
    if ids.ndim != 2:
        raise ValueError(f"ids must have the shape (rows, length), not {ids.shape}")
    if ids.shape[1] < 4 or ids.shape[1] % 2:
        raise ValueError(
            f"row 0 has {ids.shape[1]} instructions and symbols: an even number of at least 4 was expected"
        )
    for reason, fault in faults(ids):
        if fault.any():
            row, instruction = np.argwhere(fault)[0]
            raise ValueError(f"row {row} is not a flip-flop string: {reason} at instruction {instruction}")


def faults(ids: Ids) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """What is wrong with ids of shape (rows, even length): reasons, and the instructions where each holds."""
    instructions, symbols = ids[:, 0::2], ids[:, 1::2]
    writes = instructions == WRITE
    expected = np.take_along_axis(symbols, latest_write(writes), axis=1)
    return [
        ("an instruction (w, r or i) was expected", (instructions < WRITE) | (instructions > IGNORE)),
        ("a data symbol was expected", (symbols < FIRST_SYMBOL) | (symbols >= FIRST_SYMBOL + MAX_SYMBOLS)),
        ("the first instruction must be w", _only(~writes, 0)),
        ("the last instruction must be r", _only(instructions != READ, -1)),
        ("a read must repeat the latest write", (instructions == READ) & (symbols != expected)),
    ]


def _only(fault: npt.NDArray[np.bool_], column: int) -> npt.NDArray[np.bool_]:
    kept = np.zeros_like(fault)
    kept[:, column] = fault[:, column]
    return kept


def pieces(text: str) -> list[str]:
    """The instructions and symbols of one string, in turn."""
    return _PIECE.findall(text) if _TWO_DIGITS.search(text) else list(text)


def encode(texts: Sequence[str] | pa.Array | pa.ChunkedArray) -> Ids:
    """Strings of one number of symbols, such as `w0i1r0`, to ids of shape (rows, length).

    Raises ValueError for strings of several lengths or a character outside the alphabet.
    """
    strings = texts.to_pylist() if isinstance(texts, pa.Array | pa.ChunkedArray) else list(texts)
    if len({len(text) for text in strings}) > 1:
        return _encode_wide(strings)
    joined = "".join(strings).encode("latin-1", errors="replace")
    ids = _ID_OF_CHARACTER[np.frombuffer(joined, dtype=np.uint8)].reshape(len(strings), -1 if strings else 0)
    if ((ids[:, 0::2] >= FIRST_SYMBOL) & (ids[:, 0::2] != 255)).any():
        return _encode_wide(strings)  # a digit where an instruction stands if each symbol has one digit
    if (ids == 255).any():
        row, column = np.argwhere(ids == 255)[0]
        raise ValueError(f"row {row} has {strings[row][column]!r} at character {column}: the alphabet is {ALPHABET}")
    return ids


def _encode_wide(strings: list[str]) -> Ids:
    """The same where a symbol may take several characters."""
    rows = []
    for number, text in enumerate(strings):
        try:
            rows.append([_ID_OF_PIECE[piece] for piece in pieces(text)])
        except KeyError as error:
            raise ValueError(
                f"row {number} has {error.args[0]!r} at character {text.index(error.args[0])}: "
                f"instructions are w, r, i and symbols 0 to {MAX_SYMBOLS - 1}"
            ) from None
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(f"strings of several lengths cannot be one array: {sorted(lengths)[:5]}")
    ids = np.array(rows, dtype=np.uint16)
    return ids.astype(np.uint8) if ids.max() < 256 else ids


def decode(ids: Ids) -> pa.Array:
    """Ids of shape (rows, length) to an Arrow array of strings, without copying each string."""
    names = [name.encode("ascii") for name in _PIECES[: int(ids.max(initial=0)) + 1]]
    width = len(names[-1])
    content = np.frombuffer(b"".join(name.ljust(width) for name in names), dtype=f"S{width}").take(ids).view(np.uint8)
    if width == 1:
        ends = np.arange(1, len(ids) + 1, dtype=np.int64) * ids.shape[1]
    else:
        written = content != ord(" ")
        ends = np.cumsum(written.sum(axis=1, dtype=np.int64))
        content = content[written]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), ends])
    large = pa.LargeStringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(content))
    return large.cast(pa.string())


def validate(texts: Sequence[str]) -> None:
    """Raises ValueError, naming the row and the fault, unless all strings are legal flip-flop strings."""
    for number, text in enumerate(texts):
        try:
            _require_legal(encode([text]))
        except ValueError as error:
            raise ValueError(f"row {number} " + str(error).removeprefix("row 0 ")) from None
