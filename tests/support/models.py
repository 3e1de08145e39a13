"""Tiny models and tokenizers with weights of no meaning, built here."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast


def byte_level(merges: list[tuple[str, str]]) -> Tokenizer:
    """Byte-level BPE: every byte, and the given merges. \u0120 is the byte of a space."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([*alphabet, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def gpt2_like() -> Tokenizer:
    """` 0`, ` 1`, ` w` and the like are one token each."""
    return byte_level([("\u0120", symbol) for symbol in "01wri"])


def bytes_only() -> Tokenizer:
    """The space is a token of its own."""
    return byte_level([])


def with_bos_and_eos() -> Tokenizer:
    """GPT-2 like, with a special token before and one after every text."""
    tokenizer = gpt2_like()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    ends = [(piece, tokenizer.token_to_id(piece)) for piece in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return tokenizer


def merged() -> Tokenizer:
    """An instruction and its symbol are one token: answers cannot be told apart."""
    tokenizer = byte_level([("\u0120", "0"), ("\u0120", "1"), ("r", "\u01200"), ("r", "\u01201")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[wri] \d"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return tokenizer


def trailing() -> Tokenizer:
    """A symbol and the space after it are one token."""
    tokenizer = byte_level([("0", "\u0120"), ("1", "\u0120")])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def error_examples() -> Tokenizer:
    """` 0` is one token, ` 1` is two: the bare space before a 1 says that it comes."""
    return byte_level([("\u0120", symbol) for symbol in "0wri"])


def wordless() -> Tokenizer:
    """All instructions are the one token for what is unknown."""
    tokenizer = Tokenizer(models.WordLevel({"0": 0, "1": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def numbers(symbols: int) -> Tokenizer:
    """Words between spaces, among them the numbers below `symbols`."""
    words = {piece: number for number, piece in enumerate([*"wri", *map(str, range(symbols)), "?"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def blind() -> Tokenizer:
    """Both symbols are one and the same token."""
    tokenizer = Tokenizer(models.WordLevel({"w": 0, "r": 1, "i": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def fickle() -> Tokenizer:
    """` 1` is one token, but after `w 1 r` the space belongs to the r and `1` stands alone."""
    tokenizer = byte_level([("\u0120", "0"), ("\u0120", "1"), ("r", "\u0120")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"(?<=w 1 )r "), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return tokenizer


def fast(tokenizer: Tokenizer) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, name_or_path="tiny")


def save_tiny(folder: Path, tokenizer: Tokenizer, context: int = 2048, kind: str = "gpt2") -> Path:
    """A tiny GPT-2 or Llama with that tokenizer, saved as a model folder."""
    torch.manual_seed(0)
    size = tokenizer.get_vocab_size()
    if kind == "gpt2":
        config: Any = GPT2Config(vocab_size=size, n_positions=context, n_embd=32, n_layer=2, n_head=2)
    else:
        config = LlamaConfig(
            vocab_size=size, max_position_embeddings=context, hidden_size=32, intermediate_size=64,
            num_hidden_layers=2, num_attention_heads=2,
        )  # fmt: skip
    config.bos_token_id = config.eos_token_id = None
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():  # far from uniform, so that argmax means something
        parameter.data.mul_(3)
    model.save_pretrained(folder)
    fast(tokenizer).save_pretrained(folder)
    return folder
