"""The model options of a command line: which model, revision, dtype, adapter, and how to load it."""

from dataclasses import dataclass

from harness.models import reference

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = ("4bit", "8bit")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass(frozen=True)
class ModelRequest:
    """The model to load. model: Hub id, folder, or reference model. adapter: Hub id, ID@REVISION, or folder."""

    model: str = reference.DEFAULT_MODEL
    revision: str | None = None
    dtype: str = "auto"
    gguf_file: str | None = None
    quantization: str | None = None
    adapter: str | None = None
    attention: str | None = None
    device_map: str | None = None
    tensor_parallel: bool = False
    compile: bool = False
