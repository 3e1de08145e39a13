"""From rows and observations to scores: pure functions, wherever the observations came from.

What is right is derived from the regenerated rows; a table says only which token writes which answer.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness import observations
from harness.answers import first_line, parse
from harness.errors import UserError
from harness.rows import Job
from harness.run import Run
from harness.statistics import mean_interval, proportion_interval
from harness.tasks import CompletionTask, ReadTask, Task
from harness.tasks.base import Floats, Ints

RESULT_SCHEMA = "fflm-result/1"
DECIMALS = 8


@dataclass(frozen=True)
class Score:
    """One number of a result.

    low, high: its 95% interval. n: what was counted (reads, sequences or rows); errors: how many of
    them were wrong. baseline: the best trivial score on the same rows. group: the part of the split,
    None for all of it.
    """

    task: str
    split: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    errors: int | None = None
    baseline: float | None = None
    group: str | None = None


def score_run(run: Run) -> dict[str, Any]:
    """result.json of a run. Raises UserError if its observations are not there or not those of its rows."""
    scores: list[Score] = []
    for job in run.jobs():
        scores += score(job.task, job, observations.read(run.table(job), observations.schema_of(job.task, job.config)))
    return {
        "schema": RESULT_SCHEMA,
        "model": run.facts["model"],
        "data": run.facts["data"],
        "scores": [_rounded(one) for one in scores],
        "environment": run.facts["environment"],
        "command": run.facts["command"],
    }


@singledispatch
def score(task: Task, job: Job, table: pa.Table) -> list[Score]:
    """All scores of one job, from its table of observations."""
    raise TypeError(f"no scoring for {type(task).__name__}")


@score.register
def _score_reads(task: ReadTask, job: Job, table: pa.Table) -> list[Score]:
    rows, right, among, gap, baselines, numbers = _judge_reads(task, job, table)
    lost = _not_a_number(job, ~numbers)
    told = np.bincount(rows, ~numbers, job.rows) == 0
    rows, right, among, gap = rows[numbers], right[numbers], among[numbers], gap[numbers]
    baselines = {name: guess[numbers] for name, guess in baselines.items()}
    if not len(rows):
        return lost
    best = max(float(guess.mean()) for guess in baselines.values())
    accuracy = _proportion(job, "accuracy", right, rows, baseline=best)
    clean = np.bincount(rows, ~right, job.rows) == 0
    scores = [
        *lost,
        accuracy,
        _skill(accuracy),
        _proportion(job, "accuracy_among_symbols", among, rows, baseline=best),
        *([_proportion(job, "sequences_without_glitch", clean[told], np.flatnonzero(told))] if told.any() else []),
    ]
    for name, inside in _gap_groups(gap):
        guess = max(float(values[inside].mean()) for values in baselines.values())
        scores.append(_proportion(job, "accuracy", right[inside], rows[inside], baseline=guess, group=name))
    return scores


def _not_a_number(job: Job, lost: npt.NDArray[np.bool_]) -> list[Score]:
    """How often the logits were NaN or infinite, if ever: what is asked there is neither right nor wrong."""
    count = int(lost.sum())
    return [Score(job.task.name, job.split, "not_a_number", count / len(lost), None, None, len(lost), count)] * bool(
        count
    )


def _judge_reads(
    task: ReadTask, job: Job, table: pa.Table
) -> tuple[Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_], Ints, dict[str, Floats], npt.NDArray[np.bool_]]:
    """Per read: its row; whether the most probable token was right; whether the most probable symbol was;
    its gap; its baselines; whether the model gave numbers at all."""
    said = {name: table[name].to_numpy() for name in ("id", "position", "gold_token", "argmax")}
    symbols = len(task.symbols(job.config))
    logprobs = table["logprobs"].combine_chunks().values.to_numpy().reshape(-1, symbols)
    numbers = ~np.isnan(logprobs).all(axis=1)
    if not (logprobs[numbers] <= 0).all() or (said["argmax"][~numbers] != -1).any():
        raise UserError(
            f"the log-probabilities of {job.name} are not all at most 0: delete that table and run harness eval again"
        )
    rows, among, gaps, baselines = [], [], [], []
    answer_tokens: dict[int, int] = {}
    seen = 0
    for start, chunk in job.chunks():
        targets = task.targets(chunk)
        here = slice(seen, seen + len(targets.row))
        seen = here.stop
        same_rows = np.array_equal(said["id"][here], targets.row + start)
        if not same_rows or not np.array_equal(said["position"][here], targets.position):
            raise _wrong_rows(job)
        for answer in range(symbols):
            tokens = said["gold_token"][here][targets.gold == answer]
            if len(tokens) and (tokens != answer_tokens.setdefault(answer, int(tokens[0]))).any():
                raise _wrong_rows(job)
        lines = logprobs[here]
        gold = lines[np.arange(len(lines)), targets.gold]
        others = np.where(np.arange(symbols) == targets.gold[:, None], -np.inf, lines).max(axis=1)
        rows.append(targets.row + start)
        among.append(gold > others)
        gaps.append(targets.gap)
        baselines.append({"chance": np.full(len(lines), 1 / symbols), **targets.baselines})
    if seen != table.num_rows or len(set(answer_tokens.values())) < len(answer_tokens):
        raise _wrong_rows(job)
    merged = {name: np.concatenate([part[name] for part in baselines]) for name in baselines[0]}
    # Of a task's symbols each is one token, and no two the same: that is what a gold token can be.
    right = said["argmax"] == said["gold_token"]
    return np.concatenate(rows), right, np.concatenate(among), np.concatenate(gaps), merged, numbers


def _gap_groups(gap: Ints) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Reads by their distance to the write, in octaves: 1, 2-3, 4-7, ..."""
    low = 1
    while low <= gap.max():
        inside = (gap >= low) & (gap < 2 * low)
        if inside.any():
            yield (f"gap={low}" if low == 1 else f"gap={low}-{2 * low - 1}"), inside
        low *= 2


