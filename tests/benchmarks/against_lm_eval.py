"""The harness against lm-evaluation-harness: time from rows to observations for the same reads and prompts."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import datasets
import numpy as np
import torch

from fflm_data import answers, get_config
from fflm_data.arrays import Ints
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.prompts.rendering import plain_texts
from harness.tasks import ReadTask
from harness.tasks.letters import LettersTask
from tests.benchmarks import lm_eval_side
from tests.benchmarks.cases import Case, logprobs_at, otherwise, ours, reads_job
from tests.benchmarks.measuring import Ratio, echo, take_turns

DEMONSTRATIONS = 8


@dataclass(frozen=True)
class OfReads:
    """Milliseconds per read. ours: for all reads of the rows; theirs: for a sample. batch: batch size of lm-eval. ties:
    reads with different predictions, all near ties."""

    reads: int
    sample: int
    batch: int
    ratio: Ratio
    ties: int


@dataclass(frozen=True)
class OfLetters:
    """Milliseconds per prompt. same: prompts with the same number, or none, from both. numbers: those with a number.
    texts: prompts with the same text."""

    batch: int
    ratio: Ratio
    same: int
    numbers: int
    texts: int


def quiet() -> None:
    """Silences progress bars and warnings."""
    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


def reads(case: Case, job: Job, sample: int, repeats: int) -> OfReads:
    """All reads of a job by the harness, and a sample of them by lm-eval. Fails if predictions differ beyond ties."""
    task, rows = cast(ReadTask, job.task), job.config.table(job.split, 0, job.rows)
    targets, texts, symbols = task.targets(rows), task.texts(rows), task.symbols(job.config)
    drawn = spread(targets.offset, sample)
    contexts = [texts[targets.row[read]][: targets.offset[read] - 1] for read in drawn.tolist()]

    def theirs(size: int, contexts: list[str] = contexts) -> tuple[Any, float]:
        return lm_eval_side.choices(case.model, case.source.tokenizer, contexts, symbols, size)

    echo(f"lm-eval {job.split}: {job.rows} rows, {len(targets.row)} reads, lm-eval gets {len(drawn)}")
    ours(case, reads_job(job.split, 1))
    size = fastest(case, lm_eval_side.CHOICES_BATCH, theirs, contexts)
    (tables, mine), (outputs, other) = take_turns(repeats, partial(cast(Any, ours), case, job), partial(theirs, size))
    where = targets.row[drawn], targets.position[drawn]
    ties = [
        otherwise(logprobs_at(table, *where), np.array(turn), case) for table, turn in zip(tables, outputs, strict=True)
    ]
    ratio = Ratio(mine, other, (len(targets.row), len(drawn)))
    return OfReads(len(targets.row), len(drawn), size, ratio, max(ties))


def letters(case: Case, rows: int, repeats: int) -> OfLetters:
    """Letters with few-shot examples, every prompt by both. Fails in float32 if the numbers differ."""
    task, config = LettersTask(), get_config("letters")
    shown = Prompting(shots=DEMONSTRATIONS)
    job = Job(task, config, "test", rows, shown)
    prompts = plain_texts(job, config.table("test", 0, job.rows))

    def theirs(size: int, prompts: list[str] = prompts) -> tuple[Any, float]:
        model, tokenizer = case.model, case.source.tokenizer
        return lm_eval_side.completions(model, tokenizer, prompts, task.max_new_tokens(chat=False), size)

    echo(f"lm-eval letters: {job.rows} rows")
    ours(case, Job(task, config, "test", 1, shown))
    can_pad = case.source.tokenizer.eos_token is not None
    size = fastest(case, lm_eval_side.COMPLETIONS_BATCH, theirs, prompts) if can_pad else 1
    (tables, mine), (outputs, other) = take_turns(repeats, partial(cast(Any, ours), case, job), partial(theirs, size))
    agreed = []
    for table, turn in zip(tables, outputs, strict=True):
        written = map(answer_in, table.sort_by("id")["output"].to_pylist())
        agreed.append(agreement(list(written), [answer_in(text) for text in turn]))
        # In half precision a batch of another shape is rounded otherwise, and greedy texts part at the first tie.
        assert agreed[-1][0] == job.rows or case.model.dtype != torch.float32, f"{case.name}: {agreed[-1]}"
    return OfLetters(size, Ratio(mine, other, (job.rows, job.rows)), *min(agreed))


def spread(lengths: Ints, count: int) -> Ints:
    """Random indices, one from each of `count` quantiles of the length."""
    parts = np.array_split(np.argsort(lengths, kind="stable"), min(count, len(lengths)))
    drawn = random.Random(0)
    return np.array([drawn.choice(part.tolist()) for part in parts])


def fastest(case: Case, on_cpu: int, theirs: Callable[..., tuple[Any, float]], texts: list[str]) -> int:
    """The batch size of lm-eval: on a GPU the fastest of several; on a CPU a known one."""
    if case.model.device.type != "cuda":
        theirs(on_cpu, texts[:1])
        return on_cpu
    theirs(1, texts[:1])
    return min((1, 4, 16, 64), key=lambda size: theirs(size, texts)[1])


def answer_in(text: str) -> str:
    """The first line, cut where it is complete."""
    line = text.partition("\n")[0]
    ends = (end for end in range(len(line)) if answers.is_complete(line[:end]))
    return line[: next(ends, len(line))]


def agreement(one: list[str], two: list[str]) -> tuple[int, int, int]:
    """Numbers of outputs with the same number (or none in both), of those with a number, and of equal texts."""
    pairs = [(answers.parse(first).value, answers.parse(second).value) for first, second in zip(one, two, strict=True)]
    same = [first for first, second in pairs if first == second]
    texts = sum(first == second for first, second in zip(one, two, strict=True))
    return len(same), sum(number is not None for number in same), texts
