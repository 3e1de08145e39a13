"""GGUF files in several parts equal the single file."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from harness.errors import UserError
from harness.models.gguf_files import join_parts, parts_of, require_parts, stem_of
from harness.models.loading import load
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from tests.support import models

WIDTH, HEADS, LAYERS, INNER = 32, 4, 2, 64
TENSORS = {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH)}
TENSORS |= {"ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}


def write(folder: Path, most_tensors: int = 0) -> list[str]:
    """A tiny Llama in GGUF; its files in order."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    tokenizer = models.gpt2_like()
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])]
    writer = GGUFWriter(folder / "tiny.gguf", "llama", split_max_tensors=most_tensors)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(["Ġ 0", "Ġ 1"])
    writer.add_eos_token_id(0)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float32) * (0.3 if shape[1:] else 1))

    add("token_embd", len(tokens), WIDTH)
    for layer in range(LAYERS):
        for name, shape in TENSORS.items():
            add(f"blk.{layer}.{name}", *shape)
        add(f"blk.{layer}.attn_norm", WIDTH)
        add(f"blk.{layer}.ffn_norm", WIDTH)
    add("output_norm", WIDTH)
    add("output", len(tokens), WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(path.name for path in folder.glob("*.gguf"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("harness.models.gguf_files.HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@torch.inference_mode()
def logits(folder: Path, name: str) -> torch.Tensor:
    source = resolve(ModelRequest(str(folder), gguf_file=name))
    found: torch.Tensor = load(source)(torch.arange(3, 40)[None]).logits
    return found


@pytest.mark.parametrize("most_tensors", [8, 5, 1])
def test_parts_equal_single_file(tmp_path: Path, cache: Path, most_tensors: int) -> None:
    (whole,) = write(tmp_path / "whole")
    parts = write(tmp_path / "parts", most_tensors)
    assert len(parts) > 2 and parts_of(parts[0]) == parts
    expected = logits(tmp_path / "whole", whole)
    assert torch.equal(logits(tmp_path / "parts", parts[0]), expected)
    assert torch.equal(logits(tmp_path / "parts", parts[-1]), expected)
    assert len(list(cache.rglob("*.gguf"))) == 1
    source = resolve(ModelRequest(str(tmp_path / "parts"), gguf_file=parts[0]))
    assert source.name == "local/tiny"
    assert source.request.gguf_file == parts[0]


def test_revision_covers_all_parts(tmp_path: Path, cache: Path) -> None:
    parts = write(tmp_path / "parts", 8)
    before = resolve(ModelRequest(str(tmp_path / "parts"), gguf_file=parts[0])).revision
    path = tmp_path / "parts" / parts[-1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert resolve(ModelRequest(str(tmp_path / "parts"), gguf_file=parts[0])).revision != before


def test_missing_part_error(tmp_path: Path, cache: Path) -> None:
    parts = write(tmp_path / "parts", 8)
    shutil.move(tmp_path / "parts" / parts[1], tmp_path / "elsewhere.gguf")
    with pytest.raises(UserError, match=f"lacks {parts[1]}, a part of {parts[0]}: put all {len(parts)} parts"):
        resolve(ModelRequest(str(tmp_path / "parts"), gguf_file=parts[0]))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("end", [0, 30, 2000, -4])
def test_truncated_part_error(tmp_path: Path, cache: Path, number: int, end: int) -> None:
    parts = write(tmp_path / "parts", 8)
    path = tmp_path / "parts" / parts[number]
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(UserError, match=rf"\({path.name}: it is truncated or damaged\): fetch it again"):
        resolve(ModelRequest(str(tmp_path / "parts"), gguf_file=parts[0]))
    assert not [*cache.rglob("*.gguf")]


@pytest.mark.parametrize(
    ("name", "parts", "stem"),
    [
        ("m.gguf", ["m.gguf"], "m"),
        ("m-00001-of-00002.gguf", ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"], "m"),
        ("q4/m-00002-of-00002.gguf", ["q4/m-00001-of-00002.gguf", "q4/m-00002-of-00002.gguf"], "m"),
        ("m-1-of-2.gguf", ["m-1-of-2.gguf"], "m-1-of-2"),
        ("m-00001-of-00002.gguf.bak", ["m-00001-of-00002.gguf.bak"], "m-00001-of-00002.gguf"),
    ],
)
def test_part_names(name: str, parts: list[str], stem: str) -> None:
    assert parts_of(name) == parts
    assert stem_of(name) == stem


def test_join_parts_is_cached(tmp_path: Path, cache: Path) -> None:
    parts = write(tmp_path / "parts", 8)
    require_parts(tmp_path / "parts", parts[0])
    first = join_parts(tmp_path / "parts", parts[0])
    assert join_parts(tmp_path / "parts", parts[1]) == first
    assert [*cache.rglob("*.gguf")] == [first]
    assert not [*cache.rglob("*.partial")]