@score.register
def _score_completions(task: CompletionTask, job: Job, table: pa.Table) -> list[Score]:
    rows = pa.concat_tables(chunk for _, chunk in job.chunks())
    if not np.array_equal(table["id"].to_numpy(), np.arange(job.rows)):
        raise _wrong_rows(job)
    numbers = table["tokens"].to_numpy() >= 0
    cut_off = table["tokens"].to_numpy() >= task.max_new_tokens
    said = [
        parse(first_line(output), cut)
        for output, cut in zip(table["output"].to_pylist(), cut_off.tolist(), strict=True)
    ]
    gold, baselines = task.gold(rows), job.config.guesses(rows)
    parts: list[tuple[str | None, npt.NDArray[np.bool_]]] = [(None, np.ones(job.rows, dtype=bool))]
    parts += task.groups(rows).items()
    scores = _not_a_number(job, ~numbers)
    for group, members in parts:
        inside = members & numbers
        if inside.any():
            guesses = [guess[inside] for guess in baselines.values()]
            part = [number for number, chosen in zip(said, inside, strict=True) if chosen]
            scores += _score_numbers(job, part, gold[inside], guesses, group)
    return scores


def _score_numbers(job: Job, said: list[int | None], gold: Ints, guesses: list[Ints], group: str | None) -> list[Score]:
    """Accuracy, skill, mean absolute error of what was parsed, and the rate of parse failures."""
    parsed = np.array([number is not None for number in said])
    right = np.array([number == answer for number, answer in zip(said, gold.tolist(), strict=True)])
    distance = np.array(
        [abs(n - answer) for n, answer in zip(said, gold.tolist(), strict=True) if n is not None], float
    )
    each = np.arange(len(gold))
    accuracy = _proportion(
        job, "accuracy", right, each, baseline=max(float((guess == gold).mean()) for guess in guesses), group=group
    )
    interval = mean_interval(distance)
    error = Score(
        job.task.name,
        job.split,
        "mean_absolute_error",
        float(distance.mean()) if len(distance) else None,
        interval.low if interval else None,
        interval.high if interval else None,
        n=len(distance),
        baseline=min(float(np.abs(guess - gold)[parsed].mean()) for guess in guesses) if parsed.any() else None,
        group=group,
    )
    failures = _proportion(job, "parse_failures", ~parsed, each, group=group)
    return [accuracy, _skill(accuracy), error, failures]


def _proportion(
    job: Job,
    metric: str,
    right: npt.NDArray[np.bool_],
    rows: Ints,
    *,
    baseline: float | None = None,
    group: str | None = None,
) -> Score:
    """A share of `right`, its interval clustered by row. For parse_failures what is counted is the failure."""
    n = len(right)
    reads = np.bincount(rows).astype(float)
    errors = np.bincount(rows, ~right).astype(float)
    interval = proportion_interval(errors[reads > 0], reads[reads > 0])
    wrong = int(right.sum()) if metric == "parse_failures" else int(n - right.sum())
    return Score(
        job.task.name,
        job.split,
        metric,
        float(right.mean()),
        1 - interval.high,
        1 - interval.low,
        n,
        wrong,
        baseline,
        group,
    )


def _skill(accuracy: Score) -> Score:
    """(accuracy - baseline) / (1 - baseline) for the best trivial one; None where that is perfect."""
    base = accuracy.baseline

    def skill(end: float | None) -> float | None:
        return None if end is None or base is None or base >= 1 else (end - base) / (1 - base)

    value, low, high = skill(accuracy.value), skill(accuracy.low), skill(accuracy.high)
    return Score(accuracy.task, accuracy.split, "skill", value, low, high, accuracy.n, group=accuracy.group)


def _rounded(one: Score) -> dict[str, Any]:
    """As JSON: rounded, so that the last bits of a processor's arithmetic do not show."""
    return {key: round(value, DECIMALS) if isinstance(value, float) else value for key, value in asdict(one).items()}


def _wrong_rows(job: Job) -> UserError:
    return UserError(
        f"the observations of {job.name} are not those of its {job.rows:,} rows: "
        "delete that table and run harness eval again"
    )
