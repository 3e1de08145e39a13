"""The engine on saved models and real rows equals plain passes over the text before each answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fflm_data import get_config
from harness.engine import engine as engine_module
from harness.engine.engine import Engine
from harness.models import reference
from harness.models.loading import load
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.planning.plans import CompletionPlan, plan_reads
from harness.prompts.rendering import prompt_ids
from harness.tasks import all_tasks
from harness.tasks.base import ReadTask
from tests.support import models

pytestmark = pytest.mark.usefixtures("one_thread")

FLIPFLOP = all_tasks()["flipflop"]
assert isinstance(FLIPFLOP, ReadTask)
ROWS = get_config("flipflop", length=60, p_ignore=0.5).table("val", 0, 12)
TEXTS, TARGETS = FLIPFLOP.texts(ROWS), FLIPFLOP.targets(ROWS)


def engine_of(folder: str | Path, batch_size: int | None = None, strict: bool = False) -> Engine:
    source = resolve(ModelRequest(str(folder)))
    return Engine(load(source), source.tokenizer, batch_size, strict)


def read_outputs(engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    plan = plan_reads(TEXTS, TARGETS, ("0", "1"), engine.tokenizer)
    logprobs, argmax = np.empty((len(plan.at), 2)), np.empty(len(plan.at), dtype=int)
    for part in engine.reads(plan):
        logprobs[part.points], argmax[part.points] = part.logprobs, part.argmax
    return logprobs, argmax


def one_by_one(engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    """A forward pass per read over the text before its answer."""
    logprobs, argmax = [], []
    for row, offset in zip(TARGETS.row, TARGETS.offset, strict=True):
        wholes = [engine.tokenizer(TEXTS[row][:offset] + symbol, return_tensors="pt").input_ids for symbol in "01"]
        assert torch.equal(wholes[0][:, :-1], wholes[1][:, :-1])
        with torch.inference_mode():
            logits = engine.model(wholes[0][:, :-1]).logits[0, -1]
        logprobs.append([logits.log_softmax(-1)[whole[0, -1]].item() for whole in wholes])
        argmax.append(logits.argmax().item())
    return np.array(logprobs), np.array(argmax)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("tokenizer", [models.gpt2_like, models.bytes_only])
def test_reads_equal_single_passes(tmp_path: Path, kind: str, tokenizer: Any) -> None:
    folder = models.save_tiny(tmp_path, tokenizer(), kind=kind)
    logprobs, argmax = one_by_one(engine_of(folder))
    for batch_size, strict in ((1, False), (5, False), (None, False), (None, True)):
        ours, most = read_outputs(engine_of(folder, batch_size, strict))
        assert np.abs(ours - logprobs).max() < 1e-5
        assert np.array_equal(most, argmax)
    assert len(set(argmax.tolist())) > 1


def test_reads_of_lstm_equal_single_passes() -> None:
    engine = engine_of(reference.DEFAULT_MODEL, batch_size=5)
    logprobs, argmax = one_by_one(engine)
    ours, most = read_outputs(engine)
    assert np.abs(ours - logprobs).max() < 1e-5
    assert np.array_equal(most, argmax)


@pytest.mark.parametrize(("batch_size", "strict", "most"), [(5, False, 5), (None, False, 12), (5, True, 1)])
def test_batch_size_is_respected(tmp_path: Path, batch_size: int | None, strict: bool, most: int) -> None:
    engine = engine_of(models.save_tiny(tmp_path, models.gpt2_like()), batch_size, strict)
    plan = plan_reads(TEXTS, TARGETS, ("0", "1"), engine.tokenizer)
    assert max(len(part.sequences) for part in engine.reads(plan)) == most
    written = engine.completions(CompletionPlan(prompt_ids(TEXTS, False, engine.tokenizer)), 2, lambda text: False)
    assert max(len(part.rows) for part in written) == most


@pytest.mark.parametrize(("least", "batches"), [(1, 9), (4096, 1)])
def test_expensive_passes_mix_prompt_lengths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, batches: int
) -> None:
    monkeypatch.setitem(engine_module.MIN_PASS_TOKENS, "cpu", least)
    engine = engine_of(models.save_tiny(tmp_path, models.bytes_only(), kind="llama"))
    prompts = prompt_ids([100 * "the same " + "word" * length for length in range(1, 10)], False, engine.tokenizer)
    parts = list(engine.completions(CompletionPlan(prompts), 4, lambda text: False))
    assert len(parts) == batches
    for part in parts:
        for row, ids in zip(part.rows.tolist(), part.ids, strict=True):
            expected = torch.from_numpy(prompts[row])[None]
            for _ in range(4):
                with torch.inference_mode():
                    last = engine.model(expected, use_cache=False).logits[:, -1:].argmax(-1)
                expected = torch.cat([expected, last], dim=1)
            assert ids.tolist() == expected[0, -4:].tolist()


def test_generation_config_sampling_is_ignored(tmp_path: Path) -> None:
    folder = models.save_tiny(tmp_path, models.bytes_only())
    (folder / "generation_config.json").write_text('{"do_sample": true, "temperature": 9.0, "repetition_penalty": 5.0}')
    engine = engine_of(folder)
    plan = CompletionPlan(prompt_ids(["how many"], False, engine.tokenizer))
    ids = torch.from_numpy(plan.prompts[0])[None]
    for _ in range(8):
        with torch.inference_mode():
            ids = torch.cat([ids, engine.model(ids).logits[:, -1:].argmax(-1)], dim=1)
    (part,) = engine.completions(plan, 8, lambda text: False)
    assert part.outputs == [engine.tokenizer.decode(ids[0, -8:])]
    assert engine.model.generation_config.repetition_penalty in (None, 1.0)
