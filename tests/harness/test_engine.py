"""What the engine says equals what one plain forward pass of one sequence says, whatever the batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fflm_data import get_config
from harness import reference
from harness.engine import Engine
from harness.models import ModelRequest, load, resolve
from harness.plan import Budget, plan_completions, plan_reads
from harness.tasks import all_tasks
from harness.tasks.base import ReadTask
from tests.harness import models

FLIPFLOP = all_tasks()["flipflop"]
assert isinstance(FLIPFLOP, ReadTask)
ROWS = get_config("flipflop", length=60, p_ignore=0.5).table("val", 0, 12)
TEXTS, TARGETS = FLIPFLOP.texts(ROWS), FLIPFLOP.targets(ROWS)


def engine_of(folder: str | Path) -> Engine:
    source = resolve(ModelRequest(str(folder)))
    return Engine(load(source), source.tokenizer)


def said(engine: Engine, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    plan = plan_reads(TEXTS, TARGETS, ("0", "1"), engine.tokenizer, budget)
    logprobs, argmax = np.empty((len(plan.row), 2)), np.empty(len(plan.row), dtype=int)
    for part in engine.reads(plan):
        logprobs[part.reads], argmax[part.reads] = part.logprobs, part.argmax
    return logprobs, argmax


def one_by_one(engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    """A forward pass a read, over nothing but the text before its answer."""
    logprobs, argmax = [], []
    for row, offset in zip(TARGETS.row, TARGETS.offset, strict=True):
        before = engine.tokenizer(TEXTS[row][: offset - 1], return_tensors="pt").input_ids
        lines = []
        for symbol in "01":
            whole = engine.tokenizer(TEXTS[row][: offset - 1] + " " + symbol, return_tensors="pt").input_ids
            with torch.inference_mode():
                lines.append(engine.model(whole[:, :-1]).logits[0, -1].log_softmax(-1)[whole[0, -1]].item())
        assert whole.shape[1] > before.shape[1]
        with torch.inference_mode():
            argmax.append(engine.model(whole[:, :-1]).logits[0, -1].argmax().item())
        logprobs.append(lines)
    return np.array(logprobs), np.array(argmax)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("tokenizer", [models.gpt2_like, models.bytes_only])
def test_reads_equal_single_passes(tmp_path: Path, kind: str, tokenizer: object) -> None:
    engine = engine_of(models.save_tiny(tmp_path, tokenizer(), kind=kind))  # type: ignore[operator]
    logprobs, argmax = one_by_one(engine)
    for budget in (Budget(1, 1), Budget(400, 10**6), Budget(10**6, 10**6)):
        ours, most = said(engine, budget)
        assert np.abs(ours - logprobs).max() < 1e-5
        assert np.array_equal(most, argmax)
    assert len(set(argmax.tolist())) > 1


def test_the_lstm_too() -> None:
    engine = engine_of(reference.DEFAULT_MODEL)
    logprobs, argmax = one_by_one(engine)
    ours, most = said(engine, Budget(400, 10**6))
    assert np.abs(ours - logprobs).max() < 1e-5
    assert np.array_equal(most, argmax)


def test_logits_are_made_for_the_reads_only(tmp_path: Path) -> None:
    engine = engine_of(models.save_tiny(tmp_path, models.gpt2_like()))
    shapes: list[tuple[int, ...]] = []
    engine.model.lm_head.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    said(engine, Budget(10**6, 10**6))
    vocabulary = engine.model.config.vocab_size
    assert shapes[-1] == (len(TARGETS.row), vocabulary)


@pytest.mark.parametrize("head_found", [True, False])
def test_a_model_that_takes_no_mask_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head_found: bool
) -> None:
    engine = engine_of(models.save_tiny(tmp_path, models.gpt2_like()))
    expected = said(engine, Budget(400, 10**6))
    forward = engine.model.forward

    def without_mask(input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool) -> object:
        return forward(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    monkeypatch.setattr(engine.model, "forward", without_mask)
    if not head_found:
        monkeypatch.setattr(engine.model, "get_output_embeddings", lambda: None)
    engine._logits = None
    ours = said(engine, Budget(400, 10**6))
    assert engine._logits == (engine._at_head if head_found else engine._sliced)
    assert np.abs(ours[0] - expected[0]).max() < 1e-5 and np.array_equal(ours[1], expected[1])


def test_completions_equal_single_ones_and_stop_after_a_line(tmp_path: Path) -> None:
    engine = engine_of(models.save_tiny(tmp_path, models.bytes_only(), kind="llama"))
    prompts = ["a", "how many r in strawberry?", "12 3 45 6", "x y"]
    plan = plan_completions(prompts, engine.tokenizer, 12, Budget(10**6, 1))
    (together,) = engine.completions(plan, 12)
    for row, output, tokens in zip(together.rows, together.outputs, together.tokens, strict=True):
        ids = engine.tokenizer(prompts[row], return_tensors="pt").input_ids
        for _ in range(int(tokens)):
            with torch.inference_mode():
                ids = torch.cat([ids, engine.model(ids).logits[:, -1:].argmax(-1)], dim=1)
        assert engine.tokenizer.decode(ids[0, -int(tokens) :]) == output
        assert tokens == 12 or "\n" in output


def test_what_the_repository_advises_for_sampling_is_ignored(tmp_path: Path) -> None:
    folder = models.save_tiny(tmp_path, models.bytes_only())
    (folder / "generation_config.json").write_text('{"do_sample": true, "temperature": 9.0, "repetition_penalty": 5.0}')
    engine = engine_of(folder)
    plan = plan_completions(["how many"], engine.tokenizer, 8, Budget(100, 1))
    ((first,), (second,)) = ([part.outputs[0] for part in engine.completions(plan, 8)] for _ in range(2))
    assert first == second
    assert engine.model.generation_config.repetition_penalty in (None, 1.0)
