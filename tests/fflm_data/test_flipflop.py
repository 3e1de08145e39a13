"""Flip-flop strings against a checker that shares no code with the generator."""

import math

import numpy as np
import pytest

from fflm_data import get_config
from fflm_data.flipflop import FFL, FlipFlop, decode, encode, reads, sample, validate

CONFIG = FlipFlop()
# Expected reads and standard deviations over the full splits.
READS = {"val": (26_400, 151), "val_sparse": (354_000, 501), "val_dense": (345_900, 434)}


def illegal(text: str, symbols: str = "01") -> str:
    """Why a string is not a flip-flop string, read one character at a time; "" if it is one."""
    if len(text) < 4 or len(text) % 2:
        return "length"
    held = ""
    for place in range(0, len(text), 2):
        instruction, symbol = text[place], text[place + 1]
        if instruction not in "wri" or symbol not in symbols:
            return "alphabet"
        if place == 0 and instruction != "w":
            return "first"
        if place == len(text) - 2 and instruction != "r":
            return "last"
        if instruction == "w":
            held = symbol
        if instruction == "r" and symbol != held:
            return "glitch"
    return ""


@pytest.mark.parametrize("split", CONFIG.splits())
def test_every_string_is_legal(split: str) -> None:
    texts = CONFIG.table(split, 0, 3000)["text"].to_pylist()
    assert {len(text) for text in texts} == {512}
    assert [text for text in texts if illegal(text)] == []


def test_symbols_and_length() -> None:
    config = get_config("flipflop", length=6, symbols=10, p_ignore=0.5)
    texts = config.table("train", 0, 2000)["text"].to_pylist()
    assert [text for text in texts if illegal(text, "0123456789") or len(text) != 6] == []
    assert {text[1] for text in texts} == set("0123456789")


@pytest.mark.parametrize("split", READS)
def test_read_counts_of_the_full_splits(split: str) -> None:
    expected, deviation = READS[split]
    count = 0
    for start in range(0, CONFIG.rows(split), 10_000):
        count += sum(text.count("r") for text in CONFIG.table(split, start, start + 10_000)["text"].to_pylist())
    assert abs(count - expected) <= 3 * deviation


@pytest.mark.parametrize(
    ("split", "p"), [("train", (0.1, 0.1)), ("val_sparse", (0.01, 0.01)), ("val_dense", (0.45, 0.45))]
)
def test_frequencies(split: str, p: tuple[float, float]) -> None:
    texts = CONFIG.table(split, 0, 3000)["text"].to_pylist()
    inner = "".join(text[2:-2:2] for text in texts)
    for instruction, probability in zip("wri", (*p, 1 - sum(p)), strict=True):
        deviation = math.sqrt(len(inner) * probability * (1 - probability))
        assert abs(inner.count(instruction) - len(inner) * probability) <= 3 * deviation
    free = "".join(text[place + 1] for text in texts for place in range(0, 512, 2) if text[place] != "r")
    assert abs(free.count("1") - len(free) / 2) <= 3 * math.sqrt(len(free) / 4)


def test_independence_of_neighbours() -> None:
    """Instruction and symbol, and symbols a place apart, are uncorrelated: they come from one 64-bit draw each."""
    ids = sample(FFL(512, 0.3, 0.0), 2000)
    written, symbol = ids[:, 2:-2:2] == 0, ids[:, 3:-2:2] == 4
    pairs = written.size
    for a, b in [(written, symbol), (symbol[:, 1:], symbol[:, :-1]), (written[:, 1:], written[:, :-1])]:
        correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(correlation) < 4 / math.sqrt(pairs)


def test_arrays_are_the_rows_of_the_data_set() -> None:
    for split in CONFIG.splits():
        ids = sample(CONFIG.distribution(split), 30, split=split, start=1010 if CONFIG.rows(split) > 1040 else 900)
        start = 1010 if CONFIG.rows(split) > 1040 else 900
        table = CONFIG.table(split, start, start + 30)
        assert decode(ids).equals(table["text"].combine_chunks())
        assert np.array_equal(encode(table["text"]), ids)


def test_reads_against_a_walk() -> None:
    texts = CONFIG.table("val_dense", 0, 50)["text"].to_pylist() + CONFIG.table("val_sparse", 0, 50)["text"].to_pylist()
    walked = []
    for row, text in enumerate(texts):
        written = 0
        for place in range(0, len(text), 2):
            if text[place] == "w":
                written = place
            if text[place] == "r":
                walked.append((row, place + 1, int(text[written + 1]), (place - written) // 2))
    found = reads(encode(texts))
    assert list(zip(*(column.tolist() for column in found), strict=True)) == walked


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("w0i1w1r0", "latest write"),
        ("r0i1w1r1", "first instruction"),
        ("w0i1w1i1", "last instruction"),
        ("w0i11wr1", "instruction (w, r or i) was expected at instruction 2"),
        ("w0iir0r0", "data symbol"),
        ("w0r", "even length of at least 4"),
        ("w0x1r0", "'x' at character 2"),
    ],
)
def test_foreign_strings_are_refused(text: str, reason: str) -> None:
    assert illegal(text)
    with pytest.raises(ValueError, match="row 1") as error:
        validate(["w0i1i0r0", text])
    assert reason in str(error.value)


def test_a_legal_foreign_string_passes() -> None:
    validate(["w0i1i0r0", "w1r1"])


def test_encoding_keeps_to_one_length() -> None:
    with pytest.raises(ValueError, match="several lengths"):
        encode(["w0r0", "w0i0r0"])
    assert encode([]).shape == (0, 0)
