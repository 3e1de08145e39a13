"""Registers `fflm` as a packaged module of `datasets`, like csv and json.

A packaged module of `datasets` looks for data files in the working directory: it fails in an empty
folder, is slow in a large one, and includes the files in the cache key. Generated rows depend on no
file, so the module factory skips this step for `fflm`.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import datasets.load
from datasets.data_files import DataFilesDict
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

NAME = "fflm"
BUILDER_MODULE = "fflm_data.dataset_builder"


def register() -> None:
    """Registers the builder. Idempotent."""
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
    """Returns the SHA-256 of the package's code and word lists. A cache written by other code is not reused."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".txt", ".tsv")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
