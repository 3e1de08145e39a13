"""Part memory: batches of the measured budget fit, and batches that do not fit are divided.

A Llama of 1B parameters in bfloat16 (on a CPU a small one), T = 512, a vocabulary of 128,000.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import cast

import numpy as np
import torch

from fflm_data.arrays import Floats, Ints
from harness.engine.batches import Budget
from harness.engine.engine import Engine
from harness.planning.planner import plan_rows
from harness.planning.plans import ReadPlan
from harness.prompts.jobs import Job
from tests.benchmarks.cases import Case, ours, random_llama, reads_job
from tests.gpu import machine
from tests.gpu.results import Figures, Part

VOCABULARY = 128_000
BILLION = {"num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192}
# All rows in one batch.
BOUNDLESS = Budget(2**40, 2**40)


class Counting(Engine):
    """An engine that counts the batches which did not fit."""

    def __init__(self, case: Case, budget: Budget | None = None):
        super().__init__(case.model, case.source.tokenizer)
        self._budget = budget
        self.did_not_fit = 0

    def _halve(self, plan: ReadPlan) -> Callable[[Ints], None]:
        too_much = super()._halve(plan)

        def counted(batch: Ints) -> None:
            self.did_not_fit += 1
            too_much(batch)

        return counted


@dataclass
class Memory:
    """The model of this part and its rows."""

    part: Part
    figures: Figures = field(default_factory=dict)

    @cached_property
    def case(self) -> Case:
        width, layers, shape = self.part.pick((2048, 16, BILLION), (64, 2, {}))
        dtype = self.part.pick(torch.bfloat16, torch.float32)
        return random_llama("large", VOCABULARY, width, layers, dtype, **shape)

    @cached_property
    def plan(self) -> ReadPlan:
        job = reads_job("val_dense", self.part.pick(1024, 16))
        rows = job.config.table(job.split, 0, job.rows)
        return cast(ReadPlan, plan_rows(job, self.case.source, rows, False))


def check(part: Part) -> None:
    memory = Memory(part)
    part.case("budget", partial(within_budget, memory))
    part.case("out of memory", partial(out_of_memory, memory))
    part.case("letters", partial(letters, memory))


def read(engine: Engine, plan: ReadPlan) -> Floats:
    """Log-probabilities of all points, each given once."""
    logprobs = np.full(plan.wanted.shape, np.nan)
    for outputs in engine.reads(plan):
        assert np.isnan(logprobs[outputs.points]).all()
        logprobs[outputs.points] = outputs.logprobs
    assert not np.isnan(logprobs).any()
    return logprobs


def within_budget(memory: Memory) -> Figures:
    """Fails if a batch of the budget did not fit, or if memory went beyond the device's."""
    plan, engine = memory.plan, Counting(memory.case)
    budget = engine.budget(plan)
    batches = engine.read_batches(plan)
    machine.start_peak()
    loaded = machine.held_memory()
    start = time.perf_counter()
    read(engine, plan)
    seconds = time.perf_counter() - start
    peak = machine.peak_memory()
    assert engine.did_not_fit == 0, f"{engine.did_not_fit} batches of the budget did not fit"
    points = max(int(np.isin(plan.sequence, batch).sum()) for batch in batches)
    return {
        "budget, tokens": budget.tokens,
        "budget, logits": budget.points,
        "batches": len(batches),
        "largest, rows": max(map(len, batches)),
        "largest, logits": points,
        "model, GiB": loaded / 2**30,
        "peak, GiB": peak / 2**30,
        "peak, share of the device": peak / machine.total_memory(),
        "rows/s": len(plan.sequences) / seconds,
    }


def out_of_memory(memory: Memory) -> Figures:
    """One batch with too little memory: out-of-memory errors, smaller batches, the same observations."""
    plan = memory.plan
    expected = read(Counting(memory.case), plan)
    engine = Counting(memory.case, BOUNDLESS)
    engine.read_method(plan.sequences[0])
    # A quarter of the logits of all points.
    room = len(plan.at) * VOCABULARY * memory.case.model.dtype.itemsize // 4
    with machine.bounded_memory(room):
        outputs = read(engine, plan)
        left = engine.budget(plan)
    assert engine.did_not_fit > 0, "nothing was too large"
    off = float(np.abs(outputs - expected).max())
    tolerance = 1e-4 if memory.case.model.dtype == torch.float32 else 0.1
    assert off < tolerance, f"observations moved by {off:.2g}"
    return {
        "room, GiB": room / 2**30,
        "batches that did not fit": engine.did_not_fit,
        "tokens a batch afterwards": left.tokens,
        "logits a batch afterwards": left.points,
        "moved by at most": off,
    }


def letters(memory: Memory) -> Figures:
    """Completions by the measured budget."""
    from fflm_data import get_config
    from harness.tasks import get_task

    job = Job(get_task("letters"), get_config("letters"), "test", memory.part.pick(512, 4))
    machine.start_peak()
    table, seconds = ours(memory.case, job)
    assert table.num_rows == job.rows
    peak = machine.peak_memory()
    return {"peak, share of the device": peak / machine.total_memory(), "completions/s": job.rows / seconds}
