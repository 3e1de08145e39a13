"""Loading models: adapters, compilation, half precision, several devices, incomplete files."""

import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from peft import (
    IA3Config,
    LoHaConfig,
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig

from fflm_data import get_config
from harness.models import loading
from harness.models.loading import load, vocabulary
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from tests.conftest import Run, refused
from tests.hub import Hub
from tests.support import models, running

OPTIONS = ("--task", "flipflop", "--limit", "6", "--set", "flipflop.length=48")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("models") / "tiny", models.gpt2_like(), kind="llama")


@pytest.fixture(scope="module")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A low-rank adapter with a large effect."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("adapters") / "lora"
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    adapted.save_pretrained(folder)
    return folder


def facts(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))["model"]
    return found


def reads(run: Path, split: str = "val") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    table = pq.read_table(run / "observations" / f"flipflop.{split}.parquet")
    logprobs = np.array(table["logprobs"].to_pylist())
    return table["id"].to_numpy(), table["position"].to_numpy(), logprobs, table["argmax"].to_numpy()


def evaluated(cli: Run, folder: Path, *words: object) -> Path:
    done = cli("harness", "eval", *words, "--output", folder)
    assert done.returncode == 0, done.stderr
    (run,) = folder.glob("*/*")
    return run


def test_adapter_is_loaded(cli: Run, tmp_path: Path, tiny: Path, adapter: Path) -> None:
    run = evaluated(cli, tmp_path / "adapted", "--model", tiny, "--adapter", adapter, *OPTIONS)
    assert facts(run)["adapter"]["id"] == "local/lora" and len(facts(run)["adapter"]["revision"]) == 40
    plain = evaluated(cli, tmp_path / "plain", "--model", tiny, *OPTIONS)
    assert facts(run)["parameters"] > facts(plain)["parameters"]
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), adapter).eval()
    tokenizer = models.fast(models.gpt2_like())
    candidates = [tokenizer.convert_tokens_to_ids(f"\u0120{symbol}") for symbol in "01"]
    texts = get_config("flipflop", length=48).table("val", 0, 6)["text"].to_pylist()
    ids, positions, actual, _ = reads(run)
    for row in range(6):
        tokens = torch.tensor([tokenizer(" ".join(texts[row])).input_ids])
        with torch.inference_mode():
            expected = model(tokens).logits[0].log_softmax(-1)[:, candidates].numpy()
        here = ids == row
        assert np.abs(expected[positions[here] - 1] - actual[here]).max() < 2e-5  # as rounded as observations are
    assert np.abs(reads(plain)[2] - actual).max() > 0.1


def test_first_line_names_adapter(cli: Run, tmp_path: Path, tiny: Path, adapter: Path) -> None:
    for model in ("eval", "--model", tiny, *OPTIONS), ("ask", "--model", tiny, "--task", "flipflop", "--row", "0"):
        done = cli("harness", *model, "--adapter", adapter)
        assert done.returncode == 0, done.stderr
        known = facts(running.only_run(tmp_path))
        wanted = f"local/tiny @ {known['revision'][:12]} + adapter local/lora @ {known['adapter']['revision'][:12]}"
        assert done.stdout.startswith(wanted) and (model[0] == "ask" or done.stdout.count(wanted) == 2)


@pytest.mark.slow("harness/engine", "harness/models")
def test_hub_adapter_is_pinned(cli: Run, tmp_path: Path, tiny: Path, adapter: Path) -> None:
    with Hub(tmp_path / "hub") as hub:
        hub.add_repository("model", "org/tiny", tiny)
        commit = hub.add_repository("model", "org/lora", adapter, tags=["v1"])
        environment = hub.environment(home=tmp_path / "home") | {"HF_HUB_OFFLINE": "0"}
        done = cli("harness", "eval", "--model", "org/tiny", "--adapter", "org/lora@v1", *OPTIONS, **environment)
    assert done.returncode == 0, done.stderr
    assert facts(running.only_run(tmp_path))["adapter"] == {"id": "org/lora", "revision": commit}


