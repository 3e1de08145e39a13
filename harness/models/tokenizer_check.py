"""Checks that tokens represent their text and nothing else: tokenizer.json is a program that could compute answers.

A normalizer that counts letters and inserts the count would score for a model that cannot count. So would a
pre-tokenizer that drops distractors or splits a word where the answer changes. For every prompt:

1. The bytes of its tokens (`token_text`) are the text. Allowed changes are those of published tokenizers: Unicode
   normalization, removed accents, lower case, collapsed whitespace, a leading space.
2. The tokens of a word do not depend on distant words.
3. A string has one token: a choice between two could carry information.
4. Only a few special tokens surround a text.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary, proxy

import numpy as np

from harness.models.encoding import UnusableTokenizer, cannot_encode, encode_batch
from harness.models.token_text import SPACE_MARK, TokenBytes, token_bytes

TokenIds = Sequence[int]
# Whether the words start a text, the words, whether they end it.
Window = tuple[bool, str, bool]

MAX_AROUND = 8  # special tokens
# Tokens may depend on this many words on each side; a question has more between the letter and the word.
NEAR = 3
_BLANKS = b" \t\n\v\f\r"
_PAIR = re.compile("([ \t-\r]*)([^ \t-\r])")
# A text is split into words at single spaces.
_BETWEEN = re.compile(r"(?<=[^\s]) (?=[^\s])")
_OVER_BLANK = re.compile(rb"[^ \t-\r][ \t-\r]")
_EXCERPT = 24  # characters in messages
ADVICE = "name a model with the tokenizer that it was trained with"


class TokenizerChecker:
    """Checks the encodings of one tokenizer; keeps results for words that it has seen."""

    def __init__(self, tokenizer: Any, written: TokenBytes):
        self._tokenizer = proxy(tokenizer)  # the cache must not keep the tokenizer alive
        self._bytes = written
        self._neutral: str | None = None
        self._alone: dict[Window, list[int]] = {}
        self._seen: set[int] = set()

    def require(self, texts: Sequence[str], encodings: Sequence[TokenIds]) -> None:
        """Raises UnusableTokenizer for tokens that do not reproduce their text, CannotEncodeError if parts are missing.

        encodings: token ids without surrounding special tokens.
        """
        forms = [self._require_reproduced(text, ids) for text, ids in zip(texts, encodings, strict=True)]
        self._require_local(forms, encodings)

    def require_special_around(self, tokens: Sequence[int]) -> None:
        """Raises UnusableTokenizer unless the tokens around a text are a few special tokens."""
        words = [token for token in tokens if token not in self._bytes.special]
        if words or len(tokens) > MAX_AROUND:
            piece = self._tokenizer.convert_ids_to_tokens(words[0] if words else tokens[0])
            raise self._error(f"adds its own text around every prompt ({piece!r})")

    # ---- The bytes of tokens

    def _require_reproduced(self, text: str, ids: TokenIds) -> str:
        """The text in the normalized form that its tokens represent."""
        new = set(ids) - self._seen
        for token in new:
            if self._bytes.duplicate(token) is not None:
                piece = self._bytes.of(token).decode("utf-8", "replace")
                raise self._error(f"uses two different tokens for {piece!r}")
            if not self._bytes.of(token):
                raise self._error("uses a token without text")
        self._seen |= new
        written = self._bytes.join(ids).decode("utf-8", "replace")
        if written in (text, f" {text}"):
            return text
        plain = text if self._bytes.byte_level else text.replace(SPACE_MARK, " ")
        openings = self._openings(ids)
        for form in _normal_forms(plain):
            if _is_equivalent(written, form, openings):
                return text if len(_solid(form)) == len(_solid(plain)) else form
        rest = iter(text)
        if all(character in rest for character in _solid(written)):
            raise cannot_encode(self._tokenizer, text)
        raise self._error(f"changes the prompt: {_difference(text, written)}")

    def _openings(self, ids: TokenIds) -> set[int]:
        """Indices, without whitespace, of characters that may get a leading space: first, and after added tokens."""
        openings, written = {0}, b""
        for token in ids:
            written += self._bytes.of(token)
            if token in self._bytes.added:
                openings.add(len(_solid(written.decode("utf-8", "replace"))))
        return openings

    # ---- Context dependence

    def _require_local(self, texts: Sequence[str], encodings: Sequence[TokenIds]) -> None:
        split = [_BETWEEN.split(text) for text in texts]
        self._neutral = self._neutral or _neutral_word(split)
        if self._neutral is None:
            return
        windows = [list(_windows(words)) for words in split]
        self._encode_alone(chain.from_iterable(windows))
        for text, words, ids in zip(texts, windows, encodings, strict=True):
            alone = [self._alone[window] for window in words]
            if len(words) > 1 and list(chain.from_iterable(alone)) != list(ids):
                self._require_near(text, words, ids)

    def _require_near(self, text: str, words: list[Window], ids: TokenIds) -> None:
        """Raises UnusableTokenizer if the tokens of a word depend on more than its neighbours.

        They may depend on neighbours only through tokens that span a space, or added tokens.
        """
        counts = self._counts(ids)
        sizes = [len(_without_blanks(word.encode())) for _, word, _ in words]
        ends = np.cumsum([0, *sizes])
        for index, window in enumerate(words):
            span = (int(ends[index]), int(ends[index + 1]))
            in_text = _tokens_over(ids, counts, span, window)
            if self._alone[window] == in_text:
                continue
            first, last = max(index - NEAR, 0), min(index + NEAR, len(words) - 1)
            near = (first == 0, " ".join(word for _, word, _ in words[first : last + 1]), last == len(words) - 1)
            shift = int(ends[first]) - (0 if near[0] else self._neutral_size)
            wide = self._encode_windows([near])[0]
            same = _tokens_over(wide, self._counts(wide), (span[0] - shift, span[1] - shift), window) == in_text
            beside = _tokens_over(ids, counts, (int(ends[first]), int(ends[last + 1])), near)
            if not (same and self._crosses([*beside, *self._alone[window]])):
                raise self._error(
                    f"encodes {_excerpt(window[1])} differently depending on distant words, as in {_excerpt(text)}"
                )

    def _crosses(self, ids: TokenIds) -> bool:
        """Whether a token spans a space, or is an added token."""
        return any(token in self._bytes.added or _OVER_BLANK.search(self._bytes.of(token)) for token in ids)

    def _encode_alone(self, windows: Iterable[Window]) -> None:
        """Encodes words with only a neutral word beside them."""
        new = [window for window in dict.fromkeys(windows) if window not in self._alone]
        for window, ids in zip(new, self._encode_windows(new), strict=True):
            counts = self._counts(ids)
            start, end = 0 if window[0] else self._neutral_size, 0 if window[2] else self._neutral_size
            self._alone[window] = _tokens_over(ids, counts, (start, int(counts[-1]) - end), window)

    def _encode_windows(self, windows: Sequence[Window]) -> list[list[int]]:
        """The token ids of words, with a neutral word in place of the text on each side."""
        near = self._neutral
        texts = [f"{'' if first else f'{near} '}{words}{'' if last else f' {near}'}" for first, words, last in windows]
        return [encoding.ids for encoding in encode_batch(self._tokenizer, texts, special=False)]

    @property
    def _neutral_size(self) -> int:
        """The size of the neutral word in bytes."""
        return len(str(self._neutral).encode())

    def _counts(self, ids: TokenIds) -> Any:
        """Cumulative number of bytes, without whitespace, before each token and in total; int64 (tokens + 1,)."""
        sizes = [len(_without_blanks(self._bytes.of(token))) for token in ids]
        return np.cumsum([0, *sizes])

    def _error(self, problem: str) -> UnusableTokenizer:
        return UnusableTokenizer(
            f"the tokenizer of {self._tokenizer.name_or_path} {problem}, but a tokenizer may only split text: {ADVICE}"
        )


_CACHE: "WeakKeyDictionary[Any, tuple[TokenBytes, TokenizerChecker]]" = WeakKeyDictionary()


def checker_of(tokenizer: Any) -> TokenizerChecker:
    """The checker of a tokenizer, cached; no tokens may be added to the tokenizer later."""
    written = token_bytes(tokenizer)
    cached = _CACHE.get(tokenizer)
    if cached is None or cached[0] is not written:
        cached = _CACHE[tokenizer] = (written, TokenizerChecker(tokenizer, written))
    return cached[1]


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Decodes token ids without special tokens. Raises UnusableTokenizer if the decoder rewrites the text."""
    text = str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    vocabulary = token_bytes(tokenizer)
    if not vocabulary.matches(ids, text):
        written = vocabulary.join(ids).decode("utf-8", "replace")
        raise UnusableTokenizer(
            f"the tokenizer of {tokenizer.name_or_path} decodes the tokens of {_excerpt(written)} to {_excerpt(text)}, "
            f"but a decoder may only join tokens: {ADVICE}"
        )
    return text


