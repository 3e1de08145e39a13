"""Whether the weights of a checkpoint are those that its config asks for: seen from the headers of its files, before a
model of that size is built, and from what transformers could not put into it.
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
# A weight that files hold may stand in several places of a model; packed ones take at least a bit.
MOST_COPIES, PACKED_IN_A_BYTE = 2, 8
# So long, at most, it is tried which field of a config keeps a model from being built.
SECONDS_FOR_FIELDS = 5.0
# Layers, after all others, that predict tokens beyond the next.
FURTHER_LAYERS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers")
WRAPPERS = ("model", "language_model", "text_model", "transformer")
_LAYER = re.compile(r"(.*?)\.(\d+)\.")
# Bytes of what GGUF has for numbers, by its type; a text and an array are the others.
_NUMBERS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _ARRAY = 8, 9
LONGEST_NAME, MOST_DIMENSIONS = 2**10, 8


@dataclass(frozen=True)
class Stored:
    """What the files of a checkpoint hold. settings: the file that says what is built. size: bytes of all. shapes: of
    the tensors, by name."""

    files: str
    settings: str
    size: int
    shapes: dict[str, Shape]

    def most_weights(self, packed: bool) -> int:
        """How many a model can have that is made of nothing else."""
        return self.size * PACKED_IN_A_BYTE if packed else sum(map(prod, self.shapes.values())) * MOST_COPIES

    @property
    def count(self) -> int:
        """How many tensors there are."""
        return len(self.shapes)

    @property
    def layers(self) -> int:
        """How many layers there are by the names of the tensors."""
        numbers = [int(found[2]) for name in self.shapes if (found := _LAYER.match(name))]
        return max(numbers, default=-1) + 1


def stored_safetensors(folder: Path, names: list[str]) -> Stored:
    """The tensors of safetensors files by their headers. Raises FaultyFile for a file that is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, Shape] = {}
    for name in names:
        if not (folder / name).is_file():
            raise FaultyFile(name, "there is no such file", _other_weights(folder, name))
        try:
            with safe_open(folder / name, framework="pt") as file:
                for tensor in file.keys():  # noqa: SIM118  it is no mapping
                    shapes[tensor] = tuple(file.get_slice(tensor).get_shape())
        except (SafetensorError, OSError, ValueError) as error:
            raise FaultyFile(name, f"it is cut off or damaged ({reason_of(error)})") from None
    files = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return Stored(files, CONFIG, sum((folder / name).stat().st_size for name in names), shapes)


def stored_gguf(path: Path) -> Stored:
    """The tensors of a GGUF file by its header, in the names of GGUF. Raises FaultyFile for one that is damaged.

    The library's own reader takes as long for the tokens in a header as the model takes to load.
    """
    try:
        with path.open("rb") as file:
            shapes = _shapes_of_gguf(file)
    except (struct.error, KeyError, ValueError, OverflowError, OSError):
        raise FaultyFile(path.name, "it is cut off or damaged") from None
    return Stored(path.name, path.name, path.stat().st_size, shapes)


def _shapes_of_gguf(file: BinaryIO) -> dict[str, Shape]:
    def numbers(form: str) -> tuple[int, ...]:
        form = order + form
        return struct.unpack(form, file.read(struct.calcsize(form)))

    def skip(kind: int) -> None:
        if kind == _TEXT:
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
        raise ValueError("no GGUF")
    version = file.read(4)
    if int.from_bytes(version, "little") >= 2**16:  # a small number in the order that it was written in
        order = ">"
    tensors, settings = numbers("QQ")
    for _ in range(settings):
        skip(_TEXT)
        skip(*numbers("I"))
    shapes = {}
    for _ in range(tensors):
        (length,) = numbers("Q")
        if length > LONGEST_NAME:
            raise ValueError("no name")
        name = file.read(length).decode()
        (dimensions,) = numbers("I")
        if dimensions > MOST_DIMENSIONS:
            raise ValueError("no shape")
        shapes[name] = numbers(f"{dimensions}Q")[::-1]
        numbers("IQ")
    return shapes


@contextmanager
def reading_gguf(path: Path) -> Iterator[None]:
    """Around a library that reads a GGUF file: what it raises names the file, and says so if it is damaged."""
    try:
        yield
    except (UserError, FaultyFile, ImportError):
        raise
    except Exception as error:
        require_whole_gguf(path)
        if isinstance(error, OSError | HTTPError):  # not over what the file says
            raise
        raise FaultyFile(path.name, reason_of(error), "use safetensors of the model") from None


def require_whole_gguf(path: Path) -> None:
    """Raises FaultyFile for a GGUF file that the library cannot read to its end."""
    from gguf import GGUFReader

    try:
        GGUFReader(path)
    except Exception:  # whatever it stumbles over
        raise FaultyFile(path.name, "it is cut off or damaged") from None


def require_layers(config: Any, stored: Stored) -> None:
    """Raises FaultyFile for a config with more layers than the files have tensors, a model of which is long in the
    making; and for one of GGUF with fewer layers than there are, as the rest would be left out in silence."""
    for name, layers in layer_counts(config.to_dict()):
        if layers > stored.count:
            held = f"{stored.count:,} tensors{f' of {stored.layers:,} layers' if stored.layers else ''}"
            raise FaultyFile(stored.settings, f"{name} is {layers:,}, and {stored.files} has {held}")
        if layers < stored.layers and stored.settings == stored.files:
            raise FaultyFile(stored.settings, f"{name} is {layers:,}, and it has tensors of {stored.layers:,} layers")


