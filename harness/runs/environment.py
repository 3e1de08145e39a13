"""The environment of a run: versions and device."""

from typing import Any

from harness.runs.version import HARNESS_VERSION


def environment(device: Any) -> dict[str, str]:
    """`environment` of run.json: an allow-list of versions and the device, without host name or paths."""
    import platform

    import torch
    import transformers

    return {
        "fflm": HARNESS_VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
