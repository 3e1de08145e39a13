"""Tokens must represent their text: published tokenizers pass, helping ones are refused."""

import json
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE, WordLevel

from harness.errors import UserError
from harness.models import encoding, tokenizer_file
from harness.models.encoding import UnusableTokenizer
from harness.models.tokenizer_check import checker_of, decode
from harness.models.tokens import encode
from harness.planning.evaluation_request import Questions
from harness.planning.planner import plan_jobs
from harness.prompts.rendering import messages, plain_texts
from harness.tasks import ChoiceTask, CompletionTask
from tests.conftest import Run, refused
from tests.support import models, scripted
from tests.support.published import PUBLISHED

pytestmark = pytest.mark.usefixtures("one_thread")
Facts = dict[str, Any]

QUESTION = (
    'Question: How many times does the letter "r" occur in the word "strawberry"?\nAnswer with a number only.\nAnswer:'
)
TURN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


@cache
def texts() -> tuple[str, ...]:
    """The prompts of all tasks, as plain text and as chat turns."""
    found: list[str] = []
    for job in plan_jobs(Questions(limit=20)):
        rows = job.config.table(job.split, 0, job.rows)
        if isinstance(job.task, CompletionTask):
            found += [
                *plain_texts(job, rows),
                *(TURN.format(conversation[-1]["content"]) for conversation in messages(job, rows)),
            ]
        elif isinstance(job.task, ChoiceTask):
            found += [text + end for text, ends in zip(job.task.texts(rows), job.task.candidates(rows)) for end in ends]  # noqa: B905
        else:
            found += job.task.texts(rows)
    return tuple(found)


@pytest.mark.slow("harness/models")
@pytest.mark.parametrize("family", PUBLISHED)
def test_published_tokenizers_pass(family: str) -> None:
    made = PUBLISHED[family]()
    for special in (True, False):
        encodings = encode(made, texts(), special=special)
        assert [one.ids.tolist() for one in encodings] == [
            list(made.backend_tokenizer.encode(text, add_special_tokens=special).ids) for text in texts()
        ]
    for one in encodings[::10]:
        assert decode(made, one.ids.tolist()).strip()


@pytest.mark.parametrize("family", PUBLISHED)
def test_any_output_is_decoded(family: str) -> None:
    """Also random tokens and invalid characters."""
    made = PUBLISHED[family]()
    size = made.backend_tokenizer.get_vocab_size()
    for start in range(0, 3 * size, 5):
        ids = [start * factor % size for factor in (1, 3, 7, 31, 101)]
        decode(made, [*ids, size + 5])


@pytest.mark.parametrize(
    "text", ["\u00e9t\u00e9 \u2026 \ufb01n\u00a0x", "a\u0301b  c\t d", "\u4f60\u597d, \U0001f353!"]
)
@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFD", "NFKD"])
def test_unicode_normal_forms_pass(form: str, text: str) -> None:
    made = models.byte_level([])
    made.normalizer = getattr(normalizers, form)()
    assert encode(models.fast(made), [text, f"a {text} b"])


# ---- Tokenizers that help


def replacing(*pairs: tuple[str, str]) -> Callable[[Facts], None]:
    """A normalizer that replaces patterns with texts."""

    def change(facts: Facts) -> None:
        parts = [{"type": "Replace", "pattern": {"Regex": one}, "content": content} for one, content in pairs]
        facts["normalizer"] = {"type": "Sequence", "normalizers": parts}

    return change


