"""The engine on tiny models of many families equals plain forward passes over single sequences."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, GenerationConfig

from fflm_data.arrays import Ints
from harness.engine.engine import Engine
from harness.errors import UserError
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.planning.plans import CompletionPlan, ReadPlan
from tests.support import families, models

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = 300
WANTED = np.array([11, 12, 13], dtype=np.int64)
BATCH_SIZES = (1, 2, None)
NEW_TOKENS = 8
# Two logits nearer than this could be ranked either way by rounding.
MARGIN = 1e-4
STATEFUL = {
    *("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma", "jamba", "zamba", "zamba2", "bamba"),
    *("falcon_h1", "granitemoehybrid", "nemotron_h", "qwen3_next", "qwen3_5_text", "olmo_hybrid", "kimi_linear"),
    *("lfm2", "lfm2_moe", "minimax", "minimax-full-first"),
}


def numbered() -> Any:
    """A tokenizer whose tokens are the numbers of their ids, so that outputs can be parsed token by token."""
    tokenizer = Tokenizer(WordLevel({str(token): token for token in range(VOCABULARY)}, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return models.fast(tokenizer)


TOKENIZER = numbered()


def tiny(name: str, ends: int | None = None) -> Any:
    model = families.tiny(name, VOCABULARY)
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=ends)
    return model


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest) -> Any:
    return tiny(request.param)


# The tests of all families run each time for these, and for the others if the engine has changed.
COMMON = {"gpt2", "llama", "gemma3_text", "mamba", "bloom"}


def slow_unless_common(names: Iterable[str]) -> list[Any]:
    return [name if name in COMMON else pytest.param(name, marks=pytest.mark.slow("harness/engine")) for name in names]


all_families = pytest.mark.parametrize("model", slow_unless_common(families.FAMILIES), indirect=True, scope="module")


def drawn(random: np.random.Generator, length: int) -> Ints:
    return random.integers(10, VOCABULARY - 10, length)


# ---- Reads


def read_plan(lengths: tuple[int, ...], seed: int = 0) -> ReadPlan:
    """Random sequences with random points, one after the last token, two at one position, and none in the third."""
    random = np.random.default_rng(seed)
    sequences = [drawn(random, length) for length in lengths]
    at = [np.sort([*random.integers(1, length + 1, 5), length, length]) for length in lengths]
    at[2] = at[2][:0]
    sequence = np.repeat(np.arange(len(at)), [len(places) for places in at])
    wanted = np.broadcast_to(WANTED, (len(sequence), len(WANTED)))
    return ReadPlan(len(lengths), sequences, np.arange(len(lengths)), sequence, np.concatenate(at), wanted, WANTED)


def passed(model: Any, plan: ReadPlan) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and argmax per point, by a plain forward pass over each whole sequence."""
    with torch.inference_mode():
        all_logits = [model(torch.from_numpy(ids)[None], use_cache=False).logits[0] for ids in plan.sequences]
    rows = torch.stack([all_logits[one][at - 1] for one, at in zip(plan.sequence, plan.at, strict=True)])
    return rows.log_softmax(-1)[:, WANTED].numpy(), rows.argmax(-1).numpy()


def read(engine: Engine, plan: ReadPlan) -> tuple[np.ndarray, np.ndarray]:
    """The same by the engine; every point is given exactly once."""
    logprobs, argmax = np.full(plan.wanted.shape, np.inf), np.full(len(plan.at), -2)
    seen = np.zeros(len(plan.at), dtype=int)
    for part in engine.reads(plan):
        seen[part.points] += 1
        logprobs[part.points], argmax[part.points] = part.logprobs, part.argmax
        assert np.array_equal(np.unique(plan.sequence[part.points]), np.sort(part.sequences))
    assert (seen == 1).all()
    return logprobs, argmax


