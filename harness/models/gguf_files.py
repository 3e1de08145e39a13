"""GGUF files split into parts by llama.cpp: joins them into one file, because transformers reads only one."""

import hashlib
import re
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HOME

from harness.errors import UserError

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
# Settings that describe the file or the split, not the model.
_NOT_COPIED = ("GGUF.", "split.")


def parts_of(name: str) -> list[str]:
    """The names of all parts of a GGUF file, in order; the name itself if it is not a part."""
    match = _PART.fullmatch(name)
    if match is None:
        return [name]
    return [f"{match['stem']}-{number:05}-of-{match['count']}.gguf" for number in range(1, int(match["count"]) + 1)]


def stem_of(name: str) -> str:
    """The file name without its suffix and part number."""
    match = _PART.fullmatch(Path(name).name)
    return match["stem"] if match else Path(name).stem


def require_parts(folder: Path, name: str) -> None:
    """Raises UserError if a part is missing."""
    names = parts_of(name)
    if missing := [part for part in names if not (folder / part).is_file()]:
        raise UserError(f"{folder} lacks {missing[0]}, a part of {name}: put all {len(names)} parts into one folder")


def join_parts(folder: Path, name: str) -> Path:
    """The path of the joined file, in the cache of Hugging Face; written if it does not exist yet.

    name: any part; all parts must exist. The cache key is path, size and modification time of each part.
    """
    paths = [folder / part for part in parts_of(name)]
    keys = [f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths]
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
    joined = Path(HF_HOME) / "fflm" / digest / f"{stem_of(name)}.gguf"
    if not joined.is_file():
        joined.parent.mkdir(parents=True, exist_ok=True)
        partial = joined.with_suffix(".partial")
        _write_joined(paths, partial)
        partial.replace(joined)
    return joined


def _write_joined(paths: list[Path], joined: Path) -> None:
    """Writes the settings of the first part and the tensors of all parts, still quantized."""
    from gguf import GGUFReader, GGUFWriter

    readers: list[Any] = [GGUFReader(path) for path in paths]
    fields = readers[0].fields
    writer = GGUFWriter(joined, fields["general.architecture"].contents())
    for name, field in fields.items():
        if name.startswith(_NOT_COPIED) or name == "general.architecture":
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
