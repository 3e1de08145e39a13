"""Glitch rates of functions: equal to `harness eval` and to independent counts; errors for invalid functions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from fflm_data import get_config
from harness.errors import UserError
from harness.evaluation.glitch_rates import SETS, glitch_rates
from harness.models.classes import register
from harness.models.reference import CHECKPOINTS
from tests.conftest import Run


def memory(ids: torch.Tensor) -> torch.Tensor:
    """Logits of a one-bit memory, symbol by symbol."""
    logits = torch.zeros(*ids.shape, 5)
    for row, string in enumerate(ids.tolist()):
        bit = 3
        for place, token in enumerate(string):
            if place and string[place - 1] == 0:
                bit = token
            logits[row, place, bit if place % 2 == 0 else 0] = 1.0  # after a symbol, the next is an instruction
    return logits


def errors_by_hand(split: str, rows: int, **parameters: Any) -> tuple[int, int]:
    """Wrong answers and reads of a model that always answers 0, counted in the text."""
    wrong = reads = 0
    for text in get_config("flipflop", **parameters).table(split, 0, rows)["text"].to_pylist():
        answers = [text[place + 1] for place in range(0, len(text), 2) if text[place] == "r"]
        wrong, reads = wrong + answers.count("1"), reads + len(answers)
    return wrong, reads


def always_0(ids: torch.Tensor) -> torch.Tensor:
    return torch.tensor([0.0, 0, 0, 1, 0]).expand(*ids.shape, 5)


def test_perfect_memory_has_no_errors() -> None:
    found = glitch_rates(memory, limit=6, length=64, batch_size=4)
    assert list(found) == list(SETS)
    for name, rate in found.items():
        _, reads = errors_by_hand(name, 6, length=64)
        assert (rate.rate, rate.errors, rate.reads, rate.low) == (0.0, 0, reads, 0.0) and 0 < rate.high < 1


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_errors_are_those_counted_by_hand(batch_size: int) -> None:
    for name, rate in glitch_rates(always_0, limit=7, length=64, batch_size=batch_size, seed=5).items():
        wrong, reads = errors_by_hand(name, 7, length=64, seed=5)
        assert (rate.errors, rate.reads, rate.rate) == (wrong, reads, wrong / reads)


def test_glitch_rates_equal_harness_eval(cli: Run, tmp_path: Path) -> None:
    """The bundled LSTM with a rotated output layer, which makes errors."""
    register()
    model = AutoModelForCausalLM.from_pretrained(CHECKPOINTS / "lstm")
    with torch.no_grad():
        model.head.weight.mul_(-1)
    model.save_pretrained(tmp_path / "turned")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "turned" / name).write_bytes((CHECKPOINTS / "lstm" / name).read_bytes())
    done = cli("harness", "eval", "--model", tmp_path / "turned", "--task", "flipflop", "--limit", 5)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("runs/*/*/result.json")
    scores = {
        one["split"]: one
        for one in json.loads(path.read_text("utf-8"))["scores"]
        if one["metric"] == "accuracy" and one["group"] is None
    }
    for name, rate in glitch_rates(model, limit=5).items():
        assert rate.errors == scores[name]["errors"] > 0 and rate.reads == scores[name]["n"]
        assert 1 - rate.low == pytest.approx(scores[name]["high"], abs=1e-7)
        assert 1 - rate.high == pytest.approx(scores[name]["low"], abs=1e-7)


class Dropped(torch.nn.Module):
    """Answers 0, and anything in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.tensor([0.0, 0, 0, 1, 0]))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        assert ids.dtype == torch.int64 and not torch.is_grad_enabled()
        logits = self.bias.expand(*ids.shape, 5)
        return torch.rand_like(logits) if self.training else logits


def test_module_mode_is_restored() -> None:
    module = Dropped().train()
    rate = glitch_rates(module, ["val"], limit=4, length=64)["val"]
    assert (rate.errors, rate.reads) == errors_by_hand("val", 4, length=64) and module.training


def numpy_of(ids: torch.Tensor) -> Any:
    return np.broadcast_to(np.eye(5)[3], (*ids.shape, 5))


def not_finite(ids: torch.Tensor) -> torch.Tensor:
    logits = always_0(ids).clone()
    logits[0] = torch.nan
    return logits


def test_numpy_functions_and_nonfinite_logits() -> None:
    assert glitch_rates(numpy_of, ["val"], limit=4, length=64) == glitch_rates(always_0, ["val"], limit=4, length=64)
    first, all_reads = errors_by_hand("val", 1, length=64)[1], errors_by_hand("val", 4, length=64)[1]
    rate = glitch_rates(not_finite, ["val"], limit=4, length=64)["val"]
    assert (rate.not_a_number, rate.reads) == (first, all_reads - first)
    nothing = glitch_rates(lambda ids: always_0(ids) * np.nan, ["val"], limit=1, length=64)["val"]
    assert np.isnan(nothing.rate) and nothing.reads == 0


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda ids: always_0(ids)[:, 1:], r"logits have shape \(2, 63, 5\) for ids of shape \(2, 64\)"),
        (lambda ids: always_0(ids)[..., :4], "Return (batch, length, 5)"),
        (lambda ids: torch.nn.functional.one_hot(torch.roll(ids, -1, dims=1), 5), "depend on later ids"),
        (lambda ids: torch.rand(*ids.shape, 5), "differ between calls"),
    ],
)
def test_non_causal_functions_are_refused(function: Any, reason: str) -> None:
    with pytest.raises(UserError) as refused:
        glitch_rates(function, ["val"], limit=4, length=64)
    assert reason.replace("\\", "") in str(refused.value)
