"""Writes a dataset folder for `load_dataset(folder)`: parquet files, dataset card, figures, eval.yaml and manifest."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fflm_data.card import CARD_FILE, write_card
from fflm_data.checksums import file_sha256
from fflm_data.config import Config, ParameterError
from fflm_data.eval_yaml import EVAL_FILE, write_eval_yaml
from fflm_data.figures import write_figures
from fflm_data.manifest import MANIFEST_FILE, Manifest, RowHash, Split
from fflm_data.terminal import Bar

# Uncompressed size in memory. Files are downloaded and read in parallel; row groups are streamed.
FILE_BYTES = 2**25
ROW_GROUP_BYTES = 2**20


def build(folder: Path, configs: Sequence[Config]) -> Manifest:
    """Writes every split of the configs to `folder`. Raises ParameterError if it exists and is not empty.

    The folder is written under a temporary name and renamed at the end, so an interrupted build leaves nothing.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParameterError(f"{folder} already exists. Choose a new or an empty folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent)
    except OSError as error:
        raise ParameterError(f"cannot write to {folder} ({error.strerror}). Choose another folder.") from None
    with scratch as path:
        unfinished = Path(path) / folder.name
        unfinished.mkdir()
        manifest = Manifest(tuple(configs), {config.name: write_rows(unfinished, config) for config in configs})
        write_metadata(unfinished, manifest)
        if folder.exists():
            folder.rmdir()
        unfinished.replace(folder)
    return manifest


def write_metadata(folder: Path, manifest: Manifest, repository: str | None = None) -> None:
    """Writes dataset card, figures, eval.yaml and manifest."""
    write_figures(folder, manifest.configs)
    for name, text in (
        (CARD_FILE, write_card(manifest, repository)),
        (EVAL_FILE, write_eval_yaml(manifest.configs)),
        (MANIFEST_FILE, manifest.to_json()),
    ):
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def write_rows(folder: Path, config: Config) -> dict[str, Split]:
    """Writes the parquet files of one config. Returns the manifest entry of each split."""
    (folder / config.name).mkdir()
    return {split: _write_split(folder, config, split) for split in config.splits()}


def _write_split(folder: Path, config: Config, split: str) -> Split:
    rows, digest, size = config.rows(split), RowHash(), 0
    groups = _row_groups(config, split)
    first = next(groups)
    row_bytes = first.nbytes / first.num_rows
    files = max(1, -(-int(rows * row_bytes) // FILE_BYTES))
    paths = [f"{config.name}/{split}-{number:05d}-of-{files:05d}.parquet" for number in range(files)]
    ends = [rows * (number + 1) // files for number in range(files)]
    remaining, done = chain([first], groups), 0
    leftover: pa.Table | None = None
    with Bar(total=rows, desc=f"{config.name}/{split}", unit="row", unit_scale=True, disable=None) as progress:
        for path, end in zip(paths, ends, strict=True):
            with pq.ParquetWriter(folder / path, config.schema, compression="zstd") as writer:
                while done < end:
                    group = leftover if leftover is not None else next(remaining)
                    written, leftover = group.slice(0, end - done), group.slice(end - done)
                    leftover = leftover if leftover.num_rows else None
                    writer.write_table(written)
                    digest.update(written)
                    size += written.nbytes
                    done += written.num_rows
                    progress.update(written.num_rows)
    return Split(rows, digest.hexdigest(), size, {path: file_sha256(folder / path) for path in paths})


def _row_groups(config: Config, split: str) -> Iterator[pa.Table]:
    """Yields the rows in tables of about ROW_GROUP_BYTES."""
    buffer: list[pa.Table] = []
    for table in _slices(config.tables(split)):
        buffer.append(table)
        if sum(part.nbytes for part in buffer) >= ROW_GROUP_BYTES:
            yield pa.concat_tables(buffer)
            buffer = []
    if buffer:
        yield pa.concat_tables(buffer)


def _slices(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Splits tables larger than ROW_GROUP_BYTES into equal smaller parts."""
    for table in tables:
        parts = -(-table.nbytes // ROW_GROUP_BYTES)
        for part in range(parts):
            begin, end = (table.num_rows * edge // parts for edge in (part, part + 1))
            yield table.slice(begin, end - begin)
