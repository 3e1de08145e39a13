"""Tiny models with random weights, and their tokenizers."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast


def byte_level(merges: list[tuple[str, str]]) -> Tokenizer:
    """Returns a byte-level BPE tokenizer with all bytes and the given merges. \u0120 is the byte of a space."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([*alphabet, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def gpt2_like() -> Tokenizer:
    """Returns a tokenizer in which ` 0`, ` 1`, ` w`, ` r` and ` i` are single tokens."""
    return byte_level([("\u0120", symbol) for symbol in "01wri"])


def bytes_only() -> Tokenizer:
    """Returns a tokenizer without merges: the space is a separate token."""
    return byte_level([])


def with_bos_and_eos() -> Tokenizer:
    """Returns a GPT-2-like tokenizer that adds a special token before and after every text."""
    tokenizer = gpt2_like()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    ends = [(piece, tokenizer.token_to_id(piece)) for piece in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return tokenizer


def merged() -> Tokenizer:
    """Returns a tokenizer in which an instruction and its symbol are one token, so answers are not separable."""
    tokenizer = byte_level([("\u0120", "0"), ("\u0120", "1"), ("r", "\u01200"), ("r", "\u01201")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[wri] \d"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return tokenizer


def trailing() -> Tokenizer:
    """Returns a tokenizer in which a symbol and the following space are one token."""
    tokenizer = byte_level([("0", "\u0120"), ("1", "\u0120")])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def revealing_space() -> Tokenizer:
    """Returns a tokenizer in which ` 0` is one token and ` 1` two: a separate space reveals that 1 follows."""
    return byte_level([("\u0120", symbol) for symbol in "0wri"])


def unknown_instructions() -> Tokenizer:
    """Returns a tokenizer in which all instructions are the unknown token."""
    tokenizer = Tokenizer(models.WordLevel({"0": 0, "1": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def numbers(symbols: int) -> Tokenizer:
    """Returns a word-level tokenizer with the instructions and the numbers below `symbols`."""
    words = {piece: number for number, piece in enumerate([*"wri", *map(str, range(symbols)), "?"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def shared_symbol_token() -> Tokenizer:
    """Returns a tokenizer in which both symbols are the unknown token."""
    tokenizer = Tokenizer(models.WordLevel({"w": 0, "r": 1, "i": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def context_dependent() -> Tokenizer:
    """Returns a tokenizer in which ` 1` is one token, except after `w 1 r`, where the space belongs to the r."""
    tokenizer = byte_level([("\u0120", "0"), ("\u0120", "1"), ("r", "\u0120")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"(?<=w 1 )r "), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return tokenizer


def fast(tokenizer: Tokenizer) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, name_or_path="tiny")


def save_tiny(folder: Path, tokenizer: Tokenizer, context: int = 2048, kind: str = "gpt2") -> Path:
    """Saves a tiny GPT-2 or Llama with the tokenizer as a model folder, and returns the folder."""
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
    for parameter in model.parameters():  # larger weights, so that the argmax is well separated
        parameter.data.mul_(3)
    model.save_pretrained(folder)
    fast(tokenizer).save_pretrained(folder)
    return folder
