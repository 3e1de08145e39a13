"""Positions whose next token is scored: labels, masks, and the loss at them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = -100
# Above this share of positions, computing all of them in the last block is as fast as selecting some.
MAX_SELECTED = 0.5


@dataclass(frozen=True)
class Selected:
    """Positions at which the last block is computed, (batch, selected) int64, and their number per sequence.

    Sequences with fewer positions are filled up with position 0.
    """

    places: Tensor
    counts: Tensor

    @property
    def valid(self) -> Tensor:
        """Bool (batch, selected): False where a sequence was filled up."""
        return torch.arange(self.places.shape[-1], device=self.places.device) < self.counts.unsqueeze(-1)

    def take(self, states: Tensor) -> Tensor:
        """States at the positions: (batch, time, width) to (batch, selected, width)."""
        return states.gather(-2, self.places.unsqueeze(-1).expand(*self.places.shape, states.shape[-1]))


def select(mask: Tensor) -> Selected | None:
    """The positions where a mask, bool (..., time), is True; None if they are more than half of the positions."""
    counts = mask.sum(-1)
    most = max(1, int(counts.max()))
    if most > MAX_SELECTED * mask.shape[-1]:
        return None
    places = mask.int().argsort(dim=-1, descending=True, stable=True)[..., :most]
    selected = Selected(places, counts)
    return Selected(places.where(selected.valid, 0), counts)


def before(labels: Tensor) -> Tensor:
    """Bool (batch, time): the positions whose next token is a label."""
    return functional.pad(labels[..., 1:] != IGNORED, (0, 1))


def selected_for(labels: Tensor) -> Selected | None:
    """The positions before the labels, for `forward(selected=...)`."""
    return select(before(labels))


def loss_at(logits: Tensor, labels: Tensor, selected: Selected | None) -> Tensor:
    """Mean cross-entropy over all labels, in nats."""
    targets = functional.pad(labels[..., 1:], (0, 1), value=IGNORED)
    if selected is not None:
        targets = targets.gather(-1, selected.places).where(selected.valid, IGNORED)
    return functional.cross_entropy(logits.flatten(0, -2).float(), targets.flatten())
