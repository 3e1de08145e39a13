"""Tokenizers in the ways of published families, trained here on the questions of the tasks and a few other texts."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from harness.planning.planner import plan_jobs
from harness.planning.request import Questions
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


def _made(tokenizer: Tokenizer, trainer: Any, **special: str) -> Any:
    tokenizer.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, name_or_path="published", **special)


def _wordpiece(lower: bool) -> Any:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[UNK]", "[CLS]", "[SEP]", *TURNS]
    tokenizer = _made(
        made,
        trainers.WordPieceTrainer(vocab_size=700, special_tokens=special, initial_alphabet=CHARACTERS),
        unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
    )  # fmt: skip
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.backend_tokenizer.post_processor = made.post_processor
    return tokenizer


def _unigram(normalizer: Any, pre_tokenizer: Any) -> Any:
    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    made.decoder = decoders.Metaspace()
    special = ["<unk>", "</s>", *TURNS]
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=special, unk_token="<unk>", initial_alphabet=ALPHABET
    )
    tokenizer = _made(made, trainer, unk_token="<unk>", eos_token="</s>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def albert() -> Any:
    """Small letters, no accents, one space for several, quotes of one kind."""
    parts = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD()]
    parts += [normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace(Regex(" {2,}"), " ")]
    return _unigram(normalizers.Sequence(parts), pre_tokenizers.Metaspace())


def t5() -> Any:
    """Line ends are spaces, the blanks at the end are left out."""
    cut = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return _unigram(normalizers.NFKC(), cut)


def openai_gpt() -> Any:
    """The ends of words are marked, and spaces left out."""
    made = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", *TURNS], end_of_word_suffix="</w>", initial_alphabet=CHARACTERS
    )
    return _made(made, trainer, unk_token="<unk>")


def _bytes(pre_tokenizer: Any) -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizer, decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _made(made, trainers.BpeTrainer(vocab_size=700, special_tokens=TURNS, initial_alphabet=alphabet))


def llama3() -> Any:
    cut = pre_tokenizers.Split(Regex(LLAMA3_CUTS), "isolated")
    return _bytes(pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)]))


def superwords() -> Any:
    """Tokens may hold several words, each of which begins with its space."""
    cut = pre_tokenizers.Split(Regex(r"How many times|Answer with a|[^ ]+| [^ ]+"), "isolated")
    return _bytes(pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)]))


def _sentencepiece(normalizer: Any, pre_tokenizer: Any) -> Any:
    """Bytes for what has no token."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", *[f"<0x{byte:02X}>" for byte in range(256)], *TURNS]
    _made(made, trainers.BpeTrainer(vocab_size=800, special_tokens=special, initial_alphabet=CHARACTERS))
    facts = json.loads(made.to_str())
    facts["added_tokens"] = [one for one in facts["added_tokens"] if not one["content"].startswith("<0x")]
    made = Tokenizer.from_str(json.dumps(facts))
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    made.decoder = decoders.Sequence(
        [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, name_or_path="published", unk_token="<unk>", bos_token="<s>")


def llama2() -> Any:
    return _sentencepiece(normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)]), None)


def gemma() -> Any:
    """The same without a space before the first word, and a pattern that never fits."""
    return _sentencepiece(normalizers.Replace(" ", MARK), pre_tokenizers.Split(" ", "merged_with_previous"))


def characters() -> Any:
    vocabulary = {sign: number for number, sign in enumerate(ALPHABET)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"), decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, name_or_path="published")


def bytes_alone() -> Any:
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=made, name_or_path="published")


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
