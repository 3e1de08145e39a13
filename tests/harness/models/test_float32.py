"""Float32 on a GPU: the settings of PyTorch, which exist on a CPU too."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch

from harness.models.float32 import exact_float32, set_tf32


def new_setting_of_trainer() -> None:
    """What TrainingArguments does by default on a GPU; reading `allow_tf32` then raises RuntimeError."""
    torch.backends.fp32_precision = "tf32"


def old_settings(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


BEFORE: dict[str, Callable[[], None]] = {
    "PyTorch's defaults": lambda: None,
    "Trainer": new_setting_of_trainer,
    "old, allowed": lambda: old_settings(True),
    "old, exact": lambda: old_settings(False),
    "TF32": lambda: set_tf32(True),
}


@pytest.fixture(params=BEFORE)
def before(request: pytest.FixtureRequest) -> Iterator[str]:
    start = settings()
    BEFORE[request.param]()
    yield request.param
    for (holder, name), value in start.items():
        setattr(holder, name, value)


def settings() -> dict[tuple[Any, str], Any]:
    backends, found = torch.backends, {}
    for holder in (backends.cuda.matmul, backends.cudnn):
        with suppress(RuntimeError):
            found[holder, "allow_tf32"] = holder.allow_tf32
    for holder in (backends, backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn):
        found[holder, "fp32_precision"] = holder.fp32_precision
    return found


@pytest.mark.usefixtures("before")
def test_float32_is_exact_within_and_as_before_afterwards() -> None:
    start = settings()
    with exact_float32():
        assert set(settings().values()) == {False, "ieee"} and len(settings()) == 7
    assert settings() == start


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize(("allowed", "expected"), [(True, {True, "tf32"}), (False, {False, "ieee"})])
def test_tf32_is_set_whatever_was_before(allowed: bool, expected: set[Any]) -> None:
    set_tf32(allowed)
    assert set(settings().values()) == expected and len(settings()) == 7
