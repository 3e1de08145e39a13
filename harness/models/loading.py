"""Loads a resolved model: device placement, dtype, quantization, adapter; describes it for run.json."""

import copy
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from fflm_data.terminal import echo
from harness.errors import UserError
from harness.models.adapters import load_adapter
from harness.models.architectures import auto_class
from harness.models.checkpoint import (
    Stored,
    reading_gguf,
    require_all_layers_used,
    require_buildable,
    require_layers_stored,
    require_same_shapes,
)
from harness.models.float32 import set_tf32
from harness.models.load_errors import untrusted_files
from harness.models.model_config import CONFIG, FaultyFile, reason_of
from harness.models.model_request import ModelRequest
from harness.models.packages import missing
from harness.models.source import ModelSource
from harness.models.training_statement import RECIPE_FILE, training_statement
from harness.models.weights import stored_weights

# Settings of generation_config.json that would change the output of greedy decoding.
CHANGES_OUTPUT = {
    *("do_sample", "temperature", "top_k", "top_p", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("num_beams", "num_beam_groups", "diversity_penalty", "penalty_alpha", "guidance_scale", "length_penalty"),
    *("repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"),
    *("bad_words_ids", "sequence_bias", "suppress_tokens", "begin_suppress_tokens", "exponential_decay_length_penalty"),
    *("forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids", "min_length", "min_new_tokens"),
    *("stop_strings", "max_time", "token_healing", "watermarking_config"),
}
# Implementations inside transformers. Any other name would be code fetched from the Hub.
OWN_IMPLEMENTATIONS = {
    "_attn_implementation": ("eager", "sdpa", "flex_attention"),
    "_experts_implementation": ("eager", "grouped_mm", "batched_mm"),
}


def load(source: ModelSource, device: Any = None) -> Any:
    """Loads a model in evaluation mode on `device` (default: that of this process), or spread as requested.

    Its weights must have been fetched. Raises UserError if it cannot be loaded.
    """
    import torch
    from accelerate import PartialState
    from transformers import GenerationConfig

    set_tf32(False)  # by default a GPU computes float32 convolutions in TF32
    request = source.request
    device = device or PartialState().device
    arguments = source.load_arguments | _placement(source, device)
    arguments["dtype"] = "auto" if request.dtype == "auto" else getattr(torch, request.dtype)
    arguments |= {} if request.gguf_file else {"use_safetensors": True}
    arguments |= _own_implementations(source.config)
    arguments |= {"attn_implementation": request.attention} if request.attention else {}
    auto, quantized = auto_class(source.config, request.model), _quantization_config(source.config)
    with untrusted_files(request.model), _no_gguf_progress_bar():
        stored = stored_weights(source.folder, source.gguf_file)
        packed = bool(request.gguf_file or quantized)
        require_buildable(arguments.get("config", source.config), auto, stored, packed=packed)
        # transformers then initializes mismatched tensors like missing ones; both are errors below, with their names.
        arguments["ignore_mismatched_sizes"] = not (request.gguf_file or request.quantization or quantized)
        with _reading_weights(source, stored):
            loaded: Any = auto.from_pretrained(
                source.location, local_files_only=True, output_loading_info=True, **arguments
            )
        model, info = loaded
        require_same_shapes(source.config, info["mismatched_keys"])
        require_layers_stored(source.config, stored, info["missing_keys"])
        _require_no_missing(source, info["missing_keys"])
        require_all_layers_used(model, info["unexpected_keys"])
    if source.adapter:
        model = load_adapter(model, source.adapter)
    # The sampling settings of a repository must not change greedy decoding.
    with untrusted_files(request.model):
        ends = end_tokens(model, source.tokenizer)
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=ends)
    if not (request.device_map or request.tensor_parallel or request.quantization):
        model = model.to(device)
    if request.compile:
        model.compile(dynamic=True)
    return model.eval()


def _quantization_config(config: Any) -> Any:
    """The quantization_config of a config or its text config, None if the weights are not quantized."""
    return getattr(config, "quantization_config", None) or getattr(
        config.get_text_config(), "quantization_config", None
    )


@contextmanager
def _reading_weights(source: ModelSource, stored: Stored) -> Iterator[None]:
    """Names the weight file in errors raised while loading."""
    try:
        yield
    except (UserError, ImportError):
        raise
    except Exception as error:
        if "above report" in str(error):  # refers to a log message that is hidden
            reason = f"its tensors have other shapes than {stored.config_file} requires"
            raise FaultyFile(stored.files, reason) from None
        if quantized := _quantization_config(source.config):
            method = quantized.get("quant_method") if isinstance(quantized, dict) else None
            reason = f"weights quantized with {method or 'its quantization_config'} cannot be loaded on this machine"
            raise FaultyFile(CONFIG, f"{reason} ({reason_of(error)})", "use weights that are not quantized") from None
        if source.gguf_file:
            with reading_gguf(source.folder / source.gguf_file):
                raise
        raise


@contextmanager
def _no_gguf_progress_bar() -> Iterator[None]:
    """Hides the progress bar that transformers draws while it dequantizes GGUF, regardless of its settings."""
    from transformers import modeling_gguf_pytorch_utils as unpacking

    bar = unpacking.tqdm
    unpacking.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        unpacking.tqdm = bar


