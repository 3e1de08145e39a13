"""Dialogues with a KV state give the same answers as plain passes over the whole text."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from fflm_data.arrays import Ints
from harness.engine.engine import Engine
from harness.planning.plans import DialoguePlan
from tests.harness.engine.test_families import MARGIN, TOKENIZER, Ends, drawn, slow_unless_common, tiny

pytestmark = pytest.mark.usefixtures("one_thread")

TURNS = 5
NEW_TOKENS = 6
BETWEEN = np.array([17, 23, 19], dtype=np.int64)
LENGTHS = (9, 14, 14, 3)
Way = Callable[[list[Ints]], Callable[[int, Sequence[tuple[Ints, str]]], Ints]]
# Full, sliding and chunked attention, ALiBi and learned positions, compressed keys, states, and mixes of these.
FAMILIES = (
    *("gpt2", "bloom", "falcon-alibi", "llama", "mistral", "qwen3", "gemma3_text", "gpt_oss", "deepseek_v3"),
    *(
        "gpt_neo",
        "roberta-decoder",
        "minimax-full-first",
        "llama4_text",
        "bert-decoder",
        "mamba",
        "rwkv",
        "recurrent_gemma",
        "qwen3_next",
        "lfm2",
        "falcon_h1",
    ),
)


def verbatim(prompts: list[Ints]) -> Callable[[int, Sequence[tuple[Ints, str]]], Ints]:
    """Each prompt consists of the previous prompt, the answer and a separator."""

    def following(row: int, answers: Sequence[tuple[Ints, str]]) -> Ints:
        return np.concatenate([prompts[row], *(part for tokens, _ in answers for part in (tokens, BETWEEN))])

    return following


def shortened(prompts: list[Ints]) -> Callable[[int, Sequence[tuple[Ints, str]]], Ints]:
    """Earlier answers are shortened at the start, as templates drop thinking."""

    def following(row: int, answers: Sequence[tuple[Ints, str]]) -> Ints:
        return np.concatenate([prompts[row], *(part for tokens, _ in answers for part in (tokens[2:], BETWEEN))])

    return following


def plan_of(prompts: list[Ints], way: Way, ends: frozenset[int] = frozenset()) -> DialoguePlan:
    longest = np.array([len(prompt) + TURNS * (NEW_TOKENS + len(BETWEEN)) for prompt in prompts])
    return DialoguePlan(prompts, ends, turns=TURNS, following=way(prompts), longest=longest)


def answered(model: Any, plan: DialoguePlan, row: int, ends: Ends) -> tuple[list[list[int]], float]:
    """A row's answers by a plain pass per token, and the smallest margin of the best token."""
    answers: list[tuple[Ints, str]] = []
    narrowest = np.inf
    for turn in range(TURNS):
        prompt = plan.prompts[row] if turn == 0 else plan.following(row, answers)
        written: list[int] = []
        while len(written) < NEW_TOKENS and ends.last not in written:
            with torch.inference_mode():
                fed = torch.from_numpy(np.append(prompt, written).astype(np.int64))[None]
                best = model(fed, use_cache=False).logits[0, -1].topk(2)
            narrowest = min(narrowest, float(best.values[0] - best.values[1]))
            token = int(best.indices[0])
            if token == ends.end or token in plan.ends:
                break
            written.append(token)
        answers.append((np.array(written, dtype=np.int64), " ".join(map(str, written))))
    return [tokens.tolist() for tokens, _ in answers], narrowest


