"""From rows and observations to what each answer was worth: the one place where right and wrong is decided.

Scores, comparisons and reports are made of what is graded here. What is right is derived from the
regenerated rows; a table of reads says only which token writes which answer. All kinds of answers stand in this
file, so that what is demanded of observations is read in one place.
"""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.answers import ANSWERED
from fflm_data.arrays import Bools, Floats, Ints
from fflm_data.config import majority
from harness.errors import UserError
from harness.prompts.jobs import Job
from harness.prompts.prompting import answer_part
from harness.runs import observations
from harness.runs.run import Run
from harness.tasks import ChoiceTask, HistogramTask, NumberTask, ReadTask, Task
from harness.tasks.base import CompletionTask

MAJORITY = "majority"


@dataclass(frozen=True)
class Graded:
    """The answers of one job, an item each, in the order of its table. All arrays are (items,).

    row: the id of its row. cluster: items of one cluster share what they are asked about, and are no
    independent draws: reads of a sequence, turns of a dialogue, sentences about a fact. right: whether it
    is right. counted: False where the model's logits were no numbers; such an item is neither right nor
    wrong. baselines: by name, whether a baseline is right there (float64, chance between 0 and 1).
    answer: what is right, where "majority" is one of those. groups: by name, items that are also scored apart.
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
        """By name, whether each baseline is right at some items; the majority is that of these items."""
        found = {name: right[items] for name, right in self.baselines.items()}
        if self.answer is not None and items.any():
            among = self.answer[items]
            found[MAJORITY] = (majority(among) == among).astype(np.float64)
        return found

    def best_baseline(self, items: Bools) -> tuple[str, Floats]:
        """The baseline that is right most often at some items, and where it is."""
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
    """output: raw text. kind: whether it was answered, unparsed, refused or cut off."""

    output: list[str]
    kind: list[str]


@dataclass(frozen=True)
class GradedNumbers(GradedCompletions):
    """turn: of a dialogue, 0 for the first answer. target: int64. predicted: the number or None.
    baseline_predictions: by name of a baseline, its int64 predictions."""

    turn: Ints
    target: Ints
    predicted: list[int | None]
    baseline_predictions: dict[str, Ints]


@dataclass(frozen=True)
class GradedHistograms(GradedCompletions):
    """target, predicted: counts of letters by word, None where none were said."""

    target: list[dict[str, int]]
    predicted: list[dict[str, int] | None]


@dataclass(frozen=True)
class GradedChoices(Graded):
    """target, predicted: indices of the right and of the most probable candidate. rank: 1 if the right one is the most
    probable. probability: of the right one among the candidates. written: whether greedy decoding writes it."""

    target: Ints
    predicted: Ints
    rank: Ints
    probability: Floats
    written: Bools


def grade(run: Run, job: Job) -> Any:
    """A job of a run, as the Graded of its kind. Raises UserError if its observations are not those of its rows."""
    return grade_table(
        job.task, job, observations.read(run.require_table(job), observations.schema_of(job.task, job.config))
    )


@singledispatch
def grade_table(task: Task, job: Job, table: pa.Table) -> Graded:
    """The same from a table of observations."""
    raise TypeError(f"no judging for {type(task).__name__}")


@grade_table.register
def _reads(task: ReadTask, job: Job, table: pa.Table) -> GradedReads:
    said = {name: table[name].to_numpy() for name in ("id", "position", "gap", "gold", "gold_token", "argmax")}
    symbols = len(task.symbols(job.config))
    logprobs = table["logprobs"].combine_chunks().values.to_numpy().reshape(-1, symbols)
    counted = ~np.isnan(logprobs).all(axis=1)
    if not (logprobs[counted] <= 0).all() or (said["argmax"][~counted] != -1).any():
        raise impossible(job)
    rows, gaps, target_values, baselines = [], [], [], []
    answer_tokens: dict[int, int] = {}
    seen = 0
    for start, chunk in job.chunks():
        targets = task.targets(chunk)
        here = slice(seen, seen + len(targets.row))
        seen = here.stop
        asked = {"id": targets.row + start, "position": targets.position, "gap": targets.gap, "gold": targets.target}
        if not all(np.array_equal(said[name][here], right) for name, right in asked.items()):
            raise wrong_rows(job)
        for answer in range(symbols):
            tokens = said["gold_token"][here][targets.target == answer]
            if len(tokens) and (tokens != answer_tokens.setdefault(answer, int(tokens[0]))).any():
                raise wrong_rows(job)
        rows.append(targets.row + start)
        gaps.append(targets.gap)
        target_values.append(targets.target)
        baselines.append(targets.baselines)
    # Of a task's symbols each is one token, and no two the same: that is what a gold token can be.
    if seen != table.num_rows or len(set(answer_tokens.values())) < len(answer_tokens):
        raise wrong_rows(job)
    row, gap, target = (np.concatenate(part) for part in (rows, gaps, target_values))
    others = np.where(np.arange(symbols) == target[:, None], -np.inf, logprobs).max(axis=1)
    symbol = np.full(len(target), -1, dtype=np.int64)
    for answer, token in answer_tokens.items():
        symbol[said["argmax"] == token] = answer
    position = said["position"].astype(np.int64)
    return GradedReads(
        job=job,
        row=row,
        cluster=row,
        right=(said["argmax"] == said["gold_token"]) & counted,
        counted=counted,
        baselines={
            "chance": np.full(len(target), 1 / symbols),
            MAJORITY: (majority(target) == target).astype(np.float64),
            **{name: np.concatenate([part[name] for part in baselines]) for name in baselines[0]},
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


@grade_table.register
def _numbers(task: NumberTask, job: Job, table: pa.Table) -> GradedNumbers:
    rows, turns = _asked(job, table)
    turn = table["turn"].to_numpy().astype(np.int64)
    readings = [task.read(*said) for said in _said(task, job, table)]
    target = np.repeat(task.target(rows), turns)
    baseline_predictions = {
        name: np.repeat(prediction, turns) for name, prediction in job.config.baseline_predictions(rows).items()
    }
    said = [reading.value for reading in readings]
    return GradedNumbers(
        **_completed(task, job, table, rows, turns),
        right=np.array([value == answer for value, answer in zip(said, target.tolist(), strict=True)], dtype=bool),
        baselines={
            name: (prediction == target).astype(np.float64) for name, prediction in baseline_predictions.items()
        },
        answer=target if MAJORITY in baseline_predictions else None,
        kind=[reading.kind for reading in readings],
        turn=turn,
        target=target,
        predicted=said,
        baseline_predictions=baseline_predictions,
    )


@grade_table.register
def _histograms(task: HistogramTask, job: Job, table: pa.Table) -> GradedHistograms:
    rows, turns = _asked(job, table)
    readings = [task.read(*said) for said in _said(task, job, table)]
    target = task.target(rows)
    once = [max(counts.values()) == 1 for counts in target]
    said = [reading.value for reading in readings]
    return GradedHistograms(
        **_completed(task, job, table, rows, turns),
        right=np.array([value == answer for value, answer in zip(said, target, strict=True)], dtype=bool),
        baselines={"every letter once": np.array(once, dtype=np.float64)},
        answer=None,
        kind=[reading.kind for reading in readings],
        target=target,
        predicted=said,
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
        raise impossible(job)
    baseline_predictions = job.config.baseline_predictions(rows)
    answers = np.asarray(rows["answer"].to_pylist(), dtype=object)
    target_values = [float(line[one]) for line, one in zip(lines, target, strict=True)]
    # The right one among equals comes last: a model that tells nothing apart knows nothing.
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
            "chance": np.array([1 / len(one) for one in candidates]),
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


def _asked(job: Job, table: pa.Table) -> tuple[pa.Table, int]:
    """The rows of a job of completions, and the turns of each. Raises UserError for a table of others."""
    turns = job.prompting.turns
    if not np.array_equal(table["id"].to_numpy(), np.repeat(np.arange(job.rows), turns)) or not np.array_equal(
        table["turn"].to_numpy(), np.tile(np.arange(turns), job.rows)
    ):
        raise wrong_rows(job)
    return pa.concat_tables(chunk for _, chunk in job.chunks()), turns


def _said(task: CompletionTask, job: Job, table: pa.Table) -> list[tuple[str, bool]]:
    """The part of each output that answers, and whether it was cut off."""
    limit = job.prompting.max_new_tokens(task)
    outputs = zip(table["output"].to_pylist(), (table["tokens"].to_numpy() >= limit).tolist(), strict=True)
    return [answer_part(task, output, cut_off, job.prompting) for output, cut_off in outputs]


def _completed(task: CompletionTask, job: Job, table: pa.Table, rows: pa.Table, turns: int) -> dict[str, Any]:
    """What all graded completions have."""
    return {
        "job": job,
        "row": table["id"].to_numpy(),
        "cluster": table["id"].to_numpy(),
        "counted": table["tokens"].to_numpy() >= 0,
        "groups": {name: np.repeat(inside, turns) for name, inside in task.groups(rows).items()},
        "output": table["output"].to_pylist(),
    }


def answered(graded: GradedCompletions) -> Bools:
    """Which items say an answer, right or wrong."""
    return np.array([kind == ANSWERED for kind in graded.kind], dtype=bool)


def impossible(job: Job) -> UserError:
    """What to say of log-probabilities that no model gives."""
    return UserError(
        f"the log-probabilities of {job.name} are not all at most 0: delete that table and run harness eval again"
    )


def wrong_rows(job: Job) -> UserError:
    """What to say of a table of other rows."""
    return UserError(
        f"the observations of {job.name} are not those of its {job.rows:,} rows: "
        "delete that table and run harness eval again"
    )
