"""A model pinned to one revision, with config and tokenizer but without weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.models.adapters import Adapter
from harness.models.architectures import context_of
from harness.models.model_request import ModelRequest
from harness.models.revision import snapshot_folder
from harness.models.tokenizer_file import BUILT

MODEL, ADAPTER = "model", "adapter"


@dataclass(frozen=True)
class ModelSource:
    """A model pinned to one revision (40 hex digits), with config and tokenizer but without weights.

    name: model id, as in run.json. location: Hub id or folder to load from. gguf_file: GGUF file in `location`.
    tokens_from: "tokenizer.json" if the model has that file, else "transformers". template_owner: whether the chat
    template is the "model"'s or the "adapter"'s. tokenizer_file: path of tokenizer.json, if it is used. recipe_file:
    path of recipe.json, if there is one and the model is loaded as it was trained. in_memory: whether the model has no
    files.
    """

    name: str
    location: str
    revision: str
    request: ModelRequest
    config: Any
    tokenizer: Any
    gguf_file: str | None = None
    adapter: Adapter | None = None
    tokens_from: str = BUILT
    template_owner: str = MODEL
    tokenizer_file: Path | None = None
    recipe_file: Path | None = None
    in_memory: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of run.json that identify the checkpoint; known before the weights are loaded."""
        adapter = self.adapter
        return {
            "id": self.name,
            "revision": self.revision,
            "gguf_file": self.request.gguf_file,
            "quantization": self.request.quantization,
            "adapter": {"id": adapter.name, "revision": adapter.revision} if adapter else None,
        }

    @property
    def load_arguments(self) -> dict[str, Any]:
        """Keyword arguments of every `from_pretrained` call."""
        return load_arguments(self.location, self.revision, self.gguf_file)

    @property
    def folder(self) -> Path:
        """The local folder of the model's files. They must have been fetched."""
        if Path(self.location).is_dir():
            return Path(self.location)
        return snapshot_folder(self.location, self.revision, self.request.gguf_file)

    @property
    def context(self) -> int | None:
        """The context length in tokens, None if the model has no limit."""
        return context_of(self.config)

    @property
    def tokenizer_hash(self) -> str:
        """SHA-256 of the tokenizer: vocabulary, merges, normalization, special tokens."""
        return hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def load_arguments(location: str, revision: str, gguf_file: str | None) -> dict[str, Any]:
    """Keyword arguments of a `from_pretrained` call.

    trust_remote_code is always False: without it transformers would ask on the terminal whether to run code.
    """
    pinned = {} if Path(location).is_dir() else {"revision": revision}
    return {"trust_remote_code": False} | pinned | ({"gguf_file": gguf_file} if gguf_file else {})
