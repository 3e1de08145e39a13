"""Flip-flop strings, validated by an oracle that shares no code with the generator."""

import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest

from fflm_data import get_config
from fflm_data.flipflop import (
    FFL,
    FlipFlop,
    Mixture,
    Piecewise,
    decode,
    encode,
    read_counts,
    reads,
    sample,
    validate,
)
from fflm_data.flipflop.distributions import collision_probability

CONFIG = FlipFlop()
# Expected reads and standard deviations over the full splits.
READS = {"val": (26_400, 151), "val_sparse": (354_000, 501), "val_dense": (345_900, 434)}


def illegal(text: str, symbols: str = "01") -> str:
    """Returns why a string is not a flip-flop string, reading one character at a time; "" if it is legal."""
    if len(text) < 4 or len(text) % 2:
        return "length"
    latest = ""
    for position in range(0, len(text), 2):
        instruction, symbol = text[position], text[position + 1]
        if instruction not in "wri" or symbol not in symbols:
            return "alphabet"
        if position == 0 and instruction != "w":
            return "first"
        if position == len(text) - 2 and instruction != "r":
            return "last"
        if instruction == "w":
            latest = symbol
        if instruction == "r" and symbol != latest:
            return "glitch"
    return ""


@pytest.mark.parametrize("split", CONFIG.splits())
def test_strings_are_legal(split: str) -> None:
    texts = CONFIG.table(split, 0, 3000)["text"].to_pylist()
    assert {len(text) for text in texts} == {512}
    assert [text for text in texts if illegal(text)] == []


def test_symbols_and_length() -> None:
    config = get_config("flipflop", length=12, symbols=10, p_ignore=0.5)
    texts = config.table("train", 0, 2000)["text"].to_pylist()
    assert [text for text in texts if illegal(text, "0123456789") or len(text) != 12] == []
    assert {text[1] for text in texts} == set("0123456789")


@pytest.mark.parametrize("split", READS)
def test_number_of_reads_of_full_splits(split: str) -> None:
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
    free = "".join(text[position + 1] for text in texts for position in range(0, 512, 2) if text[position] != "r")
    assert abs(free.count("1") - len(free) / 2) <= 3 * math.sqrt(len(free) / 4)


def test_draws_are_uncorrelated() -> None:
    """Instruction and symbol of one 64-bit draw are uncorrelated, and so are neighbouring draws."""
    ids = sample(FFL(512, 0.3, 0.0), 2000)
    written, symbol = ids[:, 2:-2:2] == 0, ids[:, 3:-2:2] == 4
    pairs = written.size
    for a, b in [(written, symbol), (symbol[:, 1:], symbol[:, :-1]), (written[:, 1:], written[:, :-1])]:
        correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(correlation) < 4 / math.sqrt(pairs)


def test_sample_matches_config_rows() -> None:
    for split in CONFIG.splits():
        ids = sample(CONFIG.distribution(split), 30, split=split, start=1010 if CONFIG.rows(split) > 1040 else 900)
        start = 1010 if CONFIG.rows(split) > 1040 else 900
        table = CONFIG.table(split, start, start + 30)
        assert decode(ids).equals(table["text"].combine_chunks())
        assert np.array_equal(encode(table["text"]), ids)


