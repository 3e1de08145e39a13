"""From prompts to what the model is fed: token ids, and at which of them its logits are wanted.

Answers are found by the character offsets that the tokenizer reports for the whole text, never by
counting tokens: " 0" is one token for GPT-2 and two for others. A task that a tokenizer cannot
write so that each answer is exactly one token is refused here, before any forward pass, unless each
possible continuation is to be scored by itself.
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
    """Some rows to be read.

    sequences: what is fed, token ids each; row: the row of each, ascending. Per point at which logits
    are wanted, ordered by sequence, int64: `sequence` (index into sequences), `at` (index of the token that is
    scored, by the logits of the position before it), `wanted` (points, any): tokens to score there.
    rows: how many there are. candidates: the token of each possible answer.
    """

    rows: int
    sequences: list[Ints]
    row: Ints
    sequence: Ints
    at: Ints
    wanted: Ints
    candidates: Ints

    def answers(self, logprobs: Logprobs, argmax: Ints) -> tuple[Logprobs, Ints]:
        """Per read, from what was said per point: log-probabilities of its candidates and the most probable token."""
        return logprobs, argmax


@dataclass(frozen=True)
class ContinuationPlan(ReadPlan):
    """Each candidate is a continuation of one or more tokens; its points are scored one by one.

    Per point: `read`, and `candidate`, the index of the answer that it is a token of. Answers stand for tokens:
    the most probable "token" is the answer that greedy decoding writes, -1 for another text.
    """

    read: Ints
    candidate: Ints

    def answers(self, logprobs: Logprobs, argmax: Ints) -> tuple[Logprobs, Ints]:
        """A continuation's log-probability is the sum over its tokens; it is written if each is the most probable."""
        shape = (int(self.read.max(initial=-1)) + 1, len(self.candidates))
        each = self.read * shape[1] + self.candidate
        sums = np.bincount(each, logprobs[:, 0].astype(np.float64), shape[0] * shape[1]).reshape(shape)
        missed = np.bincount(each, argmax != self.wanted[:, 0], shape[0] * shape[1]).reshape(shape)
        written = np.where((missed == 0).any(axis=1), (missed == 0).argmax(axis=1), -1)
        # A continuation with NaN in it says nothing about the others either.
        sums[np.isnan(sums).any(axis=1)] = np.nan
        return sums.astype(np.float32), np.where(np.isnan(sums[:, 0]), -1, written)


