"""Attention implementations for --attention; one that the model or this machine does not support is an error before
the weights are fetched."""

from typing import Any

from harness.errors import UserError
from harness.models.architectures import auto_class

# All are exact up to rounding. Kernels from a Hub repository are not offered: they would run code from there.
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
_PACKAGES = {
    "flash_attention_2": "flash-attn",
    "flash_attention_3": "flash-attn-3",
    "flash_attention_4": "flash-attn-4",
}


def require_attention(name: str, config: Any) -> None:
    """Raises UserError unless a model of this config can be built with that attention on this machine."""
    import torch

    if name in _PACKAGES and not _is_installed(name):
        raise UserError(
            f"--attention {name} needs the package {_PACKAGES[name]} and a CUDA GPU: install it, or remove --attention"
        )
    try:
        with torch.device("meta"):
            auto_class(config, config.model_type).from_config(config, attn_implementation=name)
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{config.model_type} does not support --attention {name} ({reason}): remove it, or use eager or sdpa"
        ) from None


def _is_installed(name: str) -> bool:
    """Whether transformers finds the package in a version that it supports."""
    from transformers import utils

    known = getattr(utils, f"is_{name.replace('attention', 'attn')}_available", None)
    return known is not None and bool(known())
