"""`fflm.json`, the manifest of a dataset folder or repository: config parameters, row and file hashes of each split.

Parquet files with the same rows can differ in their bytes (parquet records the Arrow version that
wrote it); row hashes do not. `push` reads from the manifest which configs are unchanged, and `check`
which rows to regenerate.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fflm_data.config import Config, ParameterError
from fflm_data.registry import CONFIGS, get_config
from fflm_data.version import GENERATOR_VERSION

MANIFEST_FILE = "fflm.json"
_SHA256 = re.compile("[0-9a-f]{64}")


class VersionMismatchError(ParameterError):
    """The rows come from another generator version. `configs` are the affected config names."""

    def __init__(self, source: str, version: str, configs: set[str]):
        super().__init__(
            f"{source} has rows of generator version {version}, but this is version {GENERATOR_VERSION}. "
            "Install the matching version of fflm."
        )
        self.configs = configs
        self.newer = _parse_version(version) > _parse_version(GENERATOR_VERSION)


def _parse_version(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


class RowHash:
    """Incremental SHA-256 of rows, each as one line of JSON (columns in order, UTF-8, no spaces)."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, table: pa.Table) -> None:
        """Adds the rows of a table."""
        for batch in table.to_batches(max_chunksize=1024):
            lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in batch.to_pylist()]
            self._digest.update("".join(lines).encode("utf-8"))

    def hexdigest(self) -> str:
        """Returns the hash as 64 hex digits."""
        return self._digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """Number of rows, their hash, their size in memory (bytes), and the SHA-256 of each file, of one split."""

    rows: int
    sha256: str
    bytes: int
    files: dict[str, str]


def row_hashes(splits: dict[str, Split]) -> dict[str, tuple[int, str]]:
    """Returns the number of rows and the row hash of each split."""
    return {name: (split.rows, split.sha256) for name, split in splits.items()}


@dataclass(frozen=True)
class Manifest:
    """The configs of a dataset, and the contents of each config and split."""

    configs: tuple[Config, ...]
    splits: dict[str, dict[str, Split]]

    def same_rows(self, other: "Manifest") -> bool:
        """Whether both list the same configs with the same rows. The files may differ."""
        return self.configs == other.configs and all(
            row_hashes(splits) == row_hashes(other.splits[name]) for name, splits in self.splits.items()
        )

    def to_json(self) -> str:
        """Returns the text of `fflm.json`."""
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
        """Parses `fflm.json`. Raises VersionMismatchError, or ParameterError if it is corrupt."""
        try:
            content: dict[str, Any] = json.loads(text)
            version, listed = str(content["generator_version"]), dict(content["configs"])
            if _parse_version(version) != _parse_version(GENERATOR_VERSION):
                raise VersionMismatchError(source, version, set(listed))
            configs = [get_config(name, **entry["parameters"]) for name, entry in listed.items()]
            if not set(listed) <= set(CONFIGS):
                raise ValueError("it lists a config that can only be streamed")
            splits = {config.name: _read_splits(config, listed[config.name]["splits"]) for config in configs}
        except VersionMismatchError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ParameterError(f"{source}/{MANIFEST_FILE} is corrupt ({error}). Build or push it again.") from None
        return cls(tuple(configs), splits)


def _read_splits(config: Config, listed: dict[str, Any]) -> dict[str, Split]:
    """Parses the splits of a config. Raises ValueError for entries that `build` would not have written."""
    if set(listed) != set(config.splits()):
        raise ValueError(f"the splits of {config.name} are wrong")
    splits = {}
    for name, rows in config.splits().items():
        entry = listed[name]
        split = Split(entry["rows"], entry["sha256"], entry["bytes"], dict(entry["files"]))
        numbers = range(len(split.files))
        files = [f"{config.name}/{name}-{number:05d}-of-{len(numbers):05d}.parquet" for number in numbers]
        hashes = [split.sha256, *split.files.values()]
        if (split.rows, sorted(split.files)) != (rows, files) or not files or not all(map(_SHA256.fullmatch, hashes)):
            raise ValueError(f"the entry of {config.name}/{name} is wrong")
        if not isinstance(split.bytes, int) or not 0 <= split.bytes < 2**63:
            raise ValueError(f"the size of {config.name}/{name} is wrong")
        splits[name] = split
    return splits
