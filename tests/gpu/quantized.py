"""Part quantized: 8 and 4 bits by bitsandbytes on a GPU, batched and one by one; elsewhere the error message."""

import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from fflm_data.arrays import Floats
from harness.errors import UserError
from harness.evaluation.evaluate import evaluate
from harness.models.model_request import ModelRequest
from harness.planning.evaluation_request import EvalRequest, Execution, Questions
from leaderboard.replay.tolerances import QUANTIZED
from tests.gpu import machine
from tests.gpu.results import Figures, NotMeasuredError, Part
from tests.support import models

LENGTH = 128


def check(part: Part) -> None:
    folder = part.scratch / "model"
    save_model(folder)
    for bits in ("8bit", "4bit"):
        part.case(bits, partial(quantized, folder, bits, part.pick(200, 4)))


def save_model(folder: Path) -> None:
    """A model wide enough for its layers to be quantized."""
    torch.manual_seed(0)
    tokenizer = models.gpt2_like()
    size = tokenizer.get_vocab_size()
    config = LlamaConfig(
        vocab_size=size, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=2048, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    model.save_pretrained(folder)
    models.fast(tokenizer).save_pretrained(folder)


def quantized(folder: Path, bits: str, rows: int) -> Figures:
    """The difference of the quantized from the plain model, and of batched from single rows."""
    lacking = "no CUDA GPU" if not machine.has_gpu() else "no bitsandbytes"
    if not machine.has_gpu() or importlib.util.find_spec("bitsandbytes") is None:
        try:
            read_logprobs(folder, rows, quantization=bits)
        except UserError as refusal:
            raise NotMeasuredError(f"{lacking}: {refusal}") from None
        raise AssertionError(f"--quantization {bits} ran with {lacking}")
    plain = read_logprobs(folder, rows)
    packed = read_logprobs(folder, rows, quantization=bits)
    alone = read_logprobs(folder, rows, strict=True, quantization=bits)
    off = np.abs(packed - alone)
    of_tolerance = float((off / QUANTIZED.allowed(alone)).max())
    assert of_tolerance <= 1, f"batches move log-probabilities by up to {off.max():.2g}"
    moved = float(np.abs(packed - plain).max())
    assert moved > 0, "nothing was packed"
    return {
        "moved by batches, largest": float(off.max()),
        "moved by batches, rms": float(np.sqrt(np.square(off).mean())),
        "of tolerance": of_tolerance,
        "from float32, largest": moved,
    }


def read_logprobs(folder: Path, rows: int, strict: bool = False, quantization: str | None = None) -> Floats:
    """Log-probabilities recorded by a run."""
    parameters = {"flipflop": {"length": LENGTH, "val_sparse_rows": 0, "val_dense_rows": 0}}
    request = EvalRequest(
        model=ModelRequest(str(folder), quantization=quantization),
        command="",
        questions=Questions(tasks=("flipflop",), parameters=parameters, limit=rows),
        execution=Execution(output=folder / f"runs-{quantization}-{strict}", strict=strict),
    )
    scored = evaluate(request)
    assert scored is not None
    (job,) = scored[0].jobs()
    table = pq.read_table(scored[0].table(job))
    return np.asarray(table["logprobs"].combine_chunks().flatten().to_numpy().astype(np.float64))
