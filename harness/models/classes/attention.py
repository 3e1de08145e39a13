"""Causal attention with ALiBi or rotary positions, at all positions or at selected ones, with its weights if needed."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.models.classes.positions import ALIBI, ROPE, rotate, slopes
from harness.models.classes.selection import Selected
from harness.models.classes.sharpness import penalty_of

QUERIES = 64  # in a block of attention whose weights are needed


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, size: int, heads: int, positions: str, dropout: float):
        super().__init__()
        self.heads, self.width, self.dropout = heads, size // heads, dropout
        self.rotary = positions == ROPE
        self.slopes = slopes(heads) if positions == ALIBI else None
        self.query_key_value = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)

    def forward(self, states: Tensor, selected: Selected | None, sharpness: str | None, fused: bool) -> Any:
        """states: (batch, time, width). Returns the output at the selected positions, and the sharpness penalty.

        fused: whether to use a kernel that does not return attention weights.
        """
        time = torch.arange(states.shape[-2], device=states.device)
        if selected is None:
            places = time
            query, key, value = (self._split(part) for part in self.query_key_value(states).chunk(3, dim=-1))
        else:
            places = selected.places
            weight, offset = self.query_key_value.weight, self.query_key_value.bias
            size = states.shape[-1]
            query = self._split(functional.linear(selected.take(states), weight[:size], offset[:size]))
            both = functional.linear(states, weight[size:], offset[size:])
            key, value = (self._split(part) for part in both.chunk(2, dim=-1))
        if self.rotary:
            query, key = rotate(query, places), rotate(key, time)
        dropout = self.dropout if self.training else 0.0
        if sharpness is None and fused and not (dropout and states.device.type == "cpu"):
            causal = selected is None and self.slopes is None
            bias = None if causal else self._bias(places, time, query.dtype)
            mixed = functional.scaled_dot_product_attention(query, key, value, bias, dropout, is_causal=causal)
            return self._join(mixed), None
        # Where attention weights are needed, blocks of queries skip later keys and stay in the cache of a CPU.
        step = QUERIES if selected is None else query.shape[-2]
        parts, penalties = [], []
        for start in range(0, query.shape[-2], step):
            stop = start + step
            keys = slice(stop if selected is None else None)
            scores = query[..., start:stop, :] @ key[..., keys, :].transpose(-1, -2) * self.width**-0.5
            weights = (scores + self._bias(places[..., start:stop], time[keys], query.dtype)).softmax(-1)
            if sharpness is not None:
                penalties.append(penalty_of(weights, sharpness))
            parts.append(functional.dropout(weights, dropout) @ value[..., keys, :])
        penalty = torch.cat(penalties, dim=-1).mean() if penalties else None
        return self._join(torch.cat(parts, dim=-2)), penalty

    def _split(self, states: Tensor) -> Tensor:
        """(batch, time, heads * width) to (batch, heads, time, width)."""
        return states.unflatten(-1, (self.heads, self.width)).transpose(-2, -3)

    def _join(self, mixed: Tensor) -> Tensor:
        """(batch, heads, time, width) to the output, (batch, time, heads * width)."""
        output: Tensor = self.output(mixed.transpose(-2, -3).flatten(-2))
        return output

    def _bias(self, places: Tensor, time: Tensor, dtype: torch.dtype) -> Tensor:
        """What is added to the scores, (batch or 1, heads or 1, queries, keys): minus infinity for later keys."""
        distance = (places.unsqueeze(-1) - time).unsqueeze(-3)
        bias = torch.zeros_like(distance, dtype=dtype)
        if self.slopes is not None:
            bias = -distance * torch.tensor(self.slopes, dtype=dtype, device=time.device).view(-1, 1, 1)
        bias = bias.masked_fill(distance < 0, -torch.inf)
        return bias if bias.ndim == 4 else bias.unsqueeze(0)
