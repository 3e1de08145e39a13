"""Positions of answers for real kinds of tokenizers; errors, and continuations instead."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from fflm_data import get_config
from harness.engine.engine import Engine
from harness.errors import UserError
from harness.models.tokens import encode
from harness.planning.plans import ContinuationPlan, NotSeparable, ReadPlan, plan_continuations, plan_reads
from harness.prompts.rendering import prompt_ids
from harness.tasks import all_tasks
from harness.tasks.base import ReadTask, Targets
from tests.conftest import Run, refused
from tests.support import models, tokenizers

pytestmark = pytest.mark.usefixtures("one_thread")

Build = Callable[[], Any]
FLIPFLOP = all_tasks()["flipflop"]
assert isinstance(FLIPFLOP, ReadTask)


def texts_of(symbols: int, rows: int = 6, length: int = 24) -> tuple[list[str], Targets, tuple[str, ...]]:
    config = get_config("flipflop", length=length, p_ignore=0.4, symbols=symbols)
    assert isinstance(FLIPFLOP, ReadTask)
    table: pa.Table = config.table("val", 0, rows)
    return FLIPFLOP.texts(table), FLIPFLOP.targets(table), FLIPFLOP.symbols(config)


KINDS: dict[str, Build] = {
    "gpt2": tokenizers.gpt2,
    "gpt2-without-numbers": tokenizers.gpt2_without_numbers,
    "llama3": tokenizers.llama3,
    "metaspace-always": partial(tokenizers.metaspace, "always"),
    "metaspace-first": partial(tokenizers.metaspace, "first"),
    "metaspace-never": partial(tokenizers.metaspace, "never"),
    "unigram": tokenizers.unigram,
    "llama2": tokenizers.llama2,
    "wordpiece": tokenizers.wordpiece,
    "single-digits": tokenizers.single_digits,
    "characters": tokenizers.characters,
    "bytes": tokenizers.single_bytes,
    "spaces-after": tokenizers.spaces_after,
    "pairs": tokenizers.pairs,
    "revealing-space": tokenizers.revealing_space,
}
BOS = {
    **{"llama3": "<|begin_of_text|>", "llama2": "<s>"},
    **{f"metaspace-{scheme}": "<s>" for scheme in ("always", "first", "never")},
}
# Numbers of two digits in one token; the others write them as two, of which the first is an answer itself.
WHOLE_NUMBERS = ["gpt2", "llama3", "metaspace-always", "metaspace-first", "metaspace-never", "unigram"]
NEVER = {
    "spaces-after": "not a single token",
    "pairs": "not a single token",
    "revealing-space": "the tokens before it reveal it",
}
LOCATED = [
    *((kind, symbols) for kind in WHOLE_NUMBERS for symbols in (2, 12)),
    *((kind, 2) for kind in KINDS if kind not in WHOLE_NUMBERS and kind not in NEVER),
]
REFUSED = [
    *((kind, 2, reason) for kind, reason in NEVER.items()),
    *((kind, 12, "not a single token") for kind in KINDS if kind not in WHOLE_NUMBERS),
]


@pytest.mark.parametrize(("kind", "symbols"), LOCATED)
def test_plan_reads_locates_every_answer(kind: str, symbols: int) -> None:
    texts, targets, names = texts_of(symbols)
    tokenizer = KINDS[kind]()
    plan = plan_reads(texts, targets, names, tokenizer)
    wholes = [tokenizer(text).input_ids for text in texts]
    assert np.array_equal(plan.sequence, targets.row) and len(plan.at) == sum(text.count("r") for text in texts)
    for row, at, offset, target in zip(targets.row, plan.at, targets.offset, targets.target, strict=True):
        answer = wholes[row][at]
        assert tokenizer.decode([answer]).strip() == names[target]
        assert answer == plan.candidates[target]
        assert plan.sequences[row][:at].tolist() == wholes[row][:at]
        assert tokenizer.decode(wholes[row][:at], skip_special_tokens=True).rstrip() == texts[row][:offset].rstrip()
    for row, fed in enumerate(plan.sequences):  # nothing is fed from the last answer on
        assert len(fed) == plan.at[plan.sequence == row].max(initial=0)
    assert [tokenizer.decode([token]).strip() for token in plan.candidates] == list(names)
    assert len(set(plan.candidates.tolist())) == symbols


@pytest.mark.parametrize(("kind", "symbols", "reason"), REFUSED)
def test_answers_without_single_token_error(kind: str, symbols: int, reason: str) -> None:
    with pytest.raises(NotSeparable, match=reason) as refusal:
        plan_reads(*texts_of(symbols), KINDS[kind]())
    assert "\n" not in str(refusal.value)


# ---- Special tokens


@pytest.mark.parametrize("kind", KINDS)
def test_bos_is_added_once(kind: str) -> None:
    tokenizer = KINDS[kind]()
    texts, targets, names = texts_of(2)
    bos = tokenizer.convert_tokens_to_ids(BOS[kind]) if kind in BOS else tokenizer.bos_token_id
    brought = [f"{tokenizer.bos_token}{texts[0]}"] if bos is not None else []
    for ids in [tokens.ids for tokens in encode(tokenizer, [*texts, *brought])][: None if kind in BOS else len(texts)]:
        assert (ids == bos).sum() == (kind in BOS)
        assert ids[0] == bos or kind not in BOS
    if (kind, 2) in LOCATED:
        for ids in plan_reads(texts, targets, names, tokenizer).sequences:
            assert np.flatnonzero(ids == bos).tolist() == ([0] if kind in BOS else [])


@pytest.mark.parametrize("kind", BOS)
def test_bos_in_text_keeps_answer_positions(kind: str) -> None:
    texts, targets, names = texts_of(2)
    tokenizer = KINDS[kind]()
    opened = [BOS[kind] + text for text in texts]
    shifted = Targets(
        targets.row, targets.position, targets.offset + len(BOS[kind]), targets.gap, targets.target, targets.baselines
    )
    plan = plan_reads(opened, shifted, names, tokenizer)
    wholes = [tokenizer(text).input_ids[1:] for text in opened]
    for row, at, target in zip(targets.row, plan.at, targets.target, strict=True):
        assert tokenizer.decode(wholes[row][at]).strip() == names[target]
        assert plan.sequences[row][:at].tolist() == wholes[row][:at]


def test_bos_in_text_is_kept() -> None:
    tokenizer = tokenizers.gpt2()
    (tokens,) = encode(tokenizer, ["<|endoftext|>w 0"])
    assert tokenizer.convert_ids_to_tokens(tokens.ids) == ["<|endoftext|>", "w", "\u01200"]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (tokenizers.wordpiece, ["[CLS]", "w", "0"]),
        (lambda: models.fast(models.with_bos_and_eos()), ["<s>", "w", "\u01200"]),
    ],
)
def test_trailing_special_tokens_are_dropped(build: Build, expected: list[str]) -> None:
    tokenizer = build()
    (prompt,) = prompt_ids(["w 0"], False, tokenizer)
    assert tokenizer.convert_ids_to_tokens(prompt) == expected
    assert len(tokenizer("w 0").input_ids) == len(expected) + 1
    texts, targets, names = texts_of(2)
    closing = tokenizer("w 0").input_ids[-1]
    for way in (plan_reads, plan_continuations):
        assert not any((ids == closing).any() for ids in way(texts, targets, names, tokenizer).sequences)


# ---- Texts out of the vocabulary


@pytest.mark.parametrize("build", [tokenizers.wordpiece, tokenizers.characters])
def test_unknown_token_error(build: Build) -> None:
    with pytest.raises(UserError, match="has no token for parts of 'w 0 q 1'") as refusal:
        encode(build(), ["w 0", "w 0 q 1"])
    assert "\n" not in str(refusal.value)


def test_dropped_characters_error() -> None:
    tokenizer = Tokenizer(BPE(vocab={piece: token for token, piece in enumerate(" wri01")}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    assert len(encode(models.fast(tokenizer), ["w 0 r 0"])[0].ids) == 7
    with pytest.raises(UserError):
        encode(models.fast(tokenizer), ["w 0 q 1"])


@pytest.mark.parametrize("kind", ["gpt2", "metaspace-first", "llama2", "unigram"])
def test_byte_fallback(kind: str) -> None:
    tokenizer = KINDS[kind]()
    (tokens,) = encode(tokenizer, ["w \u00e9 0"])
    assert tokenizer.decode(tokens.prompt, skip_special_tokens=True) == "w \u00e9 0"


# ---- Continuations


def tiny(tokenizer: Any, kind: str, symbols: Sequence[str], seed: int) -> Any:
    """A model whose most probable token is often part of an answer."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": None}
    config = {
        "gpt2": partial(GPT2Config, n_embd=32, n_layer=2, n_head=2, tie_word_embeddings=False),
        "llama": partial(LlamaConfig, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2),
    }[kind](**sizes)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.3)
        used = {token for symbol in symbols for token in written(tokenizer, f"w 0 r {symbol}")}
        others = [token for token in range(len(tokenizer)) if token not in used]
        model.get_output_embeddings().weight[others] *= 0.1
    return model


