"""From a pinned source to a loaded model: where it lies, in which numbers, with which adapter."""

import copy
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from harness.errors import UserError
from harness.models.adapters import adapt
from harness.models.architectures import auto_class
from harness.models.checkpoint import (
    Stored,
    reading_gguf,
    require_fit,
    require_layers_of,
    require_no_more_layers,
    require_same_shapes,
)
from harness.models.model_config import CONFIG, FaultyFile, reason_of
from harness.models.packages import missing
from harness.models.source import ModelRequest, ModelSource, stored_weights, strangers_files

# What a generation_config.json may say that would change greedy texts.
CHANGES_TEXTS = {
    *("do_sample", "temperature", "top_k", "top_p", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("num_beams", "num_beam_groups", "diversity_penalty", "penalty_alpha", "guidance_scale", "length_penalty"),
    *("repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"),
    *("bad_words_ids", "sequence_bias", "suppress_tokens", "begin_suppress_tokens", "exponential_decay_length_penalty"),
    *("forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids", "min_length", "min_new_tokens"),
    *("stop_strings", "max_time", "token_healing", "watermarking_config"),
}
# How transformers itself computes a part of a model, without programs from elsewhere.
OWN_WAYS = {
    "_attn_implementation": ("eager", "sdpa", "flex_attention"),
    "_experts_implementation": ("eager", "grouped_mm", "batched_mm"),
}


def load(source: ModelSource, device: Any = None) -> Any:
    """The model in evaluation mode, on `device` (default: the best of this machine) or spread as was asked.

    Its weights must have been fetched. Raises UserError if it cannot be loaded.
    """
    import torch
    from accelerate import PartialState
    from transformers import GenerationConfig

    # float32 means float32: convolutions on a GPU would be computed in TF32, with 10 bits of mantissa.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    request = source.request
    device = device or PartialState().device
    arguments = source.arguments | _placement(source, device)
    arguments["dtype"] = "auto" if request.dtype == "auto" else getattr(torch, request.dtype)
    arguments |= {} if request.gguf_file else {"use_safetensors": True}
    arguments |= _own_ways(source.config)
    arguments |= {"attn_implementation": request.attention} if request.attention else {}
    auto, quantized = auto_class(source.config, request.model), _quantized(source.config)
    with strangers_files(request.model), _no_bar_of_its_own():
        stored = stored_weights(source.folder, source.gguf_file)
        require_fit(arguments.get("config", source.config), auto, stored, packed=bool(request.gguf_file or quantized))
        # Tensors of other shapes are made up then as missing ones are: each is refused below, by its name.
        arguments["ignore_mismatched_sizes"] = not (request.gguf_file or request.quantization or quantized)
        with _reading_weights(source, stored):
            loaded: Any = auto.from_pretrained(
                source.location, local_files_only=True, output_loading_info=True, **arguments
            )
        model, info = loaded
        require_same_shapes(source.config, info["mismatched_keys"])
        require_layers_of(source.config, stored, info["missing_keys"])
        _require_all(source, info["missing_keys"])
        require_no_more_layers(model, info["unexpected_keys"])
    if source.adapter:
        model = adapt(model, source.adapter)
    # What a repository advises for sampling must not change a greedy answer.
    with strangers_files(request.model):
        ends = end_tokens(model, source.tokenizer)
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=ends)
    if not (request.device_map or request.tensor_parallel or request.quantization):
        model = model.to(device)
    if request.compile:
        model.compile(dynamic=True)
    return model.eval()


def _quantized(config: Any) -> Any:
    """What a config says of how the weights are packed, None if they are not."""
    return getattr(config, "quantization_config", None) or getattr(
        config.get_text_config(), "quantization_config", None
    )


@contextmanager
def _reading_weights(source: ModelSource, stored: Stored) -> Iterator[None]:
    """Around loading: what is raised over weights names their file."""
    try:
        yield
    except (UserError, ImportError):
        raise
    except Exception as error:
        if "above report" in str(error):  # which is not shown
            reason = f"its tensors are not of the shapes that {stored.settings} asks for"
            raise FaultyFile(stored.files, reason) from None
        if quantized := _quantized(source.config):
            method = quantized.get("quant_method") if isinstance(quantized, dict) else None
            reason = f"weights that are quantized with {method or 'its quantization_config'} cannot be loaded here"
            raise FaultyFile(CONFIG, f"{reason} ({reason_of(error)})", "use weights that are not quantized") from None
        if source.gguf_file:
            with reading_gguf(source.folder / source.gguf_file):
                raise
        raise


@contextmanager
def _no_bar_of_its_own() -> Iterator[None]:
    """transformers draws a bar while it unpacks GGUF, whatever it was told of bars; ours is drawn already."""
    from transformers import modeling_gguf_pytorch_utils as unpacking

    bar = unpacking.tqdm
    unpacking.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        unpacking.tqdm = bar


