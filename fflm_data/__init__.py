"""Generated benchmark data with exact answers.

Importing the package registers the dataset `fflm` with `datasets`, which generates its rows locally:

    import fflm_data
    from datasets import load_dataset

    load_dataset("fflm")                                                   # flip-flop, four splits
    load_dataset("fflm", "letters", split="test")
    load_dataset("fflm", "flipflop", length=1024, p_ignore=0.9, streaming=True)

For arrays instead of text see `fflm_data.flipflop`.
"""

from fflm_data.after_import import after_import
from fflm_data.config import Config, ParameterError
from fflm_data.registry import CONFIGS, get_config
from fflm_data.version import GENERATOR_VERSION

__all__ = ["CONFIGS", "GENERATOR_VERSION", "Config", "ParameterError", "get_config"]


def _register() -> None:
    from fflm_data.packaged_module import register

    register()


after_import("datasets", _register)
