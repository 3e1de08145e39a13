"""Tokenizers of published model families, trained on the prompts of the tasks and a few other texts."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from harness.planning.evaluation_request import Questions
from harness.planning.planner import plan_jobs
from harness.prompts.rendering import plain_texts
from harness.tasks import CompletionTask
from tests.support.tokenizers import LLAMA3_CUTS

MARK = "\u2581"
CHARACTERS = [chr(code) for code in range(32, 127)]
ALPHABET = [*CHARACTERS, "\n"]
TURNS = ["<|im_start|>", "<|im_end|>"]


@cache
def corpus() -> tuple[str, ...]:
    texts = ["The quick brown fox jumps over the lazy dog's back, don't you know?", "user\n", "assistant\n"]
    for job in plan_jobs(Questions(limit=30)):
        rows = job.config.table(job.split, 0, job.rows)
        texts += plain_texts(job, rows) if isinstance(job.task, CompletionTask) else job.task.texts(rows)
    return tuple(texts)


def _train(tokenizer: Tokenizer, trainer: Any, **special: str) -> Any:
    tokenizer.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, name_or_path="published", **special)


def _wordpiece(lower: bool) -> Any:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lower)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    special = ["[UNK]", "[CLS]", "[SEP]", *TURNS]
    tokenizer = _train(
        backend,
        trainers.WordPieceTrainer(vocab_size=700, special_tokens=special, initial_alphabet=CHARACTERS),
        unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
    )  # fmt: skip
    backend.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.backend_tokenizer.post_processor = backend.post_processor
    return tokenizer


def _unigram(normalizer: Any, pre_tokenizer: Any) -> Any:
    backend = Tokenizer(models.Unigram())
    backend.normalizer, backend.pre_tokenizer = normalizer, pre_tokenizer
    backend.decoder = decoders.Metaspace()
    special = ["<unk>", "</s>", *TURNS]
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=special, unk_token="<unk>", initial_alphabet=ALPHABET
    )
    tokenizer = _train(backend, trainer, unk_token="<unk>", eos_token="</s>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def albert() -> Any:
    """Lower case, no accents, single spaces, one kind of quotes."""
    parts = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD()]
    parts += [normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace(Regex(" {2,}"), " ")]
    return _unigram(normalizers.Sequence(parts), pre_tokenizers.Metaspace())


def t5() -> Any:
    """Newlines become spaces, trailing blanks are removed."""
    cut = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return _unigram(normalizers.NFKC(), cut)


def openai_gpt() -> Any:
    """End-of-word suffix, no spaces."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", *TURNS], end_of_word_suffix="</w>", initial_alphabet=CHARACTERS
    )
    return _train(backend, trainer, unk_token="<unk>")


def _bytes(pre_tokenizer: Any) -> Any:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizer, decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _train(backend, trainers.BpeTrainer(vocab_size=700, special_tokens=TURNS, initial_alphabet=alphabet))


def llama3() -> Any:
    cut = pre_tokenizers.Split(Regex(LLAMA3_CUTS), "isolated")
    return _bytes(pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)]))


def superwords() -> Any:
    """Tokens may contain several words, each with its leading space."""
    cut = pre_tokenizers.Split(Regex(r"How many times|Answer with a|[^ ]+| [^ ]+"), "isolated")
    return _bytes(pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)]))


def _sentencepiece(normalizer: Any, pre_tokenizer: Any) -> Any:
    """Byte fallback for characters without a token."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", *[f"<0x{byte:02X}>" for byte in range(256)], *TURNS]
    _train(backend, trainers.BpeTrainer(vocab_size=800, special_tokens=special, initial_alphabet=CHARACTERS))
    content = json.loads(backend.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if not token["content"].startswith("<0x")]
    backend = Tokenizer.from_str(json.dumps(content))
    backend.normalizer, backend.pre_tokenizer = normalizer, pre_tokenizer
    backend.decoder = decoders.Sequence(
        [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, name_or_path="published", unk_token="<unk>", bos_token="<s>"
    )


def llama2() -> Any:
    return _sentencepiece(normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)]), None)


def gemma() -> Any:
    """Like Llama 2, without a space before the first word, and with a pre-tokenizer that never matches."""
    return _sentencepiece(normalizers.Replace(" ", MARK), pre_tokenizers.Split(" ", "merged_with_previous"))


def characters() -> Any:
    vocabulary = {character: number for number, character in enumerate(ALPHABET)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"), decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, name_or_path="published")


def bytes_alone() -> Any:
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=backend, name_or_path="published")


PUBLISHED: dict[str, Callable[[], Any]] = {
    "BERT, uncased": lambda: _wordpiece(True),
    "BERT, cased": lambda: _wordpiece(False),
    "ALBERT": albert,
    "T5": t5,
    "GPT": openai_gpt,
    "GPT-2": lambda: _bytes(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "GPT-2 with a space before": lambda: _bytes(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "Llama 3": llama3,
    "words of several words": superwords,
    "Llama 2": llama2,
    "Llama 2, no normalizer": lambda: _sentencepiece(None, pre_tokenizers.Metaspace()),
    "Gemma": gemma,
    "characters": characters,
    "bytes": bytes_alone,
}
