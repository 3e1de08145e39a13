"""Evaluates a transformers model that is already in memory."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.errors import UserError
from harness.models.float32 import exact_float32
from harness.models.loading import end_tokens
from harness.models.model_name import local_id
from harness.models.model_request import ModelRequest
from harness.models.source import ModelSource


@dataclass(frozen=True, eq=False)
class InMemory:
    """A causal LM of transformers and its tokenizer. name: its name in the run folder, without `local/` (default: the
    class)."""

    model: Any
    tokenizer: Any
    name: str | None = None
    # Placement options of ModelRequest; a model in memory stays where it is.
    tensor_parallel: bool = False
    device_map: str | None = None


def source_of(loaded: InMemory) -> ModelSource:
    """The model as a source whose revision is a hash of weights, config and tokenizer.

    Raises UserError for a tokenizer without character offsets.
    """
    if not getattr(loaded.tokenizer, "is_fast", False):
        raise UserError("the tokenizer has no character offsets: pass a fast tokenizer, such as AutoTokenizer returns")
    name = local_id(loaded.name or type(loaded.model).__name__)
    return ModelSource(
        name, "", _revision(loaded), ModelRequest(model=name), loaded.model.config, loaded.tokenizer, in_memory=True
    )


def _revision(loaded: InMemory) -> str:
    """40 hex digits of the SHA-256 over everything that decides the outputs."""
    import torch

    digest = hashlib.sha256(json.dumps(loaded.model.config.to_dict(), sort_keys=True, default=str).encode())
    digest.update(loaded.tokenizer.backend_tokenizer.to_str().encode())
    digest.update(str(loaded.tokenizer.chat_template).encode())
    for name, tensor in sorted(loaded.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:40]


@contextmanager
def ready(loaded: InMemory) -> Iterator[Any]:
    """The model in evaluation mode with greedy decoding; restores its state on exit."""
    from transformers import GenerationConfig

    model = loaded.model
    before = model.training, getattr(model, "generation_config", None)
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=end_tokens(model, loaded.tokenizer))
    model.eval()
    try:
        with exact_float32():
            yield model
    finally:
        model.train(before[0])
        model.generation_config = before[1]
