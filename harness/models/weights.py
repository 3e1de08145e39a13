"""The weight files of a model: which they are, fetching them, what they store."""

import re
from contextlib import suppress
from functools import partial
from pathlib import Path

from harness.errors import UserError
from harness.models.adapters import ADAPTER_CONFIG, require_no_adapter
from harness.models.checkpoint import Stored, stored_gguf, stored_safetensors
from harness.models.load_errors import untrusted_files
from harness.models.model_config import GENERATION, read_json, require_generation
from harness.models.source import ModelSource

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def fetch_weights(source: ModelSource) -> None:
    """Downloads the weights of a Hub model. Raises UserError if it has no safetensors or GGUF."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if Path(source.location).is_dir() or source.request.gguf_file:
        return  # resolving the revision downloaded the GGUF file
    fetch = partial(hf_hub_download, source.location, revision=source.revision)
    with untrusted_files(source.request.model):
        for name in (GENERATION, ADAPTER_CONFIG):  # read while loading; optional
            with suppress(EntryNotFoundError):
                path = Path(fetch(name))
                if name == GENERATION:
                    require_generation(path)
                else:
                    require_no_adapter(path.parent, source.request.model)
        try:
            folder = Path(fetch(INDEX)).parent
        except EntryNotFoundError:
            fetch(WEIGHTS)
        else:
            for name in weight_files(folder, require_all=False):
                fetch(name)


def weight_files(folder: Path, require_all: bool = True) -> list[str]:
    """The names of a folder's weight files, by its index if it has one.

    require_all: whether all of them must exist. Raises UserError for an index that names anything but safetensors of
    the folder itself: a pickle can run code, and files elsewhere are not part of the revision.
    """
    path = folder / INDEX
    if not path.is_file():
        return [WEIGHTS]
    index = read_json(path)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
    invalid = [name for name in names if not re.fullmatch(r"[\w.-]+\.safetensors", name, re.ASCII)]
    if invalid or not names:
        raise UserError(
            f"{path} lists {repr(invalid[0]) if invalid else 'no files'} as weights: put safetensors in the same folder"
        )
    missing = [name for name in names if require_all and not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{path} lists {missing[0]!r} as weights, which does not exist: put all {len(names)} safetensors in the "
            "same folder"
        )
    return names


def stored_weights(folder: Path, gguf_file: str | None) -> Stored:
    """The tensors in the weight files, all of them on this machine."""
    if gguf_file:
        return stored_gguf(folder / gguf_file)
    return stored_safetensors(folder, weight_files(folder, require_all=False))
