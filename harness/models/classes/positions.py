"""Positions of the Transformer: learned, sinusoidal, rotary (RoPE), linear biases (ALiBi), or none.

Learned and sinusoidal positions are added to the token embeddings (sinusoidal ones scaled to the initial standard
deviation of learned ones), rotary positions rotate queries and keys, linear biases are added to attention scores. Only
learned positions have parameters and a maximum length.
"""

import torch
from torch import Tensor

LEARNED, SINUSOIDAL, ROPE, ALIBI, NONE = POSITIONS = ("learned", "sinusoidal", "rope", "alibi", "none")
ROPE_BASE = 10_000.0


def sinusoids(places: Tensor, width: int) -> Tensor:
    """Sinusoidal positions (arXiv 1706.03762, section 3.5), float32 (..., width), for integer places of any shape.

    Dimension 2j is sin(place / 10000^(2j / width)), dimension 2j + 1 the cosine. width: even.
    """
    angles = _angles(places, width)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def rotate(states: Tensor, places: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864, section 3.4).

    Rotates the pairs (j, j + width / 2) by place / 10000^(2j / width).

    states: (..., heads, places, width), width even. places: integers that broadcast to (..., places).
    """
    angles = _angles(places, states.shape[-1]).unsqueeze(-3)  # the same for all heads
    cos, sin = angles.cos().to(states.dtype), angles.sin().to(states.dtype)
    first, second = states.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def slopes(heads: int) -> list[float]:
    """Slopes of ALiBi (arXiv 2108.12409, section 3): 2^(-8 h / heads) for heads h = 1, 2, ...

    For a number that is no power of two the paper's code interleaves two sequences; this formula is used instead.
    """
    return [2.0 ** (-8 * head / heads) for head in range(1, heads + 1)]


def _angles(places: Tensor, width: int) -> Tensor:
    frequencies = ROPE_BASE ** (-torch.arange(0, width, 2, device=places.device, dtype=torch.float32) / width)
    return places.float().unsqueeze(-1) * frequencies
