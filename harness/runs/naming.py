"""What a model is called for people, from its facts in run.json."""

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]
DIGITS = 12  # of a revision


def title(model: Facts) -> str:
    """`ID @ REVISION`, and what else makes it the model that it is: a GGUF file, quantization, `+ adapter ID`."""
    # A folder is called after its GGUF file already.
    file = None if str(model["id"]).startswith("local/") else model.get("gguf_file")
    packed = "".join(f", {part}" for part in (file, model.get("quantization")) if part)
    adapter = adapter_of(model)
    return f"{model['id']} @ {model['revision'][:DIGITS]}{packed}" + (f" + adapter {adapter}" if adapter else "")


def label(model: Facts) -> str:
    """The same without revisions and files, as briefly as a plot needs it."""
    packed, adapter = model.get("quantization"), adapter_of(model, revision=False)
    return f"{model['id']}" + (f", {packed}" if packed else "") + (f" + adapter {adapter}" if adapter else "")


def loaded_as(model: Facts) -> str:
    """In what form it was loaded, "" for as it is: a file of GGUF, quantized, with an adapter."""
    adapter = adapter_of(model)
    told = [model.get("gguf_file"), model.get("quantization"), adapter and f"adapter {adapter}"]
    return ", ".join(str(one) for one in told if one)


def adapter_of(model: Facts, revision: bool = True) -> str:
    """`ID @ REVISION` of a model's adapter, "" if it has none."""
    adapter = model.get("adapter")
    if not isinstance(adapter, Mapping) or not adapter.get("id"):
        return ""
    known = adapter.get("revision") if revision else None
    return f"{adapter['id']}" + (f" @ {str(known)[:DIGITS]}" if known else "")
