"""Tiny models of every causal class of transformers."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields
from typing import Any

import torch
from transformers import CONFIG_MAPPING, GenerationConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from harness.models.architectures import auto_class
from tests.support.families import FAMILIES, KEEP_INIT, SIZES

# What configs name their sizes beside those that families.py knows.
# fmt: off
MORE_SIZES: dict[str, Any] = {
    **{"d_model": 32, "n_embd": 32, "embed_dim": 32, "embedding_size": 32, "projection_dim": 32, "image_size": 32},
    **{"n_layer": 2, "n_layers": 2, "num_layers": 2, "depth": 2, "encoder_layers": 2, "decoder_layers": 2},
    **{"num_decoder_layers": 2, "num_encoder_layers": 2, "patch_size": 8, "decoder_start_token_id": 0},
    **{"n_head": 4, "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4},
    **{"ffn_dim": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "d_ff": 64, "d_inner": 64, "is_decoder": True},
    **{"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
    **{"n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1},
    # With fewer heads, indexers of tiny models have exact ties, which look like faults.
    **{"num_local_experts": 4, "index_n_heads": 32, "index_head_dim": 16, "index_topk": 16},
    **{"num_mtp_layers": 0, "num_nextn_predict_layers": 0, "hidden_size_per_layer_input": 8, "sliding_window": 24},
    **{"linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
    **{"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 16},
}
# Tried in turn until a plain pass works.
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"pad_token_id": 0},
    {"num_key_value_heads": 4},
    {"num_key_value_heads": 4, "pad_token_id": 0},
    {"head_dim": 128, "pad_token_id": 0},
    {"hidden_size": 256, "num_attention_heads": 4, "head_dim": 64, "pad_token_id": 0},
    {"hidden_size": 256, "num_attention_heads": 2, "head_dim": 128, "pad_token_id": 0},
    {"num_experts_per_tok": 1},
    {
        "axial_pos_embds_dim": (16, 16), "axial_pos_shape": (16, 128), "lsh_attn_chunk_length": 16,
        "local_attn_chunk_length": 16, "pad_token_id": 0,
    },
)
# fmt: on
MOST_WEIGHTS = 30_000_000


class DoesNotBuildError(Exception):
    """transformers cannot build a model of these sizes."""


def kinds() -> list[str]:
    """The model types of all classes: causal ones, then those that also take images."""
    return [*{**MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, **MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES}]


def kinds_among_families(vocabulary: int) -> set[str]:
    """The model types in families.py."""
    return {family(vocabulary).model_type for family in FAMILIES.values()}


def models_of(kind: str, vocabulary: int, auto: Any = None) -> Iterator[Any]:
    """Tiny models with wide weights, for each variant of sizes that builds. auto: the auto class, if not that of their
    config.

    Raises UserError if the kind is refused by its config, DoesNotBuildError if no variant builds.
    """
    problem: Exception | None = None
    built = False
    for variant in VARIANTS:
        try:
            decoder = {"is_encoder_decoder": False} if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else {}
            config = shrunk(CONFIG_MAPPING[kind], vocabulary, variant | decoder)
        except Exception as error:  # each config's own
            problem = problem or error
            continue
        by_config = auto_class(config, kind)
        try:
            model = made(auto or by_config, config)
        except Exception as error:  # each model's own
            problem = problem or error
            continue
        built = True
        yield model
    if not built:
        raise DoesNotBuildError(f"{type(problem).__name__}: {' '.join(str(problem).split())[:100]}")


def shrunk(config: Any, vocabulary: int, variant: dict[str, Any]) -> Any:
    """A config of the class with small sizes, in the configs inside it too."""
    known = {field.name for field in fields(config)}

    def own(name: str) -> str:
        return name if name in known else config.attribute_map.get(name, name)

    values = {name: 0.0 for name in known if "dropout" in name}
    values |= {own(name): value for name, value in (MORE_SIZES | SIZES | variant).items() if own(name) in known}
    values |= {name: vocabulary for name in ("vocab_size", "unpadded_vocab_size") if name in known}
    standard = config()
    inner = {name: getattr(standard, name, None) for name in config.sub_configs or {}}
    values |= {
        name: shrunk(type(one), vocabulary, variant)
        for name, one in inner.items()
        if isinstance(one, PreTrainedConfig) and type(one) is not PreTrainedConfig
    }
    return config(**deepcopy(values))


def made(auto: Any, config: Any) -> Any:
    """The model with predictions that depend on the position."""
    with torch.device("meta"):
        size = sum(one.numel() for one in auto.from_config(config).parameters())
    if size > MOST_WEIGHTS:
        raise ValueError(f"{size:,} weights are left")
    torch.manual_seed(0)
    model = auto.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for part, weight in model.named_parameters():
            if not weight.is_floating_point():
                continue
            if weight.dim() < 2:
                weight.add_(torch.randn_like(weight), alpha=0.1)
            elif not any(kept in part for kept in KEEP_INIT):
                torch.nn.init.normal_(weight, std=0.2)
    model.generation_config = GenerationConfig(do_sample=False)
    return model
