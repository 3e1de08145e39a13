"""Positions of answers for several kinds of tokenizers, and errors."""

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from fflm_data import get_config
from harness.errors import UserError
from harness.planning.plans import plan_reads
from harness.prompts.rendering import prompt_ids
from harness.tasks import all_tasks
from harness.tasks.base import ReadTask
from tests.support import models

ROWS = get_config("flipflop", length=24, p_ignore=0.4).table("val", 0, 20)
FLIPFLOP = all_tasks()["flipflop"]
assert isinstance(FLIPFLOP, ReadTask)
TEXTS, TARGETS = FLIPFLOP.texts(ROWS), FLIPFLOP.targets(ROWS)


@pytest.mark.parametrize("build", [models.gpt2_like, models.bytes_only, models.with_bos_and_eos])
def test_plan_reads_locates_every_answer(build: Callable[[], Tokenizer]) -> None:
    tokenizer = models.fast(build())
    plan = plan_reads(TEXTS, TARGETS, ("0", "1"), tokenizer)
    whole = tokenizer(TEXTS).input_ids
    assert len(plan.at) == sum(text.count("r") for text in TEXTS)
    for row, at, position, target in zip(plan.sequence, plan.at, TARGETS.position, TARGETS.target, strict=True):
        token = whole[row][at]
        assert tokenizer.decode([token]).strip() == str(target)
        assert token == plan.candidates[target]
        before = tokenizer.decode(plan.sequences[row][:at], skip_special_tokens=True)
        symbols = before.replace(" ", "")
        assert symbols == ROWS["text"][int(row)].as_py()[:position]


@pytest.mark.parametrize("symbols", [11, 100, 512])
def test_plan_reads_with_multi_digit_symbols(symbols: int) -> None:
    config = get_config("flipflop", length=24, p_ignore=0.4, symbols=symbols)
    rows = config.table("val", 0, 50)
    names = FLIPFLOP.symbols(config)
    tokenizer = models.fast(models.numbers(symbols))
    plan = plan_reads(FLIPFLOP.texts(rows), FLIPFLOP.targets(rows), names, tokenizer)
    whole = tokenizer(FLIPFLOP.texts(rows)).input_ids
    found = [
        (row, at, tokenizer.convert_ids_to_tokens(whole[row][at]))
        for row, at in zip(plan.sequence, plan.at, strict=True)
    ]
    expected = []
    for row, text in enumerate(rows["text"].to_pylist()):
        written = re.findall(r"\d+|[wri]", text)
        expected += [(row, at, written[at]) for at in range(1, 24, 2) if written[at - 1] == "r"]
    assert found == expected
    assert tokenizer.convert_ids_to_tokens(plan.candidates.tolist()) == list(names)


def test_digit_tokens_error() -> None:
    rows = get_config("flipflop", length=24, p_ignore=0.4, symbols=100).table("val", 0, 50)
    names = FLIPFLOP.symbols(get_config("flipflop", symbols=100))
    with pytest.raises(UserError, match="not a single token"):
        plan_reads(FLIPFLOP.texts(rows), FLIPFLOP.targets(rows), names, models.fast(models.bytes_only()))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (models.merged, "not a single token"),
        (models.trailing, "not a single token"),
        (models.shared_symbol_token, "has no token for parts"),
        (models.unknown_instructions, "has no token for parts"),
        (models.revealing_space, "the tokens before it reveal it"),
    ],
)
def test_inseparable_answer_error(build: Callable[[], Tokenizer], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        plan_reads(TEXTS, TARGETS, ("0", "1"), models.fast(build()))


def test_context_dependent_token_error() -> None:
    rows = pa.table({"text": ["w1i0r1r1w0r0", "w1i0r1r1w1r1"]})
    with pytest.raises(UserError, match="at character 22: its token depends"):
        plan_reads(FLIPFLOP.texts(rows), FLIPFLOP.targets(rows), ("0", "1"), models.fast(models.context_dependent()))


def test_completion_prompts_keep_order() -> None:
    tokenizer = models.fast(models.bytes_only())
    prompts = prompt_ids(["a", "abc", "ab"], False, tokenizer)
    assert [tokenizer.decode(ids) for ids in prompts] == ["a", "abc", "ab"]


def test_advised_length_fits() -> None:
    config = get_config("flipflop")
    assert "flipflop.length=300" in FLIPFLOP.advice(config, np.array([512]), ROWS, 301)
    assert FLIPFLOP.advice(config, np.array([512]), ROWS, 14) == FLIPFLOP.advice(config, np.array([512]), ROWS, 1) == ""
    assert get_config("flipflop", length=16).length == 16
    assert "flipflop.length=16" in FLIPFLOP.advice(config, np.array([512]), ROWS, 17)
