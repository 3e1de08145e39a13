"""Models: from an id or a folder to a source pinned to one revision, with its weights on this machine.

Three kinds of id go one road: a model of the Hub, a local folder, a reference model of this package.
Weights are safetensors or GGUF; no code from a repository is run.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HTTPError

from harness.errors import UserError
from harness.models import name_suggestions, reference
from harness.models.architectures import auto_class, context_of
from harness.models.attention import require_attention
from harness.models.checkpoint import (
    Stored,
    reading_gguf,
    require_layers,
    require_whole_gguf,
    stored_gguf,
    stored_safetensors,
)
from harness.models.gguf_files import joined, parts_of, require_parts, stem_of
from harness.models.hub import files_of, require_reachable
from harness.models.links import require_own
from harness.models.model_config import (
    CONFIG,
    GENERATION,
    FaultyFile,
    layer_counts,
    read_json,
    read_object,
    reading,
    reason_of,
    require_config,
    require_fields,
    require_generation,
)
from harness.models.packages import lacks_package
from harness.models.tokenizer_file import (
    BUILT,
    FILE,
    TEMPLATE_OF_PROCESSOR,
    TOKENIZER_FILES,
    as_in_file,
    require_bounded,
    take_over,
)

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = ("4bit", "8bit")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MODEL, ADAPTER = "model", "adapter"
MORE_TEMPLATES = "additional_chat_templates"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# Of these all that is there must be a JSON object.
JSON_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", TEMPLATE_OF_PROCESSOR)
MOST_LAYERS = 10_000
# Of a local folder these files decide what a model says; their hash is its revision.
REVISION_SUFFIXES = {".safetensors", ".json", ".model", ".txt", ".jinja"}


@dataclass(frozen=True)
class ModelRequest:
    """What was asked for on the command line; adapter: id of the Hub, with @REVISION if need be, or a folder."""

    model: str = reference.DEFAULT_MODEL
    revision: str | None = None
    dtype: str = "auto"
    gguf_file: str | None = None
    quantization: str | None = None
    adapter: str | None = None
    attention: str | None = None
    device_map: str | None = None
    tensor_parallel: bool = False
    compile: bool = False


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter pinned to one revision (40 hex digits), its files in a folder."""

    name: str
    revision: str
    folder: Path


