"""Fused attention under vmap: values and gradients are those of each member alone."""

import pytest
import torch
from torch.func import vmap
from torch.nn.functional import scaled_dot_product_attention

from harness.training.folded_attention import FoldedAttention


@pytest.mark.parametrize("mask", [None, (5, 5), (2, 1, 5, 5), (3, 2, 1, 5, 5)])
def test_members_equal_attention_of_their_own(mask: tuple[int, ...] | None) -> None:
    """The last mask has a value per member; 3 members, 2 rows, 2 heads, 5 positions."""
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 2, 2, 5, 4, generator=random).requires_grad_() for _ in range(3))
    bias = None if mask is None else torch.randn(mask, generator=random)
    dims = (0, 0, 0, 0 if bias is not None and bias.ndim == 5 else None)
    with FoldedAttention():
        folded = vmap(scaled_dot_product_attention, in_dims=dims)(query, key, value, bias)
    alone = torch.stack([
        scaled_dot_product_attention(query[n], key[n], value[n], bias if dims[3] is None else bias[n])
        for n in range(3)
    ])  # fmt: skip
    assert torch.allclose(folded, alone, atol=1e-6)
    wanted, found = (torch.autograd.grad(each.square().sum(), [query, key, value]) for each in (alone, folded))
    assert all(torch.allclose(*pair, atol=1e-5) for pair in zip(wanted, found, strict=True))
