"""Property tests of config parameters: valid ones give valid rows, invalid ones an error with the parameter name."""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fflm_data import CONFIGS, ParameterError, get_config
from fflm_data.facts import RELATIONS
from fflm_data.flipflop import FIRST_SYMBOL, READ, WRITE, decode, encode
from fflm_data.registry import STREAMS
from tests.fflm_data.test_arithmetic import carries
from tests.fflm_data.test_prose import parse_story

SEEDS = st.integers(0, 2**63 - 1)
P = st.floats(0, 1)
EVEN = st.integers(2, 400).map(lambda half: 2 * half)
COUNT = st.integers(0, 40)
SIZES = st.lists(st.integers(2, 60), min_size=1, max_size=4, unique=True)


def legal_string(text: str, length: int, symbols: int) -> bool:
    pairs = re.findall(r"([wri])(0|[1-9]\d*)", text)
    latest = -1
    for instruction, symbol in pairs:
        latest = int(symbol) if instruction == "w" else latest
        if int(symbol) >= symbols or (instruction == "r" and int(symbol) != latest):
            return False
    return "".join(map("".join, pairs)) == text and 2 * len(pairs) == length and pairs[0][0] + pairs[-1][0] == "wr"


@st.composite
def instruction_probabilities(draw: st.DrawFn) -> dict[str, Any]:
    return draw(st.sampled_from([{"p_ignore": draw(P)}, {"p_write": draw(P), "p_read": draw(P)}, {}]))


LEGAL: dict[str, Any] = {
    "flipflop": st.builds(
        lambda p, **rest: p | rest,
        instruction_probabilities(), length=EVEN, symbols=st.integers(2, 512), seed=SEEDS,
        train_rows=COUNT, val_rows=COUNT, val_sparse_rows=COUNT, val_dense_rows=COUNT,
    ),
    "flipflop-piecewise": st.fixed_dictionaries(
        {"length": EVEN, "tail": EVEN, "p_ignore_head": P, "p_ignore_tail": P, "symbols": st.integers(2, 512),
         "test_rows": st.integers(1, 40), "seed": SEEDS}
    ),
    "flipflop-prose": st.fixed_dictionaries(
        {"lengths": st.lists(EVEN, min_size=1, max_size=4, unique=True), "p_ignore": P,
         "rows_per_length": st.integers(1, 20), "seed": SEEDS}
    ),
    "flipflop-train": st.builds(
        lambda p, **rest: {"p_ignore": p} | rest,
        st.one_of(P, st.lists(P, min_size=1, max_size=4)), length=EVEN, symbols=st.integers(2, 512), seed=SEEDS,
    ),
    "query-count": st.fixed_dictionaries(
        {"vocabularies": SIZES, "expected_count": st.integers(1, 30), "repeats": st.integers(1, 3), "seed": SEEDS}
    ),
    "most-frequent": st.fixed_dictionaries(
        {"vocabularies": SIZES, "expected_count": st.integers(1, 30), "repeats": st.integers(1, 3), "seed": SEEDS}
    ),
    "letters": st.fixed_dictionaries({"words_per_cell": st.integers(1, 323), "seed": SEEDS}),
    "arithmetic": st.fixed_dictionaries(
        {"largest": st.integers(50, 999_999), "digits": st.lists(st.integers(3, 17), max_size=3, unique=True),
         "rows_per_cell": st.integers(1, 60), "seed": SEEDS}
    ),
    "capitals": st.fixed_dictionaries(
        {"relations": st.lists(st.sampled_from(RELATIONS), min_size=1, unique=True), "prefixes": st.integers(1, 6),
         "seed": SEEDS}
    ),
}  # fmt: skip


def require_legal(name: str, parameters: dict[str, Any], row: dict[str, Any]) -> None:
    """Validates a row with an oracle that shares no code with the generator."""
    if name in ("flipflop", "flipflop-piecewise"):
        assert legal_string(row["text"], parameters["length"], parameters["symbols"])
    elif name == "flipflop-train":
        ids = np.array([row["input_ids"]])
        assert legal_string(decode(ids)[0].as_py(), parameters["length"], parameters["symbols"])
        assert row["read_mask"][1::2] == (ids[0, 0::2] == READ).tolist() and not any(row["read_mask"][0::2])
    elif name == "flipflop-prose":
        assert parse_story(row["question"].removesuffix(" Now, the light is"))[0] == row["answer"]
        assert legal_string(row["text"], row["length"], 2)
    elif name == "query-count":
        assert row["answer"] == sum(token == row["query"] for token in row["tokens"])
        assert len(row["tokens"]) == parameters["expected_count"] * row["vocabulary"]
    elif name == "most-frequent":
        assert row["answer"] == Counter(row["tokens"]).most_common(1)[0][1]
    elif name == "letters":
        assert row["answer"] == sum(letter == row["letter"] for letter in row["word"])
    elif name == "arithmetic":
        a, b, answer = row["a"], row["b"], row["answer"]
        assert {"+": a + b == answer, "-": a - b == answer, "x": a * b == answer, "/": b * answer == a}[
            row["operation"]
        ]
        assert len(str(a)) != len(str(b)) or max(a, b) <= parameters["largest"] or carries(a, b)[-1] == 1
    else:
        assert row["relation"] in parameters["relations"] and row["answer"] not in row["prompt"].split()


def test_all_configs_are_covered() -> None:
    assert set(LEGAL) == set(CONFIGS) | set(STREAMS)


@pytest.mark.parametrize("name", LEGAL)
def test_valid_parameters_give_valid_rows(name: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(LEGAL[name], st.integers(0, 10**6))
    def search(parameters: dict[str, Any], first: int) -> None:
        try:
            config = get_config(name, **parameters)
        except ParameterError as error:
            # Probabilities with a sum above 1, tails longer than the string, too few distinct strings.
            assert any(key in str(error) for key in (*parameters, "the total number of rows", "p_read"))
            assume(False)
        for split, rows in config.splits().items():
            start = max(0, min(first, rows - 5))
            table = config.table(split, start, min(start + 5, rows))
            assert table.schema == config.schema
            assert table["id"].to_pylist() == list(range(start, min(start + 5, rows)))
            for row in table.to_pylist():
                require_legal(name, config.parameters(), row)

    search()


WRONG = st.one_of(
    st.integers(max_value=-1), st.text(max_size=3), st.floats(1.0001, 1e9), st.just(float("nan")), st.booleans()
)


@pytest.mark.parametrize(
    ("name", "parameter"), [(name, parameter) for name in LEGAL for parameter in get_config(name).parameters()]
)
def test_invalid_values_name_parameter(name: str, parameter: str) -> None:
    @settings(max_examples=15, deadline=None)
    @given(WRONG)
    def search(value: Any) -> None:
        with pytest.raises(ValueError, match=parameter):
            get_config(name, **{parameter: value})

    search()


@settings(max_examples=60, deadline=None)
@given(LEGAL["flipflop"])
def test_encode_decode_round_trip(parameters: dict[str, Any]) -> None:
    try:
        config = get_config("flipflop", **parameters)
    except ParameterError:
        assume(False)
    split = next(iter(config.splits()))
    texts = config.table(split)["text"].to_pylist()
    ids = encode(texts)
    assert decode(ids).to_pylist() == texts
    assert (ids[:, 0] == WRITE).all() and (ids[:, 1] >= FIRST_SYMBOL).all()