@dataclass(frozen=True)
class ModelSource:
    """A model pinned to one revision (40 hex digits), with its configuration and tokenizer but no weights yet.

    gguf_file: the file of `location` that holds all of it. tokens_from: what splits texts, "tokenizer.json" of the
    model or what "transformers" has built where it has none. template_of: whose the chat template is, if there is one,
    the "model"'s or the "adapter"'s. tokenizer_file: where tokenizer.json lies, if that splits texts.
    in_memory: whether it has no files.
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
    template_of: str = MODEL
    tokenizer_file: Path | None = None
    in_memory: bool = False

    @property
    def named(self) -> dict[str, Any]:
        """What says which model this is, as it stands in run.json."""
        adapter = self.adapter
        return {
            "id": self.name,
            "revision": self.revision,
            "gguf_file": self.request.gguf_file,
            "quantization": self.request.quantization,
            "adapter": {"id": adapter.name, "revision": adapter.revision} if adapter else None,
        }

    @property
    def arguments(self) -> dict[str, Any]:
        """What every from_pretrained call gets beside the location, once the files are here."""
        return _arguments(self.location, self.revision, self.gguf_file)

    @property
    def folder(self) -> Path:
        """The folder of its files on this machine, once they are here."""
        if Path(self.location).is_dir():
            return Path(self.location)
        return _snapshot(self.location, self.revision, self.request)

    @property
    def context(self) -> int | None:
        """The most tokens the model takes, None if it has no limit."""
        return context_of(self.config)

    @property
    def tokenizer_hash(self) -> str:
        """SHA-256 of the tokenizer as it stands: vocabulary, merges, normalisation, special tokens."""
        return hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def resolve(request: ModelRequest, here_only: bool = False) -> ModelSource:
    """Finds a model and pins its revision; loads configuration and tokenizer. Raises UserError if it cannot.

    here_only: what is needed has been fetched already, and the Hub is not asked again.
    """
    from transformers import AutoConfig, AutoTokenizer

    import harness.models.reference.lstm  # noqa: F401  makes the reference models known to transformers

    location = str(reference.MODELS.get(request.model, request.model))
    folder = Path(location)
    _require_there(request, folder)
    with strangers_files(request.model):
        if folder.is_dir() and not request.gguf_file:
            weight_files(folder)
        revision = folder_revision(folder, request.gguf_file) if folder.is_dir() else hub_revision(request, here_only)
        files = folder if folder.is_dir() else _snapshot(location, revision, request)
        location, gguf_file = _gguf_file(location, revision, request, here_only)
        files = Path(location) if Path(location).is_dir() else files
        arguments = _arguments(location, revision, gguf_file) | {"local_files_only": here_only}
        if not request.gguf_file:
            _require_sound_files(files)
        with _reading(files, gguf_file, CONFIG):
            config = _config(AutoConfig.from_pretrained(location, **arguments), gguf_file)
        if folder.is_dir() and (gguf_file or all((folder / name).is_file() for name in weight_files(folder))):
            require_layers(config, stored_weights(files, gguf_file))
        if not request.gguf_file:
            require_bounded(_tokenizer_here(request, files, revision, here_only))
        with _reading(files, gguf_file, ", ".join(TOKENIZER_FILES[:2])):
            tokenizer = AutoTokenizer.from_pretrained(location, **arguments)
    auto_class(config, request.model)
    if request.attention:
        require_attention(request.attention, config)
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"the tokenizer of {request.model} has no character offsets: a model with tokenizer.json is needed"
        )
    tokens_from = BUILT
    if not request.gguf_file and (files / FILE).is_file():
        tokenizer, tokens_from = as_in_file(tokenizer, files), FILE
    # What a tokenizer.json keeps from training would cut texts, or pad them with what passes for text.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    name = _name(request, folder)
    tokenizer.name_or_path = name  # what it is called in messages
    adapter = _adapter(request.adapter, here_only) if request.adapter else None
    if tokenizer.chat_template is None:
        tokenizer.chat_template = _template_of_processor(request, location, revision, here_only)
    template = tokenizer.chat_template
    if adapter is not None:
        take_over(tokenizer, adapter.folder, adapter.name)
    whose = MODEL if tokenizer.chat_template == template else ADAPTER
    file = files / FILE if tokens_from == FILE else None
    return ModelSource(
        name, location, revision, request, config, tokenizer, gguf_file, adapter, tokens_from, whose, file
    )


def _reading(folder: Path, gguf_file: str | None, file: str) -> AbstractContextManager[None]:
    """Around what reads one file of a model, or the one GGUF file that is all of them."""
    return reading_gguf(folder / gguf_file) if gguf_file else reading(file)


def _config(config: Any, gguf_file: str | None) -> Any:
    """A config that a model can be built with. Raises ValueError for one of which none can, or not in bounds."""
    from transformers import PreTrainedConfig

    for name, layers in layer_counts(config.to_dict()):
        if layers > MOST_LAYERS:
            raise ValueError(f"{name} is {layers:,}, and at most {MOST_LAYERS:,} are built")
    if gguf_file:
        require_fields(config.to_dict(), gguf_file)
    if not isinstance(config.get_text_config(), PreTrainedConfig):
        raise ValueError(f"text_config is {config.get_text_config()!r}")
    vocabulary = getattr(config.get_text_config(), "vocab_size", 1)
    if type(vocabulary) is not int or vocabulary < 1:
        raise ValueError(f"vocab_size is {vocabulary!r}")
    return config


def _require_sound_files(folder: Path) -> None:
    """Raises FaultyFile for a file of a model that is not what a library will take it for. Those that are not on this
    machine yet are looked at when the weights are fetched."""
    require_config(folder / CONFIG)
    if (folder / GENERATION).is_file():
        require_generation(folder / GENERATION)
    for name in JSON_FILES:
        if (folder / name).is_file():
            read_object(folder / name)


def _tokenizer_here(request: ModelRequest, files: Path, revision: str, here_only: bool) -> Path:
    """Where the tokenizer.json of a model lies, if it has one; that of a Hub model is fetched. files: its folder."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if not Path(reference.MODELS.get(request.model, request.model)).is_dir():
        with suppress(EntryNotFoundError, LocalEntryNotFoundError):
            return Path(hf_hub_download(request.model, FILE, revision=revision, local_files_only=here_only))
    return files / FILE


