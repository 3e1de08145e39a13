"""Models whose logits depend on the length of the text or of the batch."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig
from transformers.modeling_outputs import CausalLMOutput

from fflm_data.arrays import Ints
from harness.engine.capabilities import critical_lengths, is_deterministic
from harness.engine.engine import Engine
from harness.engine.forward import Forward
from harness.planning.plans import CompletionPlan
from tests.harness.engine.test_families import (
    MARGIN,
    NEW_TOKENS,
    TOKENIZER,
    Ends,
    complete,
    drawn,
    followed,
    passed,
    read,
    read_plan,
    same,
)
from tests.support import families

pytestmark = pytest.mark.usefixtures("one_thread")

ORIGINAL = 120
ROPE = {
    "rope_type": "longrope", "rope_theta": 10_000.0,
    "short_factor": [1.0] * 4, "long_factor": [4.0, 3.0, 2.0, 8.0], "factor": 8.0,
}  # fmt: skip
LONG_ROPE: dict[str, Any] = {
    "rope_parameters": ROPE, "max_position_embeddings": 1000, "original_max_position_embeddings": ORIGINAL,
}  # fmt: skip
# Models whose ways change with the length of a text: where, by their configs.
CHANGING: dict[str, dict[str, Any]] = {
    "phi3": LONG_ROPE | {"sliding_window": None},
    "phi3, window": LONG_ROPE | {"sliding_window": 100},
    "minimax": {"num_local_experts": 4, "block_size": 20, **families.LINEAR_FULL},
    "minimax, window": {"num_local_experts": 4, "block_size": 16, "sliding_window": 20, **families.LINEAR_FULL},
    "mistral": {"sliding_window": 100},
    "llama4_text": {
        "num_local_experts": 4, "intermediate_size_mlp": 64, "attention_chunk_size": 100, "no_rope_layers": [1, 0],
        "floor_scale": 16, "layer_types": ["chunked_attention", "full_attention"],
    },
}  # fmt: skip


def made(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(families.FAMILIES, name, families.family(name.partition(",")[0], **CHANGING[name]))
    model: Any = families.tiny(name, 300)
    model.generation_config = GenerationConfig(do_sample=False)
    return model


@pytest.mark.parametrize("batch_size", [2, None])
@pytest.mark.parametrize("name", CHANGING)
def test_reads_across_critical_length(name: str, batch_size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = read_plan((88, 162, 95, 101, 130, 119, 121, 162, 40, 88))
    model = made(name, monkeypatch)
    assert same(read(Engine(model, TOKENIZER, batch_size), plan), passed(model, plan))


def prompts_of(model: Any, lengths: tuple[int, ...], shared: int) -> tuple[list[Ints], list[list[int]]]:
    """Prompts whose greedy continuations by plain passes have clear margins."""
    for seed in range(40):
        random = np.random.default_rng(seed)
        beginning = drawn(random, shared)
        prompts = [np.concatenate([beginning, drawn(random, length - shared)]) for length in lengths]
        found = [followed(model, prompt) for prompt in prompts]
        if min(narrowest for _, narrowest in found) > MARGIN:
            return prompts, [tokens for tokens, _ in found]
    raise AssertionError("every seed has two tokens that are nearly the same")


@pytest.mark.slow("harness/engine")
@pytest.mark.parametrize("shared", [0, 70])
@pytest.mark.parametrize("name", CHANGING)
def test_completions_across_critical_length(name: str, shared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(name, monkeypatch)
    middle = ORIGINAL - NEW_TOKENS // 2
    prompts, expected = prompts_of(model, (middle, middle, 97, 97, 88, 130, 107), shared)
    for batch_size in (1, 3, None):
        assert complete(Engine(model, TOKENIZER, batch_size), prompts, Ends(-1, -1)) == expected, batch_size


def test_plain_model_mixes_lengths() -> None:
    """Trials must not disable batching of plain models."""
    model: Any = families.tiny("llama", 300)
    model.generation_config = GenerationConfig(do_sample=False)
    engine, plan = Engine(model, TOKENIZER), read_plan((88, 162, 95, 101, 40))
    assert [len(batch) for batch in engine.read_batches(plan)] == [4]  # the third has no point
    random = np.random.default_rng(0)
    prompts = [drawn(random, length) for length in (30, 45, 60)]
    parts = list(engine.completions(CompletionPlan(prompts), NEW_TOKENS, None))
    assert [len(part.rows) for part in parts] == [3]


def test_critical_lengths_of_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert critical_lengths(made("phi3, window", monkeypatch).config, 500) == [100, ORIGINAL]
    assert critical_lengths(made("phi3", monkeypatch).config, 100) == []
    assert critical_lengths(made("minimax", monkeypatch).config, 200) == [20]
    assert critical_lengths(families.FAMILIES["deepseek_v32"](300), 60) == [16]


class Hashing(torch.nn.Module):
    """Gives different logits in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, input_ids: torch.Tensor) -> CausalLMOutput:
        return CausalLMOutput(logits=torch.randn(*input_ids.shape, 300))


def test_is_deterministic() -> None:
    ids = torch.arange(20)
    assert not is_deterministic(Forward(Hashing()), ids)
    assert is_deterministic(Forward(families.tiny("llama", 300)), ids)
