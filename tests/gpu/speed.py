"""Part speed: time ratios on random Llamas in bfloat16 (on a CPU a small one), T = 512, and the bundled LSTM.

Compared with bare forward passes over the same batches, with passes that compute all logits, and with
lm-evaluation-harness on the same reads.
"""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import inf
from pathlib import Path

import torch

from fflm_data import get_config
from harness.engine.capabilities import Kept
from harness.prompts.jobs import Job
from harness.runs.run import read_run
from harness.tasks import get_task
from tests.benchmarks.cases import SPLITS, Batch, Case, against_bare, ours, random_llama, reads_job
from tests.gpu import machine
from tests.gpu.results import BrokenClaimError, Figures, NotMeasuredError, Part

VOCABULARY = 32_000
HEADS = {"num_attention_heads": 32, "num_key_value_heads": 8}
# Passes that make all logits go in batches of which these fit.
LOGITS_BYTES = 2**32


@dataclass(frozen=True)
class Shape:
    """A Llama, its rows per split and number of prompts, and the number of reads for the comparison with lm-eval."""

    name: str
    width: int
    layers: int
    inner: int
    heads: dict[str, int]
    splits: tuple[str, ...]
    rows: int
    prompts: int
    reads: int = 0


BILLIONS = (
    Shape("Llama 1B", 2048, 16, 8192, HEADS, tuple(SPLITS), 1024, 512, 64),
    Shape("Llama 8B", 4096, 32, 14_336, HEADS, ("val",), 256, 256),
)
SMALL = (Shape("Llama of width 64", 64, 2, 128, {}, tuple(SPLITS), 16, 8, 4),)


class Model:
    """The model of a shape, created on demand; only one is kept."""

    def __init__(self, shape: Shape, dtype: torch.dtype):
        self.shape, self._dtype = shape, dtype

    @cached_property
    def case(self) -> Case:
        shape = self.shape
        sizes = {"intermediate_size": shape.inner, **shape.heads}
        return random_llama(shape.name, VOCABULARY, shape.width, shape.layers, self._dtype, **sizes)


def check(part: Part) -> None:
    repeats = part.pick(2, 1)
    for shape in part.pick(BILLIONS, SMALL):
        model = Model(shape, part.pick(torch.bfloat16, torch.float32))
        part.case(f"{shape.name}, start", partial(start, model))
        for split in shape.splits:
            part.case(f"{shape.name}, {split}", partial(bare, model, split, repeats, part.pick(1.15, inf)))
        part.case(f"{shape.name}, letters", partial(letters, model))
        if shape.reads:
            part.case(f"{shape.name}, all logits", partial(all_logits, model, repeats))
            least = part.pick({"val": 15, "val_dense": 50}, {"val": 1, "val_dense": 1})
            part.case(f"{shape.name}, lm-eval", partial(lm_eval, model, repeats, least))
    part.case("LSTM", partial(lstm, part.scratch, part.pick(None, 64)))


def start(model: Model) -> Figures:
    """Seconds of trials and memory measurement before the first batch of a loaded model."""
    one = reads_job("val", 1)
    seconds = [ours(model.case, one)[1] for _ in range(2)]
    return {"seconds": seconds[1], "with what is done once": seconds[0]}


def bare(model: Model, split: str, repeats: int, most: float) -> Figures:
    """Fails if the harness, after its trials, takes more than `most` times the bare passes."""
    found = against_bare(model.case, reads_job(split, model.shape.rows), repeats, known=True)
    theirs, mine = found.ratio.each
    figures = {
        "rows/s": 1000 / mine,
        "reads/s": 1000 / mine * found.reads / model.shape.rows,
        "to the bare passes": mine / theirs,
        "batches": found.batches,
        "ties": found.ties,
    }
    if mine > most * theirs:
        raise BrokenClaimError(f"{mine / theirs:.2f} times the bare passes, at most {most} are claimed", figures)
    return figures


def all_logits(model: Model, repeats: int) -> Figures:
    """Compared with passes that compute the logits of all positions."""

    @torch.inference_mode()
    def passes(kept: Kept, batches: Sequence[Batch]) -> tuple[None, float]:
        start = time.perf_counter()
        for batch in batches:
            for ids, mask in zip(batch.ids.split(rows_at_once), batch.mask.split(rows_at_once), strict=True):
                model.case.model(input_ids=ids, use_cache=False).logits[mask]
        machine.wait()
        return None, time.perf_counter() - start

    rows_at_once = max(1, LOGITS_BYTES // (512 * VOCABULARY * model.case.model.dtype.itemsize))
    found = against_bare(model.case, reads_job("val", model.shape.rows), repeats, passes, known=True)
    theirs, mine = found.ratio.each
    return {"rows/s": 1000 / mine, "times faster": theirs / mine, "rows at once there": rows_at_once}


def letters(model: Model) -> Figures:
    job = Job(get_task("letters"), get_config("letters"), "test", model.shape.prompts)
    ours(model.case, Job(job.task, job.config, "test", 2))
    table, seconds = ours(model.case, job)
    return {"completions/s": job.rows / seconds, "tokens/s": int(table["tokens"].to_numpy().sum()) / seconds}


def lm_eval(model: Model, repeats: int, least: dict[str, float]) -> Figures:
    """Fails if the harness is not faster by this factor, by split."""
    if importlib.util.find_spec("lm_eval") is None:
        raise NotMeasuredError("lm_eval is not installed")
    from tests.benchmarks import against_lm_eval

    against_lm_eval.quiet()
    figures: Figures = {}
    short = []
    for split, claimed in least.items():
        found = against_lm_eval.reads(
            model.case, reads_job(split, max(1, model.shape.rows // 16)), model.shape.reads, repeats
        )
        mine, theirs = found.ratio.each
        figures |= {f"{split}, times faster": theirs / mine, f"{split}, batch there": found.batch}
        short += [f"{split} {theirs / mine:.3g} times faster, {claimed} are claimed"] * (theirs < claimed * mine)
    if short:
        raise BrokenClaimError("; ".join(short), figures)
    return figures


def lstm(scratch: Path, limit: int | None) -> Figures:
    """The bundled LSTM over its whole set in a separate process: seconds to the first batch and to the table."""
    words = ["--task", "flipflop", *([] if limit is None else ["--limit", str(limit)])]
    seconds, first = observed(scratch / "lstm", words)
    (path,) = (scratch / "lstm").glob("*/*/run.json")
    rows = sum(job.rows for job in read_run(path.parent).jobs())
    return {
        "rows": rows,
        "seconds to the first batch": first,
        "seconds in all": seconds,
        "rows/s after the first batch": rows / (seconds - first),
    }


def observed(output: Path, words: Sequence[str]) -> tuple[float, float]:
    """Runs `harness eval`; seconds to its end, and to the first recorded batch."""
    command = [sys.executable, "-m", "harness", "eval", *words, "--output", str(output)]
    start, first = time.perf_counter(), 0.0
    process = subprocess.Popen(command, env=machine.environment(), cwd=machine.ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if not first and any(shard.stat().st_size for shard in output.glob("*/*/shards/*.shard")):
            first = time.perf_counter() - start
        time.sleep(0.01)
    seconds = time.perf_counter() - start
    assert process.returncode == 0, f"harness eval ended with {process.returncode}"
    return seconds, first or seconds