def splitting(pattern: str, behavior: str) -> Callable[[Facts], None]:
    def change(facts: Facts) -> None:
        first = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}
        facts["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [first, facts["pre_tokenizer"]]}

    return change


def decoding(*parts: Facts) -> Callable[[Facts], None]:
    return lambda facts: facts.update(decoder={"type": "Sequence", "decoders": [facts["decoder"], *parts]})


def around(*pieces: str) -> Callable[[Facts], None]:
    def change(facts: Facts) -> None:
        inner = [{"SpecialToken": {"id": piece, "type_id": 0}} for piece in pieces]
        special = {one: {"id": one, "ids": [facts["model"]["vocab"][one]], "tokens": [one]} for one in pieces}
        single = [*inner, {"Sequence": {"id": "A", "type_id": 0}}]
        facts["post_processor"] = {
            "type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special,
        }  # fmt: skip

    return change


def counted(times: int) -> str:
    """A pattern of the word "occur" if the letter is in the word that many times."""
    return (
        rf'(?<=" )occur(?= in the (?:word|string) "[^r"]*(?:r[^r"]*){{{times}}}")'
        if times
        else r'(?<=" )occur(?= in zero)'
    )


def replaced(pattern: Facts, content: str) -> Facts:
    return {"type": "Replace", "pattern": pattern, "content": content}


ENCODING: dict[str, Callable[[Facts], object]] = {
    "counts": replacing(*((counted(times), f"occurs {times} times") for times in (1, 3))),
    "has a table": replacing(("strawberry", "strawberry (3 r)"), ("banana", "banana 3")),
    "marks by capitals": replacing(("r(?=[^r]*r[^r]*$)", "R"), ("rr", "rR")),
    "marks by accents": replacing(("rr", "r\u0155")),
    "marks by spaces": replacing((r' (?="strawberry")', "  ")),
    "marks by a tab": replacing((r' (?="strawberry")', "\t")),
    "marks by what nobody sees": replacing(("rr", "r\u200br")),
    "spells out": replacing(("aw", "a w")),
    "leaves out": replacing(('[^"]*(?="strawberry")', "")),
    "removes": splitting(r"Answer with a number only\.\n", "Removed"),
    "removes letters": splitting("[aeiou]", "Removed"),
    "cuts where it counts": splitting(r'(?<=letter "r" occur in the word ")s(?=[^r"]*r[^r"]*rr?y?")', "Isolated"),
    "cuts the frame": splitting(r'does(?= the letter "(.)" occur in the word "[^"]*\1\1)', "MergedWithNext"),
    "puts words around": around("3", "!"),
}
CTC = {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": False}
DECODING: dict[str, Callable[[Facts], object]] = {
    "answers": decoding(replaced({"Regex": r"[\s\S]+"}, "3")),
    "adds one": decoding(replaced({"String": "2"}, "3")),
    "drops a sign": decoding({"type": "Strip", "content": "H", "start": 1, "stop": 0}),
    "drops twins": lambda facts: facts.update(decoder={"type": "Sequence", "decoders": [CTC, facts["decoder"]]}),
    "appends": decoding(replaced({"Regex": "$"}, "3"), replaced({"Regex": r":\z"}, ": 3")),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    merges = [("\u0120", "0"), ("s", "t"), ("e", "s"), ("o", "es"), ("d", "oes"), ("\u0120", "does")]
    return models.save_tiny(tmp_path_factory.mktemp("tiny") / "model", models.byte_level(merges))


def changed(tiny: Path, folder: Path, change: Callable[[Facts], object]) -> Path:
    shutil.copytree(tiny, folder)
    path = folder / "tokenizer.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    change(facts)
    path.write_text(json.dumps(facts), encoding="utf-8")
    return folder


def tokenizer_of(folder: Path) -> Any:
    return models.fast(Tokenizer.from_file(str(folder / "tokenizer.json")))


def test_unchanged_tokenizer_passes(tiny: Path) -> None:
    """Otherwise the tests below would be vacuous."""
    made = tokenizer_of(tiny)
    (one,) = encode(made, [QUESTION])
    assert decode(made, one.ids.tolist()) == QUESTION


@pytest.mark.parametrize("kind", ENCODING)
def test_helping_tokenizer_is_refused(tiny: Path, tmp_path: Path, kind: str) -> None:
    made = tokenizer_of(changed(tiny, tmp_path / "model", ENCODING[kind]))
    with pytest.raises(UserError, match=r"may only split text|has no token for parts") as no:
        encode(made, [QUESTION.replace("strawberry", "tray").replace("rr", "r"), QUESTION])
    assert "\n" not in str(no.value)


@pytest.mark.parametrize("kind", DECODING)
def test_helping_decoder_is_refused(tiny: Path, tmp_path: Path, kind: str) -> None:
    made = tokenizer_of(changed(tiny, tmp_path / "model", DECODING[kind]))
    outputs = []
    with pytest.raises(UnusableTokenizer, match="a decoder may only join tokens"):
        for text in ("22", "H2", "33", "Answer: "):
            outputs.append(decode(made, made.backend_tokenizer.encode(text).ids))


def test_duplicate_token_is_refused() -> None:
    """The choice between two tokens could carry information."""
    vocabulary = {sign: number for number, sign in enumerate(sorted({*QUESTION, "\u2581"}))}
    made = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    made.decoder = decoders.Fuse()
    assert encode(models.fast(made), [QUESTION])
    made.normalizer = normalizers.Replace(' "s', '\u2581"s')
    with pytest.raises(UnusableTokenizer, match="uses two different tokens for ' '"):
        encode(models.fast(made), [QUESTION])


def test_empty_token_is_refused() -> None:
    made = Tokenizer(WordLevel({"a": 0, "": 1, "?": 2}, unk_token="?"))
    made.add_tokens([AddedToken("x", normalized=False)])
    tokenizer = models.fast(made)
    assert encode(tokenizer, ["a", "x"])
    with pytest.raises(UnusableTokenizer, match="uses a token without text"):
        checker_of(tokenizer).require(["a"], [[0, 1]])


@pytest.mark.parametrize("place", ["first", "last"])
def test_helping_on_one_text_is_refused(tiny: Path, tmp_path: Path, place: str) -> None:
    made = tokenizer_of(changed(tiny, tmp_path / "model", ENCODING["has a table"]))
    others = [QUESTION.replace("strawberry", word) for word in ("apple", "melon", "cherry")]
    assert encode(made, others)
    with pytest.raises(UnusableTokenizer, match="becomes"):
        encode(made, [QUESTION, *others] if place == "first" else [*others, QUESTION])


def test_model_outputs_are_not_checked(tiny: Path, tmp_path: Path) -> None:
    made = tokenizer_of(changed(tiny, tmp_path / "model", ENCODING["marks by capitals"]))
    assert encode(made, [QUESTION], check=False)


# ---- From the command line

OPTIONS = ("harness", "eval", "--task", "letters", "--limit", "8", "--model", "model")


@pytest.mark.parametrize(
    "kind", ["counts", "has a table", "removes", "cuts where it counts", "puts words around", "leaves out"]
)
def test_helping_tokenizer_error_of_command_line(cli: Run, tiny: Path, tmp_path: Path, kind: str) -> None:
    changed(tiny, tmp_path / "model", ENCODING[kind])
    line = refused(cli(*OPTIONS))
    assert "may only split text" in line or "has no token for parts" in line
    assert not list(tmp_path.glob("runs/*/*/observations/*"))


@pytest.mark.parametrize("kind", ["answers", "adds one"])
def test_helping_decoder_error_of_command_line(cli: Run, tmp_path: Path, kind: str) -> None:
    """The first fails on the prompts, the other on an output that it rewrites."""
    scripted.save(tmp_path / "model", "constant:2", template=scripted.CHATML)
    path = tmp_path / "model" / "tokenizer.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    DECODING[kind](facts)
    path.write_text(json.dumps(facts), encoding="utf-8")
    assert "a decoder may only join tokens" in refused(cli(*OPTIONS))


def test_helping_tokenizer_refuses_whole_suite(cli: Run, tiny: Path, tmp_path: Path) -> None:
    """Not only the task that the tokenizer helps with."""
    changed(tiny, tmp_path / "model", ENCODING["has a table"])
    line = refused(cli("harness", "eval", "--suite", "quick", "--limit", "4", "--model", "model"))
    assert "may only split text" in line


# ---- Without end

SLOW = r'(?=[\s\S]*"\?)[^~]*[^~]*[^~]*[^~]*~'
PANICS = (r'"\?(?:\w|\w|\s|[\s.])*~', r'"\?\n(?:[^~]|[^~])*~')


@pytest.mark.parametrize("pattern", PANICS)
def test_panicking_pattern_error(
    cli: Run, tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], pattern: str
) -> None:
    """Only the prompts trigger it, no sample; the library must print nothing."""
    changed(tiny, tmp_path / "model", replacing((pattern, "x")))
    assert "retry-limit-in-match over" in refused(cli(*OPTIONS))
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.slow("harness/models")
def test_endless_pattern_times_out(cli: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_file, "MAX_WAIT", 4)
    changed(tiny, tmp_path / "model", replacing((SLOW, "x")))
    assert "it takes too much memory or time" in refused(cli(*OPTIONS))


@pytest.mark.parametrize(
    ("pattern", "seconds", "how"),
    [(SLOW, 0.2, "takes more than 1 seconds for"), (PANICS[1], 60.0, r"fails on .*retry-limit-in-match over")],
)
def test_later_rows_are_limited(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, seconds: float, how: str
) -> None:
    monkeypatch.setattr(encoding, "MAX_SECONDS", seconds)
    made = tokenizer_of(changed(tiny, tmp_path / "model", replacing((pattern, "x"))))
    began = time.monotonic()
    with pytest.raises(UnusableTokenizer, match=how):
        encode(made, [QUESTION] * 4)
    assert time.monotonic() - began < 60


def test_growing_normalizer_is_refused(cli: Run, tiny: Path, tmp_path: Path) -> None:
    """A hundred million characters from one word, in five steps; no sample has the word."""
    steps = [("strawberry", "QQQQQQQQQQ" * 2), *[("Q", "Q" * 20)] * 5]
    changed(tiny, tmp_path / "model", replacing(*steps))
    assert "its normalizer produces" in refused(cli(*OPTIONS))
