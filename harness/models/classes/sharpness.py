"""Penalties that make attention sharper (arXiv 2306.00946, section 5): smaller values are sharper attention."""

import torch
from torch import Tensor

SHARPNESS = ("entropy", "l2", "linf")


def penalty_of(weights: Tensor, kind: str) -> Tensor:
    """The penalty of each query, (..., queries), of attention weights (..., queries, keys).

    kind: "entropy" (of each query's distribution, in nats), "l2" or "linf" (minus its norm).
    """
    if kind == "entropy":
        # The gradient of torch.special.entr is infinite at 0, the weight of every later key.
        return -(weights * weights.clamp(min=torch.finfo(weights.dtype).tiny).log()).sum(-1)
    if kind == "l2":
        return -weights.norm(dim=-1)
    if kind == "linf":
        return -weights.amax(-1)
    raise ValueError(f"sharpness={kind!r} is unknown: use one of {', '.join(SHARPNESS)}")
