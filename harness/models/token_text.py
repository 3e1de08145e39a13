"""What tokens write, by the vocabulary alone: the decoder of a tokenizer, which may rewrite texts, has no say in it.

Three ways of writing are known: bytes as characters (byte-level), U+2581 for a space with bytes as <0x0A>
(SentencePiece), and marks of where words go on (##) or end (</w>), which leave spaces out.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

SPACE_MARK = "\u2581"
_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")
# What decoders may leave out, add and put together: blanks, what is no character, and an English word of BERT's.
_LEFT_OUT = re.compile("[\\s\ufffd\u2581]+")


class Surfaces:
    """The bytes that each token of a tokenizer writes. added: the texts of added tokens by id; special: those of them
    that outputs leave out."""

    def __init__(self, backend: Any):
        self.backend = backend
        facts = backend.get_added_tokens_decoder()
        self.added: dict[int, str] = {number: token.content for number, token in facts.items()}
        self.special = {number for number, token in facts.items() if token.special}
        self._left_out = {self.added[number] for number in self.special}  # decoders go by texts
        parts = [_state(part) for part in (backend.normalizer, backend.pre_tokenizer, backend.decoder)]
        self.byte_level = any(one.get("type") == "ByteLevel" for part in parts for one in _components(part))
        model = backend.model
        self._goes_on = getattr(model, "continuing_subword_prefix", None) or ""
        self._ends = getattr(model, "end_of_word_suffix", None) or ""
        self._hidden: dict[int, bool] = {}
        self._known: dict[int, bytes] = {}
        self._bytes: dict[int, bytes] = {}  # tokens for single bytes
        self._spelled: dict[tuple[bytes, bool], int] = {}

    def of(self, token: int) -> bytes:
        """What one token writes; nothing for an id without a token."""
        found = self._known.get(token)
        if found is None:
            found = self._known[token] = self._written(token)
        return found

    def join(self, tokens: Iterable[int]) -> bytes:
        """What tokens write one after another."""
        return b"".join(map(self.of, tokens))

    def says(self, tokens: Sequence[int], text: str) -> bool:
        """Whether a text is what tokens write, special ones left out; blanks and broken characters aside."""
        shown = [token for token in tokens if not self._is_left_out(token)]
        written = self.join(shown).decode("utf-8", "replace")
        if written in (text, f" {text}"):  # nearly always
            return True
        wanted = _squashed(text.removeprefix(self._goes_on))
        if _squashed(written) == wanted:
            return True
        # Decoders read whole runs of bytes, and added tokens as others.
        runs = ((byte, list(run)) for byte, run in groupby(shown, key=lambda token: token in self._bytes))
        decoded = "".join(
            _run(self.join(run)) if byte else self.join(run).decode("utf-8", "replace") for byte, run in runs
        )
        if _squashed(decoded) == wanted:
            return True
        return self.byte_level and _squashed(b"".join(map(self._as_bytes, shown)).decode("utf-8", "replace")) == wanted

    def _is_left_out(self, token: int) -> bool:
        left_out = self._hidden.get(token)
        if left_out is None:
            left_out = self._hidden[token] = self.backend.id_to_token(token) in self._left_out
        return left_out

    def twin(self, token: int) -> int | None:
        """Another token that was seen to write the same as this one; None if there is none. Added tokens have none."""
        if token in self.added:
            return None
        piece = self.backend.id_to_token(token) or ""
        goes_on = bool(self._goes_on) and piece.startswith(self._goes_on)
        ends = bool(self._ends) and piece.endswith(self._ends)
        other = self._spelled.setdefault((self.of(token), goes_on or ends), token)
        return None if other == token else other

    def _written(self, token: int) -> bytes:
        if token in self.added:
            return self.added[token].encode()
        piece = self.backend.id_to_token(token)
        if piece is None:
            return b""
        if self.byte_level:
            return _byte_level(piece)
        if found := _FALLBACK.fullmatch(piece):
            self._bytes[token] = bytes.fromhex(found[1])
            return self._bytes[token]
        if self._goes_on:
            piece = piece.removeprefix(self._goes_on)
        if self._ends:
            piece = piece.removesuffix(self._ends)
        return str(piece).replace(SPACE_MARK, " ").encode()

    def _as_bytes(self, token: int) -> bytes:
        return _byte_level(self.added[token]) if token in self.added else self.of(token)


_KNOWN: "WeakKeyDictionary[Any, Surfaces]" = WeakKeyDictionary()


def surfaces_of(tokenizer: Any) -> Surfaces:
    """The surfaces of a tokenizer of transformers, which gets no more tokens."""
    known = _KNOWN.get(tokenizer)
    if known is None or known.backend is not tokenizer.backend_tokenizer:
        known = _KNOWN[tokenizer] = Surfaces(tokenizer.backend_tokenizer)
    return known


def _state(part: Any) -> Any:
    """A part of a tokenizer as tokenizer.json has it."""
    return {} if part is None else json.loads(part.__getstate__())


def _components(part: Any) -> Iterable[dict[str, Any]]:
    """A part and all that it is made of."""
    if isinstance(part, dict):
        yield part
        for value in part.values():
            yield from _components(value)
    elif isinstance(part, list):
        for value in part:
            yield from _components(value)


def _byte_level(piece: str) -> bytes:
    table = _table()
    if all(sign in table for sign in piece):
        return bytes(map(table.__getitem__, piece))
    return piece.encode()


@cache
def _table() -> dict[str, int]:
    """GPT-2's characters for bytes: visible ones stand for themselves, the others are numbered from U+0100."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


def _run(run: bytes) -> str:
    try:
        return run.decode()
    except UnicodeDecodeError:
        return ""


def _squashed(text: str) -> str:
    return _LEFT_OUT.sub("", text).replace("donot", "don't")
