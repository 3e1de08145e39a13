"""The endless stream, as data loaders use it: dealt to workers and ranks, stopped and gone on with."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node

from fflm_data import get_config
from fflm_data.flipflop import FFL, decode, sample, validate

# Blocks of 2**19 / 8192 = 64 rows, so that a few hundred rows cross several.
LONG: dict[str, Any] = {"length": 8192}


def stream(**parameters: Any) -> Any:
    return load_dataset("fflm", "flipflop-train", split="train", streaming=True, **(LONG | parameters))


def ids(rows: Any, count: int) -> list[int]:
    return [row["id"] for row in islice(iter(rows.select_columns(["id"])), count)]


def test_rows_are_those_of_the_train_split() -> None:
    expected = get_config("flipflop", **LONG).table("train", 0, 130)["text"].to_pylist()
    rows = list(islice(stream(), 130))
    assert decode(np.array([row["input_ids"] for row in rows], dtype=np.uint8)).to_pylist() == expected
    for row, text in zip(rows[:5], expected, strict=False):
        assert row["read_mask"] == [place % 2 == 1 and text[place - 1] == "r" for place in range(len(text))]
    assert [row["id"] for row in rows] == list(range(130))


def test_it_does_not_end_soon() -> None:
    config = get_config("flipflop-train")
    far = config.table("train", 10**12, 10**12 + 3)
    assert far["id"].to_pylist() == [10**12, 10**12 + 1, 10**12 + 2]
    assert np.array_equal(np.stack(far["input_ids"].to_numpy()), sample(FFL(), 3, start=10**12))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_of_a_data_loader_share_no_row(workers: int) -> None:
    from torch.utils.data import DataLoader

    loader = DataLoader(stream().with_format("torch").batch(32), batch_size=None, num_workers=workers)
    found: list[int] = []
    for batch in islice(loader, 6 * workers):
        assert batch["input_ids"].shape == batch["read_mask"].shape == (32, 8192)
        found += batch["id"].tolist()
    # Each worker has given 3 blocks of 64 rows, and together they are the first rows of the stream.
    assert sorted(found) == list(range(192 * workers))


def test_ranks_share_no_row() -> None:
    world = 3
    found = [ids(split_dataset_by_node(stream(), rank, world), 192) for rank in range(world)]
    assert sorted(row for rank in found for row in rank) == list(range(192 * world))
    assert all(row // 64 % world == rank for rank, rows in enumerate(found) for row in rows)


@pytest.mark.parametrize("given", [0, 1, 63, 64, 65, 200])
def test_it_goes_on_from_a_state(given: int) -> None:
    rows = stream()
    assert ids_before(rows, given) == list(range(given))
    state = rows.state_dict()
    again = stream()
    again.load_state_dict(state)
    assert [row["id"] for row in islice(iter(again), 70)] == list(range(given, given + 70))


def ids_before(rows: Any, count: int) -> list[int]:
    return [row["id"] for row in islice(iter(rows), count)]


def test_going_on_draws_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = stream().with_format("numpy")
    for _ in islice(iter(rows), 640):
        pass
    state = rows.state_dict()
    drawn = []
    original = type(get_config("flipflop-train")).block
    monkeypatch.setattr(
        "fflm_data.flipflop.training.FlipFlopTrain.block",
        lambda self, split, number: drawn.append(number) or original(self, split, number),
    )
    rows.load_state_dict(state)
    assert next(iter(rows))["id"] == 640
    assert drawn in ([10], [9, 10])


def test_a_rank_goes_on_from_its_state() -> None:
    rows = split_dataset_by_node(stream(), 1, 2)
    first = ids_before(rows, 100)
    state = rows.state_dict()
    again = split_dataset_by_node(stream(), 1, 2)
    again.load_state_dict(state)
    assert first + ids_before(again, 60) == ids(split_dataset_by_node(stream(), 1, 2), 160)


def test_mixture() -> None:
    rows = list(islice(stream(length=512, p_ignore=[0.8, 0.98, 0.1]).with_format("numpy"), 3000))
    strings = np.stack([row["input_ids"] for row in rows])
    validate(decode(strings[:200]).to_pylist())
    kinds = np.histogram((strings[:, 0::2] == 2).mean(axis=1), bins=[0, 0.5, 0.9, 1])[0]
    assert np.abs(kinds - 1000).max() < 4 * np.sqrt(3000 * 2 / 9)
    # Strings of the three kinds stand in no order.
    ignored = (strings[:, 0::2] == 2).mean(axis=1)
    assert abs(np.corrcoef(ignored[1:], ignored[:-1])[0, 1]) < 0.08


def test_seeds_and_shuffling() -> None:
    assert next(iter(stream(seed=1)))["input_ids"] != next(iter(stream()))["input_ids"]
    shuffled = ids(stream().shuffle(seed=3, buffer_size=100), 50)
    assert len(set(shuffled)) == 50 and shuffled != sorted(shuffled)


def test_symbols_beyond_a_byte() -> None:
    row = next(iter(stream(length=512, symbols=512)))
    assert 255 < max(row["input_ids"]) < 515


def test_it_is_only_streamed() -> None:
    with pytest.raises(ValueError, match="streaming=True"):
        load_dataset("fflm", "flipflop-train")
