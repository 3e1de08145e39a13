"""Float32 on a CUDA GPU: exact, or in TF32, which has 10 bits of mantissa."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def set_tf32(allowed: bool) -> None:
    """Computes float32 matrix products, convolutions and recurrent layers in TF32, or exactly.

    PyTorch 2.9 has new settings beside the old ones, and rejects reading the old ones if they differ.
    """
    import torch

    for holder in _holders():
        holder.fp32_precision = "tf32" if allowed else "ieee"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def _holders() -> list[Any]:
    """What has the new setting: all of PyTorch, then parts of it, which can have their own."""
    import torch

    backends: Any = torch.backends
    if not hasattr(backends, "fp32_precision"):
        return []
    return [backends, backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn]


@contextmanager
def exact_float32() -> Iterator[None]:
    """Exact float32, and at its end the settings from before."""
    before = _settings()
    set_tf32(False)
    try:
        yield
    finally:
        for holder, name, value in before:
            setattr(holder, name, value)


def _settings() -> list[tuple[Any, str, Any]]:
    """Object, name and value of each setting, the new ones last, since the old ones also set them."""
    import torch

    settings: list[tuple[Any, str, Any]] = []
    for holder in (torch.backends.cuda.matmul, torch.backends.cudnn):
        with suppress(RuntimeError):  # it differs from the new setting
            settings.append((holder, "allow_tf32", holder.allow_tf32))
    return settings + [(holder, "fp32_precision", holder.fp32_precision) for holder in _holders()]
