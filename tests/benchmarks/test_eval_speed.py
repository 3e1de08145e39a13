"""How far a run of `harness eval` is from the bare forward passes it needs.

pytest -m benchmark -s tests/benchmarks/test_eval_speed.py
"""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fflm_data import get_config
from fflm_data.flipflop import FlipFlop, sample
from harness import reference
from harness.engine import Engine
from harness.evaluation import observe
from harness.models import ModelRequest, load, resolve
from harness.observations import read, reads_schema
from harness.rows import Job
from harness.tasks import get_task
from tests.conftest import SMOLLM2_FILE

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize(("model", "rows"), [("lstm", 4096), ("smollm2", 12)])
def test_reads_against_bare_forward_passes(
    tmp_path: Path, request: pytest.FixtureRequest, model: str, rows: int
) -> None:
    asked = (
        ModelRequest(reference.DEFAULT_MODEL)
        if model == "lstm"
        else ModelRequest(str(request.getfixturevalue("smollm2")), gguf_file=SMOLLM2_FILE)
    )
    source = resolve(asked)
    engine = Engine(load(source), source.tokenizer)
    config = get_config()
    assert isinstance(config, FlipFlop)
    job = Job(get_task("flipflop"), config, "val_sparse", rows)

    texts = [" ".join(text) for text in config.table("val_sparse", 0, rows)["text"].to_pylist()]
    ids = torch.tensor(source.tokenizer(texts).input_ids)
    size = max(1, engine.budget.tokens // ids.shape[1])
    start = time.perf_counter()
    with torch.inference_mode():
        for first in range(0, rows, size):
            engine.model.base_model(ids[first : first + size]) if model == "smollm2" else engine.model(
                ids[first : first + size], logits_to_keep=1
            )
    bare = time.perf_counter() - start

    start = time.perf_counter()
    observe(job, engine, source, tmp_path / "reads.parquet")
    whole = time.perf_counter() - start
    reads = int((sample(config.distribution("val_sparse"), rows, split="val_sparse")[:, 0::2] == 1).sum())
    assert read(tmp_path / "reads.parquet", reads_schema(2)).num_rows == reads
    print(f"\n{model}: {ids.numel() / whole / 1e3:.1f}K tokens/s, {whole / bare:.2f}x the bare forward passes")
    assert np.isfinite(whole / bare)