def test_reads_match_oracle() -> None:
    texts = CONFIG.table("val_dense", 0, 50)["text"].to_pylist() + CONFIG.table("val_sparse", 0, 50)["text"].to_pylist()
    expected = []
    for row, text in enumerate(texts):
        written = 0
        for position in range(0, len(text), 2):
            if text[position] == "w":
                written = position
            if text[position] == "r":
                expected.append((row, position + 1, int(text[written + 1]), (position - written) // 2))
    ids = encode(texts)
    actual = reads(ids)
    assert list(zip(*(column.tolist() for column in actual), strict=True)) == expected
    assert np.array_equal(actual.answer_id, ids[actual.row, actual.position])
    assert actual.answer_id.dtype == ids.dtype


@pytest.mark.parametrize("symbols", [2, 10, 253, 254, 512])
def test_answer_ids(symbols: int) -> None:
    """`answer` begins at 0, `answer_id` after the ids of the instructions; for uint8 and uint16 ids."""
    ids = sample(FFL(256, 0.3, 0.3, symbols), 64)
    actual = reads(ids)
    assert np.array_equal(actual.answer_id, ids[actual.row, actual.position])
    assert int(actual.answer_id.max()) == symbols + 2 and not np.array_equal(actual.answer_id, actual.answer)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("w0i1w1r0", "latest write"),
        ("r0i1w1r1", "first instruction"),
        ("w0i1w1i1", "last instruction"),
        ("0wi1r1", "expected an instruction (w, r or i) at instruction 0"),
        ("w0i11wr1", "7 instructions and symbols"),
        ("w0iir0r0", "data symbol"),
        ("w0r", "even number of at least 4"),
        ("w0x1r0", "'x' at character 2"),
    ],
)
def test_validate_rejects_illegal_strings(text: str, reason: str) -> None:
    assert illegal(text)
    with pytest.raises(ValueError, match="row 1") as error:
        validate(["w0i1i0r0", text])
    assert reason in str(error.value)


def test_validate_accepts_legal_strings() -> None:
    validate(["w0i1i0r0", "w1r1"])


def test_encode_requires_equal_lengths() -> None:
    with pytest.raises(ValueError, match="same length"):
        encode(["w0r0", "w0i0r0"])
    assert encode([]).shape == (0, 0)


@pytest.mark.parametrize("symbols", [2, 10, 11, 100, 101, 253, 254, 512])
def test_large_alphabets(symbols: int) -> None:
    ffl = FFL(300, 0.2, 0.2, symbols)
    ids = sample(ffl, 200)
    assert ids.dtype == (np.uint8 if symbols <= 253 else np.uint16)
    texts = decode(ids).to_pylist()
    latest, seen = 0, set()
    for row, text in enumerate(texts[:50]):
        pairs = re.findall(r"([wri])(\d+)", text)
        assert "".join(instruction + symbol for instruction, symbol in pairs) == text
        assert [len(pairs), pairs[0][0], pairs[-1][0]] == [150, "w", "r"]
        for position, (instruction, symbol) in enumerate(pairs):
            latest = int(symbol) if instruction == "w" else latest
            assert instruction != "r" or int(symbol) == latest
            assert ids[row, 2 * position + 1] == 3 + int(symbol)
            seen.add(int(symbol))
    assert max(seen) == symbols - 1
    assert len(seen) == symbols or symbols > 500
    assert np.array_equal(encode(texts), ids)
    validate(texts)


def test_validate_large_alphabets() -> None:
    validate(["w17i203r17", "w0i511i1r0"])
    for text, reason in [("w17r18", "latest write"), ("w17i512r17", "'512' at character 4"), ("w017r17", "'017'")]:
        with pytest.raises(ValueError, match=reason):
            validate([text])


def probability_of(text: str, ffl: FFL) -> float:
    """Returns the probability of a legal string, one instruction at a time."""
    share = {"w": ffl.p_write, "r": ffl.p_read, "i": 1 - ffl.p_write - ffl.p_read}
    probability = 1.0
    for position in range(0, len(text), 2):
        inner = 0 < position < len(text) - 2
        probability *= (share[text[position]] if inner else 1) * (1 if text[position] == "r" else 1 / ffl.symbols)
    return probability


