"""The checked device: name, memory, memory limits. All differences between GPU and CPU are here."""

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "transformers", "accelerate", "datasets", "numpy", "lm_eval", "bitsandbytes")
CODE = ("fflm_data", "harness", "leaderboard", "tests/benchmarks", "tests/gpu", "tests/harness")


def has_gpu() -> bool:
    """Whether there is a CUDA GPU."""
    return torch.cuda.is_available()


def gpus() -> int:
    """The number of GPUs."""
    return torch.cuda.device_count() if has_gpu() else 0


def device() -> torch.device:
    """The checked GPU, or the CPU."""
    return torch.device("cuda", 0) if has_gpu() else torch.device("cpu")


def describe(size: str) -> dict[str, Any]:
    """The machine, versions and code that figures hold for; if these change, the figures are measured again."""
    return {
        "device": torch.cuda.get_device_name() if has_gpu() else f"CPU, {torch.get_num_threads()} threads",
        "gpus": gpus(),
        "memory_gib": round(total_memory() / 2**30),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "size": size,
        "code": _code(),
    }


def _version(name: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(name)
    return None


def _code() -> str:
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "installed" not in path.parts:  # packages that the check installed
                digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def wait() -> None:
    """Waits for the device."""
    if has_gpu():
        torch.cuda.synchronize()


def total_memory() -> int:
    """Memory of the device in bytes."""
    return int(torch.cuda.mem_get_info()[1]) if has_gpu() else int(psutil.virtual_memory().total)


def held_memory() -> int:
    """Bytes that this process holds on the device now."""
    return int(torch.cuda.memory_allocated()) if has_gpu() else int(psutil.Process().memory_info().rss)


def start_peak() -> None:
    """Resets the peak memory."""
    if has_gpu():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """The peak memory in bytes since the reset."""
    if has_gpu():
        return int(torch.cuda.max_memory_reserved())
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@contextmanager
def bounded_memory(more: int) -> Iterator[None]:
    """Limits the additional memory of this process in the body; larger allocations fail."""
    if has_gpu():
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + more) / total_memory()))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def environment(**more: str) -> dict[str, str]:
    """The environment of subprocesses: this project's code, no network."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"} | more