def same(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> bool:
    return bool(np.abs(ours[0] - theirs[0]).max() < 1e-5) and np.array_equal(ours[1], theirs[1])


@all_families
def test_reads_equal_plain_passes(model: Any) -> None:
    # One engine for all of a run: what it found out with the first text must hold for the others.
    plans = [read_plan(lengths) for lengths in ((12, 33, 9, 60, 59, 60), (60, 60, 45, 2, 31, 17, 1))]
    expected = [passed(model, plan) for plan in plans]
    for batch_size in BATCH_SIZES:
        engine = Engine(model, TOKENIZER, batch_size)
        for plan, right in zip(plans, expected, strict=True):
            assert same(read(engine, plan), right), batch_size
    assert len(set(expected[0][1].tolist())) > 5


# ---- Completions


@dataclass(frozen=True)
class Ends:
    """A token that ends a text, and a token that completes it."""

    end: int
    last: int

    def cut(self, tokens: list[int]) -> list[int]:
        """A continuation up to its end."""
        for place, token in enumerate(tokens):
            if token in (self.end, self.last):
                return tokens[: place + (token == self.last)]
        return tokens

    def kind(self, tokens: list[int]) -> str:
        """The reason why a continuation stops."""
        cut = self.cut(tokens)
        return "complete" if self.last in cut else "ended" if len(cut) < NEW_TOKENS else "limit"

    def is_complete(self, text: str) -> bool:
        return str(self.last) in text.split()


def followed(model: Any, prompt: Ints) -> tuple[list[int], float]:
    """Greedy decoding by a plain pass per token, and the smallest margin of the best token."""
    ids, narrowest = torch.from_numpy(prompt)[None], np.inf
    with torch.inference_mode():
        for _ in range(NEW_TOKENS):
            best = model(ids, use_cache=False).logits[0, -1].topk(2)
            narrowest = min(narrowest, float(best.values[0] - best.values[1]))
            ids = torch.cat([ids, best.indices[None, :1]], dim=1)
    return ids[0, len(prompt) :].tolist(), narrowest


def prompts_with(model: Any, lengths: tuple[int, ...], shared: int) -> tuple[list[Ints], list[list[int]]]:
    """Prompts with a common prefix of `shared` tokens, and their continuations with clear margins."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        beginning = drawn(random, shared)
        prompts = [np.concatenate([beginning, drawn(random, length)]) for length in lengths]
        found = [followed(model, prompt) for prompt in prompts]
        if min(narrowest for _, narrowest in found) > MARGIN:
            return prompts, [tokens for tokens, _ in found]
    raise AssertionError("every seed has two tokens that are nearly the same")


def different_ends(groups: list[list[list[int]]]) -> Ends:
    """End tokens that stop the rows of each group for different reasons and at different steps, so that rows continue
    without finished rows."""

    def variety(ends: Ends) -> int:
        return sum(
            10 * len({ends.kind(row) for row in rows}) + len({len(ends.cut(row)) for row in rows}) for rows in groups
        )

    used = sorted({token for rows in groups for row in rows for token in row})
    chosen = max((Ends(end, last) for end in used for last in used if end != last), key=variety)
    assert {"complete", "ended", "limit"} == {chosen.kind(row) for rows in groups for row in rows}
    return chosen


def complete(engine: Engine, prompts: list[Ints], ends: Ends) -> list[list[int]]:
    """The engine's outputs as tokens; every prompt is given exactly once."""
    found: dict[int, list[int]] = {}
    for part in engine.completions(CompletionPlan(prompts), NEW_TOKENS, ends.is_complete):
        for row, output, tokens in zip(part.rows.tolist(), part.outputs, part.tokens, strict=True):
            assert row not in found and tokens == len(output.split())
            found[row] = [int(word) for word in output.split()]
    return [found[row] for row in range(len(prompts))]


@all_families
def test_completions_equal_plain_passes(model: Any) -> None:
    few = prompts_with(model, (3, 5), shared=0)
    apart = prompts_with(model, (20, 31, 25, 20, 7), shared=0)
    together = prompts_with(model, (9, 9, 12, 9, 12), shared=40)
    ends = different_ends([apart[1], together[1]])
    model.generation_config.eos_token_id = ends.end
    cases = [(prompts, [ends.cut(row) for row in tokens]) for prompts, tokens in (few, apart, together)]
    for batch_size in (1, 3, None):
        # One engine for all of a run: what it found out with the first prompts must hold for the others.
        engine = Engine(model, TOKENIZER, batch_size)
        for prompts, expected in cases:
            assert complete(engine, prompts, ends) == expected, batch_size
    assert complete(Engine(model, TOKENIZER), apart[0], ends) == cases[1][1]


def test_trials_with_short_prompts_hold_for_long_prompts() -> None:
    # In chunks of 24 tokens: padding shifts them, which a few tokens do not show.
    model = tiny("llama4_text")
    for seed in range(4):
        random = np.random.default_rng(seed)
        prompts = [drawn(random, length) for length in (60, 31, 33, 70, 40)]
        found = [followed(model, prompt) for prompt in prompts]
        engine = Engine(model, TOKENIZER)
        complete(engine, [drawn(random, 3), drawn(random, 5)], Ends(-1, -1))
        for tokens_written, (tokens, narrowest) in zip(complete(engine, prompts, Ends(-1, -1)), found, strict=True):
            assert tokens_written == tokens or narrowest < MARGIN


def test_families_include_recurrent_models() -> None:
    assert families.FAMILIES.keys() >= STATEFUL
    assert len(families.FAMILIES) >= 25


# ---- What is no causal language model


@pytest.mark.parametrize("name", families.BIDIRECTIONAL)
def test_bidirectional_models_are_refused(name: str) -> None:
    engine = Engine(tiny(name), TOKENIZER)
    with pytest.raises(UserError, match="is not causal: its logits depend on later tokens") as refusal:
        read(engine, read_plan((20, 31, 12)))
    assert "\n" not in str(refusal.value)
    with pytest.raises(UserError, match="is not causal: its logits depend on later tokens"):
        complete(Engine(tiny(name), TOKENIZER), read_plan((20, 31, 12)).sequences, Ends(0, 0))


@pytest.mark.parametrize("name", families.ENCODER_DECODERS)
def test_encoder_decoders_are_refused_before_weights_are_loaded(name: str, tmp_path: Path) -> None:
    families.ENCODER_DECODERS[name](VOCABULARY).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is an encoder-decoder model: name a model that predicts") as refusal:
        resolve(ModelRequest(str(tmp_path)))
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.glob("*.safetensors"))


