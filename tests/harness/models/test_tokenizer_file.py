"""Texts are tokenized as in tokenizer.json, whatever class transformers uses."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from harness.errors import UserError
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.models.tokenizer_file import use_tokenizer_file
from tests.conftest import Run
from tests.hub import Hub
from tests.support import families, models, tokenizers

TEXTS = ["w 0 i 1 r 0", "How many r's are in strawberry?\n\nAnswer: ", "12345 + 678 =", "Ünïcode  two spaces"]
# Families whose tokenizers transformers rebuilds from a vocabulary, each with its own template.
REBUILT = ["qwen2", "qwen3", "llama", "mistral", "gemma", "gpt2", "cohere", "gpt_neox", "olmo2", "phi3", "opt", "bloom"]
KINDS = {"merged spaces": tokenizers.gpt2, "pieces": tokenizers.llama2, "single digits": tokenizers.single_digits}


def saved(folder: Path, family: str, tokenizer: Any, **settings: Any) -> Path:
    """A model folder with the tokenizer.json of `tokenizer`."""
    families.tiny(family, 400).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if settings:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | settings), encoding="utf-8")
    return folder


def ids_in_file(folder: Path, text: str) -> list[int]:
    return list(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", REBUILT)
def test_tokens_equal_tokenizer_file(family: str, kind: str, tmp_path: Path) -> None:
    source = resolve(ModelRequest(str(saved(tmp_path, family, KINDS[kind]()))))
    for text in TEXTS:
        assert source.tokenizer.encode(text, add_special_tokens=False) == ids_in_file(tmp_path, text)
    assert source.tokens_from == "tokenizer.json"


def test_transformers_differs_for_some(tmp_path: Path) -> None:
    """Otherwise the test above would be vacuous."""
    folder = saved(tmp_path, "qwen2", tokenizers.gpt2())
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded.encode(TEXTS[0], add_special_tokens=False) != ids_in_file(folder, TEXTS[0])


@pytest.mark.parametrize("named", ["TokenizersBackend", "Qwen2Tokenizer", "Qwen2TokenizerFast", "LlamaTokenizerFast"])
def test_tokenizer_class_is_ignored(named: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, "qwen2", tokenizers.gpt2(), tokenizer_class=named)
    source = resolve(ModelRequest(str(folder)))
    assert source.tokenizer.encode(TEXTS[0], add_special_tokens=False) == ids_in_file(folder, TEXTS[0])


@pytest.mark.parametrize("family", ["qwen2", "gpt_neox", "llama", "gpt2"])
def test_surrounding_tokens_and_chat_template_are_kept(family: str, tmp_path: Path) -> None:
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    tokenizer = models.fast(models.with_bos_and_eos())
    tokenizer.chat_template = template
    folder = saved(tmp_path, family, tokenizer, bos_token="<s>", eos_token="</s>")
    own = resolve(ModelRequest(str(folder))).tokenizer
    inside = ids_in_file(folder, TEXTS[0])
    assert own.encode(TEXTS[0]) == [own.convert_tokens_to_ids("<s>"), *inside, own.convert_tokens_to_ids("</s>")]
    assert own.chat_template == template
    assert (own.bos_token, own.eos_token) == ("<s>", "</s>")


@pytest.mark.parametrize("in_settings", [True, False])
def test_surrounding_tokens_of_settings(in_settings: bool, tmp_path: Path) -> None:
    plain = models.fast(models.gpt2_like())
    plain.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    folder = saved(tmp_path, "llama", plain, **({"add_bos_token": True} if in_settings else {}))
    own = use_tokenizer_file(models.fast(models.with_bos_and_eos()), folder)
    inside = ids_in_file(folder, TEXTS[0])
    around = own.convert_tokens_to_ids(["<s>", "</s>"])
    assert own.encode(TEXTS[0]) == ([around[0], *inside, around[1]] if in_settings else inside)


FACTS = {"content": "<|im_end|>", "special": True, "normalized": False}


@pytest.mark.parametrize("place", ["settings", "older files"])
def test_tokens_of_other_files_are_added(place: str, tmp_path: Path) -> None:
    tokenizer = models.fast(models.gpt2_like())
    size = len(tokenizer)
    named = {"added_tokens_decoder": {str(size): FACTS}} if place == "settings" else {}
    folder = saved(tmp_path, "qwen2", tokenizer, eos_token="<|im_end|>", **named)
    if place == "older files":
        (folder / "added_tokens.json").write_text(json.dumps({"<|im_end|>": size}), encoding="utf-8")
        (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<|im_end|>"}), encoding="utf-8")
    own = resolve(ModelRequest(str(folder))).tokenizer
    assert own.encode("w<|im_end|>", add_special_tokens=False)[-1] == size
    assert own.eos_token_id == size


def test_conflicting_token_ids_error(tmp_path: Path) -> None:
    tokenizer = models.fast(models.gpt2_like())
    folder = saved(tmp_path, "qwen2", tokenizer)
    loaded = AutoTokenizer.from_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    moved = {"added_tokens_decoder": {str(len(tokenizer) + 5): FACTS}}
    settings.write_text(json.dumps(json.loads(settings.read_text(encoding="utf-8")) | moved), encoding="utf-8")
    with pytest.raises(UserError, match="the id"):
        use_tokenizer_file(loaded, folder)


@pytest.mark.slow("harness/models")
def test_hub_model(cli: Run, tmp_path: Path) -> None:
    """Recorded in run.json, and resolved offline."""
    folder = saved(tmp_path / "model", "qwen2", models.fast(models.gpt2_like()))
    with Hub(tmp_path / "hub") as hub:
        hub.add_repository("model", "org/rebuilt", folder)
        words = ["--model", "org/rebuilt", "--task", "flipflop", "--limit", "2", "--set", "flipflop.length=32"]
        for offline in ("0", "1"):
            environment = hub.environment(home=tmp_path / "home") | {"HF_HUB_OFFLINE": offline}
            done = cli("harness", "eval", *words, **environment)
            assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/org--rebuilt/*/run.json")
    facts = json.loads(run.read_text(encoding="utf-8"))
    assert facts["model"]["tokenizer"]["from"] == "tokenizer.json"
    first = facts["data"]["tasks"]["flipflop"]["rendering"]["first_tokens"]
    text = facts["data"]["tasks"]["flipflop"]
    assert text and len(first) == 8  # eight symbols, a token each
    spaced = ids_in_file(folder, "w 0 i 1 r 0 i 1")
    assert set(first) <= {*spaced, *ids_in_file(folder, "w 1 w 0 r 1 r 0")}


def test_invalid_post_processor_error(tmp_path: Path) -> None:
    """The library panics, which is not an Exception."""
    folder = models.save_tiny(tmp_path / "model", models.gpt2_like())
    path = folder / "tokenizer.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    around = [{"SpecialToken": {"id": "<no>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    facts["post_processor"] = {"type": "TemplateProcessing", "single": around, "pair": around, "special_tokens": {}}
    path.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(UserError, match="cannot be") as refusal:
        resolve(ModelRequest(str(folder)))
    assert "\n" not in str(refusal.value)