def test_pickled_adapter_error(cli: Run, tmp_path: Path, tiny: Path, adapter: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    torch.save({}, folder / "adapter_model.bin")
    line = refused(cli("harness", "eval", "--model", tiny, "--adapter", folder, *OPTIONS))
    assert "cannot be loaded" in line and "adapter_model.safetensors" in line


@pytest.mark.parametrize("change", ["names", "part", "sizes", "kind"])
def test_mismatched_adapter_error(cli: Run, tmp_path: Path, tiny: Path, adapter: Path, change: str) -> None:
    """It must not be scored as the plain model."""
    folder = tmp_path / "odd"
    folder.mkdir()
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    weights = load_file(adapter / "adapter_model.safetensors")
    if change == "names":
        weights = {name.replace("self_attn", "attention"): value for name, value in weights.items()}
    elif change == "part":
        weights = {name: value for name, value in weights.items() if "layers.1." not in name}
    elif change == "sizes":
        weights = {name: value[..., :-1].contiguous() for name, value in weights.items()}
    else:
        del config["peft_type"]
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    line = refused(cli("harness", "eval", "--model", tiny, "--adapter", folder, *OPTIONS))
    assert "the adapter local/odd does not fit the model" in line


def trained(tiny: Path, folder: Path, config: Any, spread: float = 0.5) -> Path:
    """An adapter of any type with a large effect."""
    torch.manual_seed(2)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config)
    for weight in adapted.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=spread)
    adapted.save_pretrained(folder)
    return folder


MODULES = ["q_proj", "v_proj"]
WORKING = {
    "DoRA": LoraConfig(r=4, target_modules=MODULES, use_dora=True, task_type="CAUSAL_LM"),
    "rank-stabilised": LoraConfig(r=4, target_modules=MODULES, use_rslora=True, task_type="CAUSAL_LM"),
    "tokens": LoraConfig(r=4, target_modules=MODULES, trainable_token_indices=[1, 2, 30], task_type="CAUSAL_LM"),
    "embedding": LoraConfig(r=4, target_modules=[*MODULES, "embed_tokens"], task_type="CAUSAL_LM"),
    "modules": LoraConfig(r=4, target_modules=MODULES, modules_to_save=["lm_head"], task_type="CAUSAL_LM"),
    "IA3": IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"),
    "LoHa": LoHaConfig(r=4, target_modules=MODULES, task_type="CAUSAL_LM"),
}
# Adapters that act outside the model's weights: prompt tokens, or invocation tokens.
REFUSED = {
    "activated": (
        LoraConfig(r=4, target_modules=MODULES, alora_invocation_tokens=[5, 6], task_type="CAUSAL_LM"),
        "needs invocation tokens",
    ),
    "prompt": (PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"), "adds tokens to the prompt"),
    "prefix": (PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"), "adds tokens to the prompt"),
}  # fmt: skip


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", WORKING)
def test_adapter_logits_equal_peft(tmp_path: Path, kind: str, tied: bool) -> None:
    torch.manual_seed(0)
    tokenizer = models.gpt2_like()
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, tie_word_embeddings=tied, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    base = tmp_path / "base"
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    models.fast(tokenizer).save_pretrained(base)
    folder = trained(base, tmp_path / "adapter", copy.deepcopy(WORKING[kind]))
    model = load(resolve(ModelRequest(str(base), adapter=str(folder))), torch.device("cpu"))
    expected = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        actual, wanted = model(input_ids=ids).logits, expected(input_ids=ids).logits
        with expected.disable_adapter():
            before = expected(input_ids=ids).logits
    assert torch.equal(actual, wanted) and not torch.allclose(actual, before, atol=1e-3)


@pytest.mark.parametrize("kind", REFUSED)
def test_adapter_outside_weights_error(cli: Run, tmp_path: Path, tiny: Path, kind: str) -> None:
    config, reason = REFUSED[kind]
    folder = trained(tiny, tmp_path / "adapter", copy.deepcopy(config))
    line = refused(cli("harness", "eval", "--model", tiny, "--adapter", folder, *OPTIONS))
    assert reason in line and "merge it" in line


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer_config.json", "{"),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", '{"chat_template": 5}'),
        ("tokenizer_config.json", '{"chat_template": [{"name": "tools", "template": "x"}]}'),
        ("chat_template.json", "null"),
    ],
)
def test_invalid_adapter_template_error(
    cli: Run, tmp_path: Path, tiny: Path, adapter: Path, file: str, content: str
) -> None:
    folder = shutil.copytree(adapter, tmp_path / "odd")
    (folder / file).write_text(content, encoding="utf-8")
    line = refused(cli("harness", "eval", "--model", tiny, "--adapter", folder, "--task", "letters"))
    assert f"the adapter local/odd cannot be loaded ({file}: " in line


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json", "chat_template.json", "list"])
def test_adapter_template_is_used(cli: Run, tmp_path: Path, tiny: Path, adapter: Path, place: str) -> None:
    template = "{% for m in messages %}[{{ m.content }}]{% endfor %}"
    folder = shutil.copytree(adapter, tmp_path / "chat")
    several = [{"name": "tools", "template": "{{ tools }}"}, {"name": "default", "template": template}]
    text = json.dumps({"chat_template": several if place == "list" else template})
    text = template if place.endswith("jinja") else text
    (folder / ("tokenizer_config.json" if place == "list" else place)).write_text(text, encoding="utf-8")
    words = ["--task", "letters", "--limit", "2"]
    plain = evaluated(cli, tmp_path / "plain", "--model", tiny, "--adapter", adapter, *words)
    run = evaluated(cli, tmp_path / "adapted", "--model", tiny, "--adapter", folder, *words)
    templates = [
        json.loads((one / "run.json").read_text(encoding="utf-8"))["data"]["tasks"]["letters"]["prompting"]["template"]
        for one in (plain, run)
    ]
    assert templates == [None, hashlib.sha256(template.encode()).hexdigest()]