def test_encoder_decoder_loads_as_decoder() -> None:
    config = families.ENCODER_DECODERS["bart"](VOCABULARY)
    assert AutoModelForCausalLM.from_config(config)(torch.tensor([[11, 12]])).logits.shape == (1, 2, VOCABULARY)


# ---- Where logits are made


class Narrow(torch.nn.Module):
    """A model whose forward takes ids only, with or without an output embedding."""

    def __init__(self, inner: Any, head_found: bool):
        super().__init__()
        self.inner = inner
        self.config, self.device, self.generation_config = inner.config, inner.device, inner.generation_config
        self.get_output_embeddings = inner.get_output_embeddings if head_found else lambda: None

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> Any:
        return self.inner(input_ids=input_ids, use_cache=use_cache)


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "mamba"])
@pytest.mark.parametrize("head_found", [True, False])
def test_model_with_ids_only_gives_same_logits(name: str, head_found: bool) -> None:
    model = tiny(name)
    narrow: Any = Narrow(model, head_found)
    plan = read_plan((60, 60, 45, 33, 12, 59))
    engine = Engine(narrow, TOKENIZER)
    assert same(read(engine, plan), passed(model, plan))
    assert engine.read_method(plan.sequences[0]).logits_at == (
        engine.forward.at_head if head_found else engine.forward.sliced
    )
    prompts, tokens = prompts_with(model, (20, 31, 25), shared=0)
    for batch_size in BATCH_SIZES:
        assert complete(Engine(narrow, TOKENIZER, batch_size), prompts, Ends(-1, -1)) == tokens


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_logits_only_at_points(narrow: bool, batch_size: int | None) -> None:
    model = tiny("llama")
    engine = Engine(Narrow(model, True) if narrow else model, TOKENIZER, batch_size)
    plan = read_plan((60, 60, 45, 33, 12, 59))
    read(engine, plan)  # what is found out by trying is done
    shapes: list[tuple[int, ...]] = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    read(engine, plan)
    assert sum(int(np.prod(shape[:-1])) for shape in shapes) == len(set(zip(plan.sequence, plan.at, strict=True)))
    assert len(shapes) == len(engine.read_batches(plan))


# ---- Logits that are no numbers

LAST_NORMS = {"gpt2": "transformer.ln_f", "llama": "model.norm", "mamba": "backbone.norm_f", "rwkv": "rwkv.ln_out"}
LAST_NORMS["recurrent_gemma"] = "model.final_norm"