def _normal_forms(text: str) -> Iterator[str]:
    """A text in the forms that published tokenizers produce, most common first."""
    yield text
    if text.isascii():
        return
    for form in ("NFC", "NFKC", "NFD", "NFKD"):
        normal = unicodedata.normalize(form, text)
        yield normal
        if form in ("NFD", "NFKD"):
            yield "".join(character for character in normal if unicodedata.category(character) != "Mn")


def _is_equivalent(written: str, text: str, openings: set[int]) -> bool:
    """Whether two texts are equal up to lower case and collapsed or removed whitespace."""
    pairs, text_pairs = _pairs(written), _pairs(text)
    return len(pairs) == len(text_pairs) and all(
        (character in (expected, expected.lower()))
        and (
            blanks in ("", before, " " if before else "") or (i in openings and blanks in (f" {before}", f"{before} "))
        )
        for i, ((blanks, character), (before, expected)) in enumerate(zip(pairs, text_pairs, strict=True))
    )


def _pairs(text: str) -> list[tuple[str, str]]:
    """Each character with the whitespace before it; last, the whitespace at the end."""
    return [*_PAIR.findall(text), (text[len(text.rstrip(" \t\n\v\f\r")) :], "")]


def _solid(text: str) -> str:
    return re.sub("[ \t-\r]+", "", text)