@dataclass(frozen=True)
class ChoicePlan(ReadPlan):
    """The same with candidates of its own for every row, one read each.

    Per point: `candidate`, counted through all rows; first: where those of each row begin, and where the last end.
    longer: pairs of candidates of which the second goes on where the first ends.
    """

    candidate: Ints
    first: Ints
    longer: Ints

    def choices(self, logprobs: Logprobs, argmax: Ints) -> tuple[Logprobs, Ints]:
        """Per candidate, its log-probability, NaN for all of a row with NaN in it; per row, the candidate that greedy
        decoding writes (of several the longest), -1 for another text.

        A candidate with which others begin is the text that does not go on to one of those.
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
        written = np.full(len(self.first) - 1, -1, dtype=np.int64)
        for row, (start, end) in enumerate(zip(self.first[:-1].tolist(), self.first[1:].tolist(), strict=True)):
            if np.isnan(sums[start:end]).any():
                exact[start:end] = np.nan
            elif (fits := np.flatnonzero(missed[start:end] == 0)).size:
                written[row] = fits[np.argmax(lengths[start:end][fits])]
        return exact.astype(np.float32), written


@dataclass(frozen=True)
class CompletionPlan:
    """Prompts to be completed, token ids each. ends: tokens that end an answer, beside those of the model."""

    prompts: list[Ints]
    ends: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class DialoguePlan(CompletionPlan):
    """Prompts of dialogues of so many turns. following: the next prompt of a row after its answers so far, each as
    tokens and as text. longest: how many tokens each row may come to."""

    turns: int
    following: Following
    longest: Ints


Plan = ReadPlan | CompletionPlan


def plan_reads(texts: Sequence[str], targets: Targets, symbols: Sequence[str], tokenizer: Any) -> ReadPlan:
    """One sequence a row, one point a read. Raises UserError if an answer is not exactly one token of its own,
    or not the same token everywhere."""
    encodings = encode(tokenizer, texts)
    widths = np.array([len(symbol) for symbol in symbols], dtype=np.int64)[targets.target]
    candidates = _candidates(texts, targets, symbols, tokenizer)
    sequences, at = [], np.empty(len(targets.row), dtype=np.int64)
    ends = np.searchsorted(targets.row, np.arange(len(texts) + 1))
    for row, (text, tokens) in enumerate(zip(texts, encodings, strict=True)):
        reads = slice(ends[row], ends[row + 1])
        at[reads] = _locate(tokenizer, text, tokens, targets.offset[reads], widths[reads])
        found, expected = tokens.ids[at[reads]], candidates[targets.target[reads]]
        if (found != expected).any():
            where = int(targets.offset[reads][np.argmax(found != expected)])
            raise _not_separable(tokenizer, text, where, "its token changes with what stands before it")
        # Nothing is asked after the last read, whose own token is not fed either.
        sequences.append(tokens.ids[: at[reads].max(initial=0)])
    wanted = np.broadcast_to(candidates, (len(at), len(candidates)))
    return ReadPlan(len(texts), sequences, np.arange(len(texts)), targets.row, at, wanted, candidates)


def plan_continuations(
    texts: Sequence[str], targets: Targets, symbols: Sequence[str], tokenizer: Any
) -> ContinuationPlan:
    """Every candidate after every read, as the tokenizer writes the text up to it and nothing after it.

    What all candidates of a read begin with is given; what follows is scored. Raises UserError if one is the
    beginning of another.
    """
    wholes = [tokens.prompt for tokens in encode(tokenizer, texts)]
    sequences: list[Ints] = []
    rows: list[int] = []
    points: list[tuple[int, int, int, int, int]] = []  # sequence, at, token, read, candidate
    known: dict[tuple[int, bytes], int] = {}
    for read, (row, offset) in enumerate(zip(targets.row.tolist(), targets.offset.tolist(), strict=True)):
        continued = encode(tokenizer, [texts[row][:offset] + symbol for symbol in symbols])
        candidates = [tokens.prompt for tokens in continued]
        given = _shared(candidates)
        if given == 0 or _one_begins_another(candidates):
            reason = "nothing stands before it" if given == 0 else "one answer is the beginning of another"
            raise _not_separable(tokenizer, texts[row], int(targets.offset[read]), reason)
        for candidate, ids in enumerate(candidates):
            fed = ids[:-1]
            whole = wholes[row][: len(fed)]
            # What stands at the beginning of the whole row needs no sequence of its own.
            fed = wholes[row] if np.array_equal(whole, fed) else fed
            key = (row, fed.tobytes())
            if key not in known:
                known[key] = len(sequences)
                sequences.append(fed)
                rows.append(row)
            points += [(known[key], at, int(ids[at]), read, candidate) for at in range(given, len(ids))]
    table = np.array(points, dtype=np.int64).reshape(-1, 5)
    sequence, at, token, read_of, candidate_of = table[np.argsort(table[:, 0], kind="stable")].T
    return ContinuationPlan(
        len(texts), sequences, np.array(rows, dtype=np.int64), sequence, at, token[:, None],
        np.arange(len(symbols)), read_of, candidate_of,
    )  # fmt: skip


def _one_begins_another(rows: list[Ints]) -> bool:
    texts = {tuple(row.tolist()) for row in rows}
    return len(texts) < len(rows) or any(text[:end] in texts for text in texts for end in range(1, len(text)))


def _shared(rows: list[Ints]) -> int:
    """How many tokens all rows begin with."""
    width = min(map(len, rows))
    same = (np.stack([row[:width] for row in rows]) == rows[0][:width]).all(axis=0)
    return int(np.argmin(same)) if not same.all() else width


def plan_choices(texts: Sequence[str], candidates: Sequence[Sequence[str]], tokenizer: Any) -> ChoicePlan:
    """Every candidate after its row's text, a continuation token by token; what stands in several is fed once.

    Raises UserError if the tokens of a text depend on what follows it.
    """
    sequences: list[Ints] = []
    rows: list[int] = []
    points: list[tuple[int, int, int, int]] = []  # sequence, at, token, candidate
    longer: list[tuple[int, int]] = []
    first = np.cumsum([0, *map(len, candidates)])
    for row, (text, endings) in enumerate(zip(texts, candidates, strict=True)):
        continued = [tokens.prompt for tokens in encode(tokenizer, [text + ending for ending in endings])]
        given = _shared(continued)
        known = {tuple(ids.tolist()): place for place, ids in enumerate(continued)}
        if given == 0 or len(known) < len(continued):
            reason = "nothing stands before it" if given == 0 else "two of them are the same tokens"
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path} does not keep the answers to {text!r} apart: {reason}"
            )
        fed_before: dict[bytes, int] = {}
        for place, ids in sorted(enumerate(continued), key=lambda one: -len(one[1])):
            fed = ids[:-1]
            key = fed.tobytes()
            if key not in fed_before:
                for end in range(given, len(fed) + 1):  # whatever begins it can be read off the same sequence
                    fed_before.setdefault(fed[:end].tobytes(), len(sequences))
                sequences.append(fed)
                rows.append(row)
            here = int(first[row]) + place
            points += [(fed_before[key], at, int(ids[at]), here) for at in range(given, len(ids))]
            beginnings = [tuple(ids[:end].tolist()) for end in range(given, len(ids))]
            longer += [(int(first[row]) + known[one], here) for one in beginnings if one in known][-1:]
    table = np.array(points, dtype=np.int64).reshape(-1, 4)
    sequence, at, token, candidate = table[np.argsort(table[:, 0], kind="stable")].T
    pairs = np.array(longer, dtype=np.int64).reshape(-1, 2)
    return ChoicePlan(
        len(texts), sequences, np.array(rows, dtype=np.int64), sequence, at, token[:, None],
        np.zeros(0, dtype=np.int64), candidate, first, pairs,
    )  # fmt: skip


def _candidates(texts: Sequence[str], targets: Targets, symbols: Sequence[str], tokenizer: Any) -> Ints:
    """The token of each possible answer: put in the place of the first read of the first row."""
    if not len(targets.row):
        return np.zeros(len(symbols), dtype=np.int64)
    text, offset = texts[targets.row[0]], int(targets.offset[0])
    rest = text[offset + len(symbols[int(targets.target[0])]) :]
    variants = [text[:offset] + symbol + rest for symbol in symbols]
    encodings = encode(tokenizer, variants)
    where = np.array([offset])
    places = [
        int(_locate(tokenizer, variant, tokens, where, np.array([len(symbol)]))[0])
        for symbol, variant, tokens in zip(symbols, variants, encodings, strict=True)
    ]
    if len({tuple(tokens.ids[:place].tolist()) for tokens, place in zip(encodings, places, strict=True)}) > 1:
        raise _not_separable(tokenizer, text, offset, "the tokens before it give it away")
    found = [int(tokens.ids[place]) for tokens, place in zip(encodings, places, strict=True)]
    if len(set(found)) < len(symbols):
        raise _not_separable(tokenizer, text, offset, "two answers are the same token")
    return np.array(found, dtype=np.int64)


def _locate(tokenizer: Any, text: str, tokens: Tokens, offsets: Ints, widths: Ints) -> Ints:
    """The index of the token that writes the `widths` characters from each offset, alone or with the space before."""
    spans = tokens.spans
    written = np.flatnonzero(spans[:, 1] > spans[:, 0])
    start, end = spans[written].T
    # Tokens stand in the order of the text; a character that takes several of them, as bytes, is in each.
    first = np.searchsorted(end, offsets, side="right")
    last = np.searchsorted(start, offsets + widths - 1, side="right") - 1
    space = np.array([offset > 0 and text[offset - 1] == " " for offset in offsets.tolist()], dtype=bool)
    place = np.minimum(first, len(written) - 1)
    alone = (first == last) & (end[place] == offsets + widths) & (start[place] >= offsets - space)
    index: Ints = written[place]
    if not alone.all():
        raise _not_separable(tokenizer, text, int(offsets[np.argmin(alone)]), "it is not one token of its own")
    if (index == 0).any():
        raise _not_separable(tokenizer, text, int(offsets[0]), "nothing stands before it")
    return index


class NotSeparable(UserError):
    """An answer is not one token of its own; continuations could still be scored."""


def _not_separable(tokenizer: Any, text: str, offset: int, reason: str) -> NotSeparable:
    part = text[max(offset - 8, 0) : offset + 4]
    pieces = tokenizer.convert_ids_to_tokens(encode(tokenizer, [part])[0].ids.tolist())
    return NotSeparable(
        f"the tokenizer of {tokenizer.name_or_path} does not keep the answer at character {offset} apart: {reason} "
        f"({part!r} becomes {'|'.join(pieces)})"
    )
