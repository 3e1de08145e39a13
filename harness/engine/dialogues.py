"""Dialogues: decoding turn after turn, with the KV state of the earlier turns."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fflm_data.arrays import Ints
from harness.engine.capabilities import DecodingMethod
from harness.engine.decoding import Decoder, Limit, Row, append_tokens
from harness.engine.forward import KVState
from harness.planning.plans import DialoguePlan


@dataclass(frozen=True)
class DialogueOutputs:
    """The outputs of some dialogues. rows: indices into the plan; outputs: raw text by row and turn; tokens: number of
    tokens, int64 (rows, turns), -1 where logits are non-finite."""

    rows: Ints
    outputs: list[list[str]]
    tokens: Ints


@torch.inference_mode()
def decode_dialogues(  # noqa: PLR0917
    decoder: Decoder,
    method: DecodingMethod,
    plan: DialoguePlan,
    batch: Ints,
    limit: Limit,
    report: Callable[[float], object],
) -> DialogueOutputs:
    """Decodes all turns of some rows; more than one row needs a method with masking. report: called with the share of
    the turns that is done."""
    cache = _DialogueCache(decoder, method, len(batch))
    answers: list[list[tuple[Ints, str]]] = [[] for _ in batch]
    counts = np.zeros((len(batch), plan.turns), dtype=np.int64)
    for turn in range(plan.turns):
        prompts = [
            plan.prompts[row] if turn == 0 else plan.following(row, answers[index])
            for index, row in enumerate(batch.tolist())
        ]
        rows = [Row(decoder, limit) for _ in batch]
        append_tokens(cache.feed_prompts(prompts), rows)
        while not all(row.done for row in rows):
            report((turn + max(len(row.tokens) for row in rows) / limit.tokens) / plan.turns)
            append_tokens(cache.feed_last(rows), rows)
        for index, row in enumerate(rows):
            answers[index].append((np.array(row.tokens, dtype=np.int64), row.text))
            counts[index, turn] = row.count
    return DialogueOutputs(batch, [[text for _, text in turns] for turns in answers], counts)


class _DialogueCache:
    """The KV state of a batch of dialogues: its tokens, their columns, and the attention mask.

    Tokens that a later prompt does not repeat, and padding, are masked.
    """

    def __init__(self, decoder: Decoder, method: DecodingMethod, rows: int):
        self._decoder = decoder
        self._method = method
        self._device = decoder.forward.model.device
        self._fed: list[list[int]] = [[] for _ in range(rows)]
        self._columns: list[list[int]] = [[] for _ in range(rows)]
        self._state: KVState | None = None

    def feed_prompts(self, prompts: list[Ints]) -> Tensor:
        """Feeds the tokens of the prompts (each a whole dialogue so far) that are not cached; returns the logits of the
        next token."""
        same = [self._cached_length(row, ids) for row, ids in enumerate(prompts)]
        drops = any(count < len(fed) for count, fed in zip(same, self._fed, strict=True))
        if self._state is None or (drops and not self._method.masking):
            self._fed, self._columns = [[] for _ in prompts], [[] for _ in prompts]
            self._state = None
            same = [0] * len(prompts)
        for row, count in enumerate(same):
            self._mask_after(row, count)
        rest = [ids[count:].tolist() for ids, count in zip(prompts, same, strict=True)]
        return self._feed(rest)

    def feed_last(self, rows: list[Row]) -> Tensor:
        """Feeds the last token of each unfinished row."""
        return self._feed([[] if row.done else [row.last] for row in rows])

    def _cached_length(self, row: int, ids: Ints) -> int:
        """Number of leading tokens of a prompt that are cached, leaving at least one to feed."""
        fed = np.array(self._fed[row], dtype=np.int64)
        width = min(len(fed), len(ids) - 1)
        differs = fed[:width] != ids[:width]
        return int(np.argmax(differs)) if differs.any() else width

    def _mask_after(self, row: int, count: int) -> None:
        """Masks all but the first tokens of a row."""
        dropped = self._columns[row][count:]
        if dropped and self._state is not None and self._state.attention is not None:
            self._state.attention[row, dropped] = 0
        del self._fed[row][count:], self._columns[row][count:]

    def _feed(self, tokens: list[list[int]]) -> Tensor:
        width = max(map(len, tokens))
        ids = torch.full((len(tokens), width), self._decoder.padding, dtype=torch.int64)
        seen = torch.zeros_like(ids)
        for row, new in enumerate(tokens):
            if new:
                ids[row, width - len(new) :] = torch.tensor(new)
                seen[row, width - len(new) :] = 1
        ids, seen = ids.to(self._device), seen.to(self._device)
        if self._state is None:
            self._state = KVState(seen if self._method.masking else None)
        start = self._state.length
        # Without multi_token there is one row, whose tokens are fed one by one.
        blocks = [(0, width)] if self._method.multi_token or not start else [(at, at + 1) for at in range(width)]
        for first, last in blocks:
            part = seen[:, first:last]
            logits = self._decoder.forward.step(ids[:, first:last], self._state, self._method.position_ids, part)
        for row, new in enumerate(tokens):
            self._fed[row] += new
            self._columns[row] += range(start + width - len(new), start + width)
        return logits