def test_adapter_with_other_tokens_error(cli: Run, tmp_path: Path, tiny: Path, adapter: Path) -> None:
    folder = shutil.copytree(adapter, tmp_path / "chat")
    models.fast(models.with_bos_and_eos()).save_pretrained(folder)
    line = refused(cli("harness", "eval", "--model", tiny, "--adapter", folder, *OPTIONS))
    assert "its own tokenizer" in line and "</s>" in line


@pytest.mark.parametrize(
    ("config", "generation", "settings", "expected"),
    [
        (None, None, None, None),
        (5, None, None, [5]),
        (5, [6, 7], None, [5, 6, 7]),
        (None, 6, "<s>", [6, 261]),
        ([5, 8], [6], "</s>", [5, 6, 8, 262]),
    ],
)
def test_end_tokens_of_all_files(
    tmp_path: Path, config: Any, generation: Any, settings: str | None, expected: list[int] | None
) -> None:
    models.save_tiny(tmp_path, models.gpt2_like())
    tokenizer = models.fast(models.with_bos_and_eos())
    tokenizer.eos_token = settings
    tokenizer.save_pretrained(tmp_path)
    for name, value in (("config.json", config), ("generation_config.json", generation)):
        path = tmp_path / name
        facts = json.loads(path.read_text(encoding="utf-8")) | {"eos_token_id": value}
        path.write_text(json.dumps(facts), encoding="utf-8")
    model = load(resolve(ModelRequest(str(tmp_path))), torch.device("cpu"))
    assert model.generation_config.eos_token_id == expected


def test_adapter_without_effect_error(cli: Run, tmp_path: Path, tiny: Path) -> None:
    folder = trained(tiny, tmp_path / "adapter", copy.deepcopy(WORKING["rank-stabilised"]), spread=0)
    assert "it changes no logit" in refused(cli("harness", "eval", "--model", tiny, "--adapter", folder, *OPTIONS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quantization", "4bit"], "--quantization needs a CUDA GPU, and there is none"),
        (["--quantization", "3bit"], "--quantization takes 4bit, 8bit"),
        (["--adapter", "./nowhere"], "'./nowhere' cannot be loaded"),
        (["--attention", "nothing"], "--attention takes eager, sdpa"),
    ],
)
def test_unavailable_option_error(cli: Run, tiny: Path, arguments: list[str], message: str) -> None:
    if torch.cuda.is_available() and "4bit" in arguments:
        message = ""  # there it runs
    assert message in (cli("harness", "eval", "--model", tiny, *arguments, *OPTIONS).stderr)


def test_missing_tensors_error(cli: Run, tmp_path: Path, tiny: Path) -> None:
    """transformers would initialize missing tensors randomly, with only a warning."""
    folder = tmp_path / "part"
    folder.mkdir()
    for path in tiny.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"], weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    line = refused(cli("harness", "eval", "--model", folder, *OPTIONS))
    assert "lack model.layers.1.mlp.up_proj.weight and 1 more" in line


def copy_of(tiny: Path, folder: Path) -> Path:
    return shutil.copytree(tiny, folder)


