"""The JSON files of a model that say how it is built and where its answers end: config.json, generation_config.json.

Fields are checked here, before a library reads them: libraries accept values that no model can have (a context of 0, an
unknown quantization method) or fail far from the field that is wrong.
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
# Parts of a config that are of a model that reads text.
TEXT_CONFIGS = ("text_config", "llm_config", "language_config", "decoder")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
HEADS, KEY_VALUE_HEADS = (
    ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    ("num_key_value_heads", "num_kv_heads"),
)
PLACES = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length", "max_sequence_length",
    "seq_length",
)  # fmt: skip
SIZES = ("vocab_size", "hidden_size", "n_embd", "d_model", "kv_channels", *HEADS, *KEY_VALUE_HEADS, *PLACES)
WINDOWS = ("sliding_window", "attention_window_size", "local_attention")
# These may be 0: some classes do not have what they count.
SIZES_OR_NONE = (*LAYERS, "head_dim", "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
MOST_SIZE = 2**31 - 1
ROPE = ("rope_parameters", "rope_scaling")
BASES = ("rope_theta", "rotary_emb_base", "rope_local_base_freq", "rope_global_base_freq")
SCALES = (*BASES, "factor", "attention_factor", "low_freq_factor", "high_freq_factor", "partial_rotary_factor")
_EPSILON = re.compile(r"(\w+_)?(eps|epsilon)")
_DTYPES = ("dtype", "torch_dtype")
_VALIDATION = re.compile(r"(Class v|V)alidation error for (field|validator) '\w+': (\w+: )?")


class FaultyFile(ValueError):
    """What is wrong in which file of a model. advice: what mends it."""

    def __init__(self, file: str, reason: str, advice: str = ""):
        super().__init__(f"{file}: {reason}")
        self.advice = advice or (f"correct {file}" if file.endswith(".json") else "fetch it again")


def reason_of(error: BaseException) -> str:
    """What a library says, on one line, without what it says of its own ways."""
    said = _VALIDATION.sub("", " ".join(str(error).split()))
    if isinstance(error, LookupError) or not said:  # a bare key says nothing
        said = f"{type(error).__name__} {said}".strip()
    return said if len(said) < 160 else said[:160] + "..."


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Around a library that reads one file of a model: what it raises over it names the file."""
    try:
        yield
    except (UserError, FaultyFile, ImportError, OSError, HTTPError):  # not over what the file says
        raise
    except Exception as error:
        raise FaultyFile(file, reason_of(error)) from None


def read_json(path: Path) -> Any:
    """What a file holds. Raises FaultyFile if that is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FaultyFile(path.name, f"it is not JSON ({reason_of(error)})") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file. Raises FaultyFile if it holds anything else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise FaultyFile(path.name, f"it is {_shown(found)}, and must be a JSON object")
    return found


def require_config(path: Path) -> None:
    """Raises FaultyFile for a config.json whose fields no model can be built with, UserError for one that needs a
    package that is missing."""
    require_fields(read_object(path), CONFIG)


def require_fields(config: dict[str, Any], file: str) -> None:
    """The same for a config that was read already. file: where it stands."""
    try:
        _require_kind(config)
        _require_fields(config, "", _other_names(config))
        for name in TEXT_CONFIGS:
            if isinstance(part := config.get(name), dict):
                _require_fields(part, f"{name}.", _other_names(part))
    except ValueError as error:
        raise FaultyFile(file, str(error)) from None


def require_generation(path: Path) -> None:
    """Raises FaultyFile for a generation_config.json that transformers cannot read, or not where answers end."""
    from transformers import GenerationConfig

    found = read_object(path)
    with reading(GENERATION):
        _require_ends(found, "")
        GenerationConfig.from_dict(found)


def layer_counts(facts: dict[str, Any], place: str = "") -> Iterator[tuple[str, int]]:
    """The fields of a config, and of the parts of it, that say how many layers there are."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from layer_counts(value, f"{place}{name}.")
        elif name in LAYERS and isinstance(value, int):
            yield place + name, value


def _other_names(config: dict[str, Any]) -> frozenset[str]:
    """Fields that a model of this type does not have: what stands there is read by nobody."""
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        return frozenset()
    known = CONFIG_MAPPING[kind]
    fields = {*dir(known), *inspect.signature(known.__init__).parameters}
    fields |= {*known.attribute_map, *known.attribute_map.values()}
    return frozenset((*SIZES, *WINDOWS, *SIZES_OR_NONE)) - fields - {*PLACES}


def _require_kind(config: dict[str, Any]) -> None:
    """Raises ValueError for what transformers cannot look a class up by."""
    for name, kind, wanted in (("model_type", str, "the name of a type of models"), ("auto_map", dict, "an object")):
        if config.get(name) is not None and not isinstance(config[name], kind):
            raise _faulty(name, config[name], wanted)


