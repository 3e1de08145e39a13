"""Checks a checkpoint's weights against its config: from the file headers before a model is built, and from the missing
and unexpected tensors that transformers reports after loading.
"""

import copy
import json
import re
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from os import SEEK_CUR
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub.errors import HTTPError

from harness.errors import UserError
from harness.models.model_config import CONFIG, FaultyFile, layer_counts, reason_of

Shape = tuple[int, ...]
# A stored weight may be used twice in a model (tied weights); a quantized weight takes at least one bit.
MAX_COPIES, WEIGHTS_PER_BYTE = 2, 8
# Time limit of the search for the config field that prevents building a model.
FIELD_SEARCH_SECONDS = 5.0
# Fields that count multi-token-prediction layers, which follow all other layers.
PREDICTION_LAYERS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers")
WRAPPERS = ("model", "language_model", "text_model", "transformer")
_LAYER = re.compile(r"(.*?)\.(\d+)\.")
# Sizes in bytes of the GGUF number types; the other types are string and array.
_NUMBERS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
MAX_NAME, MAX_DIMENSIONS = 2**10, 8


@dataclass(frozen=True)
class Stored:
    """The tensors in the files of a checkpoint.

    files: the file names, for messages. config_file: the file with the config. size: total bytes. shapes: by tensor
    name.
    """

    files: str
    config_file: str
    size: int
    shapes: dict[str, Shape]

    def max_weights(self, packed: bool) -> int:
        """The largest number of weights that a model of these files can have. packed: whether they are quantized."""
        return self.size * WEIGHTS_PER_BYTE if packed else sum(map(prod, self.shapes.values())) * MAX_COPIES

    @property
    def count(self) -> int:
        """The number of tensors."""
        return len(self.shapes)

    @property
    def layers(self) -> int:
        """The number of layers, from the tensor names."""
        numbers = [int(match[2]) for name in self.shapes if (match := _LAYER.match(name))]
        return max(numbers, default=-1) + 1