@pytest.mark.parametrize(
    "index",
    [
        {"weight_map": {"a": "w/model.safetensors"}},
        {"weight_map": {"a": "../outside.safetensors"}},
        {"weight_map": {"a": "model.bin"}},
        {"weight_map": {"a": "C:\\model.safetensors"}},
        {"weight_map": {"a": "missing.safetensors"}},
        {"weight_map": {"a": ["model.safetensors"]}},
        {"weight_map": []},
        {"weight_map": {}},
        {},
        [],
    ],
)
def test_index_with_invalid_files_error(cli: Run, tmp_path: Path, tiny: Path, index: Any) -> None:
    folder = copy_of(tiny, tmp_path / "model")
    (folder / "w").mkdir()
    for place in (folder / "w" / "model.safetensors", tmp_path / "outside.safetensors"):
        shutil.copyfile(folder / "model.safetensors", place)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    line = refused(cli("harness", "eval", "--model", folder, *OPTIONS))
    assert "safetensors in the same folder" in line


def test_link_out_of_folder_error(cli: Run, tmp_path: Path, tiny: Path) -> None:
    folder = copy_of(tiny, tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    (folder / "part.safetensors").symlink_to(tmp_path / "outside.safetensors")
    index = {"weight_map": {"a": "part.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert "part.safetensors is a link to" in refused(cli("harness", "eval", "--model", folder, *OPTIONS))


def test_sharded_weights_are_loaded(cli: Run, tmp_path: Path, tiny: Path) -> None:
    folder = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(folder, max_shard_size="20KB")
    models.fast(models.gpt2_like()).save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) > 1
    expected = reads(evaluated(cli, tmp_path / "whole", "--model", tiny, *OPTIONS))
    actual = reads(evaluated(cli, tmp_path / "parts", "--model", folder, *OPTIONS))
    assert np.array_equal(actual[2], expected[2])


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config.json", "num_attention_heads", 0),
        ("config.json", "num_attention_heads", "abc"),
        ("config.json", "hidden_size", [32]),
        ("config.json", "vocab_size", "many"),
        ("config.json", "vocab_size", -5),
        ("config.json", "num_hidden_layers", {"a": {"b": []}}),
        ("config.json", "dtype", "float7"),
        ("config.json", "model_type", ["llama"]),
        ("config.json", "text_config", 3),
        ("config.json", "text_config", [{}]),
        ("config.json", "rope_parameters", "none"),
        ("tokenizer.json", "model", {"type": "BPE", "vocab": {"a": 2**31}, "merges": []}),
        ("tokenizer.json", "model", "none"),
        ("tokenizer.json", "added_tokens", [{"id": -1, "content": "x"}]),
        ("tokenizer_config.json", "tokenizer_class", 7),
        ("generation_config.json", "eos_token_id", "end"),
    ],
)
def test_untrusted_files_error_in_one_line(
    cli: Run, tmp_path: Path, tiny: Path, file: str, field: str, value: Any
) -> None:
    folder = copy_of(tiny, tmp_path / "model")
    facts = json.loads((folder / file).read_text(encoding="utf-8")) | {field: value}
    (folder / file).write_text(json.dumps(facts), encoding="utf-8")
    done = cli("harness", "eval", "--model", folder, *OPTIONS)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("harness: ")


@pytest.mark.parametrize(
    ("advised", "ends", "not_followed"),
    [
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, [], ["do_sample", "temperature", "top_p"]),
        ({"repetition_penalty": 1.3, "no_repeat_ngram_size": 2}, [], ["no_repeat_ngram_size", "repetition_penalty"]),
        ({"forced_bos_token_id": 3, "suppress_tokens": [4], "min_new_tokens": 9}, [],
         ["forced_bos_token_id", "min_new_tokens", "suppress_tokens"]),
        ({"eos_token_id": [5, 4], "max_new_tokens": 3}, [4, 5], []),
        ({}, [], []),
    ],
)  # fmt: skip
def test_unused_generation_settings_are_recorded(
    cli: Run, tmp_path: Path, tiny: Path, advised: dict[str, Any], ends: list[int], not_followed: list[str]
) -> None:
    folder = copy_of(tiny, tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps(advised), encoding="utf-8")
    run = evaluated(cli, tmp_path / "out", "--model", folder, "--task", "letters", "--limit", 1)
    assert facts(run)["decoding"] == {"greedy": True, "ends": ends, "not_followed": not_followed}


