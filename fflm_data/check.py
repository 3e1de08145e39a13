"""Is what lies in a folder or repository what the generators make? Row by row, as `load_dataset` reads it."""

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
    """One split that was compared; `fault` says the first thing that differs, "" if nothing does."""

    config: str
    split: str
    rows: int
    fault: str


class _UnreadableError(Exception):
    """A split that is not there, or files that are no such rows."""


def locate(source: str) -> str:
    """The whole path of a folder or file, or the name of a repository. Raises ParameterError for neither.

    A whole path, because `load_dataset` takes a bare `fflm` or `csv` for one of its own builders.
    """
    if source and Path(source).exists():
        return Path(source).resolve().as_posix()
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise ParameterError(f"there is no folder {source!r}, and a repository is named ORG/NAME")
    return source


def find_manifest(source: str, revision: str | None = None) -> Manifest | None:
    """The manifest of a folder or repository; None if it has none, which makes it a foreign data set."""
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
        pairs = zip_longest(_batches(config.tables(split)), _rows_of(source, config, split, revision))
        try:
            for expected, found in pairs:
                fault = _difference(config, expected, found, rows)
                if fault:
                    break
                digest.update(found.select(config.schema.names))
                rows += found.num_rows
                progress.update(found.num_rows)
        except _UnreadableError as error:
            fault = str(error)
    listed = manifest.splits[config.name].get(split)
    if not fault and (listed is None or (listed.rows, listed.sha256) != (rows, digest.hexdigest())):
        fault = f"{MANIFEST_FILE} lists another hash than that of the rows"
    return Finding(config.name, split, rows, fault)


def _batches(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of BATCH rows, the last one shorter."""
    held: pa.Table | None = None
    for table in tables:
        held = table if held is None else pa.concat_tables([held, table])
        while held.num_rows >= BATCH:
            yield held.slice(0, BATCH)
            held = held.slice(BATCH)
    if held is not None and held.num_rows:
        yield held


def _rows_of(source: str, config: Config, split: str, revision: str | None) -> Iterator[pa.Table]:
    from datasets import load_dataset

    try:
        with hub_errors(source):
            rows = load_dataset(source, config.name, split=split, revision=revision, streaming=True)
            yield from rows.with_format("arrow").iter(BATCH)
    except HubError:
        raise
    except Exception as error:  # whatever the readers of parquet, YAML and the like make of a damaged file
        raise _UnreadableError(f"it does not load: {' '.join(str(error).split())[:200]}") from None


def _difference(config: Config, expected: pa.Table | None, found: pa.Table | None, start: int) -> str:
    """What differs first between the rows from `start` on; "" if nothing does."""
    if found is None:
        return f"row {start} is missing"
    if expected is None:
        return f"row {start} is too many"
    if set(expected.schema.names) != set(found.schema.names):
        return f"the columns are {', '.join(found.schema.names)}, not {', '.join(expected.schema.names)}"
    ours, theirs = (table.select(config.schema.names).to_pylist() for table in (expected, found))
    for number, (row, other) in enumerate(zip(ours, theirs, strict=False), start):
        if row != other:
            column = next(name for name in row if row[name] != other[name])
            return f"row {number} differs in {column}: {_shown(other[column])} where {_shown(row[column])} was expected"
    if len(ours) != len(theirs):
        return f"row {start + min(len(ours), len(theirs))} is {'missing' if len(ours) > len(theirs) else 'too many'}"
    return ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
