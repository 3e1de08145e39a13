"""Models of the benchmarks, the harness from rows to observations, and bare forward passes over the same batches."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig

from fflm_data import get_config
from fflm_data.arrays import Floats, Ints
from harness.engine.batches import pad
from harness.engine.capabilities import LogitsAt
from harness.engine.engine import Engine
from harness.evaluation.inference_loop import ObservedBatch, observe
from harness.models import reference
from harness.models.loading import load
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.models.source import ModelSource
from harness.planning.planner import plan_rows
from harness.planning.plans import Plan, ReadPlan
from harness.planning.work_queue import build_queue
from harness.prompts.jobs import Job
from harness.tasks import ReadTask, get_task
from tests.benchmarks.measuring import Ratio, echo, take_turns
from tests.conftest import CACHE, SMOLLM2_FILE
from tests.support import models

LENGTH = 512
SPLITS = {"val": "FFL(0.8)", "val_sparse": "FFL(0.98)", "val_dense": "FFL(0.1)"}
# Of two answers whose log-probabilities are closer than this either is right. lm-eval's are bfloat16 numbers if the
# model is, and at -16 the next one is 0.125 away.
TIE = {torch.float32: 1e-4, torch.bfloat16: 0.25}


@dataclass(frozen=True)
class Case:
    """A loaded model."""

    name: str
    source: ModelSource
    model: Any

    @property
    def heading(self) -> str:
        device = self.model.device
        card = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
        return f"{self.name}, {str(self.model.dtype).removeprefix('torch.')}, {card}"


def request_of(name: str, scratch: Path) -> ModelRequest:
    """The options of `harness eval` for a model."""
    if name == "lstm":
        return ModelRequest(reference.DEFAULT_MODEL)
    if name == "tiny":
        folder = scratch / "tiny"
        return ModelRequest(str(folder if folder.exists() else tiny(folder)))
    folder = CACHE / "SmolLM2-135M-Instruct"
    if not (folder / SMOLLM2_FILE).exists():
        sys.exit(f"{folder / SMOLLM2_FILE} is missing: pytest tests/harness/evaluation/test_smollm2.py fetches it")
    return ModelRequest(str(folder), gguf_file=SMOLLM2_FILE)


def tiny(folder: Path) -> Path:
    return models.save_tiny(folder, models.gpt2_like(), 13_000, "llama")


@cache
def case_of(name: str, scratch: Path) -> Case:
    echo(f"loading {name}")
    if name == "llama64":
        return random_llama(name, vocabulary=300, width=64, layers=4)
    if name == "large":
        shape = {"num_key_value_heads": 8, "intermediate_size": 8192}
        return random_llama(name, 32_000, 2048, 16, torch.bfloat16, num_attention_heads=32, **shape)
    source = resolve(request_of(name, scratch))
    return Case(name, source, load(source))


def random_llama(
    name: str, vocabulary: int, width: int, layers: int, dtype: torch.dtype = torch.float32, **shape: Any
) -> Case:
    """A Llama with random weights, on the GPU if there is one; its tokenizer has an end-of-text token."""
    torch.manual_seed(0)
    tokenizer = models.fast(models.gpt2_like())
    tokenizer.add_special_tokens({"eos_token": "</s>"})
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    sizes: dict[str, Any] = {"vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers, **ends}
    shape = {"num_attention_heads": 2, "intermediate_size": 2 * width} | shape
    config = LlamaConfig(max_position_embeddings=13_000, **sizes, **shape)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=tokenizer.eos_token_id)
    return Case(name, ModelSource(name, "", "0" * 40, ModelRequest(), config, tokenizer), model)


def seen(case: Case, job: Job, batch_size: int | None = None, engine: Engine | None = None) -> Iterator[ObservedBatch]:
    """The batches of a job as in a run with one process. engine: default: a new one, which has not tried the model."""

    def planner(job: Job, rows: pa.Table) -> Plan:
        return plan_rows(job, case.source, rows, False)

    engine = engine or Engine(case.model, case.source.tokenizer, batch_size)
    items = build_queue([job], [np.zeros(job.rows, dtype=bool)], 1)
    yield from observe([job], iter(items), planner, engine)


def ours(case: Case, job: Job, engine: Engine | None = None) -> tuple[pa.Table, float]:
    """Observations, and the seconds from rows to them."""
    start = time.perf_counter()
    table = pa.concat_tables([batch.table for batch in seen(case, job, engine=engine)])
    return table, time.perf_counter() - start


def reads_job(split: str, rows: int, length: int | None = None) -> Job:
    """Strings of LENGTH symbols by default."""
    config = get_config("flipflop", length=length or LENGTH, **{f"{split}_rows": max(rows, 1000)})
    return Job(get_task("flipflop"), config, split, rows)


def logprobs_at(table: pa.Table, ids: Ints, positions: Ints) -> Floats:
    """Log-probabilities of the symbols, (reads, symbols), of some reads of an observation table."""
    keys = table["id"].to_numpy() * LENGTH + table["position"].to_numpy()
    logprobs = table["logprobs"].combine_chunks().flatten().to_numpy().reshape(len(keys), -1)
    order = np.argsort(keys)
    places = order[np.searchsorted(keys[order], ids * LENGTH + positions)]
    assert np.array_equal(keys[places], ids * LENGTH + positions)
    return logprobs[places].astype(np.float64)


def otherwise(logprobs: Floats, theirs: Ints, case: Case) -> int:
    """The number of different predictions; fails unless all of them are near ties."""
    behind = logprobs.max(axis=1) - logprobs[np.arange(len(theirs)), theirs]
    assert (behind < TIE[case.model.dtype]).all(), f"{case.name}: other answers, by {behind.max():.2g} nats"
    return int((behind > 0).sum())


@dataclass(frozen=True)
class Batch:
    """The input of a batch, and the reads of its logits in order."""

    ids: torch.Tensor
    mask: torch.Tensor
    row: Ints
    position: Ints
    candidates: Ints


Passes = Callable[[LogitsAt, Sequence[Batch]], tuple[None, float]]


@dataclass(frozen=True)
class AgainstBare:
    """The harness against bare passes over the same batches, per row. ties: reads with different predictions, all near
    ties."""

    reads: int
    batches: int
    kept: str
    ratio: Ratio
    ties: int


def against_bare(
    case: Case, job: Job, repeats: int, passes: Passes | None = None, *, known: bool = False
) -> AgainstBare:
    """The time of the harness against that of `passes` (default: `forward_passes`); fails if predictions differ. known:
    whether the engine has tried the model before."""
    engine = Engine(case.model, case.source.tokenizer)
    kept, batches = prepare(engine, case, job)
    reads = sum(len(batch.row) for batch in batches)
    echo(f"bare {case.name} {job.split}: {job.rows} rows, {reads} reads")
    (_, theirs), (tables, mine) = take_turns(
        repeats,
        partial(passes or forward_passes, kept, batches),
        partial(cast(Any, ours), case, job, engine if known else None),
    )
    row, position = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("row", "position"))
    outputs = most_probable(kept, batches)
    ties = [otherwise(logprobs_at(table, row, position), outputs, case) for table in tables]
    return AgainstBare(reads, len(batches), kept.__name__, Ratio(theirs, mine, (job.rows, job.rows)), max(ties))


def prepare(engine: Engine, case: Case, job: Job) -> tuple[LogitsAt, list[Batch]]:
    """The engine's function for logits at some positions, and its batches for a job."""
    batches: list[Batch] = []
    for item in build_queue([job], [np.zeros(job.rows, dtype=bool)], 1):
        rows = item.rows([job])
        position = cast(ReadTask, job.task).targets(rows).position
        plan = cast(ReadPlan, plan_rows(job, case.source, rows, False))
        for batch in engine.read_batches(plan):
            ids = pad([plan.sequences[one] for one in batch.tolist()], 0, left=False)
            mask = torch.zeros(ids.shape, dtype=torch.bool)
            points = [np.flatnonzero(plan.sequence == one) for one in batch.tolist()]
            for line, those in enumerate(points):
                mask[line, torch.from_numpy(plan.at[those] - 1)] = True
            every = np.concatenate(points)
            device = case.model.device
            row = item.ids[plan.row[plan.sequence[every]]]
            batches.append(Batch(ids.to(device), mask.to(device), row, position[every], plan.candidates))
    return engine.read_method(plan.sequences[0]).logits_at, batches


@torch.inference_mode()
def forward_passes(kept: LogitsAt, batches: Sequence[Batch]) -> tuple[None, float]:
    """Runs `model(input_ids=ids, logits_to_keep=mask)`, or the equivalent of the model, and nothing else."""
    start = time.perf_counter()
    for batch in batches:
        kept(batch.ids, batch.mask)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return None, time.perf_counter() - start


@torch.inference_mode()
def most_probable(kept: LogitsAt, batches: Sequence[Batch]) -> Ints:
    """Index of the most probable symbol of each read."""
    outputs = [kept(batch.ids, batch.mask)[:, torch.from_numpy(batch.candidates)].float().cpu() for batch in batches]
    return np.concatenate([logits.numpy().argmax(axis=1) for logits in outputs])
