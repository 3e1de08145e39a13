"""A real pretrained model, loaded from GGUF: its tokenizer writes ` 0` as two tokens, a trap for position counting."""

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from fflm_data import get_config
from fflm_data.words import items
from harness.models.loading import load
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from tests.conftest import SMOLLM2_FILE, Run
from tests.support import running


@pytest.fixture(scope="module")
def source(smollm2: Path) -> Any:
    return resolve(ModelRequest(str(smollm2), gguf_file=SMOLLM2_FILE))


@pytest.fixture(scope="module")
def model(source: Any) -> Any:
    return load(source)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, source: Any, model: Any) -> Iterator[Path]:
    """The same model as safetensors, which loads in seconds; the GGUF file takes 20 s."""
    folder = tmp_path_factory.mktemp("smollm2")
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    source.tokenizer.save_pretrained(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow("harness/engine", "harness/models", "harness/prompts")
def test_the_trap(source: Any) -> None:
    """The token before an answer is a bare space, not the instruction."""
    tokens = source.tokenizer.convert_ids_to_tokens(source.tokenizer("w 0 i 1 r 0").input_ids)
    assert tokens == ["w", "\u0120", "0", "\u0120i", "\u0120", "1", "\u0120r", "\u0120", "0"]


@pytest.mark.slow("harness/engine", "harness/models", "harness/evaluation")
def test_one_pass_equals_per_read_scoring(cli: Run, tmp_path: Path, smollm2: Path, source: Any, model: Any) -> None:
    """At least 100 reads, each scored by a separate forward pass over the text before it, for each candidate."""
    length, rows = 64, 8
    result = cli(
        "harness", "eval", "--model", smollm2, "--gguf-file", SMOLLM2_FILE, "--task", "flipflop", "--limit", rows,
        "--set", f"flipflop.length={length}", "--set", "flipflop.val_sparse_rows=0",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (run,) = tmp_path.glob("runs/local--SmolLM2-135M-Instruct.Q4_1/*")
    tokenizer = source.tokenizer
    reads = 0
    for split in ("val", "val_dense"):
        observed = pq.read_table(run / "observations" / f"flipflop.{split}.parquet").to_pylist()
        texts = get_config("flipflop", length=length).table(split, 0, rows)["text"].to_pylist()
        for read in observed:
            context = " ".join(texts[read["id"]][: read["position"]])
            wholes = [tokenizer(f"{context} {symbol}").input_ids for symbol in "01"]
            # " 0" is a space and a digit: the read is the digit, given the space.
            assert wholes[0][:-1] == wholes[1][:-1] == [*tokenizer(context).input_ids, *tokenizer(" ").input_ids]
            with torch.inference_mode():
                logits = model(torch.tensor([wholes[0][:-1]])).logits[0].log_softmax(-1)
            for symbol, whole, logprob in zip("01", wholes, read["logprobs"], strict=True):
                assert tokenizer.decode(whole[-1:]) == symbol
                assert abs(logits[-1, whole[-1]].item() - logprob) < 1e-4
            assert logits[-1].argmax().item() == read["argmax"]
            assert texts[read["id"]][read["position"]] == str(read["gold"])
            reads += 1
    assert reads >= 100


@pytest.mark.slow("harness/engine", "harness/models", "harness/evaluation")
def test_completions_of_a_real_model(cli: Run, tmp_path: Path, smollm2: Path, source: Any, model: Any) -> None:
    result = cli(
        "harness", "eval", "--model", smollm2, "--gguf-file", SMOLLM2_FILE, "--task", "letters",
        "--limit", 12, "--chat", "off",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (run,) = tmp_path.glob("runs/*/*")
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))["model"]
    assert (facts["parameters"], facts["context"], facts["gguf_file"]) == (134_515_008, 8192, SMOLLM2_FILE)
    observed = pq.read_table(run / "observations" / "letters.test.parquet").to_pylist()
    for row in observed[:3]:
        question = get_config("letters").table("test", row["id"], row["id"] + 1)["question"][0].as_py()
        ids = source.tokenizer(
            f"Question: {question}\nAnswer with a number only.\nAnswer:", return_tensors="pt"
        ).input_ids
        for _ in range(row["tokens"]):
            with torch.inference_mode():
                ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
        written = source.tokenizer.decode(ids[0, -row["tokens"] :], skip_special_tokens=True)
        assert written == row["output"]


@pytest.mark.slow("fflm_data/words", "harness/models")
def test_items_are_one_token_each(source: Any) -> None:
    counts = [len(ids) for ids in source.tokenizer([f" {word}" for word in items()]).input_ids]
    assert np.unique(counts).tolist() == [1]


@pytest.mark.slow("harness/engine", "harness/models", "harness/evaluation")
def test_killed_three_times_at_random(tmp_path: Path, saved: Path) -> None:
    """Resumed with 1, 2 and 1 processes: the result equals that of an undisturbed run."""
    options = [
        "--model", saved, "--task", "flipflop", "--task", "letters", "--limit", 16,
        "--set", "flipflop.length=48", "--batch-size", 4, "--chat", "off",
    ]  # fmt: skip
    undisturbed = running.evaluate(tmp_path, *options, "--output", "undisturbed")
    assert undisturbed.returncode == 0, undisturbed.stderr
    (expected,) = tmp_path.glob("undisturbed/*/*/result.json")
    moments = random.Random(os.urandom(8))
    waited = []
    for processes in (1, 1, 2):
        process = running.start(tmp_path, *running.HARNESS, "eval", *options, "--num-processes", processes)
        before = running.shard_bytes(tmp_path)
        running.until(lambda before=before: running.shard_bytes(tmp_path) > before, process)  # type: ignore[misc]
        waited.append(moments.uniform(0, 1.5))
        time.sleep(waited[-1])
        assert process.poll() is None, f"over before it could be killed after {waited}"
        process.kill()
        running.end(process)
    rows = running.rows_in_shards(tmp_path)
    done = running.evaluate(tmp_path, *options)
    assert done.returncode == 0, (waited, done.stderr)
    assert [start["processes"] for start in running.starts(tmp_path)] == [1, 1, 2, 1]
    assert 0 < rows < 4 * 16, waited
    assert running.result(tmp_path) == expected.read_bytes(), waited