def end_tokens(model: Any, tokenizer: Any) -> list[int] | None:
    """All end-of-sequence tokens in the config, generation config and tokenizer, ascending; None if there are none."""
    values = [getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id]
    values += [getattr(config, "eos_token_id", None) for config in (model.config, model.config.get_text_config())]
    tokens = {token for value in values for token in (value if isinstance(value, list | tuple) else [value])}
    ends = sorted(int(token) for token in tokens if token is not None and token >= 0)
    return ends or None


def decoding(source: ModelSource, model: Any) -> dict[str, Any]:
    """The decoding settings for run.json: greedy, the tokens that end an output, and the settings of the repository's
    generation_config.json that are not used, by name."""
    from transformers import GenerationConfig

    settings: dict[str, Any] = {}
    with suppress(OSError, ValueError, TypeError):
        if source.in_memory:
            raise OSError
        settings = GenerationConfig.from_pretrained(source.location, **source.load_arguments).to_diff_dict()
    ends = model.generation_config.eos_token_id
    return {"greedy": True, "ends": ends or [], "not_followed": sorted(settings.keys() & CHANGES_OUTPUT)}


def _require_no_missing(source: ModelSource, missing: Iterable[str]) -> None:
    """Raises UserError for missing tensors: transformers initializes them randomly."""
    if names := sorted(missing):
        listed = f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}"
        raise UserError(
            f"the weights of {source.name} lack {listed}, required by {source.gguf_file or CONFIG}: name a model that "
            "was saved as a causal LM"
        )


def _placement(source: ModelSource, device: Any) -> dict[str, Any]:
    """The arguments of from_pretrained for devices and quantization."""
    request = source.request
    arguments: dict[str, Any] = {}
    if request.gguf_file:
        arguments |= _dequantize_gguf()
    if request.quantization:
        arguments |= {"quantization_config": _bitsandbytes(request, device), "device_map": {"": device}}
    if request.device_map:
        arguments |= {"device_map": request.device_map}
    if request.tensor_parallel:
        if not getattr(source.config.get_text_config(), "base_model_tp_plan", None):
            raise UserError(
                f"transformers has no tensor parallel plan for {source.config.model_type}: use --device-map auto"
            )
        arguments |= {"tp_plan": "auto"}
    return arguments


def _own_implementations(config: Any) -> dict[str, Any]:
    """A config without implementations of attention or experts that are not part of transformers; {} if it has none.

    transformers would fetch any other name from the Hub and run it. Without a name it chooses an implementation itself.
    """
    configs = [config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", {}))]
    clean = copy.deepcopy(config)
    changed = False
    for name, own in OWN_IMPLEMENTATIONS.items():
        if any(getattr(part, name, None) not in (None, *own) for part in configs):
            setattr(clean, name, None)
            changed = True
    return {"config": clean} if changed else {}


def _dequantize_gguf() -> dict[str, Any]:
    """The argument that makes transformers dequantize GGUF to the requested dtype.

    Newer versions would otherwise compute on quantized blocks with kernels that they fetch from the Hub.
    """
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {"quantization_config": config(dequantize=True)} if config else {}


def _bitsandbytes(request: ModelRequest, device: Any) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    if device.type != "cuda":
        raise UserError("--quantization needs a CUDA GPU, and there is none: remove --quantization")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise UserError(missing("bitsandbytes", "quantization")) from None
    compute = torch.bfloat16 if request.dtype == "auto" else getattr(torch, request.dtype)
    if request.quantization == "8bit":
        # It logs in every layer of every pass that it computes in float16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)


def describe(source: ModelSource, model: Any, strict: bool = False) -> dict[str, Any]:
    """The field `model` of run.json."""
    request, facts = source.request, source.facts
    return {
        "id": facts["id"],
        "revision": facts["revision"],
        "class": type(model).__name__,
        "parameters": _parameters(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "requested_dtype": request.dtype,
        "gguf_file": facts["gguf_file"],
        "quantization": facts["quantization"],
        "adapter": facts["adapter"],
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
        **_training(source),
    }


def _training(source: ModelSource) -> dict[str, Any]:
    """The field `training` of a model that `harness train` made; nothing for others. Prints a warning for a faulty
    recipe.json."""
    if source.recipe_file is None:
        return {}
    try:
        statement = training_statement(source.recipe_file)
    except (OSError, ValueError, RecursionError) as error:
        echo(
            f"warning: {RECIPE_FILE} of {source.name} is ignored, because {reason_of(error)}. run.json will not state "
            "how the model was trained.",
            file=sys.stderr,
        )
        return {}
    return {} if statement is None else {"training": statement}


def vocabulary(model: Any) -> int | None:
    """The number of logits: the width of the output layer, else vocab_size of the config; None if neither is known.

    A quantized layer keeps its width in out_features.
    """
    with suppress(AttributeError, NotImplementedError, TypeError):
        layer = model.get_output_embeddings()
        width = getattr(layer, "out_features", None)
        return int(layer.weight.shape[0] if width is None else width)
    stated = getattr(model.config.get_text_config(), "vocab_size", None)
    return stated if isinstance(stated, int) and stated > 0 else None


def _parameters(model: Any) -> int:
    """The number of weights, including an adapter's; quantized or sharded weights count in full."""
    with suppress(AttributeError, NotImplementedError, TypeError):
        return int(model.num_parameters())
    return sum(parameter.numel() for parameter in model.parameters())
