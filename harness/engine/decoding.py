"""Short greedy decoding: a shared beginning computed once, finished rows leave, nothing is written after the answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fflm_data.arrays import Ints
from harness.engine.batches import padded
from harness.engine.capabilities import Completing, Reading
from harness.engine.forward import Forward, KVState
from harness.models.tokenizer_check import decode
from harness.prompts.prompting import template_marks
from harness.prompts.thinking import marker_ids

# Copying keys and values costs about a step: it is done when this part of the rows has finished.
LEAVING = 0.25


class Decoder:
    """Writes continuations of batches of prompts, the way the model allows."""

    def __init__(self, forward: Forward, reading: Reading, way: Completing, tokenizer: Any, padding: int):
        self.forward = forward
        self.reading = reading
        self.way = way
        self.tokenizer = tokenizer
        self.padding = padding
        end = forward.model.generation_config.eos_token_id
        self.ends = frozenset([] if end is None else end if isinstance(end, list) else [end])
        self._markers = marker_ids(tokenizer, template_marks(tokenizer))
        self._beginning: tuple[bytes, KVState | None] = (b"", None)

    @torch.inference_mode()
    def write(self, prompts: list[Ints], shared: int, limit: "Limit", report: Callable[[float], object]) -> "list[Row]":
        """One answer a prompt.

        shared: how many tokens all prompts begin with; if not 0, prompts must have one length. tell: is told what share
        of the steps is done.
        """
        rows = [Row(self, limit) for _ in prompts]
        steps = self._steps(prompts, shared, rows) if self.way.steps else self._again(prompts, rows)
        for step, logits in zip(range(limit.tokens), steps, strict=False):
            report(step / limit.tokens)
            take(logits, [row for row in rows if row.fed])
            if all(row.done for row in rows):
                break
        return rows

    def decode(self, tokens: list[int]) -> str:
        """The text of an observation: without special tokens, except those around thinking.

        Raises UnusableTokenizer if the tokenizer rewrites it.
        """
        text, start = "", 0
        for place in [*(place for place, token in enumerate(tokens) if token in self._markers), len(tokens)]:
            text += decode(self.tokenizer, tokens[start:place])
            text += self.tokenizer.convert_ids_to_tokens(tokens[place]) if place < len(tokens) else ""
            start = place + 1
        return text

    def _steps(self, prompts: list[Ints], shared: int, rows: "list[Row]") -> Iterator[Tensor]:
        """Logits of the next token of the rows that are fed, step by step, with what was seen kept."""
        device = self.forward.model.device
        ids = padded([prompt[shared:] for prompt in prompts], self.padding, left=True).to(device)
        lengths = torch.tensor([len(prompt) - shared for prompt in prompts], device=device)
        attention = None
        if int(lengths.min()) < ids.shape[1]:
            attention = (torch.arange(ids.shape[1], device=device) >= ids.shape[1] - lengths[:, None]).long()
        state = self._kept_beginning(prompts[0][:shared]).repeated(len(rows)) if shared else KVState(attention)
        while True:
            yield self.forward.step(ids, state, self.way.positions)
            fed = [row for row in rows if row.fed]
            if self.way.leaving and sum(row.done for row in fed) >= LEAVING * len(fed):
                state.of(torch.tensor([place for place, row in enumerate(fed) if not row.done], device=device))
                for row in fed:
                    row.fed = not row.done
            ids = torch.tensor([[row.last] for row in rows if row.fed], device=device)

    def _again(self, prompts: list[Ints], rows: "list[Row]") -> Iterator[Tensor]:
        """The same for a model that keeps nothing that could be trusted: every step reads all from the beginning."""
        while True:
            texts = [np.append(prompt, row.tokens) for prompt, row in zip(prompts, rows, strict=True) if row.fed]
            ids = padded(texts, self.padding, left=False)
            mask = torch.zeros(ids.shape, dtype=torch.bool)
            mask[torch.arange(len(texts)), torch.tensor([len(text) - 1 for text in texts])] = True
            device = self.forward.model.device
            yield self.reading.kept(ids.to(device), mask.to(device))
            for row in rows:
                row.fed = not row.done

    def _kept_beginning(self, ids: Ints) -> KVState:
        """What is kept of the tokens that all prompts begin with; the last ones are remembered."""
        key, state = self._beginning
        if state is None or key != ids.tobytes():
            state = KVState()
            self.forward.step(torch.from_numpy(ids).to(self.forward.model.device)[None], state, self.way.positions)
            self._beginning = (ids.tobytes(), state)
        return state


@dataclass(frozen=True)
class Limit:
    """Where an answer ends. tokens: so many at most. ends: the tokens that end it. is_complete: whether a text needs
    nothing more, None if only the model itself ends it."""

    tokens: int
    ends: frozenset[int]
    is_complete: Callable[[str], bool] | None


def take(logits: Tensor, rows: "list[Row]") -> None:
    """The next token of each row, by logits (rows, vocabulary)."""
    best = logits.argmax(dim=-1).tolist()
    numbers = logits.float().logsumexp(dim=-1).isfinite().tolist()
    for row, token, number in zip(rows, best, numbers, strict=True):
        row.take(token, number)


class Row:
    """One text while it is written. fed: whether it is among the rows of the next step."""

    def __init__(self, decoder: Decoder, limit: Limit):
        self._decoder = decoder
        self._limit = limit
        self._numbers = True
        self.tokens: list[int] = []
        self.done = False
        self.fed = True

    def take(self, token: int, number: bool) -> None:
        """The most probable next token, if the text goes on; `number`: whether its logits are numbers."""
        if self.done:
            return
        self._numbers = number
        if not number or token in self._limit.ends or token in self._decoder.ends:
            self.done = True
            return
        self.tokens.append(token)
        complete = self._limit.is_complete
        self.done = len(self.tokens) == self._limit.tokens or (complete is not None and complete(self.text))

    @property
    def last(self) -> int:
        """What is fed next; of a finished text whatever was, since nobody reads on."""
        return self.tokens[-1] if self.tokens else 0

    @property
    def text(self) -> str:
        return self._decoder.decode(self.tokens)

    @property
    def count(self) -> int:
        """How many tokens it has (the one that ends it is none); -1 where the logits were no numbers."""
        return len(self.tokens) if self._numbers else -1
