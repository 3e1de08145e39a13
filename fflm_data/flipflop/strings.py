"""Flip-flop strings as text and as arrays of token ids: encode, decode, find reads, validate.

In text, a symbol is its decimal number: `w0i1r0`, or `w17i203r17` with more than ten symbols.
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
"""Token ids, uint8 (uint16 with more than 253 data symbols): w 0, r 1, i 2, symbol k is 3 + k."""

_ID_OF_CHARACTER = np.full(256, 255, dtype=np.uint8)
_ID_OF_CHARACTER[np.frombuffer(ALPHABET.encode("ascii"), dtype=np.uint8)] = np.arange(len(ALPHABET), dtype=np.uint8)
_PIECES = [*INSTRUCTIONS, *map(str, range(MAX_SYMBOLS))]
_ID_OF_PIECE = {piece: number for number, piece in enumerate(_PIECES)}
_TWO_DIGITS = re.compile(r"\d\d")
_PIECE = re.compile(r"\D|\d+", re.ASCII)


def symbol_names(symbols: int) -> tuple[str, ...]:
    """Returns the data symbols as text."""
    return tuple(map(str, range(symbols)))


def id_type(symbols: int) -> type[np.uint8] | type[np.uint16]:
    """Returns the dtype of the token ids for a number of data symbols."""
    return np.uint8 if FIRST_SYMBOL + symbols <= 256 else np.uint16


class Reads(NamedTuple):
    """All reads of a batch of strings, ordered by row and position; four arrays of equal length.

    row: int32, index in the batch. position: int32, index of the answer in the string (the token to
    predict). answer: dtype of the ids, the target symbol 0, 1, ... gap: int32, instructions since the
    latest write (1 if the read directly follows it).
    """

    row: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    answer: npt.NDArray[Any]
    gap: npt.NDArray[np.int32]

    @property
    def answer_id(self) -> npt.NDArray[Any]:
        """The target token id at each position, 3, 4, ... (`answer` is the symbol 0, 1, ...).

        Compare an argmax over the vocabulary with `answer_id`.
        """
        return np.asarray(self.answer + FIRST_SYMBOL, dtype=self.answer.dtype)


def latest_write(writes: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Returns, for each instruction of (rows, instructions), the index of the latest write at or before it."""
    index = np.where(writes, np.arange(writes.shape[1], dtype=np.int32), np.int32(0))
    return np.maximum.accumulate(index, axis=1)


def reads(ids: Ids) -> Reads:
    """Returns all reads of token ids of shape (rows, length). Raises ValueError if a string is not legal."""
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


def previous_symbol_right(ids: Ids, reads: Reads) -> npt.NDArray[np.bool_]:
    """Returns whether the previous data symbol equals the answer, for each read. The best baseline on dense strings."""
    return np.asarray(ids[reads.row, reads.position - 2] - FIRST_SYMBOL == reads.answer)


def _require_legal(ids: Ids) -> None:
    if ids.ndim != 2:
        raise ValueError(f"ids must have the shape (rows, length), not {ids.shape}")
    if ids.shape[1] < 4 or ids.shape[1] % 2:
        raise ValueError(f"row 0 has {ids.shape[1]} instructions and symbols, expected an even number of at least 4")
    for reason, mask in faults(ids):
        if mask.any():
            row, instruction = np.argwhere(mask)[0]
            raise ValueError(f"row {row} is not a flip-flop string: {reason} at instruction {instruction}")


def faults(ids: Ids) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Returns the rules of the language as (message, bool mask of the instructions that violate it).

    ids: shape (rows, even length). The masks have shape (rows, instructions).
    """
    instructions, symbols = ids[:, 0::2], ids[:, 1::2]
    writes = instructions == WRITE
    expected = np.take_along_axis(symbols, latest_write(writes), axis=1)
    return [
        ("expected an instruction (w, r or i)", (instructions < WRITE) | (instructions > IGNORE)),
        ("expected a data symbol", (symbols < FIRST_SYMBOL) | (symbols >= FIRST_SYMBOL + MAX_SYMBOLS)),
        ("the first instruction must be w", _only(~writes, 0)),
        ("the last instruction must be r", _only(instructions != READ, -1)),
        ("a read must repeat the latest write", (instructions == READ) & (symbols != expected)),
    ]


def _only(mask: npt.NDArray[np.bool_], column: int) -> npt.NDArray[np.bool_]:
    result = np.zeros_like(mask)
    result[:, column] = mask[:, column]
    return result


def pieces(text: str) -> list[str]:
    """Splits a string into its instructions and symbols."""
    return _PIECE.findall(text) if _TWO_DIGITS.search(text) else list(text)


def encode(texts: Sequence[str] | pa.Array | pa.ChunkedArray) -> Ids:
    """Encodes strings such as `w0i1r0`, all with the same number of symbols, to token ids of shape (rows, length).

    Raises ValueError for strings of different lengths or a character outside the alphabet.
    """
    strings = texts.to_pylist() if isinstance(texts, pa.Array | pa.ChunkedArray) else list(texts)
    if len({len(text) for text in strings}) > 1:
        return _encode_wide(strings)
    joined = "".join(strings).encode("latin-1", errors="replace")
    ids = _ID_OF_CHARACTER[np.frombuffer(joined, dtype=np.uint8)].reshape(len(strings), -1 if strings else 0)
    if ((ids[:, 0::2] >= FIRST_SYMBOL) & (ids[:, 0::2] != 255)).any():
        return _encode_wide(strings)  # a digit at the position of an instruction: some symbol has several digits
    if (ids == 255).any():
        row, column = np.argwhere(ids == 255)[0]
        raise ValueError(f"row {row} has {strings[row][column]!r} at character {column}: the alphabet is {ALPHABET}")
    return ids


def _encode_wide(strings: list[str]) -> Ids:
    """Encodes strings whose symbols may have several digits."""
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
        raise ValueError(f"all strings must have the same length, got {sorted(lengths)[:5]}")
    ids = np.array(rows, dtype=np.uint16)
    return ids.astype(np.uint8) if ids.max() < 256 else ids


def decode(ids: Ids) -> pa.Array:
    """Decodes token ids of shape (rows, length) to an Arrow array of strings, without copying each string."""
    names = [name.encode("ascii") for name in _PIECES[: int(ids.max(initial=0)) + 1]]
    width = len(names[-1])
    content = np.frombuffer(b"".join(name.ljust(width) for name in names), dtype=f"S{width}").take(ids).view(np.uint8)
    if width == 1:
        ends = np.arange(1, len(ids) + 1, dtype=np.int64) * ids.shape[1]
    else:
        used = content != ord(" ")
        ends = np.cumsum(used.sum(axis=1, dtype=np.int64))
        content = content[used]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), ends])
    large = pa.LargeStringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(content))
    return large.cast(pa.string())


def validate(texts: Sequence[str]) -> None:
    """Raises ValueError with row and reason unless all strings are legal flip-flop strings."""
    for number, text in enumerate(texts):
        try:
            _require_legal(encode([text]))
        except ValueError as error:
            raise ValueError(f"row {number} " + str(error).removeprefix("row 0 ")) from None