def _without_blanks(written: bytes) -> bytes:
    return written.translate(None, _BLANKS)


def _token_range(counts: Any, start: int, end: int) -> tuple[int, int]:
    """The tokens that overlap a byte range, end exclusive; whitespace belongs to the token after it."""
    first = int(np.searchsorted(counts, start, side="right")) - 1
    while first > 0 and counts[first - 1] == start:
        first -= 1
    return first, int(np.searchsorted(counts, end, side="left"))


def _tokens_over(ids: TokenIds, counts: Any, span: tuple[int, int], window: Window) -> list[int]:
    """The tokens that overlap a byte range; at the ends of a text including its whitespace."""
    first, last = _token_range(counts, *span)
    return list(ids[0 if window[0] else first : len(ids) if window[2] else last])


def _windows(words: list[str]) -> Iterator[Window]:
    last = len(words) - 1
    return ((index == 0, word, index == last) for index, word in enumerate(words))


def _neutral_word(split: Sequence[Sequence[str]]) -> str | None:
    """A short word from the middle of a text."""
    inner = {word for words in split for word in words[1:-1] if not re.search(r"\s", word)}
    return min(inner, key=lambda word: (not word.isalnum(), len(word), word), default=None)


def _difference(text: str, written: str) -> str:
    """The first difference of two texts, ignoring whitespace."""
    before, after = _solid(text), _solid(written)
    if before == after:
        return f"whitespace differs in {_excerpt(text)}"
    pairs = enumerate(zip(before, after, strict=False))
    first = next((index for index, pair in pairs if pair[0] != pair[1]), min(len(before), len(after)))
    start = max(first - 12, 0)
    return f"{before[start : start + _EXCERPT]!r} becomes {after[start : start + _EXCERPT]!r}"


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 2 * _EXCERPT else f"{text[: 2 * _EXCERPT]}...")