def stored_safetensors(folder: Path, names: list[str]) -> Stored:
    """The tensors of safetensors files, from their headers. Raises FaultyFile for a missing or damaged file."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, Shape] = {}
    for name in names:
        if not (folder / name).is_file():
            raise FaultyFile(name, "there is no such file", _weights_advice(folder, name))
        try:
            with safe_open(folder / name, framework="pt") as file:
                for tensor in file.keys():  # noqa: SIM118  not a mapping
                    shapes[tensor] = tuple(file.get_slice(tensor).get_shape())
        except (SafetensorError, OSError, ValueError) as error:
            raise FaultyFile(name, f"it is truncated or damaged ({reason_of(error)})") from None
    files = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return Stored(files, CONFIG, sum((folder / name).stat().st_size for name in names), shapes)


def stored_gguf(path: Path) -> Stored:
    """The tensors of a GGUF file, from its header, under their GGUF names. Raises FaultyFile for a damaged file.

    The reader of the gguf library takes as long for the vocabulary in the header as loading the model.
    """
    try:
        with path.open("rb") as file:
            shapes = _gguf_shapes(file)
    except (struct.error, KeyError, ValueError, OverflowError, OSError):
        raise FaultyFile(path.name, "it is truncated or damaged") from None
    return Stored(path.name, path.name, path.stat().st_size, shapes)


def _gguf_shapes(file: BinaryIO) -> dict[str, Shape]:
    def numbers(layout: str) -> tuple[int, ...]:
        layout = order + layout
        return struct.unpack(layout, file.read(struct.calcsize(layout)))

    def skip(kind: int) -> None:
        if kind == _STRING:
            file.seek(numbers("Q")[0], SEEK_CUR)
        elif kind == _ARRAY:
            inner, count = numbers("IQ")
            if inner in _NUMBERS:
                file.seek(_NUMBERS[inner] * count, SEEK_CUR)
            else:
                for _ in range(count):
                    skip(inner)
        else:
            file.seek(_NUMBERS[kind], SEEK_CUR)

    order = "<"
    if file.read(4) != b"GGUF":
        raise ValueError("not GGUF")
    version = file.read(4)
    if int.from_bytes(version, "little") >= 2**16:  # a small number, so the byte order is big-endian
        order = ">"
    tensors, settings = numbers("QQ")
    for _ in range(settings):
        skip(_STRING)
        skip(*numbers("I"))
    shapes = {}
    for _ in range(tensors):
        (length,) = numbers("Q")
        if length > MAX_NAME:
            raise ValueError("invalid name")
        name = file.read(length).decode()
        (dimensions,) = numbers("I")
        if dimensions > MAX_DIMENSIONS:
            raise ValueError("invalid shape")
        shapes[name] = numbers(f"{dimensions}Q")[::-1]
        numbers("IQ")
    return shapes


@contextmanager
def reading_gguf(path: Path) -> Iterator[None]:
    """Names the GGUF file in errors of a library that reads it; reports a damaged file as such."""
    try:
        yield
    except (UserError, FaultyFile, ImportError):
        raise
    except Exception as error:
        require_readable_gguf(path)
        if isinstance(error, OSError | HTTPError):  # not about the contents of the file
            raise
        raise FaultyFile(path.name, reason_of(error), "use safetensors of the model") from None


def require_readable_gguf(path: Path) -> None:
    """Raises FaultyFile for a GGUF file that the library cannot read to its end."""
    from gguf import GGUFReader

    try:
        GGUFReader(path)
    except Exception:  # the library raises many types
        raise FaultyFile(path.name, "it is truncated or damaged") from None


def require_layers(config: Any, stored: Stored) -> None:
    """Raises FaultyFile for a config with more layers than the files have tensors, because building it would take long;
    and for a GGUF config with fewer layers than stored, because the rest would be ignored silently."""
    for name, layers in layer_counts(config.to_dict()):
        if layers > stored.count:
            contents = f"{stored.count:,} tensors{f' of {stored.layers:,} layers' if stored.layers else ''}"
            raise FaultyFile(stored.config_file, f"{name} is {layers:,}, but {stored.files} has {contents}")
        if layers < stored.layers and stored.config_file == stored.files:
            raise FaultyFile(stored.config_file, f"{name} is {layers:,}, but it has {stored.layers:,} layers")


def require_buildable(config: Any, auto: Any, stored: Stored, packed: bool) -> None:
    """Raises FaultyFile for a config that no model can be built with, or that needs more weights than are stored.

    auto: the auto class of the config. packed: whether the stored weights are quantized.
    """
    require_layers(config, stored)
    model = _build_empty(config, auto, stored.config_file)
    needed = sum(parameter.numel() for parameter in model.parameters())
    if needed > stored.max_weights(packed):
        mismatch = _first_mismatch(model, stored)
        reason = f"it requires {needed:,} weights, but {stored.files} has fewer"
        raise FaultyFile(stored.config_file, _shape_error(*mismatch, config) if mismatch else reason)


def require_same_shapes(config: Any, mismatched: Iterable[tuple[str, Shape, Shape]]) -> None:
    """Raises FaultyFile for tensors of the wrong shape. mismatched: name, shape in the files, shape in the model."""
    for name, actual, required in sorted(mismatched):
        raise FaultyFile(CONFIG, _shape_error(name, tuple(actual), tuple(required), config))


def require_layers_stored(config: Any, stored: Stored, missing: Iterable[str]) -> None:
    """Raises FaultyFile if the missing tensors are exactly those of layers beyond the stored ones."""
    names = sorted(missing)
    numbers = [int(match[2]) for name in names if (match := _LAYER.match(name))]
    if stored.layers and numbers and len(numbers) == len(names) and min(numbers) >= stored.layers:
        fields = [
            f"{field} is {layers:,}" for field, layers in layer_counts(config.to_dict()) if layers > stored.layers
        ]
        required = fields[0] if fields else "it requires more layers"
        raise FaultyFile(
            stored.config_file, f"{required}, but {stored.files} has {stored.layers:,}: it lacks {names[0]}"
        )


def require_all_layers_used(model: Any, unexpected: Iterable[str]) -> None:
    """Raises FaultyFile if the files have layers that the model does not use; it would be a smaller model.

    Layers for multi-token prediction are exempt.
    """
    text_config = model.config.get_text_config()
    exempt = max(int(getattr(text_config, name, 0) or 0) for name in PREDICTION_LAYERS)
    sizes = {_unwrapped(name): len(part) for name, part in model.named_modules() if type(part).__name__ == "ModuleList"}
    for name in sorted(unexpected):
        match = _LAYER.match(name)
        if match is None:
            continue
        built = sizes.get(_unwrapped(match[1]))
        if built is not None and int(match[2]) >= built + exempt:
            fields = [field for field, layers in layer_counts(model.config.to_dict()) if layers == built]
            field = fields[0] if fields else "the number of layers"
            raise FaultyFile(CONFIG, f"{field} is {built:,}, but the weights have {name}")


def _unwrapped(name: str) -> str:
    """A module name without wrapper modules, such as `model.language_model.`."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _build_empty(config: Any, auto: Any, file: str) -> Any:
    """A model on the meta device. Raises FaultyFile, naming the config field that is to blame if there is just one."""
    import torch

    try:
        with torch.device("meta"):
            return auto.from_config(copy.deepcopy(config))
    except ImportError:
        raise
    except Exception as error:  # model code raises many types for values that its author did not expect
        field = _invalid_field(config, auto)
        raise FaultyFile(file, f"no model can be built with {field or 'it'} ({reason_of(error)})") from None


