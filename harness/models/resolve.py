"""Resolves a model id or folder to a source pinned to one revision: checks its files, loads config and tokenizer.

Hub models, local folders and reference models use the same code. Weights are safetensors or GGUF;
code from a repository is never run.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from fflm_data.suggestions import did_you_mean
from harness.errors import UserError
from harness.models import name_suggestions, reference
from harness.models.adapters import Adapter, require_no_adapter, resolve_adapter
from harness.models.architectures import auto_class
from harness.models.attention import require_attention
from harness.models.checkpoint import reading_gguf, require_layers, require_readable_gguf
from harness.models.classes import register
from harness.models.gguf_files import join_parts, parts_of, require_parts
from harness.models.load_errors import untrusted_files
from harness.models.model_config import (
    CONFIG,
    GENERATION,
    FaultyFile,
    layer_counts,
    read_object,
    reading,
    require_config,
    require_fields,
    require_generation,
)
from harness.models.model_name import model_id
from harness.models.model_request import ModelRequest
from harness.models.revision import files_of_model, folder_revision, hub_revision, snapshot_folder
from harness.models.source import ADAPTER, MODEL, ModelSource, load_arguments
from harness.models.tokenizer_file import (
    BUILT,
    FILE,
    TEMPLATE_OF_PROCESSOR,
    TOKENIZER_FILES,
    require_within_limits,
    use_adapter_template,
    use_tokenizer_file,
)
from harness.models.training_statement import RECIPE_FILE
from harness.models.weights import stored_weights, weight_files

# Optional files; each must hold a JSON object.
JSON_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", TEMPLATE_OF_PROCESSOR)
MAX_LAYERS = 10_000


def resolve(request: ModelRequest, local_files_only: bool = False) -> ModelSource:
    """Pins the revision of a model; loads config and tokenizer. Raises UserError if it cannot.

    local_files_only: whether to use the local cache only, because the files have been fetched already.
    """
    from transformers import AutoConfig

    register()
    location = str(reference.MODELS.get(request.model, request.model))
    folder = Path(location)
    _require_exists(request, folder)
    with _suggesting_reference_models(request.model), untrusted_files(request.model):
        if folder.is_dir() and not request.gguf_file:
            weight_files(folder)
        if folder.is_dir():
            files, revision = folder, folder_revision(folder, request.gguf_file)
        else:
            revision = hub_revision(request.model, request.revision, request.gguf_file, local_files_only)
            files = snapshot_folder(location, revision, request.gguf_file)
        location, gguf_file = _gguf_location(location, revision, request.gguf_file, local_files_only)
        files = Path(location) if Path(location).is_dir() else files
        arguments = load_arguments(location, revision, gguf_file) | {"local_files_only": local_files_only}
        if not request.gguf_file:
            _require_valid_files(files)
        with _reading(files, gguf_file, CONFIG):
            config = _checked(AutoConfig.from_pretrained(location, **arguments), gguf_file)
        if folder.is_dir() and (gguf_file or all((folder / name).is_file() for name in weight_files(folder))):
            require_layers(config, stored_weights(files, gguf_file))
        if not request.gguf_file:
            require_within_limits(_tokenizer_path(request, files, revision, local_files_only))
        tokenizer = _load_tokenizer(location, files, gguf_file, arguments)
    auto_class(config, request.model)
    if request.attention:
        require_attention(request.attention, config)
    tokenizer, tokens_from = _exact_tokenizer(tokenizer, request, files)
    name = model_id(request.model, request.gguf_file)
    tokenizer.name_or_path = name  # error messages use it
    adapter = resolve_adapter(request.adapter, local_files_only) if request.adapter else None
    if tokenizer.chat_template is None:
        tokenizer.chat_template = _processor_template(request, location, revision, local_files_only)
    return ModelSource(
        name=name,
        location=location,
        revision=revision,
        request=request,
        config=config,
        tokenizer=tokenizer,
        gguf_file=gguf_file,
        adapter=adapter,
        tokens_from=tokens_from,
        template_owner=_apply_adapter_template(tokenizer, adapter),
        tokenizer_file=files / FILE if tokens_from == FILE else None,
        recipe_file=_recipe_file(location, revision, request, local_files_only),
    )


@contextmanager
def _suggesting_reference_models(model: str) -> Iterator[None]:
    """Adds a reference model of a similar name to the error for a model that was not found."""
    try:
        yield
    except UserError as error:
        may_be_meant = model.startswith("fflm/") or "/" not in model
        if model in reference.MODELS or Path(model).exists() or not may_be_meant:
            raise
        raise UserError(f"{error}{did_you_mean(model, reference.MODELS)}") from None


def _recipe_file(location: str, revision: str, request: ModelRequest, local_files_only: bool) -> Path | None:
    """The path of a model's recipe.json; fetches that of a Hub model. None if there is none, or if GGUF weights or an
    adapter make it another model than the recipe's. Never fails: an evaluation does not need the file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    if request.gguf_file or request.adapter:
        return None
    path = Path(location) / RECIPE_FILE
    if not Path(location).is_dir():
        with suppress(HTTPError, OSError):
            path = Path(hf_hub_download(location, RECIPE_FILE, revision=revision, local_files_only=local_files_only))
    return path if path.is_file() else None