def end_tokens(model: Any, tokenizer: Any) -> list[int] | None:
    """Every token that ends a text by any of a model's files, ascending: config, generation_config, tokenizer."""
    named = [getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id]
    named += [getattr(config, "eos_token_id", None) for config in (model.config, model.config.get_text_config())]
    found = {token for one in named for token in (one if isinstance(one, list | tuple) else [one])}
    ends = sorted(int(token) for token in found if token is not None and token >= 0)
    return ends or None


def decoding(source: ModelSource, model: Any) -> dict[str, Any]:
    """How texts are written, as it stands in run.json: the most probable token each time, up to one that ends a text;
    and what of the repository's generation_config.json is not followed, by name."""
    from transformers import GenerationConfig

    asked: dict[str, Any] = {}
    with suppress(OSError, ValueError, TypeError):
        if source.in_memory:
            raise OSError
        asked = GenerationConfig.from_pretrained(source.location, **source.arguments).to_diff_dict()
    ends = model.generation_config.eos_token_id
    return {"greedy": True, "ends": ends or [], "not_followed": sorted(asked.keys() & CHANGES_TEXTS)}


def _require_all(source: ModelSource, missing: Iterable[str]) -> None:
    """transformers fills what a checkpoint lacks with random numbers; such a model is not the one that was named."""
    if names := sorted(missing):
        lacking = f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}"
        raise UserError(
            f"the weights of {source.name} lack {lacking}, for which {source.gguf_file or CONFIG} asks: name a model "
            "that was saved as a causal LM"
        )


def _placement(source: ModelSource, device: Any) -> dict[str, Any]:
    """What from_pretrained is told of where the weights go and how they are kept there."""
    request = source.request
    told: dict[str, Any] = {}
    if request.gguf_file:
        told |= _unpacked()
    if request.quantization:
        told |= {"quantization_config": _quantization(request, device), "device_map": {"": device}}
    if request.device_map:
        told |= {"device_map": request.device_map}
    if request.tensor_parallel:
        if not getattr(source.config.get_text_config(), "base_model_tp_plan", None):
            raise UserError(
                f"transformers has no tensor parallel plan for {source.config.model_type}: use --device-map auto"
            )
        told |= {"tp_plan": "auto"}
    return told


def _own_ways(config: Any) -> dict[str, Any]:
    """The config to load by, where what it names for attention or experts is not a way of transformers' own: names of
    another kind would be fetched from the Hub, and run. transformers chooses then, as for a config that names none."""
    configs = [config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", {}))]
    clean = copy.deepcopy(config)
    changed = False
    for name, own in OWN_WAYS.items():
        if any(getattr(one, name, None) not in (None, *own) for one in configs):
            setattr(clean, name, None)
            changed = True
    return {"config": clean} if changed else {}


def _unpacked() -> dict[str, Any]:
    """What keeps transformers, in versions that would, from computing on the blocks of a GGUF file with kernels that it
    fetches from the Hub: the weights are what the blocks stand for, in the dtype that is asked for."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {"quantization_config": config(dequantize=True)} if config else {}


def _quantization(request: ModelRequest, device: Any) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    if device.type != "cuda":
        raise UserError("--quantization is done by bitsandbytes on a CUDA GPU, and there is none: leave it out")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise UserError(missing("bitsandbytes", "quantization")) from None
    compute = torch.bfloat16 if request.dtype == "auto" else getattr(torch, request.dtype)
    if request.quantization == "8bit":
        # It says at every layer of every pass that it computes in float16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)


def describe(source: ModelSource, model: Any, strict: bool = False) -> dict[str, Any]:
    """The model as it stands in run.json."""
    request, named = source.request, source.named
    return {
        "id": named["id"],
        "revision": named["revision"],
        "class": type(model).__name__,
        "parameters": _parameters(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "requested_dtype": request.dtype,
        "gguf_file": named["gguf_file"],
        "quantization": named["quantization"],
        "adapter": named["adapter"],
        "attention": request.attention,
        "compiled": request.compile,
        "strict": strict,
        "context": source.context,
        "decoding": decoding(source, model),
        "vocabulary": vocabulary(model),
        "tokenizer": {
            "class": type(source.tokenizer).__name__,
            "sha256": source.tokenizer_hash,
            "from": source.tokens_from,
        },
    }


def vocabulary(model: Any) -> int | None:
    """How many tokens a model gives probabilities to, by the layer that does or else by its config; None if neither
    says. A layer that is packed still says how many it is for."""
    with suppress(AttributeError, NotImplementedError, TypeError):
        layer = model.get_output_embeddings()
        width = getattr(layer, "out_features", None)
        return int(layer.weight.shape[0] if width is None else width)
    stated = getattr(model.config.get_text_config(), "vocab_size", None)
    return stated if isinstance(stated, int) and stated > 0 else None


def _parameters(model: Any) -> int:
    """How many weights there are, those of an adapter among them, in whatever way they are packed or spread."""
    with suppress(AttributeError, NotImplementedError, TypeError):
        return int(model.num_parameters())
    return sum(parameter.numel() for parameter in model.parameters())