def _invalid_field(config: Any, auto: Any) -> str:
    """The field, with its value, whose default makes the model buildable; "" if there is none. Tries each in turn."""
    import torch

    text_config = config.get_text_config()
    defaults, end = type(text_config)(), time.monotonic() + FIELD_SEARCH_SECONDS
    for name, value in text_config.to_diff_dict().items():
        if not hasattr(defaults, name) or time.monotonic() > end:
            continue
        changed = copy.deepcopy(config)
        try:
            setattr(changed.get_text_config(), name, getattr(defaults, name))
            with torch.device("meta"):
                auto.from_config(changed)
        except Exception:  # another field is to blame
            continue
        return f"{name} {json.dumps(value, default=str)[:60]}"
    return ""


def _first_mismatch(model: Any, stored: Stored) -> tuple[str, Shape, Shape] | None:
    for name, parameter in model.state_dict().items():
        actual = stored.shapes.get(name, tuple(parameter.shape))
        if actual != tuple(parameter.shape):
            return name, actual, tuple(parameter.shape)
    return None


def _shape_error(name: str, actual: Shape, required: Shape, config: Any) -> str:
    """The message for a tensor of the wrong shape, with the config fields that have the mismatched size."""
    from transformers import PreTrainedConfig

    mismatched = {size for size, stored in zip(required, actual, strict=False) if size != stored}
    values = config.get_text_config().to_dict()
    common = vars(PreTrainedConfig())
    fields = [
        f"{field} {value}"
        for field, value in values.items()
        if type(value) is int and value in mismatched and field not in common
    ]
    cause = f" ({', '.join(fields[:3])})" if fields else ""
    return f"{name} is {_shape_text(actual)} in the weights, but it requires {_shape_text(required)}{cause}"


def _shape_text(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _weights_advice(folder: Path, name: str) -> str:
    pickled = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt*"))
    if pickled:
        return f"save the model as safetensors ({pickled[0]} is a pickle, which is never read)"
    return f"put {name} into the folder"
