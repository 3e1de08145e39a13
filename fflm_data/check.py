"""Compares the rows of a dataset folder or repository with freshly generated rows, as `load_dataset` reads them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa

from fflm_data.config import Config, ParameterError
from fflm_data.hub import DATASET, HubError, hub_errors
from fflm_data.manifest import MANIFEST_FILE, Manifest, RowHash
from fflm_data.terminal import Bar

BATCH = 1024


@dataclass(frozen=True)
class Finding:
    """Result of comparing one split. `fault` describes the first difference, "" if there is none."""

    config: str
    split: str
    rows: int
    fault: str


class _UnreadableError(Exception):
    """A split is missing or its files cannot be loaded."""


def resolve_source(source: str) -> str:
    """Returns the absolute path of a folder or file, or the name of a repository. Raises ParameterError otherwise.

    The path is absolute because `load_dataset` would interpret a folder name such as `fflm` or `csv` as a builder.
    """
    if source and Path(source).exists():
        return Path(source).resolve().as_posix()
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise ParameterError(f"there is no folder {source!r}. Name a folder, or a repository as ORG/NAME.")
    return source


def find_manifest(source: str, revision: str | None = None) -> Manifest | None:
    """Returns the manifest of a folder or repository, or None for a dataset that fflm did not write."""
    if Path(source).exists():
        path = Path(source) / MANIFEST_FILE
        if not path.is_file():
            return None
    else:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import RemoteEntryNotFoundError

        with hub_errors(source):
            try:
                path = Path(hf_hub_download(source, MANIFEST_FILE, repo_type=DATASET, revision=revision))
            except RemoteEntryNotFoundError:
                return None
    return Manifest.from_json(path.read_bytes(), source)


def check(source: str, manifest: Manifest, revision: str | None = None) -> Iterator[Finding]:
    """Compares every split that the manifest lists with the rows generated here."""
    for config in manifest.configs:
        for split in config.splits():
            yield _check_split(source, config, split, manifest, revision)


def _check_split(source: str, config: Config, split: str, manifest: Manifest, revision: str | None) -> Finding:
    digest, rows, fault = RowHash(), 0, ""
    total = config.rows(split)
    with Bar(total=total, desc=f"{config.name}/{split}", unit="row", unit_scale=True, disable=None) as progress:
        pairs = zip_longest(_batches(config.tables(split)), _load_rows(source, config, split, revision))
        try:
            for expected, actual in pairs:
                fault = _difference(config, expected, actual, rows)
                if fault:
                    break
                digest.update(actual.select(config.schema.names))
                rows += actual.num_rows
                progress.update(actual.num_rows)
        except _UnreadableError as error:
            fault = str(error)
    listed = manifest.splits[config.name].get(split)
    if not fault and (listed is None or (listed.rows, listed.sha256) != (rows, digest.hexdigest())):
        fault = f"the hash of the rows differs from {MANIFEST_FILE}"
    return Finding(config.name, split, rows, fault)


def _batches(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Regroups tables into tables of BATCH rows. The last one may be shorter."""
    buffer: pa.Table | None = None
    for table in tables:
        buffer = table if buffer is None else pa.concat_tables([buffer, table])
        while buffer.num_rows >= BATCH:
            yield buffer.slice(0, BATCH)
            buffer = buffer.slice(BATCH)
    if buffer is not None and buffer.num_rows:
        yield buffer


def _load_rows(source: str, config: Config, split: str, revision: str | None) -> Iterator[pa.Table]:
    from datasets import load_dataset

    try:
        with hub_errors(source):
            rows = load_dataset(source, config.name, split=split, revision=revision, streaming=True)
            yield from rows.with_format("arrow").iter(BATCH)
    except HubError:
        raise
    except Exception as error:  # corrupt files raise any error in the readers of parquet and YAML
        raise _UnreadableError(f"cannot be loaded: {' '.join(str(error).split())[:200]}") from None


def _difference(config: Config, expected: pa.Table | None, actual: pa.Table | None, start: int) -> str:
    """Describes the first difference between two tables of rows from `start` on, "" if they are equal."""
    if actual is None:
        return f"row {start} is missing"
    if expected is None:
        return f"row {start} is unexpected"
    if set(expected.schema.names) != set(actual.schema.names):
        return f"expected the columns {', '.join(expected.schema.names)}, got {', '.join(actual.schema.names)}"
    ours, theirs = (table.select(config.schema.names).to_pylist() for table in (expected, actual))
    for number, (row, other) in enumerate(zip(ours, theirs, strict=False), start):
        if row != other:
            column = next(name for name in row if row[name] != other[name])
            values = f"expected {_abbreviate(row[column])}, got {_abbreviate(other[column])}"
            return f"row {number} differs in {column}: {values}"
    if len(ours) != len(theirs):
        return f"row {start + min(len(ours), len(theirs))} is {'missing' if len(ours) > len(theirs) else 'unexpected'}"
    return ""


def _abbreviate(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