def written(tokenizer: Any, text: str) -> list[int]:
    """A text's tokens by calling the tokenizer, without trailing special tokens."""
    found = tokenizer(text, return_special_tokens_mask=True)
    ids = list(found.input_ids)
    while found.special_tokens_mask[len(ids) - 1]:
        ids.pop()
    return ids


def run_plan(model: Any, plan: ReadPlan, batch_size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    logprobs = np.full(plan.wanted.shape, np.inf, dtype=np.float32)
    argmax = np.full(len(plan.at), -2)
    for part in Engine(model, tokenizers.gpt2(), batch_size).reads(plan):
        logprobs[part.points], argmax[part.points] = part.logprobs, part.argmax
    return plan.answers(logprobs, argmax)


def slowly(
    model: Any, tokenizer: Any, texts: list[str], targets: Targets, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """One pass per candidate for its log-probability, and greedy decoding from the common prefix."""
    logprobs, answers = [], []
    for row, offset in zip(targets.row, targets.offset, strict=True):
        candidates = [written(tokenizer, texts[row][:offset] + name) for name in names]
        given = 0
        while len({candidate[given] if given < len(candidate) else None for candidate in candidates}) == 1:
            given += 1
        sums = []
        for candidate in candidates:
            logits = model(torch.tensor([candidate]), use_cache=False).logits[0].log_softmax(-1)
            sums.append(sum(logits[at - 1, candidate[at]].item() for at in range(given, len(candidate))))
        logprobs.append(sums)
        ids = candidates[0][:given]
        while len(ids) < max(map(len, candidates)):
            ids = [*ids, int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())]
        fits = [place for place, candidate in enumerate(candidates) if ids[: len(candidate)] == candidate]
        answers.append(fits[0] if fits else -1)
    return np.array(logprobs), np.array(answers)


@pytest.mark.parametrize("kind", NEVER)
@pytest.mark.parametrize("model_kind", ["gpt2", "llama"])
def test_continuations_equal_single_passes(kind: str, model_kind: str) -> None:
    texts, targets, names = texts_of(2, rows=5)
    tokenizer = KINDS[kind]()
    plan = plan_continuations(texts, targets, names, tokenizer)
    found: set[int] = set()
    for seed in range(3):
        model = tiny(tokenizer, model_kind, names, seed)
        with torch.inference_mode():
            logprobs, answers = slowly(model, tokenizer, texts, targets, names)
        for batch_size in (1, 3, None):
            ours, actual = run_plan(model, plan, batch_size)
            assert ours.shape == (len(targets.row), 2)
            assert np.abs(ours - logprobs).max() < 1e-5
            assert np.array_equal(actual, answers)
        assert np.ptp(logprobs) > 1
        found |= set(answers.tolist())
    assert len(found) > 1


@pytest.mark.parametrize(("kind", "symbols"), LOCATED)
def test_single_token_continuations_equal_tokens(kind: str, symbols: int) -> None:
    texts, targets, names = texts_of(symbols, rows=3)
    tokenizer = KINDS[kind]()
    plan = plan_reads(texts, targets, names, tokenizer)
    written_out = plan_continuations(texts, targets, names, tokenizer)
    found: set[int] = set()
    for seed in range(3):
        model = tiny(tokenizer, "llama", names, seed)
        tokens, most = run_plan(model, plan)
        continuations, answers = run_plan(model, written_out)
        assert np.abs(tokens - continuations).max() < 1e-5
        chosen = np.where(answers < 0, -1, plan.candidates[answers])
        assert np.array_equal(chosen, np.where(np.isin(most, plan.candidates), most, -1))
        found |= set(answers.tolist())
    assert len(found) > 1


def test_nan_in_continuation_spreads_over_read() -> None:
    texts, targets, names = texts_of(2)
    plan = plan_continuations(texts, targets, names, tokenizers.pairs())
    logprobs = np.full((len(plan.at), 1), -1, dtype=np.float32)
    logprobs[np.flatnonzero(plan.read == 3)[0]] = np.nan
    actual, answers = plan.answers(logprobs, plan.wanted[:, 0])
    assert np.isnan(actual).all(axis=1).tolist() == [read == 3 for read in range(len(targets.row))]
    assert (answers == np.where(np.arange(len(answers)) == 3, -1, 0)).all()


@pytest.mark.parametrize("names", [("1", "10"), ("10", "1"), ("0", "1", "10"), tuple(map(str, range(12)))])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in WHOLE_NUMBERS])
def test_prefix_answer_error(kind: str, names: tuple[str, ...]) -> None:
    tokenizer = KINDS[kind]()
    candidates = [written(tokenizer, f"w 1 r {name}") for name in names]
    begins = any(one != other and other[: len(one)] == one for one in candidates for other in candidates)
    one = np.array([0])
    targets = Targets(one, one, np.array([6]), one, np.array([names.index("1")]), {})
    if not begins:
        assert isinstance(plan_continuations(["w 1 r 1"], targets, names, tokenizer), ContinuationPlan)
        return
    with pytest.raises(UserError, match="one answer is a prefix of another"):
        plan_continuations(["w 1 r 1"], targets, names, tokenizer)


def test_command_line_suggests_and_records_continuations(cli: Run, tmp_path: Path) -> None:
    model = models.save_tiny(tmp_path / "model", models.merged(), context=13_000)
    command = ["eval", "--model", model, "--task", "flipflop", "--limit", "3", "--set", "flipflop.length=32"]
    assert "add --exact-continuations" in refused(cli("harness", *command))
    assert not list(tmp_path.glob("runs/*/*/run.json"))
    result = cli("harness", *command, "--exact-continuations")
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("runs/*/*/run.json")
    assert '"answers": "continuations"' in json.dumps(json.loads(path.read_text(encoding="utf-8")))
    assert (path.parent / "result.json").exists()
