"""Tokenizers of the kinds that published models use, with vocabularies just large enough for the tests."""

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPACE, MARK = "\u0120", "\u2581"  # the space in byte-level and in SentencePiece vocabularies
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
DIGITS = "0123456789"
# The pre-tokenization pattern of Llama 3: digits are in groups of up to three.
LLAMA3_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
GPT2_MERGES = [(SPACE, symbol) for symbol in "wri" + DIGITS] + [(SPACE + "1", "0"), (SPACE + "1", "1")]
NUMBER_MERGES = [("1", "0"), ("1", "1")]


def wrapped(tokenizer: Tokenizer, **special: str) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, name_or_path="tiny", **special)


def byte_level(merges: list[tuple[str, str]]) -> Tokenizer:
    vocabulary = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    tokenizer = Tokenizer(models.BPE(vocab={piece: token for token, piece in enumerate(vocabulary)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def opening(tokenizer: Tokenizer, piece: str) -> Tokenizer:
    """Adds a special token before every text."""
    tokenizer.add_special_tokens([piece])
    ends = [(piece, tokenizer.token_to_id(piece))]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{piece} $A", special_tokens=ends)
    return tokenizer


def gpt2() -> Any:
    """A space belongs to the next word, and two-digit numbers are tokens. No special token is added to texts."""
    tokenizer = byte_level(GPT2_MERGES)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return wrapped(tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def gpt2_without_numbers() -> Any:
    """Like gpt2, without tokens for 10 and 11."""
    return wrapped(byte_level(GPT2_MERGES[:-2]))


def llama3() -> Any:
    """Numbers are separate from the space before them; the post-processor adds <|begin_of_text|>."""
    tokenizer = byte_level([*[(SPACE, symbol) for symbol in "wri"], *NUMBER_MERGES])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3_CUTS), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    opening(tokenizer, "<|begin_of_text|>")
    tokenizer.add_special_tokens(["<|end_of_text|>"])
    return wrapped(tokenizer, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>")


def _pieces() -> dict[str, int]:
    alphabet = dict.fromkeys(["</s>", "<unk>", "<s>", *BYTES, MARK, *"wri" + DIGITS])
    return {piece: token for token, piece in enumerate(alphabet)}


def _spaces(after: int) -> decoders.Decoder:
    """Returns the decoder of SentencePiece."""
    return decoders.Sequence(
        [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", after, 0)]
    )


def _sentence_bpe(merges: list[tuple[str, str]]) -> Tokenizer:
    vocabulary = _pieces()
    for pair in merges:
        vocabulary.setdefault("".join(pair), len(vocabulary))
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    return Tokenizer(model)


WORD_MERGES = [(MARK, symbol) for symbol in "wri" + DIGITS]


def metaspace(scheme: str) -> Any:
    """BPE over words with a space marker, and byte fallback. scheme: which words get the marker."""
    tokenizer = _sentence_bpe([*WORD_MERGES, (MARK + "1", "0"), (MARK + "1", "1")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = _spaces(0 if scheme == "never" else 1)
    return wrapped(opening(tokenizer, "<s>"), bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def unigram() -> Any:
    """Unigram model in which each number up to 11 is one token. No special token is added."""
    pieces = [("<unk>", 0.0), *[(MARK + word, -3.0) for word in [*"wri" + DIGITS, "10", "11"]]]
    pieces += [(character, -6.0) for character in [MARK, *"wri" + DIGITS]] + [(byte, -20.0) for byte in BYTES]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = _spaces(1)
    return wrapped(tokenizer, unk_token="<unk>")


def llama2() -> Any:
    """The normalizer replaces spaces by markers and adds one at the start; digits are separate tokens."""
    tokenizer = _sentence_bpe([(MARK, symbol) for symbol in "wri"])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    tokenizer.decoder = _spaces(1)
    return wrapped(opening(tokenizer, "<s>"), bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def wordpiece() -> Any:
    """WordPiece as in BERT: lower case, ## continuations, [CLS] before and [SEP] after the text."""
    words = ["[UNK]", "[CLS]", "[SEP]", *"wri" + DIGITS, *[f"##{digit}" for digit in DIGITS], "10"]
    vocabulary = {piece: token for token, piece in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return wrapped(tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")


def single_digits() -> Any:
    """Digits are separated before BPE."""
    tokenizer = byte_level([*GPT2_MERGES, *NUMBER_MERGES])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return wrapped(tokenizer)


def characters() -> Any:
    """Each character is a token; most are unknown."""
    tokenizer = Tokenizer(models.BPE(vocab={piece: n for n, piece in enumerate([*" wri" + DIGITS, "?"])}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.model.unk_token = "?"
    return wrapped(tokenizer, unk_token="?")


def single_bytes() -> Any:
    return wrapped(byte_level([]))


def spaces_after() -> Any:
    """A token may include the following space, so the token of a symbol depends on whether text follows."""
    tokenizer = byte_level([(symbol, SPACE) for symbol in "wri" + DIGITS])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return wrapped(tokenizer)


def pairs() -> Any:
    """An instruction and its symbol are one token."""
    merges = [(SPACE, symbol) for symbol in DIGITS]
    merges += [(instruction, SPACE + symbol) for instruction in "wri" for symbol in DIGITS]
    tokenizer = byte_level(merges)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[wri] \d+"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return wrapped(tokenizer)


def revealing_space() -> Any:
    """` 0` is one token and ` 1` two: a separate space reveals that 1 follows."""
    return wrapped(byte_level([(SPACE, symbol) for symbol in "0wri"]))
