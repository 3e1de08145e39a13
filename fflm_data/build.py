"""A folder of parquet files and a card, which `load_dataset(folder)` loads."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from tqdm import tqdm

from fflm_data.card import data_file, write_card
from fflm_data.config import Config, ParameterError


def build(folder: Path, configs: Sequence[Config]) -> None:
    """Writes every split of the configs to `folder`, which must not exist or be empty (ParameterError).

    The folder appears when all of it is written: an interrupted build leaves only `<folder>.partial`.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParameterError(f"{folder} is there already: name a new folder, or empty it")
    partial = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise ParameterError(f"{folder} cannot be written ({error.strerror}): name another folder") from None
    for config in configs:
        for split in config.splits():
            _write_split(config, split, partial / data_file(config.name, split))
    (partial / "README.md").write_text(write_card(configs), encoding="utf-8", newline="\n")
    if folder.exists():
        folder.rmdir()
    partial.replace(folder)


def _write_split(config: Config, split: str, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    progress = tqdm(total=config.rows(split), desc=f"{config.name}/{split}", unit="row", unit_scale=True)
    with progress, pq.ParquetWriter(path, config.schema, compression="zstd") as writer:
        for table in config.tables(split):
            writer.write_table(table)
            progress.update(table.num_rows)