def _require_fields(config: dict[str, Any], place: str, unread: frozenset[str]) -> None:
    """Raises ValueError. place: how the config is reached from the top of the file, such as "text_config."."""
    for name, value in config.items():
        if value is None or name in unread:
            continue
        if name in (*SIZES, *SIZES_OR_NONE) or (name in WINDOWS and config.get("use_sliding_window", True)):
            _require_size(place + name, value, 0 if name in SIZES_OR_NONE else 1)
        elif name in BASES:
            _require_number(place + name, value, above=True)
        elif _EPSILON.fullmatch(name):
            _require_number(place + name, value, above=False)
        elif name in ROPE and isinstance(value, dict):
            _require_rope(value, f"{place}{name}.")
        elif name in _DTYPES:
            _require_dtype(place + name, value)
    _require_ends(config, place)
    _require_groups({name: value for name, value in config.items() if name not in unread}, place)
    _require_quantization(config.get("quantization_config"), place)


def _require_size(name: str, value: Any, least: int) -> None:
    """Lists, one number a layer, are left to the class of the config."""
    sound = isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST_SIZE
    if not sound and not isinstance(value, list):
        raise _faulty(name, value, f"a whole number from {least} to {MOST_SIZE:,}")


def _require_number(name: str, value: Any, above: bool) -> None:
    """above: whether it must be more than 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (above and value == 0):
        raise _faulty(name, value, "a number above 0" if above else "a number of at least 0")


def _require_rope(facts: dict[str, Any], place: str) -> None:
    for name, value in facts.items():
        if isinstance(value, dict):  # by kind of layer
            _require_rope(value, f"{place}{name}.")
        elif name in SCALES and value is not None:
            _require_number(place + name, value, above=True)
        elif name == "original_max_position_embeddings" and value is not None:
            _require_size(place + name, value, 1)


def _require_dtype(name: str, value: Any) -> None:
    """By part of the model, a dict names several."""
    import torch

    if isinstance(value, dict):
        for part, one in value.items():
            _require_dtype(f"{name}.{part}", one)
        return
    named = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else None
    sound = isinstance(named, torch.dtype) and named.is_floating_point
    if value not in (None, "auto") and not sound:
        raise _faulty(name, value, "the name of a dtype of floating-point numbers, such as float32 or bfloat16")


def _require_ends(facts: dict[str, Any], place: str) -> None:
    value = facts.get("eos_token_id")
    ids = value if isinstance(value, list) else [value]
    if value is not None and not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
        raise _faulty(f"{place}eos_token_id", value, "the id of a token, or a list of ids")


def _require_groups(config: dict[str, Any], place: str) -> None:
    """Heads of queries come in groups of equal size, one for each head of keys and values."""
    heads, groups = (
        next(((name, config[name]) for name in names if isinstance(config.get(name), int)), None)
        for names in (HEADS, KEY_VALUE_HEADS)
    )
    if heads and groups and heads[1] % groups[1]:
        raise _faulty(place + groups[0], groups[1], f"a divisor of {heads[0]}, which is {heads[1]}")


def _require_quantization(found: Any, place: str) -> None:
    """Raises ValueError for what transformers would pass over: weights would be read as they are packed."""
    if found is None:
        return
    name = f"{place}quantization_config"
    if not isinstance(found, dict):
        raise _faulty(name, found, "an object with a quant_method")
    from transformers.quantizers import auto

    method = found.get("quant_method")
    bits = {"load_in_4bit", "load_in_8bit"} & found.keys()
    if method is None and not bits:
        raise _faulty(name, found, "an object with a quant_method (what MLX writes has none, and is not read here)")
    if not bits and method == "bitsandbytes":
        raise _faulty(name, found, "an object with load_in_4bit or load_in_8bit")
    if not bits and (not isinstance(method, str) or method not in auto.AUTO_QUANTIZATION_CONFIG_MAPPING):
        known = {one.removesuffix("_4bit").removesuffix("_8bit") for one in auto.AUTO_QUANTIZATION_CONFIG_MAPPING}
        raise _faulty(f"{name}.quant_method", method, f"one of {', '.join(sorted(known))}")
    try:
        auto.AutoHfQuantizer.from_config(dict(found), pre_quantized=True).validate_environment(device_map=None)
    except ImportError as error:
        why = f"{name} of {CONFIG} names {_shown(method)}, which needs a package that is missing"
        raise lacks_package(error, why) from None
    except Exception:  # what else it lacks, such as a GPU, is said when the model is loaded
        return


def _faulty(name: str, value: Any, wanted: str) -> ValueError:
    return ValueError(f"{name} is {_shown(value)}, and must be {wanted}")


def _shown(value: Any) -> str:
    try:
        said = json.dumps(value)
    except ValueError:  # more digits than Python writes
        said = "a huge number"
    return said if len(said) < 60 else said[:60] + "..."
