"""Makes `datasets` know the name `fflm`, beside csv, json and its other packaged modules.

A packaged module of `datasets` looks for data files in the working directory: it fails in an empty
one, is slow in a large one, and takes what it finds into the cache key. Rows that are generated
depend on no file, so the factory of the modules is told to skip that for this one name.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import datasets.load
from datasets.data_files import DataFilesDict
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

NAME = "fflm"
BUILDER_MODULE = "fflm_data.builder"


def register() -> None:
    """Registers the builder; doing so again changes nothing."""
    _PACKAGED_DATASETS_MODULES[NAME] = (BUILDER_MODULE, source_hash())
    factory = datasets.load.PackagedDatasetModuleFactory
    if not issubclass(factory, _GeneratedModuleFactory):
        datasets.load.PackagedDatasetModuleFactory = _GeneratedModuleFactory


class _GeneratedModuleFactory(datasets.load.PackagedDatasetModuleFactory):
    def get_module(self) -> Any:
        if self.name != NAME:
            return super().get_module()
        module, source = _PACKAGED_DATASETS_MODULES[NAME]
        return datasets.load.DatasetModule(module, source, {"data_files": DataFilesDict(), "dataset_name": NAME})


@cache
def source_hash() -> str:
    """SHA-256 of the package's code and word lists: a cache made by other code is not reused."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".txt", ".tsv")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