def require_fit(config: Any, auto: Any, stored: Stored, packed: bool) -> None:
    """Raises FaultyFile for a config that no model can be built with, or one with more weights than the files hold.

    auto: the class that builds it. packed: whether weights are stored in fewer numbers than they are.
    """
    require_layers(config, stored)
    model = _built(config, auto, stored.settings)
    wanted = sum(parameter.numel() for parameter in model.parameters())
    if wanted > stored.most_weights(packed):
        other = _first_other_shape(model, stored)
        reason = _sizes(*other, config) if other else f"it asks for {wanted:,} weights, and {stored.files} has fewer"
        raise FaultyFile(stored.settings, reason)


def require_same_shapes(config: Any, mismatched: Iterable[tuple[str, Shape, Shape]]) -> None:
    """Raises FaultyFile if tensors have other shapes than those that were asked for. mismatched: name, shape in the
    files, shape in the model."""
    for name, there, wanted in sorted(mismatched):
        raise FaultyFile(CONFIG, _sizes(name, tuple(there), tuple(wanted), config))


def require_layers_of(config: Any, stored: Stored, missing: Iterable[str]) -> None:
    """Raises FaultyFile if all that is missing is of layers beyond those in the files."""
    names = sorted(missing)
    numbers = [int(found[2]) for name in names if (found := _LAYER.match(name))]
    if stored.layers and numbers and len(numbers) == len(names) and min(numbers) >= stored.layers:
        fields = [
            f"{field} is {layers:,}" for field, layers in layer_counts(config.to_dict()) if layers > stored.layers
        ]
        asked = fields[0] if fields else "it asks for more layers"
        raise FaultyFile(stored.settings, f"{asked}, and {stored.files} has {stored.layers:,}: it lacks {names[0]}")


def require_no_more_layers(model: Any, unexpected: Iterable[str]) -> None:
    """Raises FaultyFile if the files have layers that the model was not built with: it would be a smaller one under the
    same name. Layers that predict further tokens are none of these."""
    text = model.config.get_text_config()
    further = max(int(getattr(text, name, 0) or 0) for name in FURTHER_LAYERS)
    sizes = {_place(name): len(part) for name, part in model.named_modules() if type(part).__name__ == "ModuleList"}
    for name in sorted(unexpected):
        found = _LAYER.match(name)
        if found is None:
            continue
        built = sizes.get(_place(found[1]))
        if built is not None and int(found[2]) >= built + further:
            fields = [field for field, layers in layer_counts(model.config.to_dict()) if layers == built]
            field = fields[0] if fields else "the number of layers"
            raise FaultyFile(CONFIG, f"{field} is {built:,}, and the weights have {name}")


def _place(name: str) -> str:
    """The name of a module without the wrappers that a model of text may stand in."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _built(config: Any, auto: Any, settings: str) -> Any:
    """A model without weights. Raises FaultyFile with the field that keeps it from being built, if one alone does."""
    import torch

    try:
        with torch.device("meta"):
            return auto.from_config(copy.deepcopy(config))
    except ImportError:
        raise
    except Exception as error:  # a model's own code, over values that its author did not think of
        field = _field_at_fault(config, auto)
        raise FaultyFile(settings, f"no model is built with {field or 'it'} ({reason_of(error)})") from None


def _field_at_fault(config: Any, auto: Any) -> str:
    """The field without which a model is built, with its value: each that is not the default is set to it in turn."""
    import torch

    text = config.get_text_config()
    usual, end = type(text)(), time.monotonic() + SECONDS_FOR_FIELDS
    for name, value in text.to_diff_dict().items():
        if not hasattr(usual, name) or time.monotonic() > end:
            continue
        other = copy.deepcopy(config)
        try:
            setattr(other.get_text_config(), name, getattr(usual, name))
            with torch.device("meta"):
                auto.from_config(other)
        except Exception:  # not this one
            continue
        return f"{name} {json.dumps(value, default=str)[:60]}"
    return ""


def _first_other_shape(model: Any, stored: Stored) -> tuple[str, Shape, Shape] | None:
    for name, parameter in model.state_dict().items():
        there = stored.shapes.get(name, tuple(parameter.shape))
        if there != tuple(parameter.shape):
            return name, there, tuple(parameter.shape)
    return None


def _sizes(name: str, there: Shape, wanted: Shape, config: Any) -> str:
    """What to say of a tensor of another size, with the fields that have the number that does not fit."""
    from transformers import PreTrainedConfig

    odd = {size for size, held in zip(wanted, there, strict=False) if size != held}
    facts = config.get_text_config().to_dict()
    of_all = vars(PreTrainedConfig())
    fields = [
        f"{field} {value}"
        for field, value in facts.items()
        if type(value) is int and value in odd and field not in of_all
    ]
    why = f" ({', '.join(fields[:3])})" if fields else ""
    return f"{name} is {_written(there)} in the weights, and it asks for {_written(wanted)}{why}"


def _written(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _other_weights(folder: Path, name: str) -> str:
    pickled = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt*"))
    if pickled:
        return f"save the model as safetensors ({pickled[0]} is a pickle, which is never read)"
    return f"put {name} into the folder"
