"""The identity of a run: a hash of everything that determines the model's outputs."""

import hashlib
import json
from typing import Any

from harness.runs.version import HARNESS_VERSION

# The parts of a model's facts that determine its outputs. Where it runs (processes, devices, batch size) does not.
MODEL_IDENTITY = (
    "id", "revision", "requested_dtype", "gguf_file", "tokenizer", "quantization", "adapter", "attention", "compiled",
    "strict",
)  # fmt: skip


def run_id(model: dict[str, Any], data: dict[str, Any], harness: str = HARNESS_VERSION) -> str:
    """12 hex digits of a hash over model, revision, dtype, tokenizer, data and versions."""
    identity = [harness, model_identity(model), data]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def model_identity(model: dict[str, Any]) -> dict[str, Any]:
    """The facts of a model that determine its outputs."""
    return {key: model.get(key) for key in MODEL_IDENTITY}
