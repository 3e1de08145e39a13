"""The infinite training stream: data-loader workers, ranks, resuming, use with Trainer."""

import pickle
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node

from fflm_data import get_config
from fflm_data.flipflop import FFL, decode, sample, validate
from fflm_data.infinite_stream import InfiniteExamplesIterable

# Blocks have 2**19 / 8192 = 64 rows, so a few hundred rows span several blocks.
LONG: dict[str, Any] = {"length": 8192}


def stream(**parameters: Any) -> Any:
    return load_dataset("fflm", "flipflop-train", split="train", streaming=True, **(LONG | parameters))


def ids(rows: Any, count: int) -> list[int]:
    return [row["id"] for row in islice(iter(rows.select_columns(["id"])), count)]


def test_stream_begins_with_train_split() -> None:
    expected = get_config("flipflop", **LONG).table("train", 0, 130)["text"].to_pylist()
    rows = list(islice(stream(), 130))
    assert decode(np.array([row["input_ids"] for row in rows], dtype=np.uint8)).to_pylist() == expected
    for row, text in zip(rows[:5], expected, strict=False):
        assert row["read_mask"] == [position % 2 == 1 and text[position - 1] == "r" for position in range(len(text))]
    assert [row["id"] for row in rows] == list(range(130))


@pytest.mark.parametrize("symbols", [2, 300])
def test_labels_match_oracle(symbols: int) -> None:
    """Compares with an oracle that tracks the latest write of each string."""
    for row in islice(stream(length=64, symbols=symbols), 40):
        latest, expected = -100, []
        for instruction, symbol in zip(row["input_ids"][0::2], row["input_ids"][1::2], strict=True):
            latest = symbol if instruction == 0 else latest
            expected += [-100, latest if instruction == 1 else -100]
        assert row["labels"] == expected
        assert [label != -100 for label in row["labels"]] == row["read_mask"]


def test_large_row_numbers() -> None:
    config = get_config("flipflop-train")
    far = config.table("train", 10**12, 10**12 + 3)
    assert far["id"].to_pylist() == [10**12, 10**12 + 1, 10**12 + 2]
    assert np.array_equal(np.stack(far["input_ids"].to_numpy()), sample(FFL(), 3, start=10**12))


@pytest.mark.parametrize("workers", [1, 2])
def test_data_loader_workers_have_disjoint_rows(workers: int) -> None:
    from torch.utils.data import DataLoader

    loader = DataLoader(stream().with_format("torch").batch(32), batch_size=None, num_workers=workers)
    row_ids: list[int] = []
    for batch in islice(loader, 6 * workers):
        assert batch["input_ids"].shape == batch["read_mask"].shape == (32, 8192)
        row_ids += batch["id"].tolist()
    # Each worker yields 3 blocks of 64 rows; together they are the first rows of the stream.
    assert sorted(row_ids) == list(range(192 * workers))


