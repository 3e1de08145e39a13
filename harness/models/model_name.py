"""Model names: ids, display names, and the key that tells two models apart."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.models import reference
from harness.models.gguf_files import stem_of

Facts = Mapping[str, Any]  # the field `model` of run.json
LOCAL = "local/"  # prefix of the ids of local models and adapters
REVISION_DIGITS = 12  # of a revision, in display names
MAX_ID = 96  # characters
# Fields that make two loaded models different. Where and how fast a model runs does not count.
IDENTITY = ("id", "revision", "dtype", "quantization", "adapter", "gguf_file")


def model_id(model: str, gguf_file: str | None) -> str:
    """`org/model`: a Hub id unchanged, `local/NAME` for a folder or a GGUF file in one."""
    folder = Path(model)
    if model in reference.MODELS or not folder.is_dir():
        return model
    return local_id(stem_of(gguf_file) if gguf_file else folder.resolve().name)


def local_id(name: str) -> str:
    """`local/NAME`, with NAME valid on the Hub: no `--` or `..`, no `.` or `-` at the ends, not empty."""
    plain = re.sub(r"([.-])[.-]+", r"\1", re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII))
    return LOCAL + (plain.strip(".-")[:MAX_ID].rstrip(".-") or "model")


def is_local(model_id: object) -> bool:
    """Whether an id is that of a local folder or file, not of the Hub."""
    return str(model_id).startswith(LOCAL)


def path_name(model_id: str) -> str:
    """The id as a folder name: `org--model`."""
    return model_id.replace("/", "--")


def identity(model: Facts) -> str:
    """A key, as JSON, that is equal for two runs of the same model loaded the same way."""
    return json.dumps([model.get(name) for name in IDENTITY], sort_keys=True)


def title(model: Facts) -> str:
    """`ID @ REVISION`, then GGUF file, quantization and `+ adapter ID @ REVISION`, if any."""
    # The id of a local GGUF model is the file's name already.
    file = None if is_local(model["id"]) else model.get("gguf_file")
    packed = "".join(f", {part}" for part in (file, model.get("quantization")) if part)
    adapter = f" + adapter {name}" if (name := adapter_name(model)) else ""
    return f"{model['id']} @ {model['revision'][:REVISION_DIGITS]}{packed}{adapter}"


def label(model: Facts) -> str:
    """The title without revisions and files, for plots."""
    packed, adapter = model.get("quantization"), adapter_name(model, revision=False)
    return f"{model['id']}" + (f", {packed}" if packed else "") + (f" + adapter {adapter}" if adapter else "")


def variant(model: Facts) -> str:
    """GGUF file, quantization and adapter, joined by commas; "" if the model has none of them."""
    adapter = adapter_name(model)
    parts = [model.get("gguf_file"), model.get("quantization"), adapter and f"adapter {adapter}"]
    return ", ".join(str(part) for part in parts if part)


def adapter_name(model: Facts, revision: bool = True) -> str:
    """`ID @ REVISION` of a model's adapter, "" if it has none."""
    adapter = model.get("adapter")
    if not isinstance(adapter, Mapping) or not adapter.get("id"):
        return ""
    digits = adapter.get("revision") if revision else None
    return f"{adapter['id']}" + (f" @ {str(digits)[:REVISION_DIGITS]}" if digits else "")
