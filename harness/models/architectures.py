"""Which models of transformers can be given text alone, by their config: causal LMs, and image-text models."""

import sys
from typing import Any

from harness.errors import UserError

# Embeddings of these positions count from the id of padding on: so many places are left of those that a config names.
_OFFSET_MARK = "create_position_ids_from_input_ids"


def auto_class(config: Any, asked: str) -> Any:
    """The class that loads a model of this config; text alone is given to what also takes images.

    Of kinds that are known as both, the causal LM: it takes the weights of the text from those of both. asked: what the
    model was called. Raises UserError for a model that does not predict the next token.
    """
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
    )

    two_stacks = getattr(config, "is_encoder_decoder", False) or getattr(
        config.get_text_config(), "is_encoder_decoder", False
    )
    if not two_stacks and type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if not two_stacks and type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    kind = "an encoder and a decoder" if two_stacks else "no causal LM"
    raise UserError(f"{asked} ({config.model_type}) is {kind}: give the id of a model that predicts the next token")


def context_of(config: Any) -> int | None:
    """The most tokens that a model of this config takes, None if it has no limit."""
    text_config = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        limit = getattr(text_config, name, None)
        if isinstance(limit, int) and limit > 0:
            return max(1, limit - _skipped_places(text_config))
    return None


def _skipped_places(config: Any) -> int:
    """How many of its places a model of RoBERTa's kind leaves out: those up to the id of padding."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    padding = getattr(config, "pad_token_id", None)
    if padding is None or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return 0
    module = sys.modules[MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__module__]
    embeddings = [part for name, part in vars(module).items() if name.endswith("Embeddings") and isinstance(part, type)]
    return int(padding) + 1 if any(hasattr(part, _OFFSET_MARK) for part in embeddings) else 0