def all_strings(length: int, symbols: int) -> list[str]:
    alphabet = "0123456789"[:symbols]
    parts = ["".join(pair) for pair in itertools.product("wri", alphabet)]
    candidates = ("".join(pairs) for pairs in itertools.product(parts, repeat=length // 2))
    return [text for text in candidates if not illegal(text, alphabet)]


def test_collision_probability_matches_enumeration() -> None:
    first, second = FFL(8, 0.3, 0.2), FFL(8, 0.1, 0.6)
    strings = all_strings(8, 2)
    assert sum(probability_of(text, first) for text in strings) == pytest.approx(1)
    expected = sum(probability_of(text, first) * probability_of(text, second) for text in strings)
    assert collision_probability(first, second) == pytest.approx(expected)
    mixture = Mixture((first, second))
    expected = sum((probability_of(text, first) + probability_of(text, second)) ** 2 / 4 for text in strings)
    assert collision_probability(mixture, mixture) == pytest.approx(expected)


def test_mixture_and_piecewise_frequencies() -> None:
    """The share of writes varies between strings of a mixture, and between positions of a piecewise distribution."""
    parts = (FFL(400, 0.1, 0.1), FFL(400, 0.01, 0.01), FFL(400, 0.45, 0.45))
    writes = (sample(Mixture(parts), 6000)[:, 2:-2:2] == 0).mean(axis=1)
    counts = np.histogram(writes, bins=[0, 0.045, 0.25, 1])[0]
    assert np.abs(counts - 2000).max() <= 4 * math.sqrt(6000 * 2 / 9)

    ids = sample(Piecewise(FFL(200, 0.45, 0.45), FFL(300, 0.01, 0.01)), 3000)
    shares = (ids[:, 0::2] == 0).mean(axis=0)
    assert ids.shape == (3000, 500)
    assert abs(shares[1:100].mean() - 0.45) < 0.005
    assert abs(shares[100:-1].mean() - 0.01) < 0.002
    validate(decode(ids[:100]).to_pylist())


@pytest.mark.parametrize(("length", "symbols"), [(10, 2), (12, 3), (18, 2), (24, 2), (64, 2), (254, 10)])
def test_short_train_and_test_strings_are_disjoint(length: int, symbols: int) -> None:
    """No string is in train and in a test split, for any distribution and seed."""
    train, test = set(), set()
    for seed, p_ignore in itertools.product((0, 1), (0.6, 0.5, 0.3) if length < 18 else (0.8, 0.98, 0.3)):
        ffl = FFL.from_p_ignore(p_ignore, length, symbols)
        train |= set(decode(sample(ffl, 4000, seed=seed)).to_pylist())
        for split in ("val", "val_sparse", "test"):
            test |= set(decode(sample(ffl, 4000, split=split, seed=seed)).to_pylist())
    assert train and test and not train & test
    if length == 10:
        assert train | test == set(all_strings(10, 2))


def test_train_rows_contain_no_test_row() -> None:
    """Checks some rows with T = 512; tests/benchmarks/data.py checks 10 million rows of the stream."""
    held_out = {
        text for split in CONFIG.splits() if split != "train" for text in CONFIG.table(split)["text"].to_pylist()
    }
    assert len(held_out) == sum(rows for split, rows in CONFIG.splits().items() if split != "train")
    assert held_out.isdisjoint(CONFIG.table("train")["text"].to_pylist())
    mixture = get_config("flipflop-train", p_ignore=[0.8, 0.98, 0.1])
    stream = np.stack(mixture.table("train", 0, 20_000)["input_ids"].to_numpy())
    assert held_out.isdisjoint(decode(stream).to_pylist())


def test_read_counts() -> None:
    config = get_config("flipflop", val_sparse_rows=200)
    counts, gaps, right = read_counts(config, "val_sparse"), Counter(), 0
    for text in config.table("val_sparse")["text"].to_pylist():
        for position in (position for position in range(0, len(text), 2) if text[position] == "r"):
            gaps[(position - text.rindex("w", 0, position)) // 2] += 1
            right += text[position - 1] == text[position + 1]
    assert {gap: count for gap, count in enumerate(counts.gaps.tolist()) if count} == gaps
    assert counts.reads == gaps.total()
    assert config.baselines("val_sparse") == {"chance": 0.5, "previous symbol": right / gaps.total()}


@pytest.mark.parametrize(("length", "symbols"), [(16, 2), (20, 3), (40, 2), (250, 2)])
def test_answers_are_balanced_in_train_and_test(length: int, symbols: int) -> None:
    """All rotations of the symbols of a string are on the same side, so constant predictions gain nothing."""
    for split in ("train", "val"):
        answers = sample(FFL.from_p_ignore(0.9, length, symbols), 30_000, split=split)[:, -1]
        counts = np.bincount(answers - 3, minlength=symbols)
        assert np.abs(counts - 30_000 / symbols).max() < 4 * math.sqrt(30_000 * (1 / symbols) * (1 - 1 / symbols))


@pytest.mark.parametrize(("length", "symbols"), [(512, 2), (8192, 2), (2**17, 3), (512, 512)])
def test_successive_writes_are_independent(length: int, symbols: int) -> None:
    """Legal strings whose writes all have the same symbol would pass every other test."""
    ids = sample(FFL(length, 0.5, 0.2, symbols), max(2, 2**19 // length))
    same = total = 0
    for row in ids:
        written = row[1::2][row[0::2] == 0]
        same, total = same + int((written[1:] == written[:-1]).sum()), total + len(written) - 1
    deviation = math.sqrt(total * (1 / symbols) * (1 - 1 / symbols))
    assert abs(same - total / symbols) < 4 * deviation + 1
    assert set(reads(ids).answer.tolist()) == set(range(symbols))


@pytest.mark.parametrize("tail", [40, 300, 508])
def test_piecewise_tail_length(tail: int) -> None:
    config = get_config("flipflop-piecewise", tail=tail, test_rows=4000)
    ids = encode(config.table("test")["text"])
    ignored = (ids[:, 0::2] == 2).mean(axis=0)
    border = (512 - tail) // 2
    assert np.abs(ignored[1:border] - 0.1).max(initial=0) < 0.03
    assert np.abs(ignored[border if border > 1 else 2 : -1] - 0.98).max() < 0.03


def test_stream_contains_no_prose_or_piecewise_row() -> None:
    """Compares prose and piecewise strings with streams of their distributions and lengths."""
    prose, piecewise = get_config("flipflop-prose").table("test"), get_config("flipflop-piecewise").table("test")
    for length in (50, 100, 150, 200, 512):
        stream = get_config("flipflop-train", length=length, p_ignore=[0.6, 0.1, 0.98])
        trained = set(decode(np.stack(stream.table("train", 0, 5000)["input_ids"].to_numpy())).to_pylist())
        assert len(trained) > 4000
        assert trained.isdisjoint(prose["text"].to_pylist() + piecewise["text"].to_pylist())
    short = set(decode(sample(FFL.from_p_ignore(0.6, 10), 50_000)).to_pylist())
    assert short.isdisjoint(prose["text"].to_pylist())


def test_blocks_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    original = FlipFlop.block
    monkeypatch.setattr(FlipFlop, "block", lambda *arguments: drawn.append(arguments[2]) or original(*arguments))
    config = get_config("flipflop", seed=77)
    rows = [config.table("train", row, row + 1)["text"][0].as_py() for row in range(1020, 1030)]
    assert (rows, drawn) == (config.table("train", 1020, 1030)["text"].to_pylist(), [0, 1])


def test_negative_row_numbers_are_an_error() -> None:
    with pytest.raises(ValueError, match="start=-5"):
        CONFIG.table("train", -5, 3)
    with pytest.raises(ValueError, match="rows=-1"):
        sample(FFL(), -1)
    assert np.array_equal(sample(FFL(), np.int64(3), start=np.int32(2), seed=np.uint8(1)), sample(FFL(), 5, seed=1)[2:])
