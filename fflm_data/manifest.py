"""`fflm.json`, the list of what a folder or repository holds: the parameters of each config, the hash of each split.

Files of the same rows differ in their bytes (parquet names the Arrow version that wrote it); row
hashes do not. What is there already, and what `check` must regenerate, is read from this list.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fflm_data.config import Config, ParameterError
from fflm_data.registry import CONFIGS, get_config
from fflm_data.version import GENERATOR_VERSION

MANIFEST_FILE = "fflm.json"
_SHA256 = re.compile("[0-9a-f]{64}")


class OtherVersionError(ParameterError):
    """Rows of another generator version. `configs` are the names of those that have some."""

    def __init__(self, source: str, version: str, configs: set[str]):
        super().__init__(
            f"{source} holds rows of generator version {version}, this is {GENERATOR_VERSION}: "
            "install the version of fflm that made them"
        )
        self.configs = configs
        self.newer = _numbers(version) > _numbers(GENERATOR_VERSION)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


class RowHash:
    """SHA-256 over rows in order, each as one line of JSON (columns in order, UTF-8, no spaces)."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, table: pa.Table) -> None:
        """Takes in the rows of a table."""
        for batch in table.to_batches(max_chunksize=1024):
            lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in batch.to_pylist()]
            self._digest.update("".join(lines).encode("utf-8"))

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._digest.hexdigest()


def row_hash(tables: Iterable[pa.Table]) -> str:
    """The hash of the rows of several tables."""
    digest = RowHash()
    for table in tables:
        digest.update(table)
    return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """Rows of a split, their hash and their size in memory, and the files they lie in with the SHA-256 of each."""

    rows: int
    sha256: str
    bytes: int
    files: dict[str, str]


def row_hashes(splits: dict[str, Split]) -> dict[str, tuple[int, str]]:
    """By split, the number of rows and their hash."""
    return {name: (split.rows, split.sha256) for name, split in splits.items()}


@dataclass(frozen=True)
class Manifest:
    """By config and split, what is there; and the configs themselves."""

    configs: tuple[Config, ...]
    splits: dict[str, dict[str, Split]]

    def same_rows(self, other: "Manifest") -> bool:
        """Whether both list the same configs with the same rows, whatever the files they lie in."""
        return self.configs == other.configs and all(
            row_hashes(made) == row_hashes(other.splits[name]) for name, made in self.splits.items()
        )

    def to_json(self) -> str:
        """The text of the file."""
        listed = {
            config.name: {
                "parameters": config.parameters(),
                "splits": {name: vars(split) for name, split in self.splits[config.name].items()},
            }
            for config in self.configs
        }
        return json.dumps({"generator_version": GENERATOR_VERSION, "configs": listed}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> "Manifest":
        """Reads the file. Raises OtherVersionError, or ParameterError if it is damaged."""
        try:
            content: dict[str, Any] = json.loads(text)
            version, listed = str(content["generator_version"]), dict(content["configs"])
            if _numbers(version) != _numbers(GENERATOR_VERSION):
                raise OtherVersionError(source, version, set(listed))
            configs = [get_config(name, **entry["parameters"]) for name, entry in listed.items()]
            if not set(listed) <= set(CONFIGS):
                raise ValueError("it lists what is only streamed")
            splits = {config.name: _read_splits(config, listed[config.name]["splits"]) for config in configs}
        except OtherVersionError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ParameterError(f"{source}/{MANIFEST_FILE} is damaged ({error}): build or push it again") from None
        return cls(tuple(configs), splits)


def _read_splits(config: Config, listed: dict[str, Any]) -> dict[str, Split]:
    """The splits of a config as the file lists them. Raises ValueError for what `build` would not have written."""
    if set(listed) != set(config.splits()):
        raise ValueError(f"{config.name} has other splits")
    read = {}
    for name, rows in config.splits().items():
        made = listed[name]
        split = Split(made["rows"], made["sha256"], made["bytes"], dict(made["files"]))
        numbers = range(len(split.files))
        files = [f"{config.name}/{name}-{number:05d}-of-{len(numbers):05d}.parquet" for number in numbers]
        hashes = [split.sha256, *split.files.values()]
        if (split.rows, sorted(split.files)) != (rows, files) or not files or not all(map(_SHA256.fullmatch, hashes)):
            raise ValueError(f"{config.name}/{name} is listed wrongly")
        if not isinstance(split.bytes, int) or not 0 <= split.bytes < 2**63:
            raise ValueError(f"the size of {config.name}/{name} is listed wrongly")
        read[name] = split
    return read
