"""Tiny causal language models of many architectures, built from configs with random weights."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel

Family = Callable[[int], PreTrainedConfig]

# Set in every config that has a field of the name.
SIZES: dict[str, Any] = {
    **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 2048},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
    **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    **{"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None},
}
# Normalization amplifies rounding errors of inputs close to zero; a large epsilon avoids this.
SMOOTH = {"rms_norm_eps": 1e-2}
MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 16}
DELTA = {"linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
ROUTED = {"n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1}
GRANITE = {"logits_scaling": 0.5, "embedding_multiplier": 3.0, "residual_multiplier": 0.7, "attention_multiplier": 0.5}
LOCAL_GLOBAL = {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}
PARTIAL_ROTARY = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
SHARING = {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8, "sliding_window": 24}
LINEAR_FULL = {"layer_types": ["linear_attention", "full_attention"]}


def family(kind: str, **special: Any) -> Family:
    """Returns a function from a vocabulary size to a tiny config of the kind, with `special` fields.

    The function raises KeyError or ValueError if the installed transformers does not have the kind or a field.
    """

    def config(vocabulary: int) -> PreTrainedConfig:
        config_class = CONFIG_MAPPING[kind]
        known = {field.name for field in fields(config_class)}

        def resolve_alias(name: str) -> str:
            """Returns the field behind an alias. Some configs derive values from fields before they apply aliases."""
            return name if name in known else config_class.attribute_map.get(name, name)

        unknown = {name for name in special if resolve_alias(name) not in known}
        if unknown:
            raise ValueError(f"{kind} has no field {', '.join(sorted(unknown))}")
        values: dict[str, Any] = {name: 0.0 for name in known if "drop" in name}
        values |= {
            resolve_alias(name): value for name, value in (SIZES | special).items() if resolve_alias(name) in known
        }
        return config_class(**{"vocab_size": vocabulary, **deepcopy(values)})  # a config may change its lists in place

    return config


# Excluded: reformer (pads to its chunks and needs a padding token), xlm (needs lengths), zaya (predictions of its tiny
# model hardly differ), blt (byte patches, not tested), and others that are not tested.
# fmt: off
FAMILIES: dict[str, Family] = {
    # learned, rotary and ALiBi positions
    "gpt2": family("gpt2"),
    "openai-gpt": family("openai-gpt"),
    "ctrl": family("ctrl", dff=64),
    "gpt_bigcode": family("gpt_bigcode"),
    "gpt_neo": family("gpt_neo", attention_types=[[["global", "local"], 1]], window_size=16),
    "gpt_neox": family("gpt_neox", rope_parameters=PARTIAL_ROTARY),
    "gptj": family("gptj", rotary_dim=4),
    "codegen": family("codegen", rotary_dim=4),
    "opt": family("opt", ffn_dim=64, word_embed_proj_dim=16),
    "xglm": family("xglm", ffn_dim=64),
    "biogpt": family("biogpt"),
    "bloom": family("bloom"),
    "mpt": family("mpt", logit_scale=0.5),
    "falcon": family("falcon"),
    "falcon-new": family("falcon", new_decoder_architecture=True, num_kv_heads=2),
    "falcon-alibi": family("falcon", alibi=True, multi_query=False, parallel_attn=False, bias=True),
    "persimmon": family("persimmon"),
    "stablelm": family("stablelm", qk_layernorm=True, use_parallel_residual=True, use_qkv_bias=True),
    "phi": family("phi", qk_layernorm=True),
    "phi3": family("phi3", sliding_window=24),
    "bert-decoder": family("bert", is_decoder=True),
    "roberta-decoder": family("roberta", is_decoder=True, pad_token_id=0),  # positions start after the padding id
    # Llama and similar models
    "llama": family("llama"),
    "mistral": family("mistral", sliding_window=24),
    "ministral": family("ministral", **LOCAL_GLOBAL),
    "qwen2": family("qwen2", use_sliding_window=True, sliding_window=24, max_window_layers=1),
    "qwen3": family("qwen3"),
    "smollm3": family("smollm3", no_rope_layers=[1, 0]),
    "starcoder2": family("starcoder2", sliding_window=24),
    "nemotron": family("nemotron"),
    "olmo": family("olmo", clip_qkv=1.0),
    "olmo2": family("olmo2"),
    "olmo3": family("olmo3", **LOCAL_GLOBAL),
    "gemma": family("gemma"),
    "gemma2": family(
        "gemma2", **LOCAL_GLOBAL, query_pre_attn_scalar=8, attn_logit_softcapping=2.0, final_logit_softcapping=5.0
    ),
    "gemma3_text": family("gemma3_text", **LOCAL_GLOBAL, query_pre_attn_scalar=8, final_logit_softcapping=5.0),
    "gemma3n_text": family(  # the last layers read the keys and values of earlier ones
        "gemma3n_text", **SHARING, layer_types=["sliding_attention", "full_attention"] * 2, laurel_rank=4,
        vocab_size_per_layer_input=290, altup_num_inputs=2, final_logit_softcapping=5.0,
    ),
    "gemma4_text": family(
        "gemma4_text", **SMOOTH, **SHARING, layer_types=["sliding_attention", "full_attention"] * 2,
        vocab_size_per_layer_input=4096, final_logit_softcapping=5.0,
    ),
    "granite": family("granite", **GRANITE),
    "cohere": family("cohere", logit_scale=0.5, use_qk_norm=True),
    "cohere2": family("cohere2", logit_scale=0.5, **LOCAL_GLOBAL),
    "glm4": family("glm4"),
    "helium": family("helium"),
    "exaone4": family("exaone4", **LOCAL_GLOBAL),
    "diffllama": family("diffllama"),
    "doge": family("doge"),  # not causal if keep_window_size is below the length: future keys compete
    "nanochat": family("nanochat", final_logit_softcapping=3.0),
    "apertus": family("apertus"),
    "ernie4_5": family("ernie4_5"),
    "hunyuan_v1_dense": family("hunyuan_v1_dense"),
    "modernbert-decoder": family(
        "modernbert-decoder", local_attention=24, layer_types=["sliding_attention", "full_attention"], pad_token_id=0
    ),
    "bitnet": family("bitnet"),
    "minicpm3": family("minicpm3", **LATENT, num_key_value_heads=4),
    # mixtures of experts
    "mixtral": family("mixtral", num_local_experts=4, sliding_window=24),
    "qwen2_moe": family("qwen2_moe", mlp_only_layers=[0]),
    "qwen3_moe": family("qwen3_moe"),
    "olmoe": family("olmoe"),
    "phimoe": family("phimoe", num_local_experts=4, sliding_window=24),
    "granitemoe": family("granitemoe", num_local_experts=4, **GRANITE),
    "jetmoe": family("jetmoe", num_local_experts=4),
    "dbrx": family(
        "dbrx", attn_config={"kv_n_heads": 2, "clip_qkv": 1.0, "rope_theta": 1e4},
        ffn_config={"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    ),
    "gpt_oss": family("gpt_oss", num_local_experts=4, **LOCAL_GLOBAL),
    "deepseek_v2": family("deepseek_v2", **LATENT, **{**ROUTED, "n_group": 1}, num_key_value_heads=4),
    "deepseek_v3": family("deepseek_v3", **LATENT, **ROUTED, num_key_value_heads=4, num_mtp_layers=0),
    "glm4_moe": family("glm4_moe", **ROUTED, num_mtp_layers=0),
    "deepseek_v32": family(  # attends to few tokens, chosen by an indexer
        "deepseek_v32", **LATENT, **ROUTED, num_key_value_heads=4, index_topk=16, index_n_heads=8, index_head_dim=16
    ),
    "longcat_flash": family(  # two attention modules per layer, and zero experts
        "longcat_flash", **LATENT, num_layers=1, num_key_value_heads=4, ffn_hidden_size=64, expert_ffn_hidden_size=32,
        moe_topk=2, n_routed_experts=4, zero_expert_num=2,
    ),
    "dots1": family("dots1", **{**ROUTED, "n_group": 1}, **LOCAL_GLOBAL),
    "laguna": family("laguna", **LOCAL_GLOBAL),
    "mimo_v2_flash": family("mimo_v2_flash", **LOCAL_GLOBAL),
    "llama4_text": family(
        "llama4_text", num_local_experts=4, intermediate_size_mlp=64, attention_chunk_size=24, no_rope_layers=[1, 0],
        floor_scale=16, layer_types=["chunked_attention", "full_attention"],
    ),
    # recurrent states instead of, or in addition to, keys and values
    "mamba": family("mamba", state_size=8),
    "mamba2": family("mamba2", state_size=8, num_heads=4, head_dim=16, n_groups=1, chunk_size=16),
    "falcon_mamba": family("falcon_mamba", state_size=8),
    "rwkv": family("rwkv", rescale_every=1),
    # its cache rounds the total head size up to 64, its layers do not
    "xlstm": family("xlstm", hidden_size=64, num_heads=2, qk_dim_factor=1.0, chunk_size=16, output_logit_soft_cap=5.0),
    "recurrent_gemma": family(
        "recurrent_gemma", num_hidden_layers=3, attention_window_size=24, num_key_value_heads=1, logits_soft_cap=5.0
    ),
    "jamba": family("jamba", **SMOOTH, attn_layer_period=2, attn_layer_offset=1, mamba_d_state=8),
    "zamba": family(
        "zamba", **SMOOTH, num_hidden_layers=4, num_key_value_heads=4, attn_layer_period=2, attn_layer_offset=0,
        head_dim=16,
    ),
    "zamba2": family(
        "zamba2", **SMOOTH, num_key_value_heads=4, n_mamba_heads=4, mamba_d_state=8, chunk_size=16, use_mem_rope=True,
        layer_types=["linear_attention", "hybrid"],
    ),
    "bamba": family("bamba", **MAMBA2, attn_layer_indices=[1]),
    "falcon_h1": family("falcon_h1", **MAMBA2, mamba_d_ssm=64, lm_head_multiplier=0.5, key_multiplier=0.7),
    "granitemoehybrid": family(
        "granitemoehybrid", **MAMBA2, **GRANITE, **LINEAR_FULL, num_local_experts=4, shared_intermediate_size=32
    ),
    "nemotron_h": family(
        "nemotron_h", layer_norm_epsilon=1e-2, mamba_num_heads=4, mamba_head_dim=16, ssm_state_size=8, n_groups=1,
        chunk_size=16, layer_types=["linear_attention", "moe", "full_attention", "mlp"], n_routed_experts=4,
        moe_shared_expert_intermediate_size=32,
    ),
    "qwen3_next": family("qwen3_next", **SMOOTH, **DELTA, **LINEAR_FULL),
    "qwen3_5_text": family("qwen3_5_text", **SMOOTH, **DELTA, **LINEAR_FULL),
    "olmo_hybrid": family("olmo_hybrid", **SMOOTH, **{**DELTA, "linear_num_key_heads": 4}, **LINEAR_FULL),
    "kimi_linear": family(
        "kimi_linear", **SMOOTH, **{**LATENT, "q_lora_rank": None}, **LINEAR_FULL, linear_head_dim=8,
        linear_num_heads=4, num_local_experts=4, mlp_layer_types=["dense", "sparse"], num_key_value_heads=4,
    ),
    "lfm2": family("lfm2", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False),
    "lfm2_moe": family("lfm2_moe", layer_types=["conv", "full_attention"], num_dense_layers=1),
    "minimax": family("minimax", num_local_experts=4, block_size=16, **LINEAR_FULL),
    "minimax-full-first": family(
        "minimax", num_local_experts=4, block_size=16, layer_types=["full_attention", "linear_attention"]
    ),
}

# fmt: on
# Encoder-decoder models, which the harness must reject.
TWO_STACKS = {"decoder_layers": 2, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
ENCODER_DECODERS: dict[str, Family] = {
    "t5": family("t5", d_kv=8, d_ff=64, pad_token_id=0),
    "bart": family("bart", **TWO_STACKS),
    "pegasus": family("pegasus", **TWO_STACKS),
}
# Bidirectional models that AutoModelForCausalLM loads: they attend to later tokens.
BIDIRECTIONAL: dict[str, Family] = {
    "bert": family("bert", is_decoder=False),
    "roberta": family("roberta", is_decoder=False, pad_token_id=0),
    "electra": family("electra", is_decoder=False, embedding_size=32),
    "xlnet": family("xlnet", d_inner=64),
    "cpmant": family("cpmant", dim_head=8, dim_ff=64),
}

# Parameters that keep their initialization: logarithms of rates, or shares between 0 and 1.
KEEP_INIT = ("A_log", "time_mix")

# Standard deviation of the weights where 0.3 makes rounding errors exceed 1e-5 or attention dominate the token.
WEIGHT_STD = {
    **{"gpt_neo": 0.2, "nemotron": 0.2, "zamba": 0.2, "zamba2": 0.15, "nemotron_h": 0.2, "gemma4_text": 0.2},
    **{"minicpm3": 0.1, "smollm3": 0.25, "qwen3_next": 0.25, "qwen3_5_text": 0.25, "granite": 0.25, "granitemoe": 0.25},
    **{"bert-decoder": 0.2, "roberta-decoder": 0.15, "bert": 0.2, "roberta": 0.2, "electra": 0.2, "xlnet": 0.2},
}


def tiny(name: str, vocabulary: int) -> PreTrainedModel:
    """Returns the named model, with weights large enough that predictions differ between positions."""
    families = FAMILIES | BIDIRECTIONAL | ENCODER_DECODERS
    loader = AutoModelForSeq2SeqLM if name in ENCODER_DECODERS else AutoModelForCausalLM
    torch.manual_seed(0)
    model = loader.from_config(families[name](vocabulary), dtype=torch.float32).eval()
    with torch.no_grad():
        for part, weight in model.named_parameters():
            if weight.dim() < 2:  # norms and biases are initialized to 1 and 0, which hides some errors
                weight.add_(torch.randn_like(weight), alpha=0.1)
            elif not any(name_part in part for name_part in KEEP_INIT):
                torch.nn.init.normal_(weight, std=WEIGHT_STD.get(name, 0.3))
    return model
