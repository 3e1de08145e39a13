"""A model's forward pass: logits at some positions, and step by step after what it has kept."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from harness.engine.threads import Threads

# Under which of these names a model gives, and takes, what it keeps of the tokens it has seen.
CACHE_FIELDS = ("cache", "past_key_values", "cache_params", "state")


class Forward:
    """A model's forward pass, given what it takes and nothing else.

    threads: what chooses the number of threads of each pass; None leaves them as they are.
    """

    def __init__(self, model: Any, threads: Threads | None = None):
        self.model = model
        self._threads = threads
        self._named = inspect.signature(model.forward).parameters
        self._any = any(one.kind is one.VAR_KEYWORD for one in self._named.values())

    def takes(self, name: str) -> bool:
        """Whether forward has an argument of that name."""
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
        """transformers' own way to logits at some positions, in its newer versions and most of its models."""
        logits = self._pass(ids, logits_to_keep=mask, use_cache=False).logits
        return logits.reshape(-1, logits.shape[-1])

    def at_head(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Only the marked hidden states are let into the output embedding; what follows it is elementwise."""
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
        """All logits, most of them for nothing."""
        logits = self.logits(ids)
        return logits[mask.to(logits.device)]

    def step(self, ids: Tensor, state: "KVState", positions: bool, seen: Tensor | None = None) -> Tensor:
        """Feeds some more tokens, (rows, tokens), after what `state` holds, and adds them to it.

        positions: whether the model is told where they stand. seen: which of them are text, int64 (rows, tokens),
        where `state` says that of earlier ones; all if None. Returns the logits after the last of them, (rows,
        vocabulary).
        """
        attention = state.attention
        length = ids.shape[1]
        if attention is not None and state.length:
            seen = attention.new_ones(ids.shape) if seen is None else seen
            attention = state.attention = torch.cat([attention, seen], dim=1)
        places = None
        if positions:
            places = torch.arange(state.length, state.length + length, device=ids.device).expand(len(ids), -1)
            if attention is not None:
                places = (attention.cumsum(-1) - 1).clamp(min=0)[:, -length:]
        kept = {state.field: state.kept} if state.field else {}
        said = self(ids, attention_mask=attention, position_ids=places, use_cache=True, logits_to_keep=1, **kept)
        state.field = state.field or next(name for name in CACHE_FIELDS if getattr(said, name, None) is not None)
        state.kept = getattr(said, state.field)
        state.length += length
        return said.logits[:, -1]


class KVState:
    """What a model keeps of the tokens it has seen, under the name that it gives it.

    attention: (rows, tokens), 0 where a row begins with padding; None if none does.
    """

    def __init__(self, attention: Tensor | None = None):
        self.attention = attention
        self.length = 0
        self.field = ""
        self.kept: Any = None

    def of(self, rows: Tensor) -> None:
        """Goes on with some rows, in the order of their indices; one may be named several times."""
        self.kept.reorder_cache(rows)
        self.attention = None if self.attention is None else self.attention[rows]

    def repeated(self, rows: int) -> "KVState":
        """A copy for as many rows, of what holds one."""
        state = copy.deepcopy(self)
        state.of(torch.zeros(rows, dtype=torch.int64, device=next(tensors_of(state.kept)).device))
        return state


def tensors_of(kept: Any) -> Iterator[Tensor]:
    """All tensors in what a model keeps, whatever its shape."""
    if isinstance(kept, Tensor):
        yield kept
    elif isinstance(kept, dict | list | tuple):
        for part in kept.values() if isinstance(kept, dict) else kept:
            yield from tensors_of(part)
    elif type(kept).__module__.startswith("transformers"):
        yield from tensors_of(vars(kept))
