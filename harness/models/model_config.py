"""Validates config.json and generation_config.json before a library reads them.

Libraries accept impossible values (a context of 0, an unknown quantization method), or fail far from the wrong field.
"""

import inspect
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HTTPError

from harness.errors import UserError
from harness.models.packages import lacks_package

CONFIG, GENERATION = "config.json", "generation_config.json"
# Names of the nested config of a text model.
TEXT_CONFIGS = ("text_config", "llm_config", "language_config", "decoder")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
HEADS, KEY_VALUE_HEADS = (
    ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    ("num_key_value_heads", "num_kv_heads"),
)
POSITIONS = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length", "max_sequence_length",
    "seq_length",
)  # fmt: skip
SIZES = ("vocab_size", "hidden_size", "n_embd", "d_model", "kv_channels", *HEADS, *KEY_VALUE_HEADS, *POSITIONS)
WINDOWS = ("sliding_window", "attention_window_size", "local_attention")
# These may be 0: some classes do not have the part.
SIZES_OR_NONE = (*LAYERS, "head_dim", "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
MAX_SIZE = 2**31 - 1
ROPE = ("rope_parameters", "rope_scaling")
BASES = ("rope_theta", "rotary_emb_base", "rope_local_base_freq", "rope_global_base_freq")
SCALES = (*BASES, "factor", "attention_factor", "low_freq_factor", "high_freq_factor", "partial_rotary_factor")
_EPSILON = re.compile(r"(\w+_)?(eps|epsilon)")
_DTYPES = ("dtype", "torch_dtype")
_VALIDATION = re.compile(r"(Class v|V)alidation error for (field|validator) '\w+': (\w+: )?")


class FaultyFile(ValueError):
    """A faulty file of a model. reason: what is wrong; advice: how to fix it."""

    def __init__(self, file: str, reason: str, advice: str = ""):
        super().__init__(f"{file}: {reason}")
        self.advice = advice or (f"correct {file}" if file.endswith(".json") else "fetch it again")


def reason_of(error: BaseException) -> str:
    """A library's error message on one line, without prefixes of its validation, at most 160 characters."""
    message = _VALIDATION.sub("", " ".join(str(error).split()))
    if isinstance(error, LookupError) or not message:  # a bare key explains nothing
        message = f"{type(error).__name__} {message}".strip()
    return message if len(message) < 160 else message[:160] + "..."


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Names the file in errors of a library that reads it."""
    try:
        yield
    except (UserError, FaultyFile, ImportError, OSError, HTTPError):  # not about the contents of the file
        raise
    except Exception as error:
        raise FaultyFile(file, reason_of(error)) from None


def read_json(path: Path) -> Any:
    """The parsed contents of a JSON file. Raises FaultyFile if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FaultyFile(path.name, f"it is not JSON ({reason_of(error)})") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises FaultyFile if it holds anything else."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise FaultyFile(path.name, f"it is {_value_text(value)}, but must be a JSON object")
    return value


def require_config(path: Path) -> None:
    """Raises FaultyFile for a config.json with invalid fields, UserError if it needs a missing package."""
    require_fields(read_object(path), CONFIG)


def require_fields(config: dict[str, Any], file: str) -> None:
    """Raises FaultyFile for a config with invalid fields. file: the file it was read from."""
    try:
        _require_types(config)
        _require_fields(config, "", _unused_fields(config))
        for name in TEXT_CONFIGS:
            if isinstance(part := config.get(name), dict):
                _require_fields(part, f"{name}.", _unused_fields(part))
    except ValueError as error:
        raise FaultyFile(file, str(error)) from None


def require_generation(path: Path) -> None:
    """Raises FaultyFile for a generation_config.json that transformers cannot read, or with invalid eos_token_id."""
    from transformers import GenerationConfig

    settings = read_object(path)
    with reading(GENERATION):
        _require_eos(settings, "")
        GenerationConfig.from_dict(settings)


def layer_counts(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    """The fields of a config and its nested configs that give a number of layers: dotted name and value."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from layer_counts(value, f"{prefix}{name}.")
        elif name in LAYERS and isinstance(value, int):
            yield prefix + name, value


def _unused_fields(config: dict[str, Any]) -> frozenset[str]:
    """Checked fields that the model type does not have; their values are ignored."""
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        return frozenset()
    known = CONFIG_MAPPING[kind]
    fields = {*dir(known), *inspect.signature(known.__init__).parameters}
    fields |= {*known.attribute_map, *known.attribute_map.values()}
    return frozenset((*SIZES, *WINDOWS, *SIZES_OR_NONE)) - fields - {*POSITIONS}


def _require_types(config: dict[str, Any]) -> None:
    """Raises ValueError for fields by which transformers cannot look up a class."""
    for name, kind, required in (("model_type", str, "the name of a model type"), ("auto_map", dict, "an object")):
        if config.get(name) is not None and not isinstance(config[name], kind):
            raise _invalid(name, config[name], required)


def _require_fields(config: dict[str, Any], prefix: str, unused: frozenset[str]) -> None:
    """Raises ValueError for an invalid field. prefix: the path to a nested config, such as "text_config."."""
    for name, value in config.items():
        if value is None or name in unused:
            continue
        if name in (*SIZES, *SIZES_OR_NONE) or (name in WINDOWS and config.get("use_sliding_window", True)):
            _require_size(prefix + name, value, 0 if name in SIZES_OR_NONE else 1)
        elif name in BASES:
            _require_number(prefix + name, value, positive=True)
        elif _EPSILON.fullmatch(name):
            _require_number(prefix + name, value, positive=False)
        elif name in ROPE and isinstance(value, dict):
            _require_rope(value, f"{prefix}{name}.")
        elif name in _DTYPES:
            _require_dtype(prefix + name, value)
    _require_eos(config, prefix)
    _require_head_groups({name: value for name, value in config.items() if name not in unused}, prefix)
    _require_quantization(config.get("quantization_config"), prefix)


def _require_size(name: str, value: Any, least: int) -> None:
    """Lists, with one number per layer, are left to the config class."""
    valid = isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_SIZE
    if not valid and not isinstance(value, list):
        raise _invalid(name, value, f"an integer from {least} to {MAX_SIZE:,}")


def _require_number(name: str, value: Any, positive: bool) -> None:
    """positive: whether 0 is invalid."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        raise _invalid(name, value, "a number above 0" if positive else "a number of at least 0")


def _require_rope(settings: dict[str, Any], prefix: str) -> None:
    for name, value in settings.items():
        if isinstance(value, dict):  # by layer type
            _require_rope(value, f"{prefix}{name}.")
        elif name in SCALES and value is not None:
            _require_number(prefix + name, value, positive=True)
        elif name == "original_max_position_embeddings" and value is not None:
            _require_size(prefix + name, value, 1)


def _require_dtype(name: str, value: Any) -> None:
    """A dict gives a dtype for each part of the model."""
    import torch

    if isinstance(value, dict):
        for part, part_dtype in value.items():
            _require_dtype(f"{name}.{part}", part_dtype)
        return
    dtype = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else None
    valid = isinstance(dtype, torch.dtype) and dtype.is_floating_point
    if value not in (None, "auto") and not valid:
        raise _invalid(name, value, "a floating-point dtype, such as float32 or bfloat16")


def _require_eos(settings: dict[str, Any], prefix: str) -> None:
    value = settings.get("eos_token_id")
    ids = value if isinstance(value, list) else [value]
    if value is not None and not all(isinstance(token, int) and not isinstance(token, bool) for token in ids):
        raise _invalid(f"{prefix}eos_token_id", value, "a token id, or a list of token ids")


def _require_head_groups(config: dict[str, Any], prefix: str) -> None:
    """The number of attention heads must be a multiple of the number of key-value heads."""
    heads, groups = (
        next(((name, config[name]) for name in names if isinstance(config.get(name), int)), None)
        for names in (HEADS, KEY_VALUE_HEADS)
    )
    if heads and groups and heads[1] % groups[1]:
        raise _invalid(prefix + groups[0], groups[1], f"a divisor of {heads[0]}, which is {heads[1]}")


def _require_quantization(settings: Any, prefix: str) -> None:
    """Raises ValueError for settings that transformers would ignore: it would read quantized weights as plain ones."""
    if settings is None:
        return
    name = f"{prefix}quantization_config"
    if not isinstance(settings, dict):
        raise _invalid(name, settings, "an object with a quant_method")
    from transformers.quantizers import auto

    method = settings.get("quant_method")
    bits = {"load_in_4bit", "load_in_8bit"} & settings.keys()
    if method is None and not bits:
        raise _invalid(name, settings, "an object with a quant_method (MLX quantization is not supported)")
    if not bits and method == "bitsandbytes":
        raise _invalid(name, settings, "an object with load_in_4bit or load_in_8bit")
    if not bits and (not isinstance(method, str) or method not in auto.AUTO_QUANTIZATION_CONFIG_MAPPING):
        known = {key.removesuffix("_4bit").removesuffix("_8bit") for key in auto.AUTO_QUANTIZATION_CONFIG_MAPPING}
        raise _invalid(f"{name}.quant_method", method, f"one of {', '.join(sorted(known))}")
    try:
        auto.AutoHfQuantizer.from_config(dict(settings), pre_quantized=True).validate_environment(device_map=None)
    except ImportError as error:
        reason = f"{name} of {CONFIG} is {_value_text(method)}, which needs a package that is missing"
        raise lacks_package(error, reason) from None
    except Exception:  # other obstacles, such as a missing GPU, are reported when the model is loaded
        return


def _invalid(name: str, value: Any, required: str) -> ValueError:
    return ValueError(f"{name} is {_value_text(value)}, but must be {required}")


def _value_text(value: Any) -> str:
    try:
        text = json.dumps(value)
    except ValueError:  # more digits than Python writes
        text = "a huge number"
    return text if len(text) < 60 else text[:60] + "..."
