"""GGUF files in several parts, as llama.cpp splits them, put together into one, which is what transformers reads."""

import hashlib
import re
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HOME

from harness.errors import UserError

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
# What the parts say of each other.
_OF_SPLITTING = ("GGUF.", "split.")


def parts_of(name: str) -> list[str]:
    """All files of which a GGUF file is one, in order: itself, unless its name says that it is a part."""
    found = _PART.fullmatch(name)
    if found is None:
        return [name]
    return [f"{found['stem']}-{number:05}-of-{found['count']}.gguf" for number in range(1, int(found["count"]) + 1)]


def stem_of(name: str) -> str:
    """Its name without its ending, nor what makes it a part."""
    found = _PART.fullmatch(Path(name).name)
    return found["stem"] if found else Path(name).stem


def require_parts(folder: Path, name: str) -> None:
    """Raises UserError if a part of a file is missing."""
    names = parts_of(name)
    if missing := [one for one in names if not (folder / one).is_file()]:
        raise UserError(f"{folder} lacks {missing[0]}, a part of {name}: put all {len(names)} parts into one folder")


def joined(folder: Path, name: str) -> Path:
    """The one file for a part of several, all of them there; made in the cache of Hugging Face unless it is there."""
    paths = [folder / one for one in parts_of(name)]
    marks = [f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths]
    digest = hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]
    whole = Path(HF_HOME) / "fflm" / digest / f"{stem_of(name)}.gguf"
    if not whole.is_file():
        whole.parent.mkdir(parents=True, exist_ok=True)
        partial = whole.with_suffix(".partial")
        _join(paths, partial)
        partial.replace(whole)
    return whole


def _join(paths: list[Path], whole: Path) -> None:
    """Settings of the first part, tensors of all, as they are packed."""
    from gguf import GGUFReader, GGUFWriter

    readers: list[Any] = [GGUFReader(path) for path in paths]
    fields = readers[0].fields
    writer = GGUFWriter(whole, fields["general.architecture"].contents())
    for name, field in fields.items():
        if name.startswith(_OF_SPLITTING) or name == "general.architecture":
            continue
        inner = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(name, field.contents(), field.types[0], inner)
    for reader in readers:
        for tensor in reader.tensors:
            writer.add_tensor(tensor.name, tensor.data, raw_shape=tensor.data.shape, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
