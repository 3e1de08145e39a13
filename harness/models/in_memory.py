"""A transformers model that is in memory already, evaluated as it stands."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.errors import UserError
from harness.models.loading import end_tokens
from harness.models.source import ModelRequest, ModelSource, folder_name


@dataclass(frozen=True, eq=False)
class InMemory:
    """A causal language model of transformers and its tokenizer. name: what it is called in the run folder, without
    `local/`; by default its class and size."""

    model: Any
    tokenizer: Any
    name: str | None = None
    # What a model of the Hub or a folder may be told of where it lies; this one is where it is.
    tensor_parallel: bool = False
    device_map: str | None = None


def source_of(given: InMemory) -> ModelSource:
    """The model as one pinned to a revision, which is the hash of its weights, config and tokenizer.

    Raises UserError for a tokenizer that does not say which characters each token writes.
    """
    if not getattr(given.tokenizer, "is_fast", False):
        raise UserError("the tokenizer has no character offsets: pass a fast tokenizer, as AutoTokenizer gives")
    name = folder_name(given.name or type(given.model).__name__)
    return ModelSource(
        name, "", _revision(given), ModelRequest(model=name), given.model.config, given.tokenizer, in_memory=True
    )


def _revision(given: InMemory) -> str:
    """40 hex digits of all that decides the outputs."""
    import torch

    found = hashlib.sha256(json.dumps(given.model.config.to_dict(), sort_keys=True, default=str).encode())
    found.update(given.tokenizer.backend_tokenizer.to_str().encode())
    found.update(str(given.tokenizer.chat_template).encode())
    for name, tensor in sorted(given.model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:40]


@contextmanager
def ready(given: InMemory) -> Iterator[Any]:
    """The model in evaluation mode, decoding greedily; afterwards as it was."""
    import torch
    from transformers import GenerationConfig

    model = given.model
    before = model.training, getattr(model, "generation_config", None)
    exact = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=end_tokens(model, given.tokenizer))
    model.eval()
    try:
        yield model
    finally:
        model.train(before[0])
        model.generation_config = before[1]
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = exact
