"""Models: from an id or a folder to a pinned source, and from there to a loaded model.

Three kinds of id go one road: a model of the Hub, a local folder, a reference model of this package.
Weights are safetensors or GGUF; no code from a repository is run.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import reference
from harness.errors import UserError

DTYPES = ("auto", "float32", "bfloat16", "float16")
# Of a local folder these files decide what a model says; their hash is its revision.
REVISION_SUFFIXES = {".safetensors", ".json", ".model", ".txt", ".jinja"}


@dataclass(frozen=True)
class ModelRequest:
    """What was asked for on the command line."""

    model: str = reference.DEFAULT_MODEL
    revision: str | None = None
    dtype: str = "auto"
    gguf_file: str | None = None


@dataclass(frozen=True)
class ModelSource:
    """A model pinned to one revision (40 hex digits), with its configuration and tokenizer but no weights yet."""

    name: str
    location: str
    revision: str
    request: ModelRequest
    config: Any
    tokenizer: Any

    @property
    def context(self) -> int | None:
        """The most tokens the model takes, None if it has no limit."""
        text_config = self.config.get_text_config()
        for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
            limit = getattr(text_config, name, None)
            if isinstance(limit, int) and limit > 0:
                return limit
        return None

    @property
    def tokenizer_hash(self) -> str:
        """SHA-256 of the tokenizer as it stands: vocabulary, merges, normalisation, special tokens."""
        return hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def resolve(request: ModelRequest) -> ModelSource:
    """Finds a model and pins its revision; loads configuration and tokenizer. Raises UserError if it cannot."""
    from transformers import AutoConfig, AutoTokenizer

    import harness.reference.lstm  # noqa: F401  makes the reference models known to transformers

    location = str(reference.MODELS.get(request.model, request.model))
    folder = Path(location)
    if request.gguf_file and folder.is_dir() and not (folder / request.gguf_file).is_file():
        raise UserError(f"there is no {request.gguf_file} in {folder}: name a file of the folder with --gguf-file")
    if folder.is_dir() and request.revision:
        raise UserError(f"{folder} is a folder and has no revisions: leave out --revision")
    try:
        revision = folder_revision(folder, request.gguf_file) if folder.is_dir() else hub_revision(request)
        arguments = _arguments(location, revision, request)
        config = AutoConfig.from_pretrained(location, **arguments)
        tokenizer = AutoTokenizer.from_pretrained(location, **arguments)
    except ImportError as error:
        raise _lacks_package(error) from None
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_load(request.model, error) from None
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"the tokenizer of {request.model} has no character offsets: a model with tokenizer.json is needed"
        )
    # What a tokenizer.json keeps from training would cut texts, or pad them with what passes for text.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    name = _name(request, folder)
    tokenizer.name_or_path = name  # what it is called in messages
    return ModelSource(name, location, revision, request, config, tokenizer)


def _arguments(location: str, revision: str, request: ModelRequest) -> dict[str, Any]:
    """What every from_pretrained call gets beside the location."""
    pinned = {} if Path(location).is_dir() else {"revision": revision}
    return pinned | ({"gguf_file": request.gguf_file} if request.gguf_file else {})


def _name(request: ModelRequest, folder: Path) -> str:
    """`org/model`: a Hub id as it is, `local/...` for a folder or a GGUF file in one."""
    if request.model in reference.MODELS or not folder.is_dir():
        return request.model
    name = Path(request.gguf_file).stem if request.gguf_file else folder.resolve().name
    return "local/" + re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)[:96]


def hub_revision(request: ModelRequest) -> str:
    """The commit (40 hex digits) that a branch, tag or commit of a Hub model stands for now; the cached one offline."""
    from huggingface_hub import hf_hub_download

    needed = request.gguf_file or "config.json"
    path = Path(hf_hub_download(request.model, needed, revision=request.revision))
    return path.parts[len(path.parts) - path.parts[::-1].index("snapshots")]


def folder_revision(folder: Path, gguf_file: str | None) -> str:
    """40 hex digits of the SHA-256 over what the model is made of: the GGUF file, or weights, tokenizer, configs."""
    if gguf_file:
        paths = [folder / gguf_file]
    else:
        paths = sorted(path for path in folder.iterdir() if path.suffix in REVISION_SUFFIXES and path.is_file())
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else _sha256(file)
        digest.update(f"{path.name} {content.hexdigest()}\n".encode())
    return digest.hexdigest()[:40]


def _sha256(file: Any) -> Any:
    """hashlib.file_digest for Python 3.10."""
    digest = hashlib.sha256()
    while piece := file.read(2**20):
        digest.update(piece)
    return digest


def load(source: ModelSource) -> Any:
    """The model, on the best device of this machine, in evaluation mode. Raises UserError if it cannot be loaded."""
    import torch
    from accelerate import PartialState
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, GenerationConfig

    request = source.request
    dtype = "auto" if request.dtype == "auto" else getattr(torch, request.dtype)
    safetensors = {} if request.gguf_file else {"use_safetensors": True}
    arguments = _arguments(source.location, source.revision, request) | safetensors
    try:
        model = AutoModelForCausalLM.from_pretrained(source.location, dtype=dtype, **arguments)
    except ImportError as error:
        raise _lacks_package(error) from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _cannot_load(request.model, error) from None
    # What a repository advises for sampling must not change a greedy answer.
    end = model.generation_config.eos_token_id
    end = source.tokenizer.eos_token_id if end is None else end
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=end)
    return model.to(PartialState().device).eval()


def describe(source: ModelSource, model: Any) -> dict[str, Any]:
    """The model as it stands in run.json."""
    return {
        "id": source.name,
        "revision": source.revision,
        "class": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "requested_dtype": source.request.dtype,
        "gguf_file": source.request.gguf_file,
        "context": source.context,
        "tokenizer": {"class": type(source.tokenizer).__name__, "sha256": source.tokenizer_hash},
    }


def _lacks_package(error: ImportError) -> UserError:
    reason = " ".join(str(error).split())[:120]
    return UserError(f"a package is missing ({reason}): pip install 'fflm[eval]'")


def _cannot_load(model: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    reason = reason if len(reason) < 120 else reason[:120] + "..."
    return UserError(
        f"the model {model!r} cannot be loaded ({reason}): give the id of a causal LM on the Hub, or a folder "
        "with config.json, tokenizer.json and safetensors (GGUF: the folder, and the file with --gguf-file)"
    )
