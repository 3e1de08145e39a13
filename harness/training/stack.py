"""Several models of one shape as one module: their weights are stacked and computed together (`torch.func`).

A step of the stack is a step of each member: the loss is the sum of the members' losses, so each gradient is that of
the member alone, and AdamW treats every weight by itself.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from harness.models.classes.recurrent import RecurrentForCausalLM
from harness.models.classes.selection import Selected, selected_for
from harness.models.classes.transformer import TransformerForCausalLM
from harness.training.folded_attention import FoldedAttention


@dataclass(frozen=True)
class StackOutput:
    """losses: of each member, (members,). sharpness: penalty of each member, or None."""

    losses: Tensor
    sharpness: Tensor | None = None


class Stack(nn.Module):
    """Members of the same class and shape, without dropout: a member's random numbers would depend on the others."""

    def __init__(self, members: Sequence[Any]):
        super().__init__()
        self.size = len(members)
        parameters, buffers = stack_module_state([*members])
        # A parameter's name must not contain a dot.
        self._names = {name: name.replace(".", "/") for name in parameters}
        self._buffers_of = {name: name.replace(".", "/") for name in buffers}
        for name, value in parameters.items():
            self.register_parameter(self._names[name], nn.Parameter(value.detach()))
        for name, value in buffers.items():
            self.register_buffer(self._buffers_of[name], value)
        template = copy.deepcopy(members[0]).to("meta")
        template.tie_weights()  # moving a model unties them
        if isinstance(template, RecurrentForCausalLM):
            template.unrolled = True
        self._template = [template]  # in a list, so that it is no submodule

    def forward(self, input_ids: Tensor, labels: Tensor, sharpness: str | None = None) -> StackOutput:
        """input_ids: int64 (batch, members, time). labels: (batch, members) or (batch, members, time)."""
        template = self._template[0].train(self.training)
        ids, labels = input_ids.transpose(0, 1), labels.transpose(0, 1)
        selected = selected_for(labels) if isinstance(template, TransformerForCausalLM) and self.training else None
        # vmap cannot find out how many positions have labels.
        options: dict[str, Any] = {"skip_unlabelled": False} if isinstance(template, TransformerForCausalLM) else {}
        options |= {"sharpness": sharpness} if sharpness else {}

        def one(state: Any, ids: Tensor, labels: Tensor, places: Tensor | None, counts: Tensor | None) -> Any:
            chosen = {} if places is None or counts is None else {"selected": Selected(places, counts)}
            output = functional_call(template, state, (), {"input_ids": ids, "labels": labels, **chosen, **options})
            return (output.loss, output.sharpness) if sharpness else (output.loss, output.loss)

        parts = (None, None) if selected is None else (selected.places, selected.counts)
        axes = (0, 0, 0, *((0, 0) if selected is not None else (None, None)))
        with FoldedAttention():
            losses, penalties = vmap(one, in_dims=axes)(self._state(), ids, labels, *parts)
        return StackOutput(losses, penalties if sharpness else None)

    def _state(self) -> dict[str, Tensor]:
        names = {**self._names, **self._buffers_of}
        return {name: getattr(self, own) for name, own in names.items()}

    def member(self, number: int, model: Any) -> Any:
        """Copies the weights of a member into a model of its class and returns it."""
        with torch.no_grad():
            own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            for name, value in self._state().items():
                own[name].copy_(value[number])
        return model
