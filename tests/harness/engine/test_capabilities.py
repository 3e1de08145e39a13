"""Trials in half precision find the same methods as in float32."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from harness.engine.capabilities import DecodingMethod
from harness.engine.engine import Engine
from harness.engine.memory import measured_budget
from harness.errors import UserError
from tests.support import families, models

LENGTHS = (60, 31, 12)
# Rounding to bfloat16 hides what disturbs these: padding without positions or state a chunk, several tokens after a
# recurrent state; and the mambas give float32 logits whatever they compute in.
pytestmark = pytest.mark.usefixtures("one_thread")
SUBTLE = ["hunyuan_v1_dense", "llama4_text", "jamba", "zamba", "mamba", "mamba2", "minimax", "gpt2", "llama", "xlstm"]


def decoding_method_of(model: torch.nn.Module) -> DecodingMethod:
    engine = Engine(model, models.fast(models.bytes_only()))
    model.generation_config = GenerationConfig(do_sample=False)  # type: ignore[assignment]
    random = np.random.default_rng(0)
    prompts = [random.integers(10, 290, length) for length in LENGTHS]
    decoder = engine._decoder_for(prompts, max(LENGTHS) + 8, max(LENGTHS) - min(LENGTHS))
    return replace(decoder.method, bytes_per_token=0)


@pytest.mark.parametrize("name", SUBTLE)
def test_probe_in_half_precision_equals_float32(name: str) -> None:
    model = families.tiny(name, 300).to(torch.bfloat16)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = decoding_method_of(model)
    after = model.state_dict()
    assert all(after[key].dtype == value.dtype and torch.equal(after[key], value) for key, value in before.items())
    assert found == decoding_method_of(model.float())


def test_weight_changes_during_trials_are_kept() -> None:
    """RWKV divides some weights once before its first pass."""
    model = families.tiny("rwkv", 300).to(torch.bfloat16)
    ids = np.arange(10, 40, dtype=np.int64)
    with torch.inference_mode():
        expected = families.tiny("rwkv", 300).to(torch.bfloat16)(torch.from_numpy(ids)[None], use_cache=False).logits
    decoding_method_of(model)
    with torch.inference_mode():
        adapted_logits = model(torch.from_numpy(ids)[None], use_cache=False).logits
    assert (adapted_logits - expected).abs().max() < 0.05 * expected.abs().max()


def test_in_float32_without_memory_keeps_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engine.capabilities._free_memory", lambda device: 0)
    model = families.tiny("llama", 300).to(torch.bfloat16)
    assert decoding_method_of(model).cached and model.dtype == torch.bfloat16


def test_measured_budget_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With simulated memory statistics of a GPU."""
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 0)

    def run() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(UserError, match="not enough memory for a single row"):
        measured_budget(run, torch.device("cuda"), 10, 1, 300, sharing=1)
    assert measured_budget(run, torch.device("cpu"), 10, 1, 300, sharing=1) is None
