"""Weights that do not match the config: errors name file and field, quickly."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from harness.errors import UserError
from harness.models import checkpoint
from harness.models.checkpoint import require_all_layers_used, stored_gguf, stored_safetensors
from harness.models.loading import load
from harness.models.model_config import FaultyFile
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from tests.conftest import Run, refused
from tests.harness.models.test_gguf_files import write
from tests.harness.models.test_model_config import changed
from tests.support import models

Make = Callable[[str, Any], Path]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("models") / "tiny", models.gpt2_like(), kind="llama")


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    (name,) = write(folder)
    return folder / name


@pytest.fixture
def with_field(tiny: Path, tmp_path: Path) -> Make:
    return lambda field, value: changed(tiny, tmp_path / "model", "config.json", {field: value})


def tried(folder: Path, gguf_file: str | None = None) -> Any:
    """Loads a model as an evaluation does."""
    return load(resolve(ModelRequest(str(folder), gguf_file=gguf_file)), torch.device("cpu"))


# ---- Damaged files


@pytest.mark.parametrize("part", [0.0, 0.00003, 0.00006, 0.001, 0.5, 0.99999, 1.1])
def test_damaged_safetensors_error(cli: Run, tmp_path: Path, tiny: Path, part: float) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes((content + content)[: int(part * len(content))])
    line = refused(cli("harness", "eval", "--model", folder, "--task", "flipflop"))
    assert "(model.safetensors: it is truncated or damaged" in line and "fetch it again, or name another model" in line


def test_damaged_shard_error(tmp_path: Path, tiny: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(folder, max_shard_size="30KB")
    last = sorted(folder.glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-4])
    with pytest.raises(UserError, match=rf"\({last.name}: it is truncated or damaged"):
        tried(folder)


@pytest.mark.parametrize(
    ("other", "advice"), [(None, "put model.safetensors into the folder"), ("pytorch_model.bin", "is a pickle")]
)
def test_missing_weights_error(tmp_path: Path, tiny: Path, other: str | None, advice: str) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    if other:
        (folder / other).write_bytes(b"")
    with pytest.raises(UserError, match=rf"\(model.safetensors: there is no such file\).*{advice}"):
        tried(folder)


@pytest.mark.parametrize("part", [0.0, 0.00003, 0.0001, 0.001, 0.01, 0.04, 0.5, 0.99999])
def test_truncated_gguf_error(cli: Run, tmp_path: Path, gguf: Path, part: float) -> None:
    content = gguf.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: int(part * len(content))])
    line = refused(cli("harness", "eval", "--model", tmp_path / "cut.gguf", "--task", "flipflop"))
    assert "(cut.gguf: it is truncated or damaged): fetch it again" in line


def test_headers_equal_libraries(tiny: Path, gguf: Path) -> None:
    weights = load_file(tiny / "model.safetensors")
    stored = stored_safetensors(tiny, ["model.safetensors"])
    assert stored.shapes == {name: tuple(weight.shape) for name, weight in weights.items()}
    assert (stored.count, stored.layers) == (len(weights), 2)
    packed = stored_gguf(gguf)
    assert packed.shapes == {one.name: tuple(one.shape.tolist()[::-1]) for one in GGUFReader(gguf).tensors}
    assert packed.layers == 2


# ---- Layers


@pytest.mark.parametrize("layers", [9_999, 500, 22])
def test_more_layers_than_tensors_error_without_building(
    tmp_path: Path, tiny: Path, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_build_empty", lambda *_: pytest.fail("it was built"))
    folder = changed(tiny, tmp_path / "model", "config.json", {"num_hidden_layers": layers})
    message = rf"config.json: num_hidden_layers is {layers:,}, but model.safetensors has 21 tensors of 2 layers"
    with pytest.raises(UserError, match=message):
        tried(folder)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (3, "num_hidden_layers is 3, but model.safetensors has 2: it lacks model.layers.2"),
        (1, r"num_hidden_layers is 1, but the weights have model.layers.1"),
        (0, r"num_hidden_layers is 0, but the weights have model.layers.0"),
    ],
)
def test_layer_mismatch_error(with_field: Make, layers: int, message: str) -> None:
    """With fewer layers it would be another model under the same name."""
    with pytest.raises(UserError, match=f"config.json: {message}"):
        tried(with_field("num_hidden_layers", layers))


def setting(gguf: Path, folder: Path, key: str, value: int) -> str:
    """Copies a GGUF file with another value of a setting; returns its name."""
    content = bytearray(gguf.read_bytes())
    at = content.index(key.encode()) + len(key) + 4
    content[at : at + 4] = value.to_bytes(4, "little")
    (folder / "other.gguf").write_bytes(content)
    return "other.gguf"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("llama.block_count", 9_999, "num_hidden_layers is 9,999, but other.gguf has 21 tensors of 2 layers"),
        ("llama.block_count", 3, "num_hidden_layers is 3, but other.gguf has 2: it lacks model.layers.2"),
        ("llama.block_count", 1, "num_hidden_layers is 1, but it has 2 layers"),
        ("llama.block_count", 0, "num_hidden_layers is 0, but it has 2 layers"),
        ("llama.context_length", 0, "max_position_embeddings is 0, but must be"),
        ("llama.attention.head_count_kv", 0, "num_key_value_heads is 0, but must be"),
        ("llama.feed_forward_length", 63, "its tensors have other shapes"),
        ("llama.embedding_length", 10**8, "it requires [0-9,]+ weights, but other.gguf has fewer"),
    ],
)
def test_gguf_settings_mismatch_error(tmp_path: Path, gguf: Path, key: str, value: int, message: str) -> None:
    name = setting(gguf, tmp_path, key, value)
    with pytest.raises(UserError, match=rf"\({name}: {message}") as refusal:
        tried(tmp_path, name)
    assert "\n" not in str(refusal.value) and "above report" not in str(refusal.value)


def test_multi_token_prediction_layers_are_exempt(tiny: Path) -> None:
    """These layers follow the others and speed up decoding."""
    model = AutoModelForCausalLM.from_pretrained(tiny)
    extra = ["model.layers.2.eh_proj.weight", "model.layers.2.mlp.up_proj.weight"]
    with pytest.raises(FaultyFile, match=r"num_hidden_layers is 2, but the weights have model\.layers\.2"):
        require_all_layers_used(model, extra)
    model.config.num_nextn_predict_layers = 1
    require_all_layers_used(model, extra)
    require_all_layers_used(
        model, ["vision_tower.layers.30.weight", "model.rotary_emb.inv_freq", "extra.layers.9.weight"]
    )


# ---- Shapes


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden_size", 64, r"lm_head.weight is 261 x 32 in the weights, but it requires 261 x 64 \(hidden_size 64"),
        ("intermediate_size", 63, r"is 32 x 64 in the weights, but it requires 32 x 63 \(intermediate_size 63\)"),
        ("intermediate_size", 0, r"is 32 x 64 in the weights, but it requires 32 x 0 \(intermediate_size 0\)"),
        ("vocab_size", 262, r"lm_head.weight is 261 x 32 in the weights, but it requires 262 x 32 \(vocab_size 262\)"),
        ("vocab_size", 10**9, r"embed_tokens.weight is 261 x 32 .* 1000000000 x 32 \(vocab_size 1000000000\)"),
        ("vocab_size", 10**7, r"embed_tokens.weight is 261 x 32 .* 10000000 x 32 \(vocab_size 10000000\)"),
        ("hidden_size", 10**7, r"embed_tokens.weight is 261 x 32 .* 261 x 10000000 \(hidden_size 10000000\)"),
        ("hidden_size", 10**9, r"embed_tokens.weight is 261 x 32 .* 261 x 1000000000 \(hidden_size 1000000000\)"),
        ("num_key_value_heads", 1, "k_proj.weight is 32 x 32 in the weights, but it requires 16 x 32"),
    ],
)
def test_shape_mismatch_error_names_field(with_field: Make, field: str, value: int, message: str) -> None:
    with pytest.raises(UserError, match=rf"config.json: .*{message}.*correct config.json, or name another model"):
        tried(with_field(field, value))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_act", "nope"),
        ("rope_parameters", {"rope_type": "nope", "rope_theta": 1e4}),
        ("rope_parameters", {"rope_type": ["nope"], "rope_theta": 1e4}),
        ("head_dim", 0),
    ],
)
def test_unbuildable_config_error_names_field(with_field: Make, field: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"config.json: no model can be built with {field} .*(nope|0)"):
        tried(with_field(field, value))


def test_unbuildable_config_of_other_family(tmp_path: Path) -> None:
    tiny = models.save_tiny(tmp_path / "tiny", models.gpt2_like())
    for number, (field, value, message) in enumerate(
        [
            ("n_layer", 9_999, "n_layer is 9,999, but model.safetensors has 28 tensors of 2 layers"),
            ("n_layer", 1, "n_layer is 1, but the weights have transformer.h.1"),
            ("n_positions", 64, r"wpe.weight is 2048 x 32 in the weights, but it requires 64 x 32 \(n_positions 64\)"),
            ("activation_function", "nope", 'no model can be built with activation_function "nope"'),
            ("n_head", 3, "no model can be built with .*divisible by num_heads"),
        ]
    ):
        with pytest.raises(UserError, match=rf"config.json: .*{message}"):
            tried(changed(tiny, tmp_path / str(number), "config.json", {field: value}))


def test_matching_weights_are_loaded(tiny: Path, tmp_path: Path) -> None:
    """Also tied weights, which are stored once."""
    weights = load_file(tiny / "model.safetensors")
    assert all(torch.equal(weight, weights[name]) for name, weight in tried(tiny).state_dict().items())
    model = AutoModelForCausalLM.from_pretrained(tiny)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path / "tied")
    models.fast(models.gpt2_like()).save_pretrained(tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    assert json.loads((tmp_path / "tied" / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"]
    tied = tried(tmp_path / "tied")
    assert torch.equal(tied.lm_head.weight, weights["model.embed_tokens.weight"])
