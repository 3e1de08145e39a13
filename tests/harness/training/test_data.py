"""Training batches: the rows of the stream, and which symbols have a loss."""

import numpy as np
import pytest
import torch

from fflm_data.counting_ids import block_rows, sample_counting
from fflm_data.flipflop import sample
from harness.training.data import CountingRows, FlipFlopRows, StackedRows, collate
from harness.training.recipe_parts import CountingData, FlipFlopData

DATA = {
    "paper": FlipFlopData(),
    "short": FlipFlopData(length=20, p_ignore=(0.5,), seed=3),
    "mixture": FlipFlopData(length=64, p_ignore=(0.8, 0.98, 0.1)),
    "symbols": FlipFlopData(length=64, symbols=12, seed=1),
}


def labels_of(ids, mode):
    """The labels, one symbol after another: w 0, r 1, i 2."""
    if mode == "generative":
        return list(ids)
    return [token if place % 2 and ids[place - 1] == 1 else -100 for place, token in enumerate(ids)]


@pytest.mark.parametrize("mode", ["deterministic", "generative"])
@pytest.mark.parametrize("data", DATA.values(), ids=DATA.keys())
def test_labels_are_the_symbols_after_reads(data, mode):
    data = FlipFlopData(**(vars(data) | {"mode": mode}))
    rows = FlipFlopRows(data, 10)
    for index in range(10):
        row = rows[index]
        assert row["input_ids"].dtype == row["labels"].dtype == np.int64
        assert row["input_ids"].shape == row["labels"].shape == (data.length,)
        assert row["labels"].tolist() == labels_of(row["input_ids"].tolist(), mode)


@pytest.mark.parametrize("data", DATA.values(), ids=DATA.keys())
def test_rows_are_those_of_the_stream_in_any_order(data):
    rows = FlipFlopRows(data, 10**9)
    block = data.distribution.block_rows
    expected = sample(data.distribution, 2 * block + 3, seed=data.seed)
    for index in [0, 2 * block + 2, block, block - 1, 1, 2 * block, 0]:
        assert rows[index]["input_ids"].tolist() == expected[index].tolist()


@pytest.mark.parametrize("task", ["query-count", "most-frequent"])
def test_counting_rows(task):
    data = CountingData(task=task, vocabulary=2_000, seed=2)
    rows = CountingRows(data, 100)
    assert block_rows(2_000, 10) < 50
    ids, counts = sample_counting(task, 2_000, 10, range(100), seed=2)
    for index in (99, 0, 50):
        row = rows[index]
        assert row["input_ids"].tolist() == ids[index].tolist() and row["labels"] == counts[index]
        assert row["labels"].dtype == np.float32 and len(row["input_ids"]) == data.length


def test_stacked_rows():
    streams = [FlipFlopRows(FlipFlopData(length=16, seed=seed), 5) for seed in (0, 1, 0)]
    stacked = StackedRows(streams)
    assert len(stacked) == 5
    batch = collate([stacked[index] for index in range(4)])
    assert batch["input_ids"].shape == (4, 3, 16) and torch.equal(batch["labels"][:, 0], batch["labels"][:, 2])
    assert batch["input_ids"][2, 1].tolist() == streams[1][2]["input_ids"].tolist()


def test_rows_of_different_lengths_are_padded():
    rows = [{"input_ids": np.arange(n), "labels": np.arange(n), "attention_mask": np.ones(n, int)} for n in (3, 5)]
    batch = collate(rows)
    assert batch["input_ids"].tolist() == [[0, 1, 2, 0, 0], [0, 1, 2, 3, 4]]
    assert batch["labels"].tolist() == [[0, 1, 2, -100, -100], [0, 1, 2, 3, 4]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
