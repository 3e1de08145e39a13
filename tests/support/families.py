"""Tiny causal language models of many architectures, built from configs with random weights."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel

Family = Callable[[int], PreTrainedConfig]

# Given to every config that knows the name; those that do not have the notion go without.
SIZES: dict[str, Any] = {
    **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 2048},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
    **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    **{"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None},
}
# What a linear layer reads can be near nothing, and its norm makes rounding of that large: not with this.
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


def of(kind: str, **special: Any) -> Family:
    """What makes a tiny config of the kind for a vocabulary size; `special` may only hold names the kind knows.

    Calling it raises KeyError or ValueError where the installed transformers does not know the kind or a name.
    """

    def config(vocabulary: int) -> PreTrainedConfig:
        made = CONFIG_MAPPING[kind]
        known = {field.name for field in fields(made)}

        def own(name: str) -> str:
            """The field behind an alias: some configs work out more from their fields before they read aliases."""
            return name if name in known else made.attribute_map.get(name, name)

        unknown = {name for name in special if own(name) not in known}
        if unknown:
            raise ValueError(f"{kind} knows no {', '.join(sorted(unknown))}")
        values: dict[str, Any] = {name: 0.0 for name in known if "drop" in name}
        values |= {own(name): value for name, value in (SIZES | special).items() if own(name) in known}
        return made(**{"vocab_size": vocabulary, **deepcopy(values)})  # a config may change its lists in place

    return config


# Left out: reformer (pads to its chunks and needs a padding token for it), xlm (fails without lengths), zaya (its tiny
# model says nearly the same everywhere), blt (takes patches of bytes; not tried), many more not tried.
# fmt: off
FAMILIES: dict[str, Family] = {
    # learned, rotary and ALiBi positions
    "gpt2": of("gpt2"),
    "openai-gpt": of("openai-gpt"),
    "ctrl": of("ctrl", dff=64),
    "gpt_bigcode": of("gpt_bigcode"),
    "gpt_neo": of("gpt_neo", attention_types=[[["global", "local"], 1]], window_size=16),
    "gpt_neox": of("gpt_neox", rope_parameters=PARTIAL_ROTARY),
    "gptj": of("gptj", rotary_dim=4),
    "codegen": of("codegen", rotary_dim=4),
    "opt": of("opt", ffn_dim=64, word_embed_proj_dim=16),
    "xglm": of("xglm", ffn_dim=64),
    "biogpt": of("biogpt"),
    "bloom": of("bloom"),
    "mpt": of("mpt", logit_scale=0.5),
    "falcon": of("falcon"),
    "falcon-new": of("falcon", new_decoder_architecture=True, num_kv_heads=2),
    "falcon-alibi": of("falcon", alibi=True, multi_query=False, parallel_attn=False, bias=True),
    "persimmon": of("persimmon"),
    "stablelm": of("stablelm", qk_layernorm=True, use_parallel_residual=True, use_qkv_bias=True),
    "phi": of("phi", qk_layernorm=True),
    "phi3": of("phi3", sliding_window=24),
    "bert-decoder": of("bert", is_decoder=True),
    "roberta-decoder": of("roberta", is_decoder=True, pad_token_id=0),  # its positions start past the padding's id
    # Llama and its kin
    "llama": of("llama"),
    "mistral": of("mistral", sliding_window=24),
    "ministral": of("ministral", **LOCAL_GLOBAL),
    "qwen2": of("qwen2", use_sliding_window=True, sliding_window=24, max_window_layers=1),
    "qwen3": of("qwen3"),
    "smollm3": of("smollm3", no_rope_layers=[1, 0]),
    "starcoder2": of("starcoder2", sliding_window=24),
    "nemotron": of("nemotron"),
    "olmo": of("olmo", clip_qkv=1.0),
    "olmo2": of("olmo2"),
    "olmo3": of("olmo3", **LOCAL_GLOBAL),
    "gemma": of("gemma"),
    "gemma2": of(
        "gemma2", **LOCAL_GLOBAL, query_pre_attn_scalar=8, attn_logit_softcapping=2.0, final_logit_softcapping=5.0
    ),
    "gemma3_text": of("gemma3_text", **LOCAL_GLOBAL, query_pre_attn_scalar=8, final_logit_softcapping=5.0),
    "gemma3n_text": of(  # the last layers read the keys and values of earlier ones
        "gemma3n_text", **SHARING, layer_types=["sliding_attention", "full_attention"] * 2, laurel_rank=4,
        vocab_size_per_layer_input=290, altup_num_inputs=2, final_logit_softcapping=5.0,
    ),
    "gemma4_text": of(
        "gemma4_text", **SMOOTH, **SHARING, layer_types=["sliding_attention", "full_attention"] * 2,
        vocab_size_per_layer_input=4096, final_logit_softcapping=5.0,
    ),
    "granite": of("granite", **GRANITE),
    "cohere": of("cohere", logit_scale=0.5, use_qk_norm=True),
    "cohere2": of("cohere2", logit_scale=0.5, **LOCAL_GLOBAL),
    "glm4": of("glm4"),
    "helium": of("helium"),
    "exaone4": of("exaone4", **LOCAL_GLOBAL),
    "diffllama": of("diffllama"),
    "doge": of("doge"),  # with keep_window_size below the length, it is not causal: keys of the future compete
    "nanochat": of("nanochat", final_logit_softcapping=3.0),
    "apertus": of("apertus"),
    "ernie4_5": of("ernie4_5"),
    "hunyuan_v1_dense": of("hunyuan_v1_dense"),
    "modernbert-decoder": of(
        "modernbert-decoder", local_attention=24, layer_types=["sliding_attention", "full_attention"], pad_token_id=0
    ),
    "bitnet": of("bitnet"),
    "minicpm3": of("minicpm3", **LATENT, num_key_value_heads=4),
    # mixtures of experts
    "mixtral": of("mixtral", num_local_experts=4, sliding_window=24),
    "qwen2_moe": of("qwen2_moe", mlp_only_layers=[0]),
    "qwen3_moe": of("qwen3_moe"),
    "olmoe": of("olmoe"),
    "phimoe": of("phimoe", num_local_experts=4, sliding_window=24),
    "granitemoe": of("granitemoe", num_local_experts=4, **GRANITE),
    "jetmoe": of("jetmoe", num_local_experts=4),
    "dbrx": of(
        "dbrx", attn_config={"kv_n_heads": 2, "clip_qkv": 1.0, "rope_theta": 1e4},
        ffn_config={"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    ),
    "gpt_oss": of("gpt_oss", num_local_experts=4, **LOCAL_GLOBAL),
    "deepseek_v2": of("deepseek_v2", **LATENT, **{**ROUTED, "n_group": 1}, num_key_value_heads=4),
    "deepseek_v3": of("deepseek_v3", **LATENT, **ROUTED, num_key_value_heads=4, num_mtp_layers=0),
    "glm4_moe": of("glm4_moe", **ROUTED, num_mtp_layers=0),
    "deepseek_v32": of(  # attends to few tokens, chosen by an index of its own
        "deepseek_v32", **LATENT, **ROUTED, num_key_value_heads=4, index_topk=16, index_n_heads=8, index_head_dim=16
    ),
    "longcat_flash": of(  # two attentions a layer, and experts that do nothing
        "longcat_flash", **LATENT, num_layers=1, num_key_value_heads=4, ffn_hidden_size=64, expert_ffn_hidden_size=32,
        moe_topk=2, n_routed_experts=4, zero_expert_num=2,
    ),
    "dots1": of("dots1", **{**ROUTED, "n_group": 1}, **LOCAL_GLOBAL),
    "laguna": of("laguna", **LOCAL_GLOBAL),
    "mimo_v2_flash": of("mimo_v2_flash", **LOCAL_GLOBAL),
    "llama4_text": of(
        "llama4_text", num_local_experts=4, intermediate_size_mlp=64, attention_chunk_size=24, no_rope_layers=[1, 0],
        floor_scale=16, layer_types=["chunked_attention", "full_attention"],
    ),
    # states in place of, or beside, keys and values
    "mamba": of("mamba", state_size=8),
    "mamba2": of("mamba2", state_size=8, num_heads=4, head_dim=16, n_groups=1, chunk_size=16),
    "falcon_mamba": of("falcon_mamba", state_size=8),
    "rwkv": of("rwkv", rescale_every=1),
    # its cache rounds the heads up to 64 in all, its layers do not
    "xlstm": of("xlstm", hidden_size=64, num_heads=2, qk_dim_factor=1.0, chunk_size=16, output_logit_soft_cap=5.0),
    "recurrent_gemma": of(
        "recurrent_gemma", num_hidden_layers=3, attention_window_size=24, num_key_value_heads=1, logits_soft_cap=5.0
    ),
    "jamba": of("jamba", **SMOOTH, attn_layer_period=2, attn_layer_offset=1, mamba_d_state=8),
    "zamba": of(
        "zamba", **SMOOTH, num_hidden_layers=4, num_key_value_heads=4, attn_layer_period=2, attn_layer_offset=0,
        head_dim=16,
    ),
    "zamba2": of(
        "zamba2", **SMOOTH, num_key_value_heads=4, n_mamba_heads=4, mamba_d_state=8, chunk_size=16, use_mem_rope=True,
        layer_types=["linear_attention", "hybrid"],
    ),
    "bamba": of("bamba", **MAMBA2, attn_layer_indices=[1]),
    "falcon_h1": of("falcon_h1", **MAMBA2, mamba_d_ssm=64, lm_head_multiplier=0.5, key_multiplier=0.7),
    "granitemoehybrid": of(
        "granitemoehybrid", **MAMBA2, **GRANITE, **LINEAR_FULL, num_local_experts=4, shared_intermediate_size=32
    ),
    "nemotron_h": of(
        "nemotron_h", layer_norm_epsilon=1e-2, mamba_num_heads=4, mamba_head_dim=16, ssm_state_size=8, n_groups=1,
        chunk_size=16, layer_types=["linear_attention", "moe", "full_attention", "mlp"], n_routed_experts=4,
        moe_shared_expert_intermediate_size=32,
    ),
    "qwen3_next": of("qwen3_next", **SMOOTH, **DELTA, **LINEAR_FULL),
    "qwen3_5_text": of("qwen3_5_text", **SMOOTH, **DELTA, **LINEAR_FULL),
    "olmo_hybrid": of("olmo_hybrid", **SMOOTH, **{**DELTA, "linear_num_key_heads": 4}, **LINEAR_FULL),
    "kimi_linear": of(
        "kimi_linear", **SMOOTH, **{**LATENT, "q_lora_rank": None}, **LINEAR_FULL, linear_head_dim=8,
        linear_num_heads=4, num_local_experts=4, mlp_layer_types=["dense", "sparse"], num_key_value_heads=4,
    ),
    "lfm2": of("lfm2", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False),
    "lfm2_moe": of("lfm2_moe", layer_types=["conv", "full_attention"], num_dense_layers=1),
    "minimax": of("minimax", num_local_experts=4, block_size=16, **LINEAR_FULL),
    "minimax-full-first": of(
        "minimax", num_local_experts=4, block_size=16, layer_types=["full_attention", "linear_attention"]
    ),
}

# fmt: on
# Not of the causal kind, or not in this form: whoever takes causal models must tell these apart.
TWO_STACKS = {"decoder_layers": 2, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
ENCODER_DECODERS: dict[str, Family] = {
    "t5": of("t5", d_kv=8, d_ff=64, pad_token_id=0),
    "bart": of("bart", **TWO_STACKS),
    "pegasus": of("pegasus", **TWO_STACKS),
}
# Loaded by AutoModelForCausalLM, yet they see the tokens that follow.
BIDIRECTIONAL: dict[str, Family] = {
    "bert": of("bert", is_decoder=False),
    "roberta": of("roberta", is_decoder=False, pad_token_id=0),
    "electra": of("electra", is_decoder=False, embedding_size=32),
    "xlnet": of("xlnet", d_inner=64),
    "cpmant": of("cpmant", dim_head=8, dim_ff=64),
}

# As they start, these are no weights of a linear map but logarithms of rates or shares between 0 and 1.
KEPT = ("A_log", "time_mix")

# Spread of the weights where 0.3 does not do: narrower, or rounding grows beyond 1e-5 (or attention drowns the token).
WIDTH = {
    **{"gpt_neo": 0.2, "nemotron": 0.2, "zamba": 0.2, "zamba2": 0.15, "nemotron_h": 0.2, "gemma4_text": 0.2},
    **{"minicpm3": 0.1, "smollm3": 0.25, "qwen3_next": 0.25, "qwen3_5_text": 0.25, "granite": 0.25, "granitemoe": 0.25},
    **{"bert-decoder": 0.2, "roberta-decoder": 0.15, "bert": 0.2, "roberta": 0.2, "electra": 0.2, "xlnet": 0.2},
}


def tiny(name: str, vocabulary: int) -> PreTrainedModel:
    """The named model with weights wide enough that its predictions differ from place to place."""
    families = FAMILIES | BIDIRECTIONAL | ENCODER_DECODERS
    loader = AutoModelForSeq2SeqLM if name in ENCODER_DECODERS else AutoModelForCausalLM
    torch.manual_seed(0)
    model = loader.from_config(families[name](vocabulary), dtype=torch.float32).eval()
    with torch.no_grad():
        for part, weight in model.named_parameters():
            if weight.dim() < 2:  # norms and biases start at ones and zeros, where some errors do not show
                weight.add_(torch.randn_like(weight), alpha=0.1)
            elif not any(kept in part for kept in KEPT):
                torch.nn.init.normal_(weight, std=WIDTH.get(name, 0.3))
    return model
