"""Plans: input token ids, and the positions whose logits are scored.

Answers are located by the tokenizer's character offsets, never by counting tokens: " 0" is one token for GPT-2 and two
for others. If an answer is not exactly one token, planning raises UserError, before any forward pass; continuations
can then be scored token by token (--exact-continuations).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fflm_data.arrays import Ints, Logprobs
from harness.errors import UserError
from harness.models.tokens import Tokens, encode
from harness.tasks.base import Targets

Following = Callable[[int, Sequence[tuple[Ints, str]]], Ints]


@dataclass(frozen=True)
class ReadPlan:
    """Sequences for teacher-forced forward passes.

    sequences: input token ids; row: the row of each sequence, ascending. Per scored position, ordered by sequence,
    int64: `sequence` (index into sequences), `at` (index of the scored token, whose logits are one position earlier),
    `wanted` (positions, any): tokens to score there. rows: number of rows. candidates: the token of each possible
    answer.
    """

    rows: int
    sequences: list[Ints]
    row: Ints
    sequence: Ints
    at: Ints
    wanted: Ints
    candidates: Ints

    def answers(self, logprobs: Logprobs, argmax: Ints) -> tuple[Logprobs, Ints]:
        """Per read: log-probabilities of the candidates and the most probable token, from those per position."""
        return logprobs, argmax


@dataclass(frozen=True)
class ContinuationPlan(ReadPlan):
    """A plan whose candidates are continuations of one or more tokens, scored token by token.

    Per position: `read`, and `candidate`, the index of the answer that the token belongs to. In place of the most
    probable token, `answers` returns the answer that greedy decoding generates, -1 for any other text.
    """

    read: Ints
    candidate: Ints

    def answers(self, logprobs: Logprobs, argmax: Ints) -> tuple[Logprobs, Ints]:
        """Sums log-probabilities over the tokens of a continuation; greedy decoding generates it if each token is the
        most probable one."""
        shape = (int(self.read.max(initial=-1)) + 1, len(self.candidates))
        index = self.read * shape[1] + self.candidate
        sums = np.bincount(index, logprobs[:, 0].astype(np.float64), shape[0] * shape[1]).reshape(shape)
        missed = np.bincount(index, argmax != self.wanted[:, 0], shape[0] * shape[1]).reshape(shape)
        greedy = np.where((missed == 0).any(axis=1), (missed == 0).argmax(axis=1), -1)
        # NaN in one continuation makes the comparison with the others meaningless.
        sums[np.isnan(sums).any(axis=1)] = np.nan
        return sums.astype(np.float32), np.where(np.isnan(sums[:, 0]), -1, greedy)


@dataclass(frozen=True)
class ChoicePlan(ReadPlan):
    """A plan with one read per row, whose candidates differ by row and are continuations.

    Per position: `candidate`, numbered over all rows. first: index of the first candidate of each row, and the total.
    longer: pairs of candidates of which the first is a prefix of the second.
    """

    candidate: Ints
    first: Ints
    longer: Ints

    def choices(self, logprobs: Logprobs, argmax: Ints) -> tuple[Logprobs, Ints]:
        """Per candidate, its log-probability (NaN for a whole row with any NaN); per row, the candidate that greedy
        decoding generates (the longest of several), -1 for any other text.

        The probability of a candidate that is a prefix of others excludes theirs.
        """
        count = int(self.first[-1])
        sums = np.bincount(self.candidate, logprobs[:, 0].astype(np.float64), count)
        missed = np.bincount(self.candidate, argmax != self.wanted[:, 0], count)
        lengths = np.bincount(self.candidate, minlength=count)
        exact = sums.copy()
        for short, long in self.longer.tolist():
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.exp(exact[short]) - np.exp(sums[long])
                exact[short] = np.log(max(share, np.finfo(np.float64).tiny))
        greedy = np.full(len(self.first) - 1, -1, dtype=np.int64)
        for row, (start, end) in enumerate(zip(self.first[:-1].tolist(), self.first[1:].tolist(), strict=True)):
            if np.isnan(sums[start:end]).any():
                exact[start:end] = np.nan
            elif (fits := np.flatnonzero(missed[start:end] == 0)).size:
                greedy[row] = fits[np.argmax(lengths[start:end][fits])]
        return exact.astype(np.float32), greedy


@dataclass(frozen=True)
class CompletionPlan:
    """Prompts to complete, as token ids. ends: tokens that end an answer, in addition to the model's."""

    prompts: list[Ints]
    ends: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class DialoguePlan(CompletionPlan):
    """First prompts of dialogues. turns: answers per row. following: computes a row's next prompt from its answers so
    far, each as token ids and text. longest: maximum number of tokens per row."""

    turns: int
    following: Following
    longest: Ints


