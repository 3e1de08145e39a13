"""Revisions: the commit of a Hub model, the content hash of a local folder."""

import hashlib
from pathlib import Path

from fflm_data.checksums import file_sha256
from harness.models import name_suggestions
from harness.models.gguf_files import parts_of
from harness.models.hub import files_of, require_reachable
from harness.models.model_config import CONFIG
from harness.models.symlinks import require_own

MORE_TEMPLATES = "additional_chat_templates"
# The revision of a local folder is a hash of its files with these suffixes: they decide the model's outputs.
REVISION_SUFFIXES = {".safetensors", ".json", ".model", ".txt", ".jinja"}


def hub_revision(model: str, revision: str | None, gguf_file: str | None, local_files_only: bool = False) -> str:
    """The commit (40 hex digits) of a branch, tag or commit of a Hub model; the cached one when offline."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    needed = gguf_file or CONFIG
    try:
        if not local_files_only:
            require_reachable(model, needed, revision)
        path = Path(hf_hub_download(model, needed, revision=revision, local_files_only=local_files_only))
    except RemoteEntryNotFoundError:
        if not gguf_file and (files := files_of(model, revision, ".gguf")):
            raise name_suggestions.gguf_file_required(model, files) from None
        raise
    return path.parts[len(path.parts) - path.parts[::-1].index("snapshots")]


def snapshot_folder(model: str, revision: str, gguf_file: str | None) -> Path:
    """The folder of a Hub model's files in the local cache."""
    from huggingface_hub import hf_hub_download

    needed = gguf_file or CONFIG
    path = Path(hf_hub_download(model, needed, revision=revision, local_files_only=True))
    return path.parents[needed.count("/")]


def folder_revision(folder: Path, gguf_file: str | None) -> str:
    """40 hex digits of the SHA-256 over a model's files: the GGUF file (all parts), or weights, tokenizer, configs.

    Raises UserError if one of them is outside the folder.
    """
    digest = hashlib.sha256()
    for path in files_of_model(folder, gguf_file):
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()[:40]


def files_of_model(folder: Path, gguf_file: str | None) -> list[Path]:
    """The files of a local folder that decide a model's outputs: the GGUF file (all parts), or weights, tokenizer,
    configs. Raises UserError if one of them, or a file that is read beside GGUF, is outside the folder."""
    folders = (folder, folder / MORE_TEMPLATES)
    entries = [path for parent in folders if parent.is_dir() for path in parent.iterdir()]
    paths = sorted(path for path in entries if path.suffix in REVISION_SUFFIXES)
    parts = [folder / part for part in parts_of(gguf_file)] if gguf_file else []
    read = [*parts, *(path for path in paths if path.suffix != ".safetensors")] if gguf_file else paths
    # Editors leave hidden broken links.
    require_own(folder, [path for path in read if path.is_file() or not path.name.startswith(".")])
    return parts or [path for path in paths if path.is_file()]
