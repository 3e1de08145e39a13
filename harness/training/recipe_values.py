"""Values of the fields of a recipe: from the command line or TOML, and to and from JSON."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from fflm_data.config import ParameterError, require
from harness.training.recipe_parts import KINDS, ArchitectureModel, Intervention, Optimizer, PretrainedModel, Schedule

# In place of the value of a setting that an architecture's recipe does not name.
UNSET = object()


def parse_change(text: str) -> tuple[str, str]:
    """Key and value of `--set KEY=VALUE`."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ParameterError(f"--set {text!r} is not KEY=VALUE, for example --set model.layers=4")
    return key.strip(), value.strip()


def keys(part: str, record: Any) -> Iterator[str]:
    """The names of the fields of a part, such as "model.layers"."""
    return (f"{part}.{field_.name}" for field_ in dataclasses.fields(record))


def has_field(record: Any, name: str) -> bool:
    """Whether a field can be changed. Any field of the config of an architecture can."""
    open_ended = isinstance(record, ArchitectureModel) and name not in {"", "architecture", "settings"}
    fixed = name in {"source", "revision"} and isinstance(record, PretrainedModel)
    return not fixed and (open_ended or name in {each.name for each in dataclasses.fields(record)} - {"settings"})


def converted(record: Any, name: str, key: str, value: Any) -> Any:
    """A value for a field, from text or from TOML. Raises ParameterError if the type is wrong."""
    if isinstance(record, ArchitectureModel) and name != "seed":
        return as_tuple(_json_value(value) if isinstance(value, str) else value)
    current = getattr(record, name)
    hint = next(each.type for each in dataclasses.fields(record) if each.name == name)
    if isinstance(value, str) and hint is not str:
        parts = [_json_value(part) for part in value.split(",")]
        value = tuple(parts) if isinstance(current, tuple) else parts[0] if len(parts) == 1 else value
    if isinstance(current, tuple):
        value = tuple(value) if isinstance(value, list | tuple) else (value,)
        valid = all(isinstance(each, int | float) and not isinstance(each, bool) for each in value) and value
        require(bool(valid), key, value, "numbers separated by commas")
        return tuple(map(float, value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    kinds: dict[Any, tuple[type, str]] = {int: (int, "an integer"), float: (float, "a number"), str: (str, "a text")}
    kind, words = kinds.get(hint, (int, "an integer"))  # the others are `int | None`
    valid = (isinstance(value, kind) and not isinstance(value, bool)) or (value is None and hint not in kinds)
    require(valid, key, value, words)
    return value


def _json_value(text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    with suppress(ValueError):
        if math.isfinite(number := float(text)):  # such as .001, which is no JSON
            return number
    return {"none": None, "true": True, "false": False}.get(text.lower(), text)


def to_text(value: Any, is_setting: bool) -> str:
    """A value as on the command line. is_setting: whether it is a field of the config of an architecture."""
    if is_setting:
        text = value if isinstance(value, str) and _json_value(value) == value else json.dumps(plain(value))
    else:
        text = ",".join(map(str, value)) if isinstance(value, tuple) else "none" if value is None else str(value)
    return text


def replaced(record: Any, values: Mapping[str, Any]) -> Any:
    """A part with other values."""
    if not isinstance(record, ArchitectureModel):
        return replace(record, **values)
    seed = values.get("seed", record.seed)
    settings = dict(record.settings) | {key: value for key, value in values.items() if key != "seed"}
    return replace(record, seed=seed, settings=tuple(sorted(settings.items())))


def value_of(record: Any, name: str) -> Any:
    """The value of a field."""
    if isinstance(record, ArchitectureModel) and name != "seed":
        return dict(record.settings).get(name, UNSET)
    return getattr(record, name)


def part_to_json(record: Any) -> dict[str, Any]:
    """The fields of a part as JSON values."""
    kind = {"kind": record.kind} if hasattr(record, "kind") else {}
    values = {each.name: getattr(record, each.name) for each in dataclasses.fields(record)}
    if isinstance(record, ArchitectureModel):
        values["settings"] = {key: plain(value) for key, value in record.settings}
    return kind | {key: plain(value) for key, value in values.items()}


def part_from_json(name: str, content: Mapping[str, Any]) -> Any:
    """The part of a recipe.json with this name. Raises TypeError or KeyError for unknown fields."""
    values = {key: as_tuple(value) for key, value in content.items() if key != "kind"}
    if name not in KINDS:
        return {"optimizer": Optimizer, "schedule": Schedule, "intervention": Intervention}[name](**values)
    if "settings" in values:
        values["settings"] = tuple((key, as_tuple(value)) for key, value in content["settings"].items())
    return KINDS[name][content["kind"]](**values)


def plain(value: Any) -> Any:
    """Lists in place of tuples."""
    return [plain(each) for each in value] if isinstance(value, tuple) else value


def as_tuple(value: Any) -> Any:
    """Tuples in place of lists."""
    return tuple(map(as_tuple, value)) if isinstance(value, list) else value