@pytest.mark.parametrize("content", [b"GGUF", b"GGUF\x03\x00\x00\x00\xff", b"", b"PK\x03\x04", b"GGUF" + b"\xff" * 400])
@pytest.mark.parametrize("named", ["file", "folder"])
def test_damaged_gguf_error(cli: Run, tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    words = [tmp_path / "model.gguf"] if named == "file" else [tmp_path, "--gguf-file", "model.gguf"]
    assert "cannot be loaded" in refused(cli("harness", "eval", "--model", *words, *OPTIONS))


@pytest.mark.parametrize("way", [
    ["--attention", "eager"], ["--device-map", "auto"],
    pytest.param(["--compile"], marks=pytest.mark.slow("harness/engine", "harness/models")),
])  # fmt: skip
def test_execution_options_give_same_results(cli: Run, tmp_path: Path, tiny: Path, way: list[str]) -> None:
    plain = evaluated(cli, tmp_path / "plain", "--model", tiny, *OPTIONS)
    run = evaluated(cli, tmp_path / "other", "--model", tiny, *OPTIONS, *way)
    for split in ("val", "val_sparse", "val_dense"):
        expected, actual = reads(plain, split), reads(run, split)
        assert np.abs(expected[2] - actual[2]).max() < 4e-5 and (expected[3] == actual[3]).all()
    assert facts(run)["attention"] == ("eager" if "eager" in way else None)
    assert facts(run)["compiled"] == ("--compile" in way)


@pytest.mark.slow("harness/engine", "harness/models")
def test_half_precision(tmp_path: Path, tiny: Path) -> None:
    """As the README states: bfloat16 log-probabilities depend slightly on the batch, and not at all with --strict, for
    any number of processes."""
    actual = {}
    for name, words in {
        "one": ["--batch-size", 1], "many": [], "strict": ["--strict"], "strict2": ["--strict", "--num-processes", 2],
    }.items():  # fmt: skip
        done = running.evaluate(tmp_path, "--model", tiny, *OPTIONS, "--dtype", "bfloat16", *words, "--output", name)
        assert done.returncode == 0, done.stderr
        (run,) = (tmp_path / name).glob("*/*")
        assert facts(run)["dtype"] == "bfloat16" and facts(run)["strict"] == ("--strict" in words)
        actual[name] = reads(run)[2]
    assert np.abs(actual["one"] - actual["many"]).max() < 0.1
    assert (actual["strict"] == actual["strict2"]).all()
    assert (actual["strict"] == actual["one"]).all()


# ---- Programs in a repository


def with_program(folder: Path, name: str, kind: str = "stranger") -> Path:
    """Adds code to a model folder that its `name` refers to; returns the file that the code would write.

    kind: the type of the model in config.json: one that transformers does not know, or "" to leave it as it is.
    """
    written = folder.parent / "written"
    classes = "class Stranger:\n    pass\n"
    (folder / "program.py").write_text(f"open({str(written)!r}, 'w').close()\n{classes}", encoding="utf-8")
    wanted: dict[str, dict[str, Any]] = {
        "config.json": {"AutoConfig": "program.Stranger", "AutoModelForCausalLM": "program.Stranger"},
        "tokenizer_config.json": {"AutoTokenizer": [None, "program.Stranger"]},
    }
    facts = json.loads((folder / name).read_text(encoding="utf-8")) | {"auto_map": wanted[name]}
    if kind and name == "config.json":
        facts["model_type"] = kind
    if kind and name == "tokenizer_config.json":
        facts["tokenizer_class"] = "StrangerTokenizer"
    (folder / name).write_text(json.dumps(facts), encoding="utf-8")
    return written


def answer_yes(command: list[str], folder: Path) -> tuple[int, str]:
    """Runs a command on a terminal that answers every question with yes; returns status and output."""
    pty = pytest.importorskip("pty")
    terminal, end = pty.openpty()
    os.write(terminal, b"y\n" * 5)
    with subprocess.Popen(command, cwd=folder, stdin=end, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        shown = process.communicate(timeout=120)[0]
    os.close(end)
    os.close(terminal)
    return process.returncode, shown.decode()


@pytest.mark.slow("harness/engine", "harness/models")
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_repository_code_is_not_run(tmp_path: Path, name: str) -> None:
    folder = models.save_tiny(tmp_path / "model", models.gpt2_like(), kind="llama")
    written = with_program(folder, name)
    command = [sys.executable, "-m", "harness", "eval", "--model", str(folder), *OPTIONS]
    status, shown = answer_yes(command, tmp_path)
    assert not written.exists()
    lines = [line for line in shown.strip().splitlines() if not line.rstrip().endswith(" ...")]  # but for progress
    assert status == 2 and len(lines) == 1, shown
    assert "cannot be loaded" in shown and "custom code" in shown


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_known_architecture_needs_no_repository_code(
    cli: Run, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = models.save_tiny(tmp_path / "model", models.gpt2_like(), kind="llama")
    written = with_program(folder, name, kind="")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    evaluated(cli, tmp_path / "runs", "--model", folder, *OPTIONS)
    assert not written.exists()


# ---- Kernels: programs that a config names


KERNELS = [
    ("attn_implementation", "stranger/kernel"),
    ("attn_implementation", "stranger/kernel@main:run"),
    ("attn_implementation", "kernels-community/flash-attn2"),
    ("attn_implementation", "paged|stranger/kernel"),
    ("attn_implementation", "flash_attention_2"),
    ("attn_implementation", {"": "stranger/kernel"}),
    ("_attn_implementation", "stranger/kernel"),
    ("experts_implementation", "deepgemm"),
    ("experts_implementation", "stranger/kernel"),
]


@pytest.mark.parametrize(("key", "value"), KERNELS)
def test_kernel_in_config_is_not_fetched(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: Any
) -> None:
    """Pretends that the package that fetches kernels is installed."""
    from transformers import modeling_utils
    from transformers.integrations import hub_kernels

    fetched: list[object] = []
    for module in (modeling_utils, hub_kernels):
        monkeypatch.setattr(module, "is_kernels_available", lambda: True)
    monkeypatch.setattr(hub_kernels, "get_kernel", lambda *names, **_: fetched.append(names))
    folder = copy_of(tiny, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {key: value}), encoding="utf-8")
    model = load(resolve(ModelRequest(str(folder))))
    assert fetched == []
    assert model.config._attn_implementation == load(resolve(ModelRequest(str(tiny)))).config._attn_implementation


@pytest.mark.parametrize("own", ["eager", "sdpa"])
def test_own_implementation_in_config_is_used(tmp_path: Path, tiny: Path, own: str) -> None:
    folder = copy_of(tiny, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"attn_implementation": own}), encoding="utf-8")
    assert load(resolve(ModelRequest(str(folder)))).config._attn_implementation == own


