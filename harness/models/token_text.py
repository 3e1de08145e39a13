"""The bytes of each token, from the vocabulary alone: a tokenizer's decoder may rewrite text and is not used.

Supports byte-level vocabularies, SentencePiece (U+2581 for a space, bytes as <0x0A>), and subword prefixes (##) or
word-end suffixes (</w>), which omit spaces.
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
# Ignored when comparing decoded text: decoders may add or drop whitespace and replacement characters.
_IGNORED = re.compile("[\\s\ufffd\u2581]+")


class TokenBytes:
    """The bytes of each token of a tokenizer.

    added: texts of the added tokens, by id. special: ids of the special ones, which are skipped when decoding.
    """

    def __init__(self, backend: Any):
        self.backend = backend
        facts = backend.get_added_tokens_decoder()
        self.added: dict[int, str] = {number: token.content for number, token in facts.items()}
        self.special = {number for number, token in facts.items() if token.special}
        self._skipped_texts = {self.added[number] for number in self.special}  # decoders skip tokens by text
        parts = [_state(part) for part in (backend.normalizer, backend.pre_tokenizer, backend.decoder)]
        self.byte_level = any(step.get("type") == "ByteLevel" for part in parts for step in _components(part))
        model = backend.model
        self._prefix = getattr(model, "continuing_subword_prefix", None) or ""
        self._suffix = getattr(model, "end_of_word_suffix", None) or ""
        self._skipped: dict[int, bool] = {}
        self._cache: dict[int, bytes] = {}
        self._bytes: dict[int, bytes] = {}  # tokens for single bytes
        self._by_bytes: dict[tuple[bytes, bool], int] = {}

    def of(self, token: int) -> bytes:
        """The bytes of a token; empty for an id without a token."""
        written = self._cache.get(token)
        if written is None:
            written = self._cache[token] = self._compute(token)
        return written

    def join(self, tokens: Iterable[int]) -> bytes:
        """The concatenated bytes of tokens."""
        return b"".join(map(self.of, tokens))

    def matches(self, tokens: Sequence[int], text: str) -> bool:
        """Whether decoding tokens without special ones gives the text, up to whitespace and invalid characters."""
        shown = [token for token in tokens if not self._is_skipped(token)]
        written = self.join(shown).decode("utf-8", "replace")
        if written in (text, f" {text}"):  # the usual case
            return True
        expected = _squashed(text.removeprefix(self._prefix))
        if _squashed(written) == expected:
            return True
        # Decoders decode a run of byte tokens as a whole, and added tokens like others.
        runs = ((byte, list(run)) for byte, run in groupby(shown, key=lambda token: token in self._bytes))
        decoded = "".join(
            _decode_run(self.join(run)) if byte else self.join(run).decode("utf-8", "replace") for byte, run in runs
        )
        if _squashed(decoded) == expected:
            return True
        byte_text = b"".join(map(self._as_bytes, shown)).decode("utf-8", "replace")
        return self.byte_level and _squashed(byte_text) == expected

    def _is_skipped(self, token: int) -> bool:
        skipped = self._skipped.get(token)
        if skipped is None:
            skipped = self._skipped[token] = self.backend.id_to_token(token) in self._skipped_texts
        return skipped

    def duplicate(self, token: int) -> int | None:
        """Another token, seen earlier, with the same bytes; None if there is none. Added tokens have none."""
        if token in self.added:
            return None
        piece = self.backend.id_to_token(token) or ""
        continues = bool(self._prefix) and piece.startswith(self._prefix)
        ends = bool(self._suffix) and piece.endswith(self._suffix)
        other = self._by_bytes.setdefault((self.of(token), continues or ends), token)
        return None if other == token else other

    def _compute(self, token: int) -> bytes:
        if token in self.added:
            return self.added[token].encode()
        piece = self.backend.id_to_token(token)
        if piece is None:
            return b""
        if self.byte_level:
            return _byte_level(piece)
        if match := _FALLBACK.fullmatch(piece):
            self._bytes[token] = bytes.fromhex(match[1])
            return self._bytes[token]
        if self._prefix:
            piece = piece.removeprefix(self._prefix)
        if self._suffix:
            piece = piece.removesuffix(self._suffix)
        return str(piece).replace(SPACE_MARK, " ").encode()

    def _as_bytes(self, token: int) -> bytes:
        return _byte_level(self.added[token]) if token in self.added else self.of(token)


_CACHE: "WeakKeyDictionary[Any, TokenBytes]" = WeakKeyDictionary()


def token_bytes(tokenizer: Any) -> TokenBytes:
    """The token bytes of a tokenizer, cached; no tokens may be added to it later."""
    cached = _CACHE.get(tokenizer)
    if cached is None or cached.backend is not tokenizer.backend_tokenizer:
        cached = _CACHE[tokenizer] = TokenBytes(tokenizer.backend_tokenizer)
    return cached


def _state(part: Any) -> Any:
    """A part of a tokenizer as JSON, as in tokenizer.json."""
    return {} if part is None else json.loads(part.__getstate__())


def _components(part: Any) -> Iterable[dict[str, Any]]:
    """A part of a tokenizer and its nested parts."""
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
    """GPT-2's characters for bytes: visible ones represent themselves, the others start at U+0100."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


def _decode_run(run: bytes) -> str:
    try:
        return run.decode()
    except UnicodeDecodeError:
        return ""


def _squashed(text: str) -> str:
    return _IGNORED.sub("", text).replace("donot", "don't")  # BERT's decoder contracts "do not"
