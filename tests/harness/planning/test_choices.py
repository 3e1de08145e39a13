"""Choice candidates against one forward pass each over text and candidate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fflm_data import get_config
from harness.errors import UserError
from harness.planning.plans import plan_choices
from harness.tasks import ChoiceTask, all_tasks
from tests.harness.engine.test_engine import engine_of
from tests.support import models

pytestmark = pytest.mark.usefixtures("one_thread")

# Candidates that begin one another, in both orders, beside some that do not; lists of different lengths.
TEXTS = ["r 0 w", "i 1 i 0 r 1 w 0 r", "w"]
CANDIDATES = [(" 0 1", " 0", " 1", " 0 1 1"), (" r", " i 0", " i"), (" w 1 r 1", " 0")]
GREEDY = 6


def run_plan(engine: Any, texts: list[str], candidates: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """The engine's log-probabilities of the candidates, and the greedy candidate, per row."""
    plan = plan_choices(texts, candidates, engine.tokenizer)
    logprobs, argmax = np.full(plan.wanted.shape, np.nan, dtype=np.float32), np.full(len(plan.at), -1)
    for part in engine.reads(plan):
        logprobs[part.points], argmax[part.points] = part.logprobs, part.argmax
    shares, written = plan.choices(logprobs, argmax)
    return [shares[plan.first[row] : plan.first[row + 1]] for row in range(len(texts))], written


def ids_of(engine: Any, text: str) -> list[int]:
    return list(engine.tokenizer(text, add_special_tokens=False).input_ids)


def plainly(engine: Any, text: str, ending: str, given: int = 0) -> float:
    """The log-probability of a candidate: its tokens after the context, by one forward pass."""
    given, whole = given or len(ids_of(engine, text)), ids_of(engine, text + ending)
    with torch.inference_mode():
        logprobs = engine.model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return sum(float(logprobs[at - 1, whole[at]]) for at in range(given, len(whole)))


def greedily(engine: Any, text: str) -> list[int]:
    ids = torch.tensor([ids_of(engine, text)])
    start = ids.shape[1]
    for _ in range(GREEDY):
        with torch.inference_mode():
            ids = torch.cat([ids, engine.model(ids).logits[:, -1:].argmax(-1)], dim=1)
    return ids[0, start:].tolist()


def without_longer(engine: Any, text: str, endings: tuple[str, ...]) -> list[float]:
    """The probability of each candidate minus those of the candidates that it is a prefix of."""
    found = []
    for ending in endings:
        begun = [other for other in endings if other != ending and other.startswith(ending)]
        # Of those, only the ones that do not go on with another of them: they lie within it.
        outer = [one for one in begun if not any(other != one and one.startswith(other) for other in begun)]
        share = np.exp(plainly(engine, text, ending)) - sum(np.exp(plainly(engine, text, one)) for one in outer)
        found.append(float(np.log(share)))
    return found


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_candidate_logprobs_equal_single_passes(tmp_path: Path, kind: str, batch_size: int | None) -> None:
    engine = engine_of(models.save_tiny(tmp_path, models.gpt2_like(), kind=kind), batch_size)
    shares, written = run_plan(engine, TEXTS, CANDIDATES)
    for row, (text, endings) in enumerate(zip(TEXTS, CANDIDATES, strict=True)):
        assert shares[row] == pytest.approx(without_longer(engine, text, endings), abs=1e-5)
        tokens = greedily(engine, text)
        fits = [place for place, one in enumerate(endings) if tokens[: len(ids_of(engine, one))] == ids_of(engine, one)]
        longest = max(fits, key=lambda place: len(endings[place]), default=-1)
        assert written[row] == longest


def test_greedy_choice_is_longest_candidate(tmp_path: Path) -> None:
    engine = engine_of(models.save_tiny(tmp_path, models.gpt2_like()))
    # A text that the model continues with whole characters, encoded again to the tokens that it generated.
    for text in get_config("flipflop", length=32).table("val", 0, 500)["text"].to_pylist():
        endings = [engine.tokenizer.decode(greedily(engine, text)[:count]) for count in (1, 3, 2)]
        if [len(ids_of(engine, text + one)) - len(ids_of(engine, text)) for one in endings] == [1, 3, 2]:
            break
    assert len(set(endings)) == 3
    _, written = run_plan(engine, [text, text], [endings, [endings[0], "!"]])
    assert written.tolist() == [1, 0]
    assert run_plan(engine, [text], [["!", "?"]])[1].tolist() == [-1]


def test_candidates_of_capitals(tmp_path: Path) -> None:
    task = all_tasks()["capitals"]
    assert isinstance(task, ChoiceTask)
    rows = get_config("capitals").table("test", 0, 4)
    engine = engine_of(models.save_tiny(tmp_path, models.gpt2_like(), kind="llama"))
    texts, candidates = task.texts(rows), task.candidates(rows)
    shares, _ = run_plan(engine, texts, candidates)
    for row, target in enumerate(task.target(rows).tolist()):
        assert candidates[row][target].strip().removeprefix("the ") == rows["answer"][row].as_py()
        # Bytes: all candidates begin with the same space, or the same dot after it.
        wholes = [ids_of(engine, texts[row] + one) for one in candidates[row]]
        given = next(place for place, ids in enumerate(zip(*wholes, strict=False)) if len(set(ids)) > 1)
        for place in (target, 0, len(candidates[row]) - 1):
            expected = plainly(engine, texts[row], candidates[row][place], given)
            assert shares[row][place] == pytest.approx(expected, abs=1e-4)


def test_candidates_with_same_tokens_error(tmp_path: Path) -> None:
    tokenizer = models.fast(models.unknown_instructions())
    with pytest.raises(UserError, match="two have the same tokens") as refusal:
        plan_choices(["0"], [(" 1", " 1  ")], tokenizer)
    assert "\n" not in str(refusal.value)