def _gguf_file(location: str, revision: str, request: ModelRequest, here_only: bool) -> tuple[str, str | None]:
    """Where the model is loaded from, and the GGUF file there: another folder if the file was split into parts."""
    from huggingface_hub import hf_hub_download

    asked = request.gguf_file
    if asked is None or len(parts_of(asked)) == 1:
        return location, asked
    if Path(location).is_dir():
        folder = Path(location)
    else:
        for part in parts_of(asked):
            hf_hub_download(location, part, revision=revision, local_files_only=here_only)
        folder = _snapshot(location, revision, request)
    try:
        whole = joined(folder, asked)
    except Exception:
        for part in parts_of(asked):
            require_whole_gguf(folder / part)
        raise
    return str(whole.parent), whole.name


def _template_of_processor(request: ModelRequest, location: str, revision: str, here_only: bool) -> str | None:
    """The chat template of a model that also takes images, where it does not stand in a file of the tokenizer."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    path = Path(location) / TEMPLATE_OF_PROCESSOR
    if not Path(location).is_dir():
        with suppress(EntryNotFoundError, LocalEntryNotFoundError):
            path = Path(hf_hub_download(location, path.name, revision=revision, local_files_only=here_only))
    if not path.is_file():
        return None
    with strangers_files(request.model):
        template = read_object(path).get("chat_template")
        if not isinstance(template, str):
            raise FaultyFile(TEMPLATE_OF_PROCESSOR, "it has no text as chat_template")
        return template


def _require_there(request: ModelRequest, folder: Path) -> None:
    """Raises UserError, with what was probably meant, for a folder or a file of it that is not there."""
    if not folder.is_dir():
        name_suggestions.require_id("model", request.model, name_suggestions.is_model)
        return
    if request.revision:
        raise UserError(f"{folder} is a folder and has no revisions: leave out --revision")
    with strangers_files(request.model):
        files_of_model(folder, request.gguf_file)
    if name_suggestions.is_model(folder):
        _require_no_adapter(folder, request.model)
    if not request.gguf_file:
        name_suggestions.require_model_folder(folder)
    elif not (folder / request.gguf_file).is_file():
        there = name_suggestions.some(name_suggestions.gguf_files(folder))
        raise UserError(
            f"there is no {request.gguf_file} in {folder}: name a file of the folder with --gguf-file"
            + (f" (it has {there})" if there else "")
        )
    else:
        require_parts(folder, request.gguf_file)


def _require_no_adapter(folder: Path, model: str) -> None:
    """Raises UserError for an adapter among the files of a model: transformers would load it too, pickled or not, and
    the model that it names in the place of one of the Hub, all under this model's name."""
    if name_suggestions.is_adapter(folder):
        raise UserError(
            f"{model} is a model and an adapter in one ({ADAPTER_FILES[0]} beside {CONFIG}), and which one is meant "
            f"cannot be told: name the adapter with --adapter {model}, and with --model {name_suggestions.base(folder)}"
        )


