"""A folder of parquet files, with the card and what else is published, that `load_dataset(folder)` loads."""

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

# In memory, uncompressed: a file is the unit of download and of parallel reading, a row group that of streaming.
FILE_BYTES = 2**25
ROW_GROUP_BYTES = 2**20


def build(folder: Path, configs: Sequence[Config]) -> Manifest:
    """Writes every split of the configs to `folder`, which must not exist or be empty (ParameterError).

    The folder appears when all of it is written: an interrupted build leaves nothing of that name.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParameterError(f"{folder} is there already: name a new folder, or empty it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent)
    except OSError as error:
        raise ParameterError(f"{folder} cannot be written ({error.strerror}): name another folder") from None
    with scratch as path:
        whole = Path(path) / folder.name
        whole.mkdir()
        manifest = Manifest(tuple(configs), {config.name: write_rows(whole, config) for config in configs})
        write_texts(whole, manifest)
        if folder.exists():
            folder.rmdir()
        whole.replace(folder)
    return manifest


def write_texts(folder: Path, manifest: Manifest, repository: str | None = None) -> None:
    """Writes what describes the rows: card, figures, eval.yaml and the manifest."""
    write_figures(folder, manifest.configs)
    for name, text in (
        (CARD_FILE, write_card(manifest, repository)),
        (EVAL_FILE, write_eval_yaml(manifest.configs)),
        (MANIFEST_FILE, manifest.to_json()),
    ):
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def write_rows(folder: Path, config: Config) -> dict[str, Split]:
    """Writes the parquet files of one config; says by split what was written."""
    (folder / config.name).mkdir()
    return {split: _write_split(folder, config, split) for split in config.splits()}


def _write_split(folder: Path, config: Config, split: str) -> Split:
    rows, digest, size = config.rows(split), RowHash(), 0
    groups = _row_groups(config, split)
    first = next(groups)
    bytes_of_a_row = first.nbytes / first.num_rows
    files = max(1, -(-int(rows * bytes_of_a_row) // FILE_BYTES))
    paths = [f"{config.name}/{split}-{number:05d}-of-{files:05d}.parquet" for number in range(files)]
    ends = [rows * (number + 1) // files for number in range(files)]
    queue, done = chain([first], groups), 0
    left: pa.Table | None = None
    with Bar(total=rows, desc=f"{config.name}/{split}", unit="row", unit_scale=True, disable=None) as progress:
        for path, end in zip(paths, ends, strict=True):
            with pq.ParquetWriter(folder / path, config.schema, compression="zstd") as writer:
                while done < end:
                    group = left if left is not None else next(queue)
                    taken, left = group.slice(0, end - done), group.slice(end - done)
                    left = left if left.num_rows else None
                    writer.write_table(taken)
                    digest.update(taken)
                    size += taken.nbytes
                    done += taken.num_rows
                    progress.update(taken.num_rows)
    return Split(rows, digest.hexdigest(), size, {path: file_sha256(folder / path) for path in paths})


def _row_groups(config: Config, split: str) -> Iterator[pa.Table]:
    """The rows in tables of about ROW_GROUP_BYTES."""
    held: list[pa.Table] = []
    for table in _slices(config.tables(split)):
        held.append(table)
        if sum(part.nbytes for part in held) >= ROW_GROUP_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _slices(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables, those of more than ROW_GROUP_BYTES cut into equal parts of less."""
    for table in tables:
        parts = -(-table.nbytes // ROW_GROUP_BYTES)
        for part in range(parts):
            begin, end = (table.num_rows * edge // parts for edge in (part, part + 1))
            yield table.slice(begin, end - begin)
