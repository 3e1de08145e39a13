"""Dialogues: turn after turn, with what the model keeps of the earlier ones."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fflm_data.arrays import Ints
from harness.engine.capabilities import Completing
from harness.engine.decoding import Decoder, Limit, Row, take
from harness.engine.forward import KVState
from harness.planning.plans import DialoguePlan


@dataclass(frozen=True)
class DialogueOutputs:
    """What was written in some dialogues. rows: indices into the plan; outputs: raw text by row and turn; tokens: int64
    (rows, turns), -1 where the logits were no numbers."""

    rows: Ints
    outputs: list[list[str]]
    tokens: Ints


@torch.inference_mode()
def converse(  # noqa: PLR0917
    decoder: Decoder,
    way: Completing,
    plan: DialoguePlan,
    batch: Ints,
    limit: Limit,
    report: Callable[[float], object],
) -> DialogueOutputs:
    """All turns of some rows; of more than one only if the model's way passes over gaps. tell: is told what share of
    the turns is done."""
    kept = _Kept(decoder, way, len(batch))
    said: list[list[tuple[Ints, str]]] = [[] for _ in batch]
    counts = np.zeros((len(batch), plan.turns), dtype=np.int64)
    for turn in range(plan.turns):
        prompts = [
            plan.prompts[row] if turn == 0 else plan.following(row, said[place])
            for place, row in enumerate(batch.tolist())
        ]
        rows = [Row(decoder, limit) for _ in batch]
        take(kept.prompts(prompts), rows)
        while not all(row.done for row in rows):
            report((turn + max(len(row.tokens) for row in rows) / limit.tokens) / plan.turns)
            take(kept.next(rows), rows)
        for place, row in enumerate(rows):
            said[place].append((np.array(row.tokens, dtype=np.int64), row.text))
            counts[place, turn] = row.count
    return DialogueOutputs(batch, [[text for _, text in turns] for turns in said], counts)


class _Kept:
    """What a model keeps of some dialogues: which tokens, in which columns, and which of those count.

    A token that a later prompt does not repeat, or that only fills a row up, is passed over from then on.
    """

    def __init__(self, decoder: Decoder, way: Completing, rows: int):
        self._decoder = decoder
        self._way = way
        self._device = decoder.forward.model.device
        self._fed: list[list[int]] = [[] for _ in range(rows)]
        self._columns: list[list[int]] = [[] for _ in range(rows)]
        self._state: KVState | None = None

    def prompts(self, prompts: list[Ints]) -> Tensor:
        """Feeds what the prompts, all of a dialogue so far, have beyond what is kept; logits of what comes next."""
        same = [self._same(row, ids) for row, ids in enumerate(prompts)]
        takes_back = any(count < len(fed) for count, fed in zip(same, self._fed, strict=True))
        if self._state is None or (takes_back and not self._way.masking):
            self._fed, self._columns = [[] for _ in prompts], [[] for _ in prompts]
            self._state = None
            same = [0] * len(prompts)
        for row, count in enumerate(same):
            self._pass_over(row, count)
        rest = [ids[count:].tolist() for ids, count in zip(prompts, same, strict=True)]
        return self._feed(rest)

    def next(self, rows: list[Row]) -> Tensor:
        """Feeds the last token of each row that goes on."""
        return self._feed([[] if row.done else [row.last] for row in rows])

    def _same(self, row: int, ids: Ints) -> int:
        """How many tokens of a prompt are kept, leaving one to be fed."""
        fed = np.array(self._fed[row], dtype=np.int64)
        width = min(len(fed), len(ids) - 1)
        differs = fed[:width] != ids[:width]
        return int(np.argmax(differs)) if differs.any() else width

    def _pass_over(self, row: int, count: int) -> None:
        """Forgets all but the first tokens of a row."""
        gone = self._columns[row][count:]
        if gone and self._state is not None and self._state.attention is not None:
            self._state.attention[row, gone] = 0
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
            self._state = KVState(seen if self._way.masking else None)
        start = self._state.length
        # Where blocks cannot follow what is kept, there is one row, and its tokens follow one by one.
        cut = [(0, width)] if self._way.blocks or not start else [(place, place + 1) for place in range(width)]
        for first, last in cut:
            part = seen[:, first:last]
            logits = self._decoder.forward.step(ids[:, first:last], self._state, self._way.positions, part)
        for row, new in enumerate(tokens):
            self._fed[row] += new
            self._columns[row] += range(start + width - len(new), start + width)
        return logits