@pytest.mark.parametrize(("world", "shards"), [(3, 6), (2, 2), (4, 4), (128, 322_560)])
def test_ranks_have_disjoint_rows(world: int, shards: int) -> None:
    """Covers several rounds over the shards."""
    ranks = list(range(world))[:4]
    rank_rows = [ids(split_dataset_by_node(stream(shards=shards), rank, world), 64 * 5) for rank in ranks]
    assert all(row // 64 % world == rank for rank, rows in zip(ranks, rank_rows, strict=True) for row in rows)
    blocks = [sorted({row // 64 for row in rows}) for rows in rank_rows]
    assert blocks == [[rank + world * round_ for round_ in range(5)] for rank in ranks]
    assert len({row for rows in rank_rows for row in rows}) == len(ranks) * 64 * 5


def test_ranks_not_dividing_shards_have_disjoint_rows() -> None:
    rank_rows = [ids(split_dataset_by_node(stream(shards=4), rank, 3), 100) for rank in range(3)]
    assert len({row for rows in rank_rows for row in rows}) == 300


@pytest.mark.slow("fflm_data/flipflop")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_start_methods(method: str) -> None:
    """Systems without fork need picklable arguments for workers."""
    from torch.utils.data import DataLoader

    loader = DataLoader(
        stream().with_format("torch").batch(64), batch_size=None, num_workers=2, multiprocessing_context=method
    )
    assert sorted(row for batch in islice(loader, 4) for row in batch["id"].tolist()) == list(range(256))


def test_stream_is_picklable() -> None:
    rows = split_dataset_by_node(stream(), 1, 3)
    assert ids(pickle.loads(pickle.dumps(rows)), 70) == ids(rows, 70)


@pytest.mark.parametrize("consumed", [0, 1, 63, 64, 130])
def test_resume_iteration_over_examples(consumed: int) -> None:
    """datasets before version 5 iterates over examples; newer versions iterate over tables."""
    config = get_config("flipflop-train", **LONG)
    rows = InfiniteExamplesIterable(config, "train", range(6)[1::3], total_shards=6)
    expected = [64 * block + row for block in (1, 4, 7) for row in range(64)]
    rows._init_state_dict()
    for _ in islice(rows, consumed):
        pass
    state = rows._state_dict
    assert state is not None and state["row"] == consumed
    resumed = InfiniteExamplesIterable(config, "train", range(6)[1::3], total_shards=6)
    resumed._init_state_dict()
    resumed.load_state_dict(state)
    assert [example["id"] for _, example in islice(resumed, 60)] == expected[consumed : consumed + 60]


@pytest.mark.parametrize("consumed", [0, 1, 63, 64, 65, 200])
def test_resume_from_state(consumed: int) -> None:
    rows = stream()
    assert ids_before(rows, consumed) == list(range(consumed))
    state = rows.state_dict()
    resumed = stream()
    resumed.load_state_dict(state)
    assert [row["id"] for row in islice(iter(resumed), 70)] == list(range(consumed, consumed + 70))


def ids_before(rows: Any, count: int) -> list[int]:
    return [row["id"] for row in islice(iter(rows), count)]


def test_resume_generates_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_resume_rank_from_state() -> None:
    rows = split_dataset_by_node(stream(), 1, 2)
    first = ids_before(rows, 100)
    state = rows.state_dict()
    resumed = split_dataset_by_node(stream(), 1, 2)
    resumed.load_state_dict(state)
    assert first + ids_before(resumed, 60) == ids(split_dataset_by_node(stream(), 1, 2), 160)


def test_mixture() -> None:
    rows = list(islice(stream(length=512, p_ignore=[0.8, 0.98, 0.1]).with_format("numpy"), 3000))
    strings = np.stack([row["input_ids"] for row in rows])
    validate(decode(strings[:200]).to_pylist())
    kinds = np.histogram((strings[:, 0::2] == 2).mean(axis=1), bins=[0, 0.5, 0.9, 1])[0]
    assert np.abs(kinds - 1000).max() < 4 * np.sqrt(3000 * 2 / 9)
    # The three kinds of strings are in random order.
    ignored = (strings[:, 0::2] == 2).mean(axis=1)
    assert abs(np.corrcoef(ignored[1:], ignored[:-1])[0, 1]) < 0.08


def test_seeds_and_shuffling() -> None:
    assert next(iter(stream(seed=1)))["input_ids"] != next(iter(stream()))["input_ids"]
    shuffled = ids(stream().shuffle(seed=3, buffer_size=100), 50)
    assert len(set(shuffled)) == 50 and shuffled != sorted(shuffled)


def test_uint16_symbols() -> None:
    row = next(iter(stream(length=512, symbols=512)))
    assert 255 < max(row["input_ids"]) < 515


def test_table_without_stop_is_an_error() -> None:
    with pytest.raises(ValueError, match="is infinite"):
        get_config("flipflop-train").table("train")


def test_loading_without_streaming_is_an_error() -> None:
    with pytest.raises(ValueError, match="streaming=True"):
        load_dataset("fflm", "flipflop-train")


def test_trainer_loss_matches_reads(tmp_path: Path) -> None:
    """The loss of the first step equals the mean over answers to reads, computed manually."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=5, max_position_embeddings=64, **size))
    rows = list(islice(stream(length=32), 4))
    with torch.inference_mode():
        logprobs = model(torch.tensor([row["input_ids"] for row in rows])).logits.log_softmax(-1)
    answers = [(row, position) for row in range(4) for position in range(32) if rows[row]["read_mask"][position]]
    expected = -np.mean([float(logprobs[row, at - 1, rows[row]["input_ids"][at]]) for row, at in answers])
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=4, logging_steps=1, report_to=[],
        save_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=stream(length=32))
    assert trainer.train().training_loss == pytest.approx(expected, abs=1e-3)
