"""Grading: decides for each answer whether it is right, from regenerated rows and observations.

Scores, comparisons and reports are computed from graded answers. Targets come from the regenerated rows; a table of
reads only says which token represents which symbol. All kinds of answers are in this file, so that the requirements on
observations are in one place.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.answers import ANSWERED
from fflm_data.arrays import Bools, Floats, Ints
from fflm_data.config import Config, majority
from harness.errors import UserError
from harness.prompts.jobs import Job
from harness.prompts.prompting import answer_part
from harness.runs import observations
from harness.runs.run import Run
from harness.tasks import ChoiceTask, HistogramTask, NumberTask, ReadTask, Task
from harness.tasks.base import CompletionTask, Targets

MAJORITY = "majority"


@dataclass(frozen=True)
class Graded:
    """The graded answers (items) of one job, in the order of its table. All arrays are (items,).

    row: id of the row. cluster: items of a cluster are not independent samples: reads of a sequence, turns of a
    dialogue, sentences about a fact. right: whether the answer is right. counted: False where logits are non-finite;
    these items are excluded. baselines: by name, whether a baseline is right (float64; a probability for chance).
    answer: the targets, if "majority" is a baseline. groups: by name, items that are also scored separately.
    """

    job: Job
    row: Ints
    cluster: Ints
    right: Bools
    counted: Bools
    baselines: dict[str, Floats]
    answer: npt.NDArray[Any] | None
    groups: dict[str, Bools]

    def baselines_at(self, items: Bools) -> dict[str, Floats]:
        """For each baseline, whether it is right on some items; the majority is that of these items."""
        baselines = {name: right[items] for name, right in self.baselines.items()}
        if self.answer is not None and items.any():
            among = self.answer[items]
            baselines[MAJORITY] = (majority(among) == among).astype(np.float64)
        return baselines

    def best_baseline(self, items: Bools) -> tuple[str, Floats]:
        """The baseline with the highest accuracy on some items, and where it is right."""
        return max(self.baselines_at(items).items(), key=lambda named: float(named[1].mean()))


@dataclass(frozen=True)
class GradedReads(Graded):
    """position, gap, target as in `Targets`. predicted: the symbol of the most probable token, -1 for another token.
    among: whether the right symbol was more probable than all others. logprobs: float32 (items, symbols)."""

    position: Ints
    gap: Ints
    target: Ints
    predicted: Ints
    among: Bools
    logprobs: Any


@dataclass(frozen=True)
class GradedCompletions(Graded):
    """output: raw text. kind: answered, unparsed, refused or cut off."""

    output: list[str]
    kind: list[str]


@dataclass(frozen=True)
class GradedNumbers(GradedCompletions):
    """turn: turn of a dialogue, 0 for the first answer. target: int64. predicted: the number or None.
    baseline_predictions: int64 predictions by name of the baseline."""

    turn: Ints
    target: Ints
    predicted: list[int | None]
    baseline_predictions: dict[str, Ints]


@dataclass(frozen=True)
class GradedHistograms(GradedCompletions):
    """target, predicted: counts of letters by word; None without an answer."""

    target: list[dict[str, int]]
    predicted: list[dict[str, int] | None]


@dataclass(frozen=True)
class GradedChoices(Graded):
    """target, predicted: indices of the right and of the most probable candidate. rank: rank of the right candidate, 1
    for the most probable. probability: of the right candidate among all. written: whether greedy decoding gives it."""

    target: Ints
    predicted: Ints
    rank: Ints
    probability: Floats
    written: Bools


def grade(run: Run, job: Job) -> Any:
    """Grades a job of a run. Raises UserError if its observations do not match its rows."""
    return grade_table(
        job.task, job, observations.read(run.require_table(job), observations.schema_of(job.task, job.config))
    )


@singledispatch
def grade_table(task: Task, job: Job, table: pa.Table) -> Graded:
    """Grades a table of observations."""
    raise TypeError(f"no grading for {type(task).__name__}")


@grade_table.register
def _reads(task: ReadTask, job: Job, table: pa.Table) -> GradedReads:
    observed = {name: table[name].to_numpy() for name in ("id", "position", "gap", "gold", "gold_token", "argmax")}
    symbols = len(task.symbols(job.config))
    logprobs = table["logprobs"].combine_chunks().values.to_numpy().reshape(-1, symbols)
    counted = ~np.isnan(logprobs).all(axis=1)
    if not (logprobs[counted] <= 0).all() or (observed["argmax"][~counted] != -1).any():
        raise impossible_logprobs(job)
    targets = _regenerated(task, job.config, job.split, job.rows)
    row, gap, target = targets.row, targets.gap, targets.target
    expected = {"id": row, "position": targets.position, "gap": gap, "gold": target}
    if not all(np.array_equal(observed[name], right) for name, right in expected.items()):
        raise wrong_rows(job)
    answer_tokens: dict[int, int] = {}
    for answer in range(symbols):
        tokens = observed["gold_token"][target == answer]
        if len(tokens) and (tokens != answer_tokens.setdefault(answer, int(tokens[0]))).any():
            raise wrong_rows(job)
    # Each symbol of a task is a single token, different from the others.
    if len(set(answer_tokens.values())) < len(answer_tokens):
        raise wrong_rows(job)
    others = np.where(np.arange(symbols) == target[:, None], -np.inf, logprobs).max(axis=1)
    symbol = np.full(len(target), -1, dtype=np.int64)
    for answer, token in answer_tokens.items():
        symbol[observed["argmax"] == token] = answer
    position = observed["position"].astype(np.int64)
    return GradedReads(
        job=job,
        row=row,
        cluster=row,
        right=(observed["argmax"] == observed["gold_token"]) & counted,
        counted=counted,
        baselines={
            "chance": np.full(len(target), 1 / symbols),
            MAJORITY: (majority(target) == target).astype(np.float64),
            **targets.baselines,
        },
        answer=target,
        groups=task.groups(job.config, position, gap),
        position=position,
        gap=gap,
        target=target,
        predicted=symbol,
        among=logprobs[np.arange(len(target)), target] > others,
        logprobs=logprobs,
    )


@lru_cache(maxsize=3)  # the splits of a task: runs of the same rows are often graded after one another
def _regenerated(task: ReadTask, config: Config, split: str, rows: int) -> Targets:
    """The reads of the first rows of a split. Their arrays are read-only, because runs share them."""
    parts = []
    for start, chunk in Job(task, config, split, rows).chunks():
        targets = task.targets(chunk)
        parts.append(replace(targets, row=targets.row + start))
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("row", "position", "offset", "gap", "target")
    }
    baselines = {name: np.concatenate([part.baselines[name] for part in parts]) for name in parts[0].baselines}
    for array in (*joined.values(), *baselines.values()):
        array.flags.writeable = False
    return Targets(**joined, baselines=baselines)


@grade_table.register
def _numbers(task: NumberTask, job: Job, table: pa.Table) -> GradedNumbers:
    rows, turns = _completion_rows(job, table)
    turn = table["turn"].to_numpy().astype(np.int64)
    answers = [task.read(*output) for output in _answer_parts(task, job, table)]
    target = np.repeat(task.target(rows), turns)
    baseline_predictions = {
        name: np.repeat(prediction, turns) for name, prediction in job.config.baseline_predictions(rows).items()
    }
    predicted = [answer.value for answer in answers]
    return GradedNumbers(
        **_completion_fields(task, job, table, rows, turns),
        right=np.array([value == answer for value, answer in zip(predicted, target.tolist(), strict=True)], dtype=bool),
        baselines={
            name: (prediction == target).astype(np.float64) for name, prediction in baseline_predictions.items()
        },
        answer=target if MAJORITY in baseline_predictions else None,
        kind=[answer.kind for answer in answers],
        turn=turn,
        target=target,
        predicted=predicted,
        baseline_predictions=baseline_predictions,
    )


@grade_table.register
def _histograms(task: HistogramTask, job: Job, table: pa.Table) -> GradedHistograms:
    rows, turns = _completion_rows(job, table)
    answers = [task.read(*output) for output in _answer_parts(task, job, table)]
    target = task.target(rows)
    all_once = [max(counts.values()) == 1 for counts in target]
    predicted = [answer.value for answer in answers]
    return GradedHistograms(
        **_completion_fields(task, job, table, rows, turns),
        right=np.array([value == answer for value, answer in zip(predicted, target, strict=True)], dtype=bool),
        baselines={"every letter once": np.array(all_once, dtype=np.float64)},
        answer=None,
        kind=[answer.kind for answer in answers],
        target=target,
        predicted=predicted,
    )


@grade_table.register
def _choices(task: ChoiceTask, job: Job, table: pa.Table) -> GradedChoices:
    rows = pa.concat_tables(chunk for _, chunk in job.chunks())
    target, candidates = task.target(rows), task.candidates(rows)
    if not np.array_equal(table["id"].to_numpy(), np.arange(job.rows)) or not np.array_equal(
        table["gold"].to_numpy(), target
    ):
        raise wrong_rows(job)
    lists = table["logprobs"].combine_chunks()
    if lists.value_lengths().to_pylist() != list(map(len, candidates)):
        raise wrong_rows(job)
    lines = np.split(lists.values.to_numpy(), lists.offsets.to_numpy()[1:-1])
    counted = np.array([not np.isnan(line).any() for line in lines], dtype=bool)
    written = table["written"].to_numpy()
    if not all((line <= 0).all() for line in np.array(lines, dtype=object)[counted]) or (written[~counted] != -1).any():
        raise impossible_logprobs(job)
    baseline_predictions = job.config.baseline_predictions(rows)
    answers = np.asarray(rows["answer"].to_pylist(), dtype=object)
    target_values = [float(line[index]) for line, index in zip(lines, target, strict=True)]
    # Ties count against the model: a model with equal probabilities for all candidates knows nothing.
    rank = np.array([int((line >= own).sum()) for line, own in zip(lines, target_values, strict=True)], dtype=np.int64)
    share = [
        float(np.exp(own - np.logaddexp.reduce(line.astype(np.float64))))
        for line, own in zip(lines, target_values, strict=True)
    ]
    return GradedChoices(
        job=job,
        row=np.arange(job.rows),
        cluster=task.facts(rows),
        right=(rank == 1) & counted,
        counted=counted,
        baselines={
            "chance": np.array([1 / len(row_candidates) for row_candidates in candidates]),
            **{name: (prediction == answers).astype(np.float64) for name, prediction in baseline_predictions.items()},
        },
        answer=answers if MAJORITY in baseline_predictions else None,
        groups=task.groups(rows),
        target=target,
        predicted=np.array([int(np.argmax(line)) for line in lines], dtype=np.int64),
        rank=rank,
        probability=np.array(share),
        written=(written == target) & counted,
    )


def _completion_rows(job: Job, table: pa.Table) -> tuple[pa.Table, int]:
    """The rows of a job of completions, and the turns per row. Raises UserError if the table has other rows."""
    turns = job.prompting.turns
    if not np.array_equal(table["id"].to_numpy(), np.repeat(np.arange(job.rows), turns)) or not np.array_equal(
        table["turn"].to_numpy(), np.tile(np.arange(turns), job.rows)
    ):
        raise wrong_rows(job)
    return pa.concat_tables(chunk for _, chunk in job.chunks()), turns


def _answer_parts(task: CompletionTask, job: Job, table: pa.Table) -> list[tuple[str, bool]]:
    """The answer part of each output, and whether it was cut off."""
    limit = job.prompting.max_new_tokens(task)
    outputs = zip(table["output"].to_pylist(), (table["tokens"].to_numpy() >= limit).tolist(), strict=True)
    return [answer_part(task, output, cut_off, job.prompting) for output, cut_off in outputs]


def _completion_fields(task: CompletionTask, job: Job, table: pa.Table, rows: pa.Table, turns: int) -> dict[str, Any]:
    """The common fields of graded completions."""
    return {
        "job": job,
        "row": table["id"].to_numpy(),
        "cluster": table["id"].to_numpy(),
        "counted": table["tokens"].to_numpy() >= 0,
        "groups": {name: np.repeat(inside, turns) for name, inside in task.groups(rows).items()},
        "output": table["output"].to_pylist(),
    }


def answered(graded: GradedCompletions) -> Bools:
    """Which items have an answer, right or wrong."""
    return np.array([kind == ANSWERED for kind in graded.kind], dtype=bool)


def impossible_logprobs(job: Job) -> UserError:
    """The error for log-probabilities above 0."""
    return UserError(
        f"the log-probabilities of {job.name} are not all at most 0. Delete this table and run harness eval again."
    )


def wrong_rows(job: Job) -> UserError:
    """The error for a table of other rows."""
    return UserError(
        f"the observations of {job.name} do not match its {job.rows:,} rows. "
        "Delete this table and run harness eval again."
    )