def certain(model: Any, way: Way) -> tuple[DialoguePlan, list[list[list[int]]], Ends]:
    """A plan whose answers have clear margins and different lengths, and their end tokens."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        prompts = [drawn(random, length) for length in LENGTHS]
        plan = plan_of(prompts, way)
        free = [answered(model, plan, row, Ends(-1, -1))[0] for row in range(len(prompts))]
        # One answer contains the end token, another the completing token.
        ends = Ends(free[0][0][2], free[1][1][3])
        found = [answered(model, plan, row, ends) for row in range(len(prompts))]
        lengths = {len(turn) for answers, _ in found for turn in answers}
        if min(narrowest for _, narrowest in found) > MARGIN and len(lengths) > 1:
            return plan, [answers for answers, _ in found], ends
    raise AssertionError("every seed has two tokens that are nearly the same, or answers of one length")


def conversed(engine: Engine, plan: DialoguePlan, ends: Ends) -> list[list[list[int]]]:
    """The same by the engine; every row is given exactly once."""
    found: dict[int, list[list[int]]] = {}
    for part in engine.dialogues(plan, NEW_TOKENS, ends.is_complete):
        for row, outputs, tokens in zip(part.rows.tolist(), part.outputs, part.tokens.tolist(), strict=True):
            assert row not in found and tokens == [len(output.split()) for output in outputs]
            found[row] = [[int(word) for word in output.split()] for output in outputs]
    return [found[row] for row in range(len(plan.prompts))]


@pytest.mark.parametrize("way", [verbatim, shortened])
@pytest.mark.parametrize("name", slow_unless_common(FAMILIES))
def test_dialogues_equal_plain_passes(name: str, way: Way) -> None:
    model = tiny(name)
    plan, expected, ends = certain(model, way)
    model.generation_config.eos_token_id = ends.end
    for batch_size in (1, 3, None):
        assert conversed(Engine(model, TOKENIZER, batch_size), plan, ends) == expected, batch_size


def test_template_token_ends_answer() -> None:
    model = tiny("llama")
    free, answers, _ = certain(model, verbatim)
    end = answered(model, free, 0, Ends(-1, -1))[0][0][1]
    plan = plan_of(free.prompts, verbatim, frozenset({end}))
    expected = [answered(model, plan, row, Ends(-1, -1))[0] for row in range(len(plan.prompts))]
    assert len(expected[0][0]) <= 1 and expected != answers
    assert conversed(Engine(model, TOKENIZER), plan, Ends(-1, -1)) == expected


@pytest.mark.parametrize("name", ["llama", "mamba", "gemma3_text"])
@pytest.mark.parametrize("batch_size", [1, None])
def test_cached_turns_are_not_fed_again(name: str, batch_size: int | None) -> None:
    """Only the last token of the answer and the separator of a turn are fed."""
    model = tiny(name)
    plan, expected, ends = certain(model, verbatim)
    model.generation_config.eos_token_id = ends.end
    engine = Engine(model, TOKENIZER, batch_size)
    conversed(engine, plan, ends)  # what is found out by trying is done
    widths: list[tuple[int, int]] = []
    model.register_forward_pre_hook(
        lambda module, inputs, named: widths.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    # The budget is known, the gaps are tried again: those come first, at the length of a whole dialogue.
    conversed(engine, plan, ends)
    fed = [width for _, width in widths]
    dialogues = fed[[place for place, width in enumerate(fed) if width > max(LENGTHS) + NEW_TOKENS][-1] + 1 :]
    assert sum(dialogues) > 0
    # A turn after the first feeds the seam and at most one answer's end; a step feeds one token.
    assert max(width for width in dialogues if width not in LENGTHS) <= len(BETWEEN) + 1
    if batch_size == 1:
        once = sum(LENGTHS) + (TURNS - 1) * len(BETWEEN) * len(LENGTHS)
        assert sum(dialogues) <= once + sum(len(turn) for answers in expected for turn in answers)


def test_nonfinite_logits_end_only_their_turn() -> None:
    model = tiny("llama")
    plan, expected, ends = certain(model, verbatim)
    model.generation_config.eos_token_id = ends.end
    spoiled = plan.prompts[2]

    def spoil(module: Any, inputs: Any, named: dict[str, Any], output: Any) -> Any:
        ids = named["input_ids"]
        if ids.shape[1] >= len(spoiled):
            hit = (ids[:, -len(spoiled) :] == torch.from_numpy(spoiled)).all(dim=1)
            output.logits[hit] = torch.nan
        return output

    engine = Engine(model, TOKENIZER)
    conversed(engine, plan, ends)
    model.register_forward_hook(spoil, with_kwargs=True)
    counts = np.zeros((len(plan.prompts), TURNS), dtype=np.int64)
    outputs: dict[int, list[str]] = {}
    for part in engine.dialogues(plan, NEW_TOKENS, ends.is_complete):
        counts[part.rows] = part.tokens
        outputs |= dict(zip(part.rows.tolist(), part.outputs, strict=True))
    assert counts[2, 0] == -1 and outputs[2][0] == "" and (counts[2, 1:] >= 0).all()
    for row in (0, 1, 3):
        assert [[int(word) for word in text.split()] for text in outputs[row]] == expected[row]