def fetch_weights(source: ModelSource) -> None:
    """Brings the weights of a Hub model to this machine. Raises UserError if it has none that are safe to load."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if Path(source.location).is_dir() or source.request.gguf_file:
        return  # a GGUF file came with the revision
    fetch = partial(hf_hub_download, source.location, revision=source.revision)
    with strangers_files(source.request.model):
        for name in (GENERATION, ADAPTER_FILES[0]):  # asked for while loading; seldom there
            with suppress(EntryNotFoundError):
                path = Path(fetch(name))
                if name == GENERATION:
                    require_generation(path)
                else:
                    _require_no_adapter(path.parent, source.request.model)
        try:
            folder = Path(fetch(INDEX)).parent
        except EntryNotFoundError:
            fetch(WEIGHTS)
        else:
            for name in weight_files(folder, here=False):
                fetch(name)


@contextmanager
def strangers_files(model: str) -> Iterator[None]:
    """Around whatever reads files that a stranger wrote: what libraries raise over them becomes one line, a panic of a
    Rust library too, which is no Exception."""
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except ImportError as error:
        raise lacks_package(error) from None
    except BaseException as error:
        raise cannot_load(model, error) from None


def weight_files(folder: Path, here: bool = True) -> list[str]:
    """The files of a folder's weights, by its index if it has one. here: whether all of them must be there.

    Raises UserError for an index that names other files than safetensors of the folder itself: a pickle would be run,
    and files elsewhere are no part of the revision.
    """
    path = folder / INDEX
    if not path.is_file():
        return [WEIGHTS]
    index = read_json(path)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
    odd = [name for name in names if not re.fullmatch(r"[\w.-]+\.safetensors", name, re.ASCII)]
    if odd or not names:
        raise UserError(
            f"{path} names {repr(odd[0]) if odd else 'no files'} for weights: they are safetensors in the folder itself"
        )
    lacking = [name for name in names if here and not (folder / name).is_file()]
    if lacking:
        raise UserError(
            f"{path} names {lacking[0]!r} for weights, and there is no such file: put all {len(names)} safetensors in "
            "the folder itself"
        )
    return names


def stored_weights(folder: Path, gguf_file: str | None) -> Stored:
    """What the files of a model's weights hold, all of them on this machine."""
    if gguf_file:
        return stored_gguf(folder / gguf_file)
    return stored_safetensors(folder, weight_files(folder, here=False))


def _adapter(asked: str, here_only: bool) -> Adapter:
    """An adapter's files, fetched if it is one of the Hub; pickled ones are not taken."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    folder, (name, _, branch) = Path(asked), asked.partition("@")
    try:
        if folder.is_dir():
            paths = [folder / file for file in ADAPTER_FILES]
            revision, name = folder_revision(folder, None), folder_name(folder.resolve().name)
        else:
            name_suggestions.require_id("adapter", name, name_suggestions.is_adapter)
            if not here_only:
                require_reachable(name, ADAPTER_FILES[0], branch or None)
            fetch = partial(hf_hub_download, name, revision=branch or None, local_files_only=here_only)
            paths = [Path(fetch(file)) for file in ADAPTER_FILES]
            for file in TOKENIZER_FILES:  # few adapters have them
                with suppress(EntryNotFoundError, LocalEntryNotFoundError):
                    fetch(file)
            folder, revision = paths[0].parent, paths[0].parent.name
    except (OSError, ValueError, HTTPError) as error:
        paths, reason = [], error
    else:
        reason = FileNotFoundError(f"it lacks one of {', '.join(ADAPTER_FILES)}")
    hint = name_suggestions.near_folder(Path(name), name_suggestions.is_adapter)
    if not paths or not all(path.is_file() for path in paths):
        raise UserError(
            f"the adapter {asked!r} cannot be loaded ({_short(reason)}): give the id of a PEFT adapter on the Hub, or "
            f"a folder with {' and '.join(ADAPTER_FILES)}{hint}"
        )
    return Adapter(name, revision, folder)


def _arguments(location: str, revision: str, gguf_file: str | None) -> dict[str, Any]:
    """What every from_pretrained call gets beside the location: never the leave to run a repository's own code, for
    which transformers would ask on a terminal."""
    pinned = {} if Path(location).is_dir() else {"revision": revision}
    return {"trust_remote_code": False} | pinned | ({"gguf_file": gguf_file} if gguf_file else {})


def _name(request: ModelRequest, folder: Path) -> str:
    """`org/model`: a Hub id as it is, `local/...` for a folder or a GGUF file in one."""
    if request.model in reference.MODELS or not folder.is_dir():
        return request.model
    return folder_name(stem_of(request.gguf_file) if request.gguf_file else folder.resolve().name)


def folder_name(name: str) -> str:
    """A name as the Hub takes them: no -- or .. in it, none at its ends, and never empty."""
    plain = re.sub(r"([.-])[.-]+", r"\1", re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII))
    return "local/" + (plain.strip(".-")[:96].rstrip(".-") or "model")


def hub_revision(request: ModelRequest, here_only: bool = False) -> str:
    """The commit (40 hex digits) that a branch, tag or commit of a Hub model stands for now; the cached one offline."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    needed = request.gguf_file or "config.json"
    try:
        if not here_only:
            require_reachable(request.model, needed, request.revision)
        path = Path(hf_hub_download(request.model, needed, revision=request.revision, local_files_only=here_only))
    except RemoteEntryNotFoundError:
        if not request.gguf_file and (files := files_of(request.model, request.revision, ".gguf")):
            raise name_suggestions.which_gguf(request.model, files) from None
        raise
    return path.parts[len(path.parts) - path.parts[::-1].index("snapshots")]


