"""Greedy decoding of short outputs: shared prefixes are computed once, and finished rows leave the batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fflm_data.arrays import Ints
from harness.engine.batches import pad
from harness.engine.capabilities import DecodingMethod, ReadMethod
from harness.engine.forward import Forward, KVState
from harness.models.tokenizer_check import decode
from harness.prompts.prompting import template_marks
from harness.prompts.thinking import marker_ids

# Finished rows are dropped when they are this part of the batch: copying the KV state costs about one step.
DROP_SHARE = 0.25


class Decoder:
    """Decodes batches of prompts with the methods that the model supports."""

    def __init__(self, forward: Forward, read_method: ReadMethod, method: DecodingMethod, tokenizer: Any, padding: int):
        self.forward = forward
        self.read_method = read_method
        self.method = method
        self.tokenizer = tokenizer
        self.padding = padding
        end = forward.model.generation_config.eos_token_id
        self.ends = frozenset([] if end is None else end if isinstance(end, list) else [end])
        self._markers = marker_ids(tokenizer, template_marks(tokenizer))
        self._prefix: tuple[bytes, KVState | None] = (b"", None)

    @torch.inference_mode()
    def decode(
        self, prompts: list[Ints], shared: int, limit: "Limit", report: Callable[[float], object]
    ) -> "list[Row]":
        """Decodes one output per prompt.

        shared: length of the common prefix; if not 0, all prompts must have the same length. report: called with the
        share of the steps that is done.
        """
        rows = [Row(self, limit) for _ in prompts]
        steps = self._cached_steps(prompts, shared, rows) if self.method.cached else self._full_passes(prompts, rows)
        for step, logits in zip(range(limit.tokens), steps, strict=False):
            report(step / limit.tokens)
            append_tokens(logits, [row for row in rows if row.fed])
            if all(row.done for row in rows):
                break
        return rows

    def text(self, tokens: list[int]) -> str:
        """The text of an observation: without special tokens, except those around thinking.

        Raises UnusableTokenizer if the tokenizer rewrites it.
        """
        text, start = "", 0
        for index in [*(index for index, token in enumerate(tokens) if token in self._markers), len(tokens)]:
            text += decode(self.tokenizer, tokens[start:index])
            text += self.tokenizer.convert_ids_to_tokens(tokens[index]) if index < len(tokens) else ""
            start = index + 1
        return text

    def _cached_steps(self, prompts: list[Ints], shared: int, rows: "list[Row]") -> Iterator[Tensor]:
        """Logits of the next token of the fed rows, step by step, from the KV state."""
        device = self.forward.model.device
        ids = pad([prompt[shared:] for prompt in prompts], self.padding, left=True).to(device)
        lengths = torch.tensor([len(prompt) - shared for prompt in prompts], device=device)
        attention = None
        if int(lengths.min()) < ids.shape[1]:
            attention = (torch.arange(ids.shape[1], device=device) >= ids.shape[1] - lengths[:, None]).long()
        state = self._prefix_state(prompts[0][:shared]).repeat(len(rows)) if shared else KVState(attention)
        while True:
            yield self.forward.step(ids, state, self.method.position_ids)
            fed = [row for row in rows if row.fed]
            if self.method.row_selection and sum(row.done for row in fed) >= DROP_SHARE * len(fed):
                state.select(torch.tensor([index for index, row in enumerate(fed) if not row.done], device=device))
                for row in fed:
                    row.fed = not row.done
            ids = torch.tensor([[row.last] for row in rows if row.fed], device=device)

    def _full_passes(self, prompts: list[Ints], rows: "list[Row]") -> Iterator[Tensor]:
        """The same for a model without a usable KV state: every step is a full pass."""
        while True:
            texts = [np.append(prompt, row.tokens) for prompt, row in zip(prompts, rows, strict=True) if row.fed]
            ids = pad(texts, self.padding, left=False)
            mask = torch.zeros(ids.shape, dtype=torch.bool)
            mask[torch.arange(len(texts)), torch.tensor([len(text) - 1 for text in texts])] = True
            device = self.forward.model.device
            yield self.read_method.logits_at(ids.to(device), mask.to(device))
            for row in rows:
                row.fed = not row.done

    def _prefix_state(self, ids: Ints) -> KVState:
        """The KV state of a shared prefix; the last one is cached."""
        key, state = self._prefix
        if state is None or key != ids.tobytes():
            state = KVState()
            self.forward.step(
                torch.from_numpy(ids).to(self.forward.model.device)[None], state, self.method.position_ids
            )
            self._prefix = (ids.tobytes(), state)
        return state


@dataclass(frozen=True)
class Limit:
    """When decoding stops. tokens: maximum number of new tokens. ends: end-of-text tokens. is_complete: whether a text
    is complete; None if only the model ends it."""

    tokens: int
    ends: frozenset[int]
    is_complete: Callable[[str], bool] | None


def append_tokens(logits: Tensor, rows: "list[Row]") -> None:
    """Appends the most probable token to each row. logits: (rows, vocabulary)."""
    best = logits.argmax(dim=-1).tolist()
    finite = logits.float().logsumexp(dim=-1).isfinite().tolist()
    for row, token, is_finite in zip(rows, best, finite, strict=True):
        row.append(token, is_finite)


class Row:
    """An output during decoding. fed: whether it is in the batch of the next step."""

    def __init__(self, decoder: Decoder, limit: Limit):
        self._decoder = decoder
        self._limit = limit
        self._finite = True
        self.tokens: list[int] = []
        self.done = False
        self.fed = True

    def append(self, token: int, finite: bool) -> None:
        """Appends the most probable token unless the output is done. finite: whether its logits are finite."""
        if self.done:
            return
        self._finite = finite
        if not finite or token in self._limit.ends or token in self._decoder.ends:
            self.done = True
            return
        self.tokens.append(token)
        complete = self._limit.is_complete
        self.done = len(self.tokens) == self._limit.tokens or (complete is not None and complete(self.text))

    @property
    def last(self) -> int:
        """The token that is fed next; of a finished row any token, since its logits are ignored."""
        return self.tokens[-1] if self.tokens else 0

    @property
    def text(self) -> str:
        return self._decoder.text(self.tokens)

    @property
    def count(self) -> int:
        """Number of tokens without the end-of-text token; -1 if logits were non-finite."""
        return len(self.tokens) if self._finite else -1
