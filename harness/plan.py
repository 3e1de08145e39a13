"""From prompts to what the model will be fed: token ids, where the answers stand, batches.

Answers are found by the character offsets that the tokenizer reports for the whole text, never by
counting tokens: " 0" is one token for GPT-2 and two for others. A task that a tokenizer cannot
write so that each answer is exactly one token is refused here, before any forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.tasks.base import Ints, Targets


@dataclass(frozen=True)
class Budget:
    """What a batch may hold: tokens (padding included), and reads, each of which takes a row of logits."""

    tokens: int
    reads: int


@dataclass(frozen=True)
class ReadPlan:
    """A chunk of rows to be read. tokens: ids per row. Per read, int64: `row` (index into tokens) and
    `at` (index of the answer's token in its row). candidates: the token of each possible answer."""

    tokens: list[Ints]
    row: Ints
    at: Ints
    candidates: Ints
    batches: list[Ints]


@dataclass(frozen=True)
class CompletionPlan:
    """A chunk of prompts to be completed: token ids per row, and batches of row indices."""

    tokens: list[Ints]
    batches: list[Ints]


def plan_reads(
    texts: Sequence[str], targets: Targets, symbols: Sequence[str], tokenizer: Any, budget: Budget
) -> ReadPlan:
    """Finds each answer's token. Raises UserError if an answer is not exactly one token of its own,
    or not the same token everywhere."""
    encodings = encode(tokenizer, texts)
    widths = np.array([len(symbol) for symbol in symbols])[targets.gold]
    candidates = _candidates(texts, targets, symbols, tokenizer)
    tokens, at = [], np.empty(len(targets.row), dtype=np.int64)
    ends = np.searchsorted(targets.row, np.arange(len(texts) + 1))
    for row, (text, encoding) in enumerate(zip(texts, encodings, strict=True)):
        ids = np.asarray(encoding.ids, dtype=np.int64)
        reads = slice(ends[row], ends[row + 1])
        at[reads] = _locate(tokenizer, text, encoding, targets.offset[reads], widths[reads])
        found, expected = ids[at[reads]], candidates[targets.gold[reads]]
        if (found != expected).any():
            where = int(targets.offset[reads][np.argmax(found != expected)])
            raise _not_separable(tokenizer, text, where, "its token changes with what stands before it")
        tokens.append(ids)
    lengths = np.array([len(ids) for ids in tokens])
    return ReadPlan(tokens, targets.row, at, candidates, _batches(lengths, np.diff(ends), budget))


def plan_completions(texts: Sequence[str], tokenizer: Any, max_new_tokens: int, budget: Budget) -> CompletionPlan:
    """Prompts, longest first, in batches that hold the prompt and what will be written after it."""
    tokens = [np.asarray(_prompt(encoding), dtype=np.int64) for encoding in encode(tokenizer, texts)]
    lengths = np.array([len(ids) + max_new_tokens for ids in tokens])
    return CompletionPlan(tokens, _batches(lengths, np.zeros_like(lengths), budget))


def _prompt(encoding: Any) -> list[int]:
    """The ids without the special tokens that a tokenizer puts after a text: what follows is the answer."""
    written = len(encoding.ids)
    while written and encoding.special_tokens_mask[written - 1]:
        written -= 1
    return list(encoding.ids[:written])


def encode(tokenizer: Any, texts: Sequence[str]) -> list[Any]:
    """Encodings (`ids`, `offsets`) of texts, with the special tokens that the tokenizer adds by default."""
    try:
        encodings = list(tokenizer.backend_tokenizer.encode_batch(list(texts)))
    except Exception as error:  # tokenizers raises bare Exception for a text outside the vocabulary
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} cannot write {texts[0][:40]!r}... ({error})"
        ) from None
    unknown = _unknown_token(tokenizer)
    for text, encoding in zip(texts, encodings, strict=True):
        if unknown is not None and unknown in encoding.ids:
            raise UserError(f"the tokenizer of {tokenizer.name_or_path} has no token for parts of {text[:40]!r}...")
    return encodings


def _unknown_token(tokenizer: Any) -> int | None:
    """The token for what a tokenizer cannot write, unless it is also one that opens or ends a text."""
    backend = tokenizer.backend_tokenizer
    piece = tokenizer.unk_token or getattr(backend.model, "unk_token", None)
    token = backend.token_to_id(piece) if piece else None
    return None if token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) else token


def _candidates(texts: Sequence[str], targets: Targets, symbols: Sequence[str], tokenizer: Any) -> Ints:
    """The token of each possible answer: put in the place of the first read of the first row."""
    text, offset = texts[targets.row[0]], int(targets.offset[0])
    rest = text[offset + len(symbols[int(targets.gold[0])]) :]
    variants = [text[:offset] + symbol + rest for symbol in symbols]
    encodings = encode(tokenizer, variants)
    where = np.array([offset])
    places = [
        int(_locate(tokenizer, variant, encoding, where, np.array([len(symbol)]))[0])
        for symbol, variant, encoding in zip(symbols, variants, encodings, strict=True)
    ]
    if len({tuple(encoding.ids[:place]) for encoding, place in zip(encodings, places, strict=True)}) > 1:
        raise _not_separable(tokenizer, text, offset, "the tokens before it give it away")
    found = [encoding.ids[place] for encoding, place in zip(encodings, places, strict=True)]
    if len(set(found)) < len(symbols):
        raise _not_separable(tokenizer, text, offset, "two answers are the same token")
    return np.array(found, dtype=np.int64)


def _locate(tokenizer: Any, text: str, encoding: Any, offsets: Ints, widths: Ints) -> Ints:
    """The index of the token that writes the `widths` characters from each offset, alone or with the space before."""
    spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    written = np.flatnonzero(spans[:, 1] > spans[:, 0])  # special tokens have an empty span
    start, end = spans[written].T
    # Tokens stand in the order of the text; a character that takes several of them, as bytes, is in each.
    first = np.searchsorted(end, offsets, side="right")
    last = np.searchsorted(start, offsets + widths - 1, side="right") - 1
    space = np.array([offset > 0 and text[offset - 1] == " " for offset in offsets], dtype=bool)
    place = np.minimum(first, len(written) - 1)
    alone = (first == last) & (end[place] == offsets + widths) & (start[place] >= offsets - space)
    index = written[place]
    if not alone.all():
        raise _not_separable(tokenizer, text, int(offsets[np.argmin(alone)]), "it is not one token of its own")
    if (index == 0).any():
        raise _not_separable(tokenizer, text, int(offsets[0]), "nothing stands before it")
    return index


def _not_separable(tokenizer: Any, text: str, offset: int, reason: str) -> UserError:
    pieces = tokenizer.convert_ids_to_tokens(encode(tokenizer, [text[max(offset - 8, 0) : offset + 4]])[0].ids)
    return UserError(
        f"the tokenizer of {tokenizer.name_or_path} does not keep the answer at character {offset} apart: {reason} "
        f"({text[max(offset - 8, 0) : offset + 4]!r} becomes {'|'.join(pieces)})"
    )


def _batches(lengths: Ints, reads: Ints, budget: Budget) -> list[Ints]:
    """Row indices, longest first, cut so that no batch exceeds the budget unless one row alone does."""
    order = np.argsort(-lengths, kind="stable")
    batches: list[Ints] = []
    start, held = 0, 0
    for position, row in enumerate(order):
        held += int(reads[row])
        tokens = (position - start + 1) * int(lengths[order[start]])
        if position > start and (tokens > budget.tokens or held > budget.reads):
            batches.append(order[start:position])
            start, held = position, int(reads[row])
    batches.append(order[start:])
    return batches
