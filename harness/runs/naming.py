"""Display names of a model, from its facts in run.json."""

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]
DIGITS = 12  # of a revision


def title(model: Facts) -> str:
    """The full name: `ID @ REVISION`, with GGUF file, quantization, and `+ adapter ID`."""
    # The id of a local GGUF file already contains the file name.
    file = None if str(model["id"]).startswith("local/") else model.get("gguf_file")
    packed = "".join(f", {part}" for part in (file, model.get("quantization")) if part)
    adapter = adapter_of(model)
    return f"{model['id']} @ {model['revision'][:DIGITS]}{packed}" + (f" + adapter {adapter}" if adapter else "")


def label(model: Facts) -> str:
    """The short name for plots, without revisions and files."""
    packed, adapter = model.get("quantization"), adapter_of(model, revision=False)
    return f"{model['id']}" + (f", {packed}" if packed else "") + (f" + adapter {adapter}" if adapter else "")


def loaded_as(model: Facts) -> str:
    """GGUF file, quantization and adapter; "" without any."""
    adapter = adapter_of(model)
    parts = [model.get("gguf_file"), model.get("quantization"), adapter and f"adapter {adapter}"]
    return ", ".join(str(part) for part in parts if part)


def adapter_of(model: Facts, revision: bool = True) -> str:
    """`ID @ REVISION` of a model's adapter; "" without one."""
    adapter = model.get("adapter")
    if not isinstance(adapter, Mapping) or not adapter.get("id"):
        return ""
    commit = adapter.get("revision") if revision else None
    return f"{adapter['id']}" + (f" @ {str(commit)[:DIGITS]}" if commit else "")
