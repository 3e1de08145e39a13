"""Model classes: which transformers class loads a config (causal LM or image-text model), and its context length."""

import sys
from typing import Any

from harness.errors import UserError

# Position embeddings of modules with this attribute start after the padding id, so that fewer positions are usable.
_OFFSET_ATTRIBUTE = "create_position_ids_from_input_ids"


def auto_class(config: Any, model: str) -> Any:
    """The auto class that loads a model of this config. Image-text models are evaluated on text alone.

    A config registered as both is loaded as causal LM, which takes the text weights of the checkpoint. model: its name,
    for the error. Raises UserError for a model that does not predict the next token.
    """
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
    )

    encoder_decoder = getattr(config, "is_encoder_decoder", False) or getattr(
        config.get_text_config(), "is_encoder_decoder", False
    )
    if not encoder_decoder and type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if not encoder_decoder and type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    kind = "an encoder-decoder model" if encoder_decoder else "not a causal LM"
    raise UserError(f"{model} ({config.model_type}) is {kind}: name a model that predicts the next token")


def context_of(config: Any) -> int | None:
    """The context length of a config in tokens, None if it has no limit."""
    text_config = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        limit = getattr(text_config, name, None)
        if isinstance(limit, int) and limit > 0:
            return max(1, limit - _unused_positions(text_config))
    return None


def _unused_positions(config: Any) -> int:
    """The number of position embeddings that RoBERTa-like models do not use: those up to the padding id."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    padding = getattr(config, "pad_token_id", None)
    if padding is None or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return 0
    module = sys.modules[MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__module__]
    embeddings = [part for name, part in vars(module).items() if name.endswith("Embeddings") and isinstance(part, type)]
    return int(padding) + 1 if any(hasattr(part, _OFFSET_ATTRIBUTE) for part in embeddings) else 0
