"""Validation of a model's JSON files: errors name file and field; valid values are accepted."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import CONFIG_MAPPING, LlamaConfig

from harness.errors import UserError
from harness.models.model_config import FaultyFile, read_object, require_config, require_fields, require_generation
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from tests.conftest import Run, refused
from tests.harness.engine import every_class
from tests.support import models

LLAMA = {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 4, "hidden_size": 32}
NAN, ENDLESS = float("nan"), float("inf")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("models") / "tiny", models.gpt2_like(), kind="llama")


def changed(tiny: Path, folder: Path, file: str, fields: dict[str, Any]) -> Path:
    shutil.copytree(tiny, folder)
    facts = json.loads((folder / file).read_text(encoding="utf-8")) | fields
    (folder / file).write_text(json.dumps(facts), encoding="utf-8")
    return folder


# ---- config.json


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(({"max_position_embeddings": one}, "must be an integer from 1") for one in (0, -5, "abc", 1e99, 10**40)),
        ({"max_position_embeddings": True}, "max_position_embeddings is true, but must be"),
        ({"model_type": "gpt2", "n_positions": 0}, "n_positions is 0, but must be"),
        ({"model_type": "gpt2", "n_ctx": -5}, "n_ctx is -5, but must be"),
        ({"max_sequence_length": "long"}, 'max_sequence_length is "long", but must be'),
        ({"model_type": "bloom", "seq_length": 0}, "seq_length is 0, but must be"),
        ({"model_type": "mistral", "sliding_window": -1}, "sliding_window is -1, but must be"),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 0}, "sliding_window is 0, but must be"),
        *(({"num_attention_heads": value}, "num_attention_heads is .*, but must be") for value in (0, -3, "abc", 2.5)),
        ({"model_type": "gpt2", "n_head": 0}, "n_head is 0, but must be"),
        ({"num_key_value_heads": 0}, "num_key_value_heads is 0, but must be an integer"),
        ({"num_key_value_heads": 3}, "num_key_value_heads is 3, but must be a divisor of num_attention_heads"),
        ({"head_dim": -4}, "head_dim is -4, but must be"),
        ({"vocab_size": 0}, "vocab_size is 0, but must be"),
        ({"intermediate_size": -1}, "intermediate_size is -1, but must be an integer from 0"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1, but must be an integer from 0"),
        *(({"rms_norm_eps": one}, "rms_norm_eps is .*, but must be a number of at least") for one in ("1e-5", -1, NAN)),
        ({"model_type": "gpt2", "layer_norm_epsilon": ENDLESS}, "layer_norm_epsilon is Infinity, but must be"),
        *(({"rope_theta": value}, "rope_theta is .*, but must be a number above 0") for value in (0, -1, NAN, "abc")),
        ({"rope_parameters": {"rope_theta": 0}}, "rope_parameters.rope_theta is 0, but must be"),
        ({"rope_scaling": {"rope_type": "linear", "factor": "x"}}, 'rope_scaling.factor is "x", but must be'),
        ({"rope_scaling": {"type": "linear", "factor": -2}}, "rope_scaling.factor is -2, but must be"),
        ({"rope_parameters": {"full_attention": {"rope_theta": NAN}}}, "parameters.full_attention.rope_theta is NaN"),
        *(({"dtype": value}, "dtype is .*, but must be a floating") for value in ("float7", 32, "int8", ["float32"])),
        ({"model_type": ["llama"]}, r'model_type is \["llama"\], but must be the name'),
        ({"auto_map": 3}, "auto_map is 3, but must be an object"),
        ({"torch_dtype": "float7"}, 'torch_dtype is "float7", but must be'),
        ({"dtype": {"text_config": "nn"}}, 'dtype.text_config is "nn", but must be'),
        *(({"eos_token_id": end}, "eos_token_id is .*, but must be a token") for end in ("end", [[1]], 1.5, [1, None])),
        ({"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 0}}, "t_config.vocab_size is 0"),
        ({"quantization_config": {"quant_method": "nope"}}, 'quant_method is "nope", but must be one of .*awq.*gptq'),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, 'quant_method is "modelopt"'),
        ({"quantization_config": {"quant_method": 7}}, "quant_method is 7, but must be one of"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "an object with load_in_4bit or load_in_8bit"),
        ({"quantization_config": {"group_size": 64, "bits": 4}}, "an object with a quant_method .*MLX"),
        ({"quantization_config": {}}, "quantization_config is {}, but must be"),
        ({"quantization_config": []}, r"quantization_config is \[\], but must be"),
        ({"quantization_config": "gptq"}, 'quantization_config is "gptq", but must be'),
        (
            {"model_type": "llava", "text_config": {"quantization_config": {"quant_method": "exl2"}}},
            'text_config.quantization_config.quant_method is "exl2"',
        ),
    ],
)  # fmt: skip
def test_invalid_field_error(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA | fields), encoding="utf-8")
    with pytest.raises(FaultyFile, match=f"^config.json: .*{message}") as refusal:
        require_config(path)
    assert "\n" not in str(refusal.value) and refusal.value.advice == "correct config.json"


@pytest.mark.parametrize(
    "fields",
    [
        {"num_key_value_heads": None, "head_dim": None, "rope_scaling": None, "quantization_config": None},
        {"num_hidden_layers": 0, "intermediate_size": 0},  # attention alone, or a table of pairs
        {"eos_token_id": [1, 2], "torch_dtype": "torch.bfloat16", "dtype": "auto"},
        {"dtype": {"": "float16", "text_config": "bfloat16"}},
        {"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 0},
        {"sliding_window": -1},  # which this class does not read
        {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
        {"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6}}},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False}},
        {"rms_norm_eps": 1e-5, "num_diffusion_steps": "many"},
        {"num_attention_heads": [4, 8], "num_key_value_heads": [3, 3]},  # one a layer
    ],
)
def test_valid_fields_are_accepted(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA | fields), encoding="utf-8")
    require_config(path)


def test_class_defaults_are_accepted() -> None:
    kinds = every_class.kinds()
    assert len(kinds) > 200
    for kind in kinds:
        try:
            facts = CONFIG_MAPPING[kind]().to_dict()
        except Exception:  # a class that needs more than its defaults
            continue
        require_fields(json.loads(json.dumps(facts, default=str)), kind)


@pytest.mark.parametrize(
    ("config", "package"),
    [
        ({"quant_method": "gptq", "bits": 4}, "optimum"),
        ({"quant_method": "awq", "bits": 4}, "gptqmodel"),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "torchao"),
        ({"quant_method": "compressed-tensors"}, "compressed_tensors"),
    ],
)
def test_missing_quantization_package_error(
    cli: Run, tmp_path: Path, tiny: Path, config: dict[str, Any], package: str
) -> None:
    if importlib.util.find_spec(package):
        pytest.skip("it is installed here")
    folder = changed(tiny, tmp_path / "model", "config.json", {"quantization_config": config})
    line = refused(cli("harness", "eval", "--model", folder, "--task", "flipflop"))
    assert f'quantization_config of config.json is "{config["quant_method"]}"' in line
    assert line.endswith(f"pip install '{package.replace('_', '-')}'")


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed here")
def test_missing_package_error_names_extra(tmp_path: Path, tiny: Path) -> None:
    config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    folder = changed(tiny, tmp_path / "model", "config.json", {"quantization_config": config})
    with pytest.raises(UserError, match=r"bitsandbytes is not installed.*pip install -e '\.\[quantization\]'"):
        resolve(ModelRequest(str(folder)))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_attention_heads", 0, "config.json: num_attention_heads is 0, but must be an integer from 1"),
        ("hidden_size", 33, "config.json: The hidden size (33) is not a multiple of the number of attention heads"),
        ("tie_word_embeddings", "x", "config.json: Field 'tie_word_embeddings' expected bool, got str"),
        ("max_position_embeddings", None, "config.json: Field 'max_position_embeddings' expected int, got NoneType"),
    ],
)
def test_error_names_file_field_and_advice(
    cli: Run, tmp_path: Path, tiny: Path, field: str, value: Any, message: str
) -> None:
    """For the harness's checks and those of transformers."""
    folder = changed(tiny, tmp_path / "model", "config.json", {field: value})
    line = refused(cli("harness", "eval", "--model", folder, "--task", "flipflop"))
    assert f"cannot be loaded ({message}" in line and line.endswith("correct config.json, or name another model")


