"""--attention: the ways of computing it that transformers itself has; what a model or this machine lacks is refused
before the weights are fetched."""

from typing import Any

from harness.errors import UserError
from harness.models.architectures import auto_class

# Each is as exact as the others up to rounding. Kernels of a repository of the Hub would be code from there.
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
_PACKAGES = {
    "flash_attention_2": "flash-attn",
    "flash_attention_3": "flash-attn-3",
    "flash_attention_4": "flash-attn-4",
}


def require_attention(name: str, config: Any) -> None:
    """Raises UserError unless a model of this configuration can be built with that attention here."""
    import torch

    if name in _PACKAGES and not _is_installed(name):
        raise UserError(
            f"--attention {name} needs the package {_PACKAGES[name]} (which needs a CUDA GPU), and it is not "
            "installed: install it, or leave out --attention"
        )
    try:
        with torch.device("meta"):
            auto_class(config, config.model_type).from_config(config, attn_implementation=name)
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"--attention {name} does not go with {config.model_type} ({reason}): leave it out, or try eager or sdpa"
        ) from None


def _is_installed(name: str) -> bool:
    """By transformers' own look at the package and its version, where this version of it knows that attention."""
    from transformers import utils

    known = getattr(utils, f"is_{name.replace('attention', 'attn')}_available", None)
    return known is not None and bool(known())