Plan = ReadPlan | CompletionPlan


def plan_reads(texts: Sequence[str], targets: Targets, symbols: Sequence[str], tokenizer: Any) -> ReadPlan:
    """One sequence per row, one scored position per read.

    Raises NotSeparable if an answer is not exactly one token, or not the same token everywhere.
    """
    encodings = encode(tokenizer, texts)
    widths = np.array([len(symbol) for symbol in symbols], dtype=np.int64)[targets.target]
    candidates = _candidates(texts, targets, symbols, tokenizer)
    sequences, at = [], np.empty(len(targets.row), dtype=np.int64)
    ends = np.searchsorted(targets.row, np.arange(len(texts) + 1))
    for row, (text, tokens) in enumerate(zip(texts, encodings, strict=True)):
        reads = slice(ends[row], ends[row + 1])
        at[reads] = _locate(tokenizer, text, tokens, targets.offset[reads], widths[reads])
        actual, expected = tokens.ids[at[reads]], candidates[targets.target[reads]]
        if (actual != expected).any():
            offset = int(targets.offset[reads][np.argmax(actual != expected)])
            raise _not_separable(tokenizer, text, offset, "its token depends on the text before it")
        # The last scored token and everything after it need not be fed.
        sequences.append(tokens.ids[: at[reads].max(initial=0)])
    wanted = np.broadcast_to(candidates, (len(at), len(candidates)))
    return ReadPlan(len(texts), sequences, np.arange(len(texts)), targets.row, at, wanted, candidates)


def plan_continuations(
    texts: Sequence[str], targets: Targets, symbols: Sequence[str], tokenizer: Any
) -> ContinuationPlan:
    """Every candidate after every read; the text is encoded up to the candidate, without what follows it.

    The common prefix of a read's candidates is the context; the remaining tokens are scored. Raises NotSeparable if one
    candidate is a prefix of another.
    """
    row_tokens = [tokens.prompt for tokens in encode(tokenizer, texts)]
    sequences: list[Ints] = []
    rows: list[int] = []
    points: list[tuple[int, int, int, int, int]] = []  # sequence, at, token, read, candidate
    known: dict[tuple[int, bytes], int] = {}
    for read, (row, offset) in enumerate(zip(targets.row.tolist(), targets.offset.tolist(), strict=True)):
        continued = encode(tokenizer, [texts[row][:offset] + symbol for symbol in symbols])
        candidates = [tokens.prompt for tokens in continued]
        context = _common_prefix(candidates)
        if context == 0 or _any_is_prefix(candidates):
            reason = "no text precedes it" if context == 0 else "one answer is a prefix of another"
            raise _not_separable(tokenizer, texts[row], int(targets.offset[read]), reason)
        for candidate, ids in enumerate(candidates):
            fed = ids[:-1]
            # A prefix of the row's own tokens needs no separate sequence.
            fed = row_tokens[row] if np.array_equal(row_tokens[row][: len(fed)], fed) else fed
            key = (row, fed.tobytes())
            if key not in known:
                known[key] = len(sequences)
                sequences.append(fed)
                rows.append(row)
            points += [(known[key], at, int(ids[at]), read, candidate) for at in range(context, len(ids))]
    table = np.array(points, dtype=np.int64).reshape(-1, 5)
    sequence, at, token, read_of, candidate_of = table[np.argsort(table[:, 0], kind="stable")].T
    return ContinuationPlan(
        len(texts), sequences, np.array(rows, dtype=np.int64), sequence, at, token[:, None],
        np.arange(len(symbols)), read_of, candidate_of,
    )  # fmt: skip


def _any_is_prefix(sequences: list[Ints]) -> bool:
    tuples = {tuple(tokens.tolist()) for tokens in sequences}
    return len(tuples) < len(sequences) or any(
        tokens[:end] in tuples for tokens in tuples for end in range(1, len(tokens))
    )


def _common_prefix(sequences: list[Ints]) -> int:
    """The length of the common prefix in tokens."""
    width = min(map(len, sequences))
    same = (np.stack([tokens[:width] for tokens in sequences]) == sequences[0][:width]).all(axis=0)
    return int(np.argmin(same)) if not same.all() else width