def _snapshot(location: str, revision: str, request: ModelRequest) -> Path:
    """The folder of a Hub model's files on this machine."""
    from huggingface_hub import hf_hub_download

    needed = request.gguf_file or "config.json"
    path = Path(hf_hub_download(location, needed, revision=revision, local_files_only=True))
    return path.parents[needed.count("/")]


def folder_revision(folder: Path, gguf_file: str | None) -> str:
    """40 hex digits of the SHA-256 over what the model is made of: the GGUF file (all its parts), or weights,
    tokenizer, configs. Raises UserError if one of them lies outside the folder."""
    digest = hashlib.sha256()
    for path in files_of_model(folder, gguf_file):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else _sha256(file)
        digest.update(f"{path.name} {content.hexdigest()}\n".encode())
    return digest.hexdigest()[:40]


def files_of_model(folder: Path, gguf_file: str | None) -> list[Path]:
    """The files that decide what a model of a folder says: its GGUF file (all its parts), or weights, tokenizer,
    configs. Raises UserError if one of them, or another file that is read beside GGUF, lies outside the folder."""
    places = (folder, folder / MORE_TEMPLATES)
    found = [path for place in places if place.is_dir() for path in place.iterdir()]
    paths = sorted(path for path in found if path.suffix in REVISION_SUFFIXES)
    parts = [folder / part for part in parts_of(gguf_file)] if gguf_file else []
    read = [*parts, *(path for path in paths if path.suffix != ".safetensors")] if gguf_file else paths
    # Editors leave hidden links to nothing.
    require_own(folder, [path for path in read if path.is_file() or not path.name.startswith(".")])
    return parts or [path for path in paths if path.is_file()]


def _sha256(file: Any) -> Any:
    """hashlib.file_digest for Python 3.10."""
    digest = hashlib.sha256()
    while piece := file.read(2**20):
        digest.update(piece)
    return digest


def _short(error: BaseException) -> str:
    reason = reason_of(error)
    return reason if len(reason) < 120 else reason[:120] + "..."


def cannot_load(model: str, error: BaseException) -> UserError:
    """What to say where a library cannot load a model, or the Hub is lost on the way."""
    if isinstance(error, FaultyFile):
        return UserError(f"the model {model!r} cannot be loaded ({error}): {error.advice}, or name another model")
    missed = isinstance(error, OSError | HTTPError) and not Path(model).is_dir()
    hint = name_suggestions.near_folder(Path(model), name_suggestions.is_model) if missed else ""
    if isinstance(error, HTTPError) and not isinstance(error, OSError):  # the Hub's own answers are OSErrors too
        again = "try again" if "/" in model else "there is no such folder, name one, or try again"
        return UserError(
            f"the model {model!r} cannot be loaded (the connection to the Hub failed: {_short(error)}): {again}{hint}"
        )
    return UserError(
        f"the model {model!r} cannot be loaded ({_short(error)}): give the id of a causal LM on the Hub, or a folder "
        f"with config.json, tokenizer.json and safetensors (GGUF: the folder, and the file with --gguf-file){hint}"
    )