def poisoned(model: Any, part: str, token: int, value: float) -> None:
    """Makes the logits after this token NaN."""
    fed: list[torch.Tensor] = []

    def remember(module: Any, inputs: Any, named: dict[str, Any]) -> None:
        fed[:] = [named["input_ids"]]

    def spoil(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output.masked_fill((fed[0] == token)[..., None], value)

    model.register_forward_pre_hook(remember, with_kwargs=True)
    model.get_submodule(part).register_forward_hook(spoil)


@pytest.mark.parametrize(
    ("name", "value"), [*((name, np.nan) for name in LAST_NORMS), ("gpt2", np.inf), ("gpt2", -np.inf)]
)
def test_nonfinite_logits_of_reads(name: str, value: float) -> None:
    model, plan = tiny(name), read_plan((60, 60, 45, 33, 12, 59))
    before = np.array([plan.sequences[one][at - 1] for one, at in zip(plan.sequence, plan.at, strict=True)])
    token = int(before[3])
    logprobs, argmax = passed(model, plan)
    spoiled = before == token
    assert 0 < spoiled.sum() < len(spoiled)
    logprobs[spoiled], argmax[spoiled] = np.nan, -1
    poisoned(model, LAST_NORMS[name], token, value)
    for batch_size in BATCH_SIZES:
        ours, most = read(Engine(model, TOKENIZER, batch_size), plan)
        np.testing.assert_allclose(ours, logprobs, rtol=0, atol=1e-5)
        assert np.array_equal(most, argmax)


@pytest.mark.slow("harness/engine")
@pytest.mark.parametrize("shared", [0, 40])
@pytest.mark.parametrize("name", LAST_NORMS)
def test_nonfinite_logits_do_not_affect_other_rows(name: str, shared: int) -> None:
    model = tiny(name)
    prompts, tokens = prompts_with(model, (20, 31, 25, 20, 7), shared)
    # Something that one text says after a while, and the end of no other prompt.
    token = next(
        word for row in tokens for word in row[2:-1] if 0 < sum(word in other[:-1] for other in tokens) < len(tokens)
    )
    prompts[1] = np.append(prompts[1], token)  # this one says nothing at all
    tokens[1] = []
    poisoned(model, LAST_NORMS[name], token, np.nan)
    for batch_size in (1, 3, None):
        found = {}
        for part in Engine(model, TOKENIZER, batch_size).completions(CompletionPlan(prompts), NEW_TOKENS, never):
            found |= dict(zip(part.rows.tolist(), zip(part.outputs, part.tokens.tolist(), strict=True), strict=True))
        for row, expected in enumerate(tokens):
            if row == 1 or token in expected[:-1]:
                until = expected[: expected.index(token) + 1] if expected else []
                assert found[row] == (" ".join(map(str, until)), -1)
            else:
                assert found[row] == (" ".join(map(str, expected)), NEW_TOKENS)


def never(text: str) -> bool:
    return False


# ---- Memory that runs out


def bounded(model: Any, most: int, error: type[Exception], message: str) -> list[int]:
    """Makes the model fail for batches of more ids. Returns the list of batch sizes in ids."""
    sizes: list[int] = []

    def check(module: Any, inputs: Any, named: dict[str, Any]) -> None:
        sizes.append(named["input_ids"].numel())
        if sizes[-1] > most:
            raise error(message)

    model.register_forward_pre_hook(check, with_kwargs=True)
    return sizes


OUT_OF_MEMORY: dict[str, tuple[type[Exception], str]] = {
    "cuda": (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cpu": (RuntimeError, "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
}
LENGTHS = (60, 58, 45, 33, 59, 31, 60, 57)


@pytest.mark.parametrize("device", OUT_OF_MEMORY)
def test_reads_out_of_memory_use_smaller_batches(device: str) -> None:
    model, plan = tiny("llama"), read_plan(LENGTHS)
    expected = passed(model, plan)
    engine = Engine(model, TOKENIZER)
    sizes = bounded(model, 200, *OUT_OF_MEMORY[device])
    assert same(read(engine, plan), expected)
    assert 1 <= sum(size > 200 for size in sizes) <= 4
    sizes.clear()
    assert same(read(engine, plan), expected)
    assert max(sizes) <= 200 and len(sizes) < len(LENGTHS)


@pytest.mark.slow("harness/engine")
@pytest.mark.parametrize(
    ("name", "device", "shared"),
    [("llama", "cuda", 0), ("llama", "cpu", 0), ("llama", "cuda", 40), ("recurrent_gemma", "cuda", 40)],
)
def test_completions_out_of_memory_use_smaller_batches(name: str, device: str, shared: int) -> None:
    model = tiny(name)
    prompts, tokens = prompts_with(model, (8,) * 8 if shared else LENGTHS, shared)
    engine = Engine(model, TOKENIZER)
    most = 60 if shared and name == "llama" else 160  # a prompt with its answer has 56
    sizes = bounded(model, most, *OUT_OF_MEMORY[device])
    assert complete(engine, prompts, Ends(-1, -1)) == tokens
    assert 1 <= sum(size > most for size in sizes) <= 4
    sizes.clear()
    assert complete(engine, prompts, Ends(-1, -1)) == tokens
    assert sum(size > most for size in sizes) <= 1


@pytest.mark.parametrize(("device", "most"), [("cuda", 50), ("cpu", 50), ("cuda", 0)])
def test_single_row_out_of_memory_is_one_line(device: str, most: int) -> None:
    model, plan = tiny("llama"), read_plan((60, 58, 45))
    bounded(model, most, *OUT_OF_MEMORY[device])
    for ask in (lambda engine: read(engine, plan), lambda engine: complete(engine, plan.sequences, Ends(-1, -1))):
        with pytest.raises(UserError, match="not enough memory for a single row") as refusal:
            ask(Engine(model, TOKENIZER))
        assert "\n" not in str(refusal.value)


def test_other_errors_are_not_out_of_memory() -> None:
    model, plan = tiny("llama"), read_plan(LENGTHS)
    bounded(model, 200, RuntimeError, "mat1 and mat2 shapes cannot be multiplied")
    for ask in (lambda engine: read(engine, plan), lambda engine: complete(engine, plan.sequences, Ends(-1, -1))):
        with pytest.raises(RuntimeError, match="mat1 and mat2"):
            ask(Engine(model, TOKENIZER))