def plan_choices(texts: Sequence[str], candidates: Sequence[Sequence[str]], tokenizer: Any) -> ChoicePlan:
    """Every candidate after its row's text, scored token by token; shared prefixes are fed once.

    Raises UserError if two candidates have the same tokens.
    """
    sequences: list[Ints] = []
    rows: list[int] = []
    points: list[tuple[int, int, int, int]] = []  # sequence, at, token, candidate
    longer: list[tuple[int, int]] = []
    first = np.cumsum([0, *map(len, candidates)])
    for row, (text, endings) in enumerate(zip(texts, candidates, strict=True)):
        continued = [tokens.prompt for tokens in encode(tokenizer, [text + ending for ending in endings])]
        context = _common_prefix(continued)
        known = {tuple(ids.tolist()): index for index, ids in enumerate(continued)}
        if context == 0 or len(known) < len(continued):
            reason = "no text precedes them" if context == 0 else "two have the same tokens"
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path} cannot separate the answers to {text!r}: {reason}"
            )
        prefixes: dict[bytes, int] = {}
        for index, ids in sorted(enumerate(continued), key=lambda item: -len(item[1])):
            fed = ids[:-1]
            key = fed.tobytes()
            if key not in prefixes:
                for end in range(context, len(fed) + 1):  # prefixes are scored on the same sequence
                    prefixes.setdefault(fed[:end].tobytes(), len(sequences))
                sequences.append(fed)
                rows.append(row)
            candidate_index = int(first[row]) + index
            points += [(prefixes[key], at, int(ids[at]), candidate_index) for at in range(context, len(ids))]
            starts = [tuple(ids[:end].tolist()) for end in range(context, len(ids))]
            longer += [(int(first[row]) + known[start], candidate_index) for start in starts if start in known][-1:]
    table = np.array(points, dtype=np.int64).reshape(-1, 4)
    sequence, at, token, candidate = table[np.argsort(table[:, 0], kind="stable")].T
    pairs = np.array(longer, dtype=np.int64).reshape(-1, 2)
    return ChoicePlan(
        len(texts), sequences, np.array(rows, dtype=np.int64), sequence, at, token[:, None],
        np.zeros(0, dtype=np.int64), candidate, first, pairs,
    )  # fmt: skip


def _candidates(texts: Sequence[str], targets: Targets, symbols: Sequence[str], tokenizer: Any) -> Ints:
    """The token of each possible answer, found by substituting it at the first read of the first row."""
    if not len(targets.row):
        return np.zeros(len(symbols), dtype=np.int64)
    text, offset = texts[targets.row[0]], int(targets.offset[0])
    rest = text[offset + len(symbols[int(targets.target[0])]) :]
    variants = [text[:offset] + symbol + rest for symbol in symbols]
    encodings = encode(tokenizer, variants)
    offsets = np.array([offset])
    indices = [
        int(_locate(tokenizer, variant, tokens, offsets, np.array([len(symbol)]))[0])
        for symbol, variant, tokens in zip(symbols, variants, encodings, strict=True)
    ]
    if len({tuple(tokens.ids[:index].tolist()) for tokens, index in zip(encodings, indices, strict=True)}) > 1:
        raise _not_separable(tokenizer, text, offset, "the tokens before it reveal it")
    candidates = [int(tokens.ids[index]) for tokens, index in zip(encodings, indices, strict=True)]
    if len(set(candidates)) < len(symbols):
        raise _not_separable(tokenizer, text, offset, "two answers are the same token")
    return np.array(candidates, dtype=np.int64)


def _locate(tokenizer: Any, text: str, tokens: Tokens, offsets: Ints, widths: Ints) -> Ints:
    """The index of the token that spans `widths` characters from each offset, with or without a leading space."""
    spans = tokens.spans
    nonempty = np.flatnonzero(spans[:, 1] > spans[:, 0])
    start, end = spans[nonempty].T
    # Spans are in text order; a character that takes several byte tokens is in the span of each.
    first = np.searchsorted(end, offsets, side="right")
    last = np.searchsorted(start, offsets + widths - 1, side="right") - 1
    space = np.array([offset > 0 and text[offset - 1] == " " for offset in offsets.tolist()], dtype=bool)
    position = np.minimum(first, len(nonempty) - 1)
    is_single = (first == last) & (end[position] == offsets + widths) & (start[position] >= offsets - space)
    index: Ints = nonempty[position]
    if not is_single.all():
        raise _not_separable(tokenizer, text, int(offsets[np.argmin(is_single)]), "it is not a single token")
    if (index == 0).any():
        raise _not_separable(tokenizer, text, int(offsets[0]), "no text precedes it")
    return index


class NotSeparable(UserError):
    """An answer is not a single token; its continuations can still be scored."""


def _not_separable(tokenizer: Any, text: str, offset: int, reason: str) -> NotSeparable:
    part = text[max(offset - 8, 0) : offset + 4]
    pieces = tokenizer.convert_ids_to_tokens(encode(tokenizer, [part])[0].ids.tolist())
    return NotSeparable(
        f"the tokenizer of {tokenizer.name_or_path} cannot separate the answer at character {offset}: {reason} "
        f"({part!r} becomes {'|'.join(pieces)})"
    )
