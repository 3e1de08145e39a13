"""Properties of every config: reproducible rows, distinct seeds and splits, golden hashes."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fflm_data import CONFIGS, ParameterError, get_config

EVERY_SPLIT = [(name, split) for name in CONFIGS for split in get_config(name).splits()]

# SHA-256 of the first 50 rows. If a hash changes, the data changes: increase GENERATOR_VERSION.
GOLDEN = {
    ("flipflop", "train"): "083071076db482f160a88060506c1bc59b143ee990a4688494abf4391b8770be",
    ("flipflop", "val"): "cc27afd91ec58f2faa481f5aadfddccade26f7c5fd25b605e55d3cc43a44876f",
    ("flipflop", "val_sparse"): "484ca331db37baedca3cc7d3806844b988dafc45948648c5a2e4fc4f587e9ba5",
    ("flipflop", "val_dense"): "2e05070547493bb728262e5cdcd8d5ceb78b01bbdd1b4289c1a6063cbde4112b",
    ("flipflop-piecewise", "test"): "147957148bf040e73edc3a6539e5211a94a2ab0edf03bd7ed15f2ace487aadc2",
    ("flipflop-prose", "test"): "07a2659547b198ad5079dbeca0e812c3741f63db5972e34c0ac9ef2645c7509a",
    ("query-count", "test"): "79dc94b362233d88b8ce11a777a211bfbd6c119d2321ae0a99c2198df2044097",
    ("most-frequent", "test"): "43c0c34320fbbb21f60c3acfeadfec5801df572b67b3f02a988eb5002c6257b8",
    ("letters", "test"): "e86dd35e4e02359edfd939a38b25a1dc4edd72e3a9b353a831220f463dab7922",
    ("arithmetic", "test"): "24930b95a582405cd27477688350da03216950b51873a1862dd23a6ec4446b11",
    ("capitals", "test"): "78be4c94a66f61cfd3014137eea361f53f737ccc7edd0ee88e1640699482834a",
}


def row_hash(rows: list[dict[str, object]]) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_golden_rows(name: str, split: str) -> None:
    assert row_hash(get_config(name).table(split, 0, 50).to_pylist()) == GOLDEN[name, split]


@pytest.mark.parametrize(
    ("name", "parameters", "golden"),
    [
        (
            "flipflop",
            {"length": 40, "p_write": 0.3, "p_read": 0.2, "symbols": 7, "seed": 3},
            "923d8d26ab87ae21223920395e9bcc5149cb5619811ea4084b5661654aa384f9",
        ),
        (
            "flipflop",
            {"length": 300, "p_ignore": 0.3, "symbols": 300, "seed": 3},
            "52a25f49dd2dcf51614f50aee568de63efe9ad4262388217dcfb2f495ddecba7",
        ),
        (
            "flipflop-train",
            {"length": 140, "p_ignore": [0.8, 0.98, 0.1], "seed": 3},
            "4f378bca575c69d4714baf1e0f5fdbf48d1dac34805b7b2bde7c18e003da2e65",
        ),
    ],
)
def test_golden_rows_with_parameters(name: str, parameters: dict[str, object], golden: str) -> None:
    assert row_hash(get_config(name, **parameters).table("train", 5000, 5050).to_pylist()) == golden


@pytest.mark.parametrize("name", CONFIGS)
def test_columns(name: str) -> None:
    config = get_config(name)
    for split, rows in config.splits().items():
        table = config.table(split, rows - 3, rows + 10)
        assert table.schema == config.schema
        assert table["id"].to_pylist() == [rows - 3, rows - 2, rows - 1]


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_slices_are_consistent(name: str, split: str) -> None:
    config = get_config(name)
    table = config.table(split, 0, 1100)
    for start, stop in [(0, 1), (13, 15), (990, 1030), (1023, 1100)]:
        assert config.table(split, start, stop).equals(table.slice(start, min(stop, table.num_rows) - start))


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_seeds_have_different_rows(name: str, split: str) -> None:
    def rows(seed: int) -> list[str]:
        columns = [column for column in get_config(name).schema.names if column not in ("id", "answer")]
        table = get_config(name, seed=seed).table(split, 0, 1000).select(columns)
        return [json.dumps(row) for row in table.to_pylist()]

    ours, neighbours = rows(42), rows(43)
    assert len(set(ours)) >= 0.95 * len(ours)
    # Word lists and facts are finite: rows can coincide by chance, and strawberry is always included.
    by_chance = {
        "letters": 0.25,
        "query-count": 0.05,
        "most-frequent": 0.05,
        "arithmetic": 0.05,
        "flipflop-prose": 0.02,
        "capitals": 0.35,
    }.get(name, 0)
    assert len(set(ours) & set(neighbours)) <= by_chance * len(ours)
    assert sum(a == b for a, b in zip(ours, neighbours, strict=True)) <= 0.01 * len(ours)


def test_splits_and_distributions_are_disjoint() -> None:
    rows: list[str] = []
    for p_ignore in (0.8, 0.9):
        config = get_config("flipflop", p_ignore=p_ignore, seed=0)
        for split in config.splits():
            if p_ignore == 0.8 or split in ("train", "val"):
                rows += config.table(split, 0, 1000)["text"].to_pylist()
    assert len(set(rows)) == len(rows) == 6000


def test_equivalent_parameters_give_same_rows() -> None:
    short, long = get_config("flipflop", p_ignore=0.8), get_config("flipflop", p_write=0.1, p_read=0.1)
    assert short.table("val").equals(long.table("val"))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("flipflop", {"length": 7}, "length=7"),
        ("flipflop", {"length": 2}, "length=2"),
        ("flipflop", {"length": 2**20 + 2}, "from 4 to 1048576"),
        ("flipflop", {"length": "512"}, "length='512'"),
        ("flipflop", {"p_ignore": 1.5}, "p_ignore=1.5"),
        ("flipflop", {"p_ignore": float("nan")}, "p_ignore=nan"),
        ("flipflop", {"p_write": 0.1}, "given together"),
        ("flipflop", {"p_write": 0.7, "p_read": 0.7}, "at most 1"),
        ("flipflop", {"p_ignore": 0.8, "p_write": 0.1, "p_read": 0.1}, "p_ignore=0.8"),
        ("flipflop", {"symbols": 513}, "from 2 to 512"),
        ("flipflop", {"length": 4}, "length=4"),
        ("flipflop", {"length": 4, "symbols": 512}, "length=4"),
        ("flipflop", {"length": 64, "symbols": 200, "p_write": 0, "p_read": 1}, "p_read smaller than 1"),
        ("flipflop-prose", {"p_ignore": 0.9}, "lengths=10"),
        ("flipflop-prose", {"lengths": [10, 10]}, "duplicates"),
        ("flipflop", {"p_write": 0.0, "p_read": 1.0}, "p_read smaller than 1"),
        ("flipflop", {"p_write": 0.01, "p_read": 0.98, "train_rows": 0}, "p_read smaller than 0.98"),
        ("flipflop-train", {"p_write": 0.01, "p_read": 0.98}, "p_read smaller than 0.98"),
        ("flipflop-train", {"length": 256, "p_write": [0.02, 0.1], "p_read": [0.97, 0.1]}, "p_read smaller than 0.97"),
        ("flipflop", {"length": 14}, "length=14"),
        ("flipflop-train", {"p_ignore": [None, 0.9]}, "p_ignore=(None, 0.9)"),
        ("flipflop-prose", {"lengths": [[10]]}, "lengths=(10,)"),
        ("flipflop", {"p_ignore": [0.8, 0.9]}, "p_ignore=(0.8, 0.9)"),
        ("flipflop-piecewise", {"tail": 510}, "tail=510"),
        ("flipflop-piecewise", {"tail": 7}, "tail=7"),
        ("flipflop-piecewise", {"length": 6}, "length=6"),
        ("flipflop-piecewise", {"p_ignore_tail": -0.1}, "p_ignore_tail=-0.1"),
        ("flipflop-piecewise", {"test_rows": 0}, "test_rows=0"),
        ("flipflop-prose", {"lengths": [10, 11]}, "length=11"),
        ("flipflop-prose", {"lengths": []}, "lengths=()"),
        ("flipflop-prose", {"lengths": [4]}, "lengths=4"),
        ("flipflop-prose", {"rows_per_length": 0}, "rows_per_length=0"),
        ("flipflop-train", {"p_ignore": []}, "p_ignore=()"),
        ("flipflop-train", {"p_ignore": [0.8, 1.2]}, "p_ignore=1.2"),
        ("flipflop-train", {"p_write": [0.1, 0.2], "p_read": 0.1}, "lists of equal length"),
        ("flipflop-train", {"p_write": [0.1, 0.2], "p_read": [0.1]}, "lists of equal length"),
        ("flipflop-train", {"shards": 0}, "shards=0"),
        ("arithmetic", {"digits": [2]}, "digits=2"),
        ("arithmetic", {"digits": [18]}, "digits=18"),
        ("arithmetic", {"digits": [4, 4]}, "duplicates"),
        ("arithmetic", {"largest": 9}, "largest=9"),
        ("arithmetic", {"rows_per_cell": 5071}, "rows_per_cell=5071"),
        ("capitals", {"relations": ["river"]}, "relations='river'"),
        ("capitals", {"prefixes": 7}, "prefixes=7"),
        ("flipflop", {"seed": -1}, "seed=-1"),
        ("flipflop", {"val_rows": True}, "val_rows=True"),
        ("flipflop", dict.fromkeys(["train_rows", "val_rows", "val_sparse_rows", "val_dense_rows"], 0), "at least 1"),
        ("query-count", {"vocabularies": [1]}, "vocabularies=1"),
        ("query-count", {"vocabularies": []}, "vocabularies=()"),
        ("query-count", {"vocabularies": [5, 5]}, "duplicates"),
        ("most-frequent", {"repeats": 0}, "repeats=0"),
        ("letters", {"words_per_cell": 324}, "from 1 to 323"),
        ("letters", {"colour": 1}, "no parameter 'colour'"),
        ("nothing", {}, "there is no config 'nothing'"),
    ],
)
def test_invalid_parameters(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=None) as error:
        get_config(name, **parameters)
    assert message in str(error.value)
    assert isinstance(error.value, ValueError)


def test_numpy_parameters() -> None:
    ours = get_config("flipflop", length=np.int64(64), p_ignore=np.float64(0.5), seed=np.int32(3))
    assert ours == get_config("flipflop", length=64, p_ignore=0.5, seed=3)
    assert ours.fingerprint() == get_config("flipflop", length=64, p_ignore=0.5, seed=3).fingerprint()
    assert get_config("query-count", vocabularies=5) == get_config("query-count", vocabularies=[5])


def test_configs_are_frozen() -> None:
    with pytest.raises(AttributeError):
        get_config("flipflop").length = 4  # type: ignore[attr-defined]


def test_rows_do_not_depend_on_environment() -> None:
    code = (
        "import hashlib, json; from fflm_data import get_config\n"
        "rows = [get_config(n).table(s, 0, 50).to_pylist() for n, s in " + repr(EVERY_SPLIT) + "]\n"
        "print([hashlib.sha256(json.dumps(r, sort_keys=True).encode()).hexdigest() for r in rows])"
    )
    environment = os.environ | {"LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7"}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == repr([GOLDEN[key] for key in EVERY_SPLIT])


def test_integer_probabilities_are_floats() -> None:
    assert get_config("flipflop", p_ignore=1).fingerprint() == get_config("flipflop", p_ignore=1.0).fingerprint()
    assert get_config("flipflop-train", p_ignore=[1, 0]).parameters()["p_ignore"] == [1.0, 0.0]
