"""From text to token ids, as the model's tokenizer writes it, and where each token stands in the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from fflm_data.arrays import Ints
from harness.errors import UserError
from harness.models.encoding import CannotEncodeError, encode_batch, lacks
from harness.models.tokenizer_check import faithful


@dataclass(frozen=True)
class Tokens:
    """One text. ids: int64 (tokens,)."""

    ids: Ints
    encoding: Any
    dropped: int

    @cached_property
    def spans(self) -> Ints:
        """int64 (tokens, 2): the characters that each token writes, from and to; special tokens write none."""
        ends = chain.from_iterable(self.encoding.offsets[self.dropped :])
        return np.fromiter(ends, np.int64, 2 * len(self.ids)).reshape(-1, 2)

    @property
    def prompt(self) -> Ints:
        """The ids without the special tokens that a tokenizer puts after a text: what follows is the answer."""
        special = self.encoding.special_tokens_mask[self.dropped :]
        written = len(special)
        while written and special[written - 1]:
            written -= 1
        return self.ids[:written]

    @property
    def inside(self) -> list[int]:
        """The ids without the special tokens that a tokenizer puts around a text."""
        first, last = self._ends
        return list(self.encoding.ids[self.dropped :][first:last])

    @property
    def around(self) -> list[int]:
        """Those that it puts around it."""
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


def encode(tokenizer: Any, texts: Sequence[str], special: bool = True, *, asked: bool = True) -> list[Tokens]:
    """Texts with the special tokens that the tokenizer adds by default; one that opens a text opens it once.

    special: whether it adds any. asked: whether the texts are what the harness asks, not what a model has said: their
    tokens must say the same (`faithful`). Raises CannotEncodeError for a text that the tokenizer cannot write.
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
    found = []
    for text, encoding in zip(texts, encodings, strict=True):
        ids = np.array(encoding.ids, dtype=np.int64)
        if unknown is not None and (ids == unknown).any():
            raise lacks(tokenizer, text)
        # A text that brings the opening token itself gets a second one from the tokenizer.
        twice = int(bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos)
        found.append(Tokens(ids[twice:], encoding, twice))
        if not asked and _leaves_out(text, found[-1].spans):
            raise lacks(tokenizer, text)
    if asked and texts:
        known = faithful(tokenizer)
        known.require_around(found[0].around)
        known.require(texts, [tokens.inside for tokens in found])
    return found


def _leaves_out(text: str, spans: Ints) -> bool:
    """Whether a tokenizer without a token for the unknown has passed over more than space."""
    letters = np.zeros(len(text) + 1, dtype=np.int64)  # how many stand before each place
    np.cumsum(np.frombuffer(text.encode("utf-32-le"), np.uint32) > ord(" "), out=letters[1:])
    written = spans[spans[:, 1] > spans[:, 0]]
    starts, ends = np.append(written[:, 0], len(text)), np.append(0, np.maximum.accumulate(written[:, 1]))
    return bool((letters[np.maximum(starts, ends)] > letters[ends]).any())


def _unknown_token(tokenizer: Any) -> int | None:
    """The token for what a tokenizer cannot write, unless it is also one that opens or ends a text."""
    backend = tokenizer.backend_tokenizer
    piece = tokenizer.unk_token or getattr(backend.model, "unk_token", None)
    token = backend.token_to_id(piece) if piece else None
    return None if token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) else token
