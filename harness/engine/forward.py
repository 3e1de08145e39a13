"""A model's forward pass: logits at some positions, and decoding steps with a KV state."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from harness.engine.threads import Threads

# Names under which models return and accept their KV state.
CACHE_FIELDS = ("cache", "past_key_values", "cache_params", "state")


class Forward:
    """A model's forward pass with only the arguments that it accepts.

    threads: chooses the number of CPU threads of each pass; None leaves it unchanged.
    """

    def __init__(self, model: Any, threads: Threads | None = None):
        self.model = model
        self._threads = threads
        self._named = inspect.signature(model.forward).parameters
        self._any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in self._named.values())

    def takes(self, name: str) -> bool:
        """Whether forward has an argument with this name."""
        return name in self._named

    def __call__(self, ids: Tensor, **options: Any) -> Any:
        given = {key: value for key, value in options.items() if value is not None and (self._any or self.takes(key))}
        return self._pass(ids, **given)

    def _pass(self, ids: Tensor, **given: Any) -> Any:
        with self._threads.passing(*ids.shape) if self._threads else nullcontext():
            return self.model(input_ids=ids, **given)

    def logits(self, ids: Tensor) -> Tensor:
        """All logits, (rows, tokens, vocabulary), of sequences without padding."""
        return self(ids, use_cache=False).logits

    def masked(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits at the mask by `logits_to_keep`, which most models of newer transformers versions support."""
        logits = self._pass(ids, logits_to_keep=mask, use_cache=False).logits
        return logits.reshape(-1, logits.shape[-1])

    def at_head(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits at the mask by passing only these hidden states to the output embedding. The rest is elementwise."""
        head = self.model.get_output_embeddings()
        handle = head.register_forward_pre_hook(
            lambda module, inputs: (inputs[0][mask.to(inputs[0].device)], *inputs[1:])
        )
        try:
            logits = self.logits(ids)
        finally:
            handle.remove()
        return logits.reshape(-1, logits.shape[-1])

    def sliced(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits at the mask by computing all logits."""
        logits = self.logits(ids)
        return logits[mask.to(logits.device)]

    def step(self, ids: Tensor, state: "KVState", positions: bool, seen: Tensor | None = None) -> Tensor:
        """Feeds tokens, (rows, tokens), after those of `state`, and adds them to it.

        positions: whether to pass position ids. seen: attention mask of the new tokens, int64 (rows, tokens), if
        `state` has one; None: all ones. Returns the logits after the last token, (rows, vocabulary).
        """
        attention = state.attention
        length = ids.shape[1]
        if attention is not None and state.length:
            seen = attention.new_ones(ids.shape) if seen is None else seen
            attention = state.attention = torch.cat([attention, seen], dim=1)
        position_ids = None
        if positions:
            position_ids = torch.arange(state.length, state.length + length, device=ids.device).expand(len(ids), -1)
            if attention is not None:
                position_ids = (attention.cumsum(-1) - 1).clamp(min=0)[:, -length:]
        cache = {state.field: state.cache} if state.field else {}
        output = self(
            ids, attention_mask=attention, position_ids=position_ids, use_cache=True, logits_to_keep=1, **cache
        )
        state.field = state.field or next(name for name in CACHE_FIELDS if getattr(output, name, None) is not None)
        state.cache = getattr(output, state.field)
        state.length += length
        return output.logits[:, -1]


class KVState:
    """A model's cache of earlier tokens. field: the model's name for it.

    attention: attention mask, (rows, tokens), 0 at padding and masked tokens; None without any.
    """

    def __init__(self, attention: Tensor | None = None):
        self.attention = attention
        self.length = 0
        self.field = ""
        self.cache: Any = None

    def select(self, rows: Tensor) -> None:
        """Keeps the rows with these indices, in this order; indices may repeat."""
        self.cache.reorder_cache(rows)
        self.attention = None if self.attention is None else self.attention[rows]

    def repeat(self, rows: int) -> "KVState":
        """A copy with its single row repeated."""
        state = copy.deepcopy(self)
        state.select(torch.zeros(rows, dtype=torch.int64, device=next(tensors_of(state.cache)).device))
        return state


def tensors_of(cache: Any) -> Iterator[Tensor]:
    """All tensors in a cache of any structure."""
    if isinstance(cache, Tensor):
        yield cache
    elif isinstance(cache, dict | list | tuple):
        for part in cache.values() if isinstance(cache, dict) else cache:
            yield from tensors_of(part)
    elif type(cache).__module__.startswith("transformers"):
        yield from tensors_of(vars(cache))