# ---- generation_config.json


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", '"x"', "\0", "[1, 2]", "NaN"])
def test_generation_config_must_be_object(cli: Run, tmp_path: Path, tiny: Path, content: str) -> None:
    """It defines where answers end."""
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "generation_config.json").write_text(content, encoding="utf-8")
    line = refused(cli("harness", "eval", "--model", folder, "--task", "flipflop"))
    assert "(generation_config.json: it is " in line and "JSON" in line
    assert line.endswith("correct generation_config.json, or name another model")


@pytest.mark.parametrize("value", ["end", [[1]], 1.5, [1.5], True, {"a": 1}, ["end"], [None]])
def test_invalid_eos_token_id_error(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": value}), encoding="utf-8")
    with pytest.raises(FaultyFile, match=r"^generation_config.json: eos_token_id is .*a token id, or a list"):
        require_generation(path)


@pytest.mark.parametrize("fields", [{"max_new_tokens": "x"}, {"pad_token_id": "x"}, {"cache_implementation": "nope"}])
def test_unreadable_generation_config_error(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(FaultyFile, match=r"^generation_config.json: "):
        require_generation(path)


@pytest.mark.parametrize("value", [None, 0, -1, [], [3, 4], 10**9])
def test_valid_eos_token_id_is_accepted(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": value, "temperature": 0.6, "do_sample": True}), encoding="utf-8")
    require_generation(path)


# ---- The other files


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", "[" * 100_000])
@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json"],
)
def test_json_files_must_be_objects(tmp_path: Path, tiny: Path, name: str, content: str) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=rf"\({name}: it is .*JSON.*correct {name}, or name another model"):
        resolve(ModelRequest(str(folder)))


def test_index_must_be_json(tmp_path: Path, tiny: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"\(model.safetensors.index.json: it is not JSON"):
        resolve(ModelRequest(str(folder)))


def test_read_object(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    LlamaConfig().save_pretrained(tmp_path)
    assert read_object(path) == json.loads(path.read_text(encoding="utf-8"))
