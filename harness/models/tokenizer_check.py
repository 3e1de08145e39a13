"""Tokens must say what the texts say, and nothing more: a tokenizer.json is a program, too.

A normalizer that counts letters and writes the answer into the text would score for a model that cannot count, as would
a pre-tokenizer that drops what disturbs or cuts a word where the answer changes. So of every text that is asked:

1. What its tokens write, by the vocabulary alone (`surfaces`), is the text. Changed may be what tokenizers of
   published models change: Unicode's normal forms, accents, capitals to small letters, runs of blanks, a space at the
   beginning.
2. The tokens of a word are the same without the words around it: nothing far away decides them.
3. One text has one token: with two of them, the choice between them could tell.
4. What is put around a text are special tokens, a few.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary, proxy

import numpy as np

from harness.models.encoding import Unfaithful, encode_batch, lacks
from harness.models.token_text import SPACE_MARK, Surfaces, surfaces_of

Encoded = Sequence[int]
# Whether it begins a text, what it says, whether it ends one.
Window = tuple[bool, str, bool]

MOST_AROUND = 8
# How many words on each side tokens across spaces may depend on: fewer than stand between a letter and its word.
NEAR = 3
_BLANKS = b" \t\n\v\f\r"
_PAIR = re.compile("([ \t-\r]*)([^ \t-\r])")
# Where a text may be cut: at a single space between words.
_BETWEEN = re.compile(r"(?<=[^\s]) (?=[^\s])")
_OVER_BLANK = re.compile(rb"[^ \t-\r][ \t-\r]")
_SHOWN = 24
ADVICE = "name a model with the tokenizer that it was trained with"


class Faithful:
    """What is known of one tokenizer."""

    def __init__(self, tokenizer: Any, surfaces: Surfaces):
        self._tokenizer = proxy(tokenizer)  # which this is kept with
        self._surfaces = surfaces
        self._neutral: str | None = None
        self._alone: dict[Window, list[int]] = {}
        self._seen: set[int] = set()

    def require(self, texts: Sequence[str], encodings: Sequence[Encoded]) -> None:
        """Raises Unfaithful for tokens that say something else than their text, UserError for ones that leave out what
        the tokenizer cannot write. encodings: ids, without what is put around a text."""
        forms = [self._require_said(text, ids) for text, ids in zip(texts, encodings, strict=True)]
        self._require_local(forms, encodings)

    def require_around(self, tokens: Sequence[int]) -> None:
        """Raises Unfaithful for what is put around a text unless it is a few special tokens."""
        words = [token for token in tokens if token not in self._surfaces.special]
        if words or len(tokens) > MOST_AROUND:
            piece = self._tokenizer.convert_ids_to_tokens(words[0] if words else tokens[0])
            raise self._refusal(f"puts words of its own around every text ({piece!r})")

    # ---- What tokens write

    def _require_said(self, text: str, ids: Encoded) -> str:
        """The text in the form that its tokens write."""
        new = set(ids) - self._seen
        for token in new:
            if self._surfaces.twin(token) is not None:
                piece = self._surfaces.of(token).decode("utf-8", "replace")
                raise self._refusal(f"has two tokens that write {piece!r}, and uses both")
            if not self._surfaces.of(token):
                raise self._refusal("has a token that writes nothing, and uses it")
        self._seen |= new
        said = self._surfaces.join(ids).decode("utf-8", "replace")
        if said in (text, f" {text}"):
            return text
        plain = text if self._surfaces.byte_level else text.replace(SPACE_MARK, " ")
        opens = self._openings(ids)
        for form in _forms(plain):
            if _alike(said, form, opens):
                return text if len(_solid(form)) == len(_solid(plain)) else form
        rest = iter(text)
        if all(sign in rest for sign in _solid(said)):
            raise lacks(self._tokenizer, text)
        raise self._refusal(f"changes what is asked: {_difference(text, said)}")

    def _openings(self, ids: Encoded) -> set[int]:
        """Before which signs, counted without blanks, a space may be put: the first, and those after added tokens."""
        found, signs = {0}, b""
        for token in ids:
            signs += self._surfaces.of(token)
            if token in self._surfaces.added:
                found.add(len(_solid(signs.decode("utf-8", "replace"))))
        return found

    # ---- On what tokens depend

    def _require_local(self, texts: Sequence[str], encodings: Sequence[Encoded]) -> None:
        split = [_BETWEEN.split(text) for text in texts]
        self._neutral = self._neutral or _neutral(split)
        if self._neutral is None:
            return
        windows = [list(_windows(words)) for words in split]
        self._learn(chain.from_iterable(windows))
        for text, words, ids in zip(texts, windows, encodings, strict=True):
            alone = [self._alone[window] for window in words]
            if len(words) > 1 and list(chain.from_iterable(alone)) != list(ids):
                self._require_near(text, words, ids)

    def _require_near(self, text: str, words: list[Window], ids: Encoded) -> None:
        """The same where the tokens of some words are others alone: that is left to tokens across spaces and to added
        tokens, with some words beside them."""
        counts = self._counts(ids)
        sizes = [len(_without_blanks(word.encode())) for _, word, _ in words]
        ends = np.cumsum([0, *sizes])
        for place, window in enumerate(words):
            span = (int(ends[place]), int(ends[place + 1]))
            found = _over(ids, counts, span, window)
            if self._alone[window] == found:
                continue
            first, last = max(place - NEAR, 0), min(place + NEAR, len(words) - 1)
            near = (first == 0, " ".join(word for _, word, _ in words[first : last + 1]), last == len(words) - 1)
            shift = int(ends[first]) - (0 if near[0] else self._size)
            wide = self._ids_of([near])[0]
            same = _over(wide, self._counts(wide), (span[0] - shift, span[1] - shift), window) == found
            beside = _over(ids, counts, (int(ends[first]), int(ends[last + 1])), near)
            if not (same and self._crosses([*beside, *self._alone[window]])):
                raise self._refusal(f"writes {_short(window[1])} otherwise beside other words, as in {_short(text)}")

    def _crosses(self, ids: Encoded) -> bool:
        """Whether one of some tokens goes on over a blank, or is an added one."""
        return any(one in self._surfaces.added or _OVER_BLANK.search(self._surfaces.of(one)) for one in ids)

    def _learn(self, windows: Iterable[Window]) -> None:
        """How words are written with nothing but a neutral word beside them."""
        new = [window for window in dict.fromkeys(windows) if window not in self._alone]
        for window, ids in zip(new, self._ids_of(new), strict=True):
            counts = self._counts(ids)
            span = (0 if window[0] else self._size, int(counts[-1]) - (0 if window[2] else self._size))
            self._alone[window] = _over(ids, counts, span, window)

    def _ids_of(self, windows: Sequence[Window]) -> list[list[int]]:
        """The tokens of words, with a neutral word on the sides where other words stand."""
        near = self._neutral
        texts = [f"{'' if first else f'{near} '}{words}{'' if last else f' {near}'}" for first, words, last in windows]
        return [one.ids for one in encode_batch(self._tokenizer, texts, special=False)]

    @property
    def _size(self) -> int:
        """How many bytes the neutral word has."""
        return len(str(self._neutral).encode())

    def _counts(self, ids: Encoded) -> Any:
        """How many bytes other than blanks are written before each token, and by all; int64 (tokens + 1,)."""
        sizes = [len(_without_blanks(self._surfaces.of(token))) for token in ids]
        return np.cumsum([0, *sizes])

    def _refusal(self, how: str) -> Unfaithful:
        return Unfaithful(
            f"the tokenizer of {self._tokenizer.name_or_path} {how}, and a tokenizer may only cut texts into tokens: "
            f"{ADVICE}"
        )


_KNOWN: "WeakKeyDictionary[Any, tuple[Surfaces, Faithful]]" = WeakKeyDictionary()


def faithful(tokenizer: Any) -> Faithful:
    """What is known of a tokenizer of transformers, which gets no more tokens."""
    surfaces = surfaces_of(tokenizer)
    known = _KNOWN.get(tokenizer)
    if known is None or known[0] is not surfaces:
        known = _KNOWN[tokenizer] = (surfaces, Faithful(tokenizer, surfaces))
    return known[1]


def decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    """Tokens as text, without special ones. Raises Unfaithful for a text that they do not write: a decoder may rewrite
    what a model says."""
    text = str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    surfaces = surfaces_of(tokenizer)
    if not surfaces.says(ids, text):
        said = surfaces.join(ids).decode("utf-8", "replace")
        raise Unfaithful(
            f"the tokenizer of {tokenizer.name_or_path} reads {_short(text)} out of tokens that write {_short(said)}, "
            f"and its decoder may only put tokens together: {ADVICE}"
        )
    return text


def _forms(text: str) -> Iterator[str]:
    """A text as published tokenizers change it, most usual first."""
    yield text
    if text.isascii():
        return
    for form in ("NFC", "NFKC", "NFD", "NFKD"):
        normal = unicodedata.normalize(form, text)
        yield normal
        if form in ("NFD", "NFKD"):
            yield "".join(sign for sign in normal if unicodedata.category(sign) != "Mn")


def _alike(said: str, text: str, opens: set[int]) -> bool:
    """Whether two texts are the same but for small letters and for blanks: one space for several, or none."""
    one, other = _pairs(said), _pairs(text)
    return len(one) == len(other) and all(
        (sign in (wanted, wanted.lower()))
        and (blanks in ("", were, " " * bool(were)) or (place in opens and blanks in (f" {were}", f"{were} ")))
        for place, ((blanks, sign), (were, wanted)) in enumerate(zip(one, other, strict=True))
    )


def _pairs(text: str) -> list[tuple[str, str]]:
    """Signs with the blanks before them; at last what ends the text."""
    return [*_PAIR.findall(text), (text[len(text.rstrip(" \t\n\v\f\r")) :], "")]


def _solid(text: str) -> str:
    return re.sub("[ \t-\r]+", "", text)


def _without_blanks(written: bytes) -> bytes:
    return written.translate(None, _BLANKS)


def _range(counts: Any, start: int, end: int) -> tuple[int, int]:
    """The tokens that write anything between two places, from and to; blanks are written by the token after them."""
    first = int(np.searchsorted(counts, start, side="right")) - 1
    while first > 0 and counts[first - 1] == start:
        first -= 1
    return first, int(np.searchsorted(counts, end, side="left"))


def _over(ids: Encoded, counts: Any, span: tuple[int, int], window: Window) -> list[int]:
    """The tokens that write a span; at the ends of a text with all blanks there."""
    first, last = _range(counts, *span)
    return list(ids[0 if window[0] else first : len(ids) if window[2] else last])


def _windows(words: list[str]) -> Iterator[Window]:
    last = len(words) - 1
    return ((place == 0, word, place == last) for place, word in enumerate(words))


def _neutral(split: Sequence[Sequence[str]]) -> str | None:
    """A short word that stands between others."""
    inner = {word for words in split for word in words[1:-1] if not re.search(r"\s", word)}
    return min(inner, key=lambda word: (not word.isalnum(), len(word), word), default=None)


def _difference(text: str, said: str) -> str:
    """Where two texts part, blanks aside."""
    one, other = _solid(text), _solid(said)
    place = next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )
    start = max(place - 12, 0)
    if one == other:
        return f"it has other blanks in {_short(text)}"
    return f"{one[start : start + _SHOWN]!r} becomes {other[start : start + _SHOWN]!r}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}...")