def _load_tokenizer(location: str, files: Path, gguf_file: str | None, arguments: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    with _reading(files, gguf_file, ", ".join(TOKENIZER_FILES[:2])):
        return AutoTokenizer.from_pretrained(location, **arguments)


def _exact_tokenizer(tokenizer: Any, request: ModelRequest, files: Path) -> tuple[Any, str]:
    """The tokenizer as its tokenizer.json defines it, without truncation and padding; and where it comes from."""
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"the tokenizer of {request.model} has no character offsets: use a model with tokenizer.json")
    tokens_from = BUILT
    if not request.gguf_file and (files / FILE).is_file():
        tokenizer, tokens_from = use_tokenizer_file(tokenizer, files), FILE
    # Settings left over from training would cut texts, or pad them with tokens that look like text.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer, tokens_from


def _apply_adapter_template(tokenizer: Any, adapter: Adapter | None) -> str:
    """Sets the adapter's chat template, if it has one; returns whose template is used."""
    template = tokenizer.chat_template
    if adapter is not None:
        use_adapter_template(tokenizer, adapter.folder, adapter.name)
    return MODEL if tokenizer.chat_template == template else ADAPTER


def _reading(folder: Path, gguf_file: str | None, file: str) -> AbstractContextManager[None]:
    """Context that names the file in errors: the GGUF file if there is one, else `file`."""
    return reading_gguf(folder / gguf_file) if gguf_file else reading(file)


def _checked(config: Any, gguf_file: str | None) -> Any:
    """The same config. Raises ValueError for one that no model can be built with, or that exceeds the bounds."""
    from transformers import PreTrainedConfig

    for name, layers in layer_counts(config.to_dict()):
        if layers > MAX_LAYERS:
            raise ValueError(f"{name} is {layers:,}, and at most {MAX_LAYERS:,} are supported")
    if gguf_file:
        require_fields(config.to_dict(), gguf_file)
    if not isinstance(config.get_text_config(), PreTrainedConfig):
        raise ValueError(f"text_config is {config.get_text_config()!r}")
    vocabulary = getattr(config.get_text_config(), "vocab_size", 1)
    if type(vocabulary) is not int or vocabulary < 1:
        raise ValueError(f"vocab_size is {vocabulary!r}")
    return config


def _require_valid_files(folder: Path) -> None:
    """Raises FaultyFile for an invalid file among those on this machine. Others are checked when they are fetched."""
    require_config(folder / CONFIG)
    if (folder / GENERATION).is_file():
        require_generation(folder / GENERATION)
    for name in JSON_FILES:
        if (folder / name).is_file():
            read_object(folder / name)


def _tokenizer_path(request: ModelRequest, files: Path, revision: str, local_files_only: bool) -> Path:
    """The path of a model's tokenizer.json, which may not exist; fetches that of a Hub model. files: its folder."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if not Path(reference.MODELS.get(request.model, request.model)).is_dir():
        with suppress(EntryNotFoundError, LocalEntryNotFoundError):
            return Path(hf_hub_download(request.model, FILE, revision=revision, local_files_only=local_files_only))
    return files / FILE


def _gguf_location(
    location: str, revision: str, gguf_file: str | None, local_files_only: bool
) -> tuple[str, str | None]:
    """Where to load the model from, and the GGUF file there. A file in several parts is joined in another folder."""
    from huggingface_hub import hf_hub_download

    if gguf_file is None or len(parts_of(gguf_file)) == 1:
        return location, gguf_file
    if Path(location).is_dir():
        folder = Path(location)
    else:
        for part in parts_of(gguf_file):
            hf_hub_download(location, part, revision=revision, local_files_only=local_files_only)
        folder = snapshot_folder(location, revision, gguf_file)
    try:
        joined = join_parts(folder, gguf_file)
    except Exception:
        for part in parts_of(gguf_file):
            require_readable_gguf(folder / part)
        raise
    return str(joined.parent), joined.name


def _processor_template(request: ModelRequest, location: str, revision: str, local_files_only: bool) -> str | None:
    """The chat template of an image-text model, which may be stored with its processor instead of its tokenizer."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    path = Path(location) / TEMPLATE_OF_PROCESSOR
    if not Path(location).is_dir():
        with suppress(EntryNotFoundError, LocalEntryNotFoundError):
            path = Path(hf_hub_download(location, path.name, revision=revision, local_files_only=local_files_only))
    if not path.is_file():
        return None
    with untrusted_files(request.model):
        template = read_object(path).get("chat_template")
        if not isinstance(template, str):
            raise FaultyFile(TEMPLATE_OF_PROCESSOR, "chat_template must be a string")
        return template


def _require_exists(request: ModelRequest, folder: Path) -> None:
    """Raises UserError, with a suggestion, if the folder or the GGUF file does not exist."""
    if not folder.is_dir():
        name_suggestions.require_id("model", request.model, name_suggestions.is_model)
        return
    if request.revision:
        raise UserError(f"{folder} is a folder and has no revisions: remove --revision")
    with untrusted_files(request.model):
        files_of_model(folder, request.gguf_file)
    if name_suggestions.is_model(folder):
        require_no_adapter(folder, request.model)
    if not request.gguf_file:
        name_suggestions.require_model_folder(folder)
    elif not (folder / request.gguf_file).is_file():
        available = name_suggestions.shortened(name_suggestions.gguf_files(folder))
        raise UserError(
            f"there is no {request.gguf_file} in {folder}: name a file of the folder with --gguf-file"
            + (f" (it has {available})" if available else "")
        )
    else:
        require_parts(folder, request.gguf_file)
