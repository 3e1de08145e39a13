"""Encodes text to token ids, with the character span of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from fflm_data.arrays import Ints
from harness.errors import UserError
from harness.models.encoding import CannotEncodeError, cannot_encode, encode_batch
from harness.models.tokenizer_check import checker_of


@dataclass(frozen=True)
class Tokens:
    """The tokens of one text. ids: int64 (tokens,). dropped: leading tokens of `encoding` that are not in `ids`."""

    ids: Ints
    encoding: Any
    dropped: int

    @cached_property
    def spans(self) -> Ints:
        """Character spans, int64 (tokens, 2), end exclusive; empty for special tokens."""
        ends = chain.from_iterable(self.encoding.offsets[self.dropped :])
        return np.fromiter(ends, np.int64, 2 * len(self.ids)).reshape(-1, 2)

    @property
    def prompt(self) -> Ints:
        """The ids without trailing special tokens, so that the answer follows the text."""
        special = self.encoding.special_tokens_mask[self.dropped :]
        end = len(special)
        while end and special[end - 1]:
            end -= 1
        return self.ids[:end]

    @property
    def inside(self) -> list[int]:
        """The ids without leading and trailing special tokens."""
        first, last = self._ends
        return list(self.encoding.ids[self.dropped :][first:last])

    @property
    def around(self) -> list[int]:
        """The leading and trailing special tokens."""
        first, last = self._ends
        ids = self.encoding.ids[self.dropped :]
        return [*ids[:first], *ids[last:]]

    @property
    def _ends(self) -> tuple[int, int]:
        special = self.encoding.special_tokens_mask[self.dropped :]
        if 1 not in special:
            return 0, len(special)
        if 0 not in special:
            return len(special), len(special)
        return special.index(0), len(special) - special[::-1].index(0)


def encode(tokenizer: Any, texts: Sequence[str], special: bool = True, *, check: bool = True) -> list[Tokens]:
    """The tokens of texts, with the special tokens that the tokenizer adds by default; BOS is not doubled.

    special: whether to add special tokens. check: whether the tokens must reproduce the text (`tokenizer_check`), as
    prompts require; model outputs are not checked. Raises CannotEncodeError for a text that the tokenizer cannot
    encode, UnusableTokenizer if the check fails.
    """
    try:
        encodings = encode_batch(tokenizer, texts, special)
    except UserError:
        raise
    except Exception as error:  # tokenizers raises bare Exception for a text outside the vocabulary
        raise CannotEncodeError(
            f"the tokenizer of {tokenizer.name_or_path} cannot encode {texts[0][:40]!r}... ({error})"
        ) from None
    unknown, bos = _unknown_token(tokenizer), tokenizer.bos_token_id
    tokens = []
    for text, encoding in zip(texts, encodings, strict=True):
        ids = np.array(encoding.ids, dtype=np.int64)
        if unknown is not None and (ids == unknown).any():
            raise cannot_encode(tokenizer, text)
        # A text that starts with BOS gets a second BOS from the tokenizer.
        doubled = int(bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos)
        tokens.append(Tokens(ids[doubled:], encoding, doubled))
        if not check and _skips_text(text, tokens[-1].spans):
            raise cannot_encode(tokenizer, text)
    if check and texts:
        checker = checker_of(tokenizer)
        checker.require_special_around(tokens[0].around)
        checker.require(texts, [text_tokens.inside for text_tokens in tokens])
    return tokens


def _skips_text(text: str, spans: Ints) -> bool:
    """Whether a tokenizer without an unknown token has skipped characters other than whitespace."""
    letters = np.zeros(len(text) + 1, dtype=np.int64)  # number of non-space characters before each position
    np.cumsum(np.frombuffer(text.encode("utf-32-le"), np.uint32) > ord(" "), out=letters[1:])
    covered = spans[spans[:, 1] > spans[:, 0]]
    starts, ends = np.append(covered[:, 0], len(text)), np.append(0, np.maximum.accumulate(covered[:, 1]))
    return bool((letters[np.maximum(starts, ends)] > letters[ends]).any())


def _unknown_token(tokenizer: Any) -> int | None:
    """The unknown token, None if there is none or if it is also BOS, EOS or padding."""
    backend = tokenizer.backend_tokenizer
    piece = tokenizer.unk_token or getattr(backend.model, "unk_token", None)
    token = backend.token_to_id(piece) if piece else None
    return None if token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) else token
