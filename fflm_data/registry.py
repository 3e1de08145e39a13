"""The configs by name. To add one, write a module with a `Config` subclass and register it here."""

import dataclasses
import json
from typing import Any

from fflm_data.arithmetic import Arithmetic
from fflm_data.capitals import Capitals
from fflm_data.config import Config, ParameterError
from fflm_data.counting import MostFrequent, QueryCount
from fflm_data.flipflop import FlipFlop, FlipFlopPiecewise, FlipFlopProse, FlipFlopTrain
from fflm_data.letters import Letters
from fflm_data.suggestions import did_you_mean

_FINITE = (FlipFlop, FlipFlopPiecewise, FlipFlopProse, QueryCount, MostFrequent, Letters, Arithmetic, Capitals)

# Configs that are built and published, and configs that can only be streamed.
CONFIGS: dict[str, type[Config]] = {config.name: config for config in _FINITE}
STREAMS: dict[str, type[Config]] = {FlipFlopTrain.name: FlipFlopTrain}
DEFAULT_CONFIG = FlipFlop.name


def get_config(name: str = DEFAULT_CONFIG, /, **parameters: Any) -> Config:
    """Returns the config of that name, with the given parameters.

    Raises ParameterError for an unknown config, an unknown parameter or a value out of range.
    """
    known_configs = CONFIGS | STREAMS
    if not isinstance(name, str) or name not in known_configs:
        near = did_you_mean(str(name), known_configs)
        raise ParameterError(f"there is no config {name!r}. Choose one of {', '.join(known_configs)}{near}")
    config = known_configs[name]
    known = [field.name for field in dataclasses.fields(config)]
    for key in parameters:
        if key not in known:
            raise ParameterError(
                f"{name} has no parameter {key!r}. Its parameters are {', '.join(known)}{did_you_mean(key, known)}"
            )
    return config(**parameters)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parses `length=256`, `p_ignore=0.9` or `vocabularies=2,5,10` into a parameter and its value."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ParameterError(f"{text!r} sets nothing. Write parameter=value, such as length=256.")
    for candidate in (value, f"[{value}]"):
        try:
            return key, json.loads(candidate)
        except json.JSONDecodeError:
            continue
    return key, value