def test_library_progress_bar_is_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    """transformers draws its own bar while it dequantizes GGUF."""
    from transformers import modeling_gguf_pytorch_utils as unpacking

    bar = unpacking.tqdm
    with loading._no_gguf_progress_bar():
        assert list(unpacking.tqdm(range(3), desc="unpacking")) == [0, 1, 2]
    assert unpacking.tqdm is bar and capfd.readouterr().err == ""


WARNING = """
import sys, warnings
from harness.console import quiet_libraries
quiet_libraries()
for module in ("transformers.models.x", "torch.nn", "mine"):
    warnings.warn_explicit("it goes in 5.40", FutureWarning, "file.py", 1, module=module)
"""


@pytest.mark.parametrize(("options", "shown"), [([], 1), (["-W", "always"], 3)])
def test_deprecation_warnings_are_hidden(options: list[str], shown: int) -> None:
    done = subprocess.run([sys.executable, *options, "-c", WARNING], capture_output=True, encoding="utf-8", check=True)
    assert done.stderr.count("it goes in 5.40") == shown


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_run_records_vocabulary_size(tmp_path: Path, kind: str) -> None:
    """The number of logits of a forward pass."""
    folder = models.save_tiny(tmp_path / "tiny", models.gpt2_like(), kind=kind)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        width = loaded(torch.tensor([[1, 2]])).logits.shape[-1]
    assert vocabulary(loaded) == width
    loaded.resize_token_embeddings(width + 3)
    assert vocabulary(loaded) == width + 3


def test_vocabulary_falls_back_to_config() -> None:
    """An output layer with packed weights, and a model without an output layer."""
    packed = SimpleNamespace(out_features=7, weight=torch.zeros(70, 1))
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=9))
    assert vocabulary(SimpleNamespace(get_output_embeddings=lambda: packed, config=config)) == 7
    assert vocabulary(SimpleNamespace(get_output_embeddings=lambda: None, config=config)) == 9
    assert vocabulary(SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: None))) is None
