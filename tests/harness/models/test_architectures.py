"""Models other than causal LMs: evaluated on text, or refused in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, GenerationConfig, RobertaConfig

from harness.engine.engine import Engine
from harness.errors import UserError
from harness.evaluation.evaluate import evaluate
from harness.models.architectures import auto_class, context_of
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.planning.evaluation_request import EvalRequest, Execution, Questions
from harness.prompts.prompting import PromptRequest, render, resolve_prompting
from harness.runs.run import Run
from tests.harness.engine import every_class
from tests.harness.engine.test_families import TOKENIZER, read, read_plan
from tests.support import families, models

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = models.gpt2_like().get_vocab_size()


def saved(folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    models.fast(models.gpt2_like()).save_pretrained(folder)
    return folder


def run_of(folder: Path, *tasks: str, length: int = 60, rows: int = 4) -> Run:
    names = tasks or ("flipflop",)
    sizes = {"flipflop": {"length": length, "val_sparse_rows": 0, "val_dense_rows": 0}}
    parameters = sizes if "flipflop" in names else {}
    questions = Questions(tasks=names, parameters=parameters, limit=rows)
    request = EvalRequest(
        model=ModelRequest(str(folder)), command="", questions=questions, execution=Execution(output=folder / "runs")
    )
    scored = evaluate(request)
    assert scored is not None
    return scored[0]


def facts(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["model"]
    return found


@torch.inference_mode()
def largest_difference(run: Run, model: Any) -> float:
    """The largest difference between recorded log-probabilities and single forward passes."""
    tokenizer: Any = models.fast(models.gpt2_like())
    job = run.jobs()[0]
    texts = job.task.texts(job.config.table(job.split, 0, job.rows))  # type: ignore[attr-defined]
    symbols = [tokenizer.encode(symbol, add_special_tokens=False)[0] for symbol in (" 0", " 1")]
    table = pq.read_table(run.table(job))
    expected = [
        model(torch.tensor([tokenizer.encode(text)]), use_cache=False).logits[0].log_softmax(-1) for text in texts
    ]
    off = [
        np.abs(np.array(logprobs) - expected[row][position - 1][symbols].numpy()).max()
        for row, position, logprobs in zip(
            *(table[name].to_pylist() for name in ("id", "position", "logprobs")), strict=True
        )
    ]
    return float(max(off))


@pytest.mark.slow("harness/engine", "harness/models")
@pytest.mark.parametrize(
    "kind", ["mistral3", "llava", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "idefics3", "smolvlm", "aya_vision",
             "lfm2_vl", "aria", "mllama", "gemma3", "gemma4", "llama4", "qwen3_5"],
)  # fmt: skip
def test_image_text_model_is_evaluated_on_text(kind: str, tmp_path: Path) -> None:
    for model in every_class.models_of(kind, SIZE, AutoModelForImageTextToText):
        try:
            run = run_of(saved(tmp_path, model), "flipflop", "letters")
        except UserError:  # sizes that do not go together
            continue
        loaded = auto_class(model.config, kind).from_pretrained(tmp_path)
        assert largest_difference(run, loaded) < 5e-5
        assert facts(run)["class"] == type(loaded).__name__
        assert facts(run)["deterministic"] is True
        return
    raise AssertionError("no sizes of it work")


def test_bidirectional_prompt_model_is_refused(tmp_path: Path) -> None:
    model = next(every_class.models_of("paligemma", SIZE))
    with pytest.raises(UserError, match="its logits depend on later tokens"):
        run_of(saved(tmp_path, model))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("blip", "pixel_values"),
        ("kosmos-2", "pixel_values"),
        ("idefics", "has to be not-None"),
        ("xmod", "Input language unknown"),
        ("camembert", "ne\\(\\) received"),  # positions from an id of padding that there is not
    ],
)
def test_model_without_text_only_mode_is_refused(kind: str, reason: str) -> None:
    model = next(every_class.models_of(kind, 300))
    with pytest.raises(UserError, match=f"does not predict tokens from text alone \\(.*{reason}") as refusal:
        read(Engine(model, TOKENIZER), read_plan((20, 31, 12)))
    assert "\n" not in str(refusal.value)


@pytest.mark.slow("harness/engine", "harness/models")
def test_model_depending_on_later_tokens_is_refused() -> None:
    models_ = every_class.models_of("prophetnet", 300)
    for model in models_:
        with pytest.raises(
            UserError, match=r"does not predict tokens from text|depend on the number of later tokens"
        ) as refusal:
            read(Engine(model, TOKENIZER), read_plan((20, 31, 12)))
        if "number of later tokens" in str(refusal.value):
            return
    raise AssertionError("it was never read at all")


# ---- Positions that begin after those of padding


@pytest.mark.parametrize("padding", [0, 1, 3, None])
def test_context_excludes_padding_positions(padding: int | None) -> None:
    config = RobertaConfig(max_position_embeddings=66, pad_token_id=padding, is_decoder=True)
    assert context_of(config) == 66 - (0 if padding is None else padding + 1)
    assert context_of(families.FAMILIES["gpt2"](300)) == 2048
    assert context_of(families.FAMILIES["opt"](300)) == 2048  # keeps its offset beside its places


@pytest.mark.parametrize("kind", ["roberta", "camembert", "data2vec-text", "roberta-prelayernorm", "xlm-roberta"])
def test_context_limit(kind: str, tmp_path: Path) -> None:
    config = every_class.shrunk(
        every_class.CONFIG_MAPPING[kind], SIZE, {"pad_token_id": 1, "max_position_embeddings": 62}
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.generation_config = GenerationConfig(do_sample=False)
    run = run_of(saved(tmp_path, model))
    assert facts(run)["context"] == 60
    assert largest_difference(run, model) < 1e-5
    with pytest.raises(UserError, match=r"needs up to 6\d tokens, but the context of .* is 60: .*flipflop.length=60"):
        run_of(tmp_path, length=62)


# ---- Models that do not repeat themselves


def reformer(chunk: int) -> Any:
    config = every_class.shrunk(
        every_class.CONFIG_MAPPING["reformer"],
        SIZE,
        every_class.VARIANTS[-1]
        | {"lsh_attn_chunk_length": chunk, "local_attn_chunk_length": chunk, "is_decoder": True},
    )
    return every_class.made(AutoModelForCausalLM, config)


@pytest.mark.parametrize(("chunk", "repeats"), [(16, False), (128, True)])
def test_nondeterministic_model_is_refused(
    chunk: int, repeats: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # It hashes at random what is longer than a chunk.
    run = run_of(saved(tmp_path, reformer(chunk)))
    assert facts(run)["deterministic"] is repeats
    assert ("is not deterministic" in capsys.readouterr().out) is not repeats


def test_active_dropout_is_detected() -> None:
    torch.manual_seed(0)
    model: Any = families.tiny("llama", 300)
    model.lm_head = torch.nn.Sequential(torch.nn.Dropout(0.5).train(), model.lm_head)
    plan = read_plan((20, 31, 12))
    assert not Engine(model, TOKENIZER).read_method(plan.sequences[0]).deterministic


def test_auto_class() -> None:
    for kind, auto in (("llava", AutoModelForImageTextToText), ("gemma3", AutoModelForCausalLM)):
        config = every_class.shrunk(every_class.CONFIG_MAPPING[kind], 300, {})
        assert auto_class(config, kind) is auto


def test_unsupported_class_is_refused_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}', encoding="utf-8")
    models.fast(models.gpt2_like()).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is not a causal LM: name a model that predicts the next token"):
        resolve(ModelRequest(str(tmp_path)))


# ---- Chat templates of models that also take images

PARTS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FIRST_PART = "{% for message in messages %}[{{ message['content'][0]['text'] }}]{% endfor %}"
EITHER = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}LIST{{ part['text'] }}{% endfor %}{% endif %}{% endfor %}"
)
TEXT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] | trim }}\n{% endfor %}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (PARTS, "<|im_start|>user\nHow many?<|im_end|>\n<|im_start|>assistant\n"),
        (FIRST_PART, "[How many?]"),
        (EITHER, "How many?"),
        (TEXT, "user: How many?\n"),
    ],
)
def test_contents_as_parts_for_templates(template: str, expected: str) -> None:
    tokenizer: Any = models.fast(models.gpt2_like())
    tokenizer.chat_template = template
    prompting = resolve_prompting(PromptRequest(), tokenizer)
    assert prompting.chat
    assert render(tokenizer, [{"role": "user", "content": "How many?"}], prompting) == expected


@pytest.mark.parametrize("file", ["chat_template.json", "chat_template.jinja", "tokenizer_config.json"])
def test_template_from_any_file(tmp_path: Path, file: str) -> None:
    model = next(every_class.models_of("llava", SIZE))
    folder = saved(tmp_path, model)
    path = folder / file
    facts_ = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content = PARTS if file.endswith("jinja") else json.dumps(facts_ | {"chat_template": PARTS})
    path.write_text(content, encoding="utf-8")
    assert resolve(ModelRequest(str(folder))).tokenizer.chat_template == PARTS
    run = run_of(folder, "letters", rows=2)
    assert facts(run)["chat_template"]["text"] == PARTS


def test_invalid_template_file_error(tmp_path: Path) -> None:
    folder = saved(tmp_path, next(every_class.models_of("llava", SIZE)))
    (folder / "chat_template.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be loaded"):
        resolve(ModelRequest(str(folder)))
