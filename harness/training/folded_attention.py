"""Fused attention under `torch.func.vmap`, with the vmapped dimension folded into the batch.

On a GPU the backward pass of PyTorch's memory-efficient attention fails under vmap ("LSE is not correctly aligned"),
and on a CPU vmap calls the kernel once per member.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class FoldedAttention(TorchFunctionMode):
    """A context in which scaled_dot_product_attention may be called under vmap. Gradients are those of the kernel."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False)) | kwargs
        query, key, value, mask = (given.pop(name, None) for name in ("query", "key", "value", "attn_mask"))
        return _Attention.apply(query, key, value, mask, given)


class _Attention(torch.autograd.Function):
    """Attention whose rule for vmap is a plain call of the kernel, which autograd follows."""

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, mask, **options)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: gradients are those of the calls in vmap."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        raise NotImplementedError("this attention is used under vmap only")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Tensor, int]:
        members, (*tensors, options) = info.batch_size, inputs
        pairs = zip(tensors, in_dims, strict=False)
        stacked: list[Any] = [part if part is None else _members_first(part, dim, members) for part, dim in pairs]
        query, key, value, mask = stacked
        if query.ndim < 4:
            raise NotImplementedError("attention without a batch dimension")
        if mask is not None:  # it may have fewer dimensions, and size 1 for all rows
            mask = mask.reshape(members, *[1] * (query.ndim - mask.ndim), *mask.shape[1:])
            mask = mask.expand(members, query.shape[1], *mask.shape[2:]).flatten(0, 1)
        folded = functional.scaled_dot_product_attention(
            query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), attn_mask=mask, **options
        )
        return folded.unflatten(0, query.shape[:2]), 0


def _members_first(tensor: Tensor, dim: int | None, members: int) -> Tensor:
    return tensor.movedim(dim, 0) if dim is not None else tensor.expand(members, *tensor.shape)
