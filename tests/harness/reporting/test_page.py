"""Plot data against slow oracles that count item by item."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from fflm_data import get_config
from fflm_data.number_formats import significant, skill, typographic
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.reporting import plot_data
from harness.reporting.error_examples import error_examples
from harness.reporting.plot_types import Curve
from harness.reporting.sections import sections
from harness.reporting.sections.base import GradedRun
from harness.runs import observations
from harness.runs.recorded_jobs import data_facts
from harness.runs.run import RUN_SCHEMA, Run
from harness.scoring.comparison import compare_accuracy
from harness.scoring.grading import GradedChoices, GradedNumbers, GradedReads, grade
from harness.scoring.headline_score import headline_of
from harness.scoring.scores import score
from harness.scoring.statistics import mean_interval, proportion_interval
from harness.tasks import ChoiceTask, DialogueTask, HistogramTask, NumberTask, ReadTask, all_tasks

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>{{ 7 * 7 }} $\\frac{1}{2}$ \x01]]>"
ROWS = {
    "flipflop": 40, "flipflop-piecewise": 40, "flipflop-prose": 100, "query-count": 112, "most-frequent": 112,
    "letters": 300, "letters-spelled": 200, "letters-histogram": 60, "strawberry": 20, "arithmetic": 70,
    "capitals": 60,
}  # fmt: skip


def made_up_run(folder: Path, *, seed: int, model: str = "an-org/a-model", tasks: tuple[str, ...] = tuple(ROWS)) -> Run:
    """A synthetic run: each task half right, with refusals, cut-off answers and hostile outputs."""
    rng = np.random.default_rng(seed)
    jobs = []
    (folder / "observations").mkdir(parents=True)
    for name in tasks:
        task = all_tasks()[name]
        config = get_config(task.config, **task.parameters)
        prompting = Prompting(turns=1 + task.challenges if isinstance(task, DialogueTask) else 1)
        jobs += [Job(task, config, split, min(ROWS[name], config.rows(split)), prompting) for split in task.splits]
    facts = {
        "schema": RUN_SCHEMA, "id": "0", "created": "2026-01-01T00:00:00+00:00", "command": f"harness eval {HOSTILE}",
        "model": {"id": model, "revision": "0123456789abcdef" * 2 + "01234567", "dtype": "float32", "parameters": 1234,
                  "tokenizer": HOSTILE},
        "data": data_facts(jobs), "environment": {"device": "cpu", "fflm": "0"},
    }  # fmt: skip
    run = Run(folder, json.loads(json.dumps(facts)))
    for job in jobs:
        schema = observations.schema_of(job.task, job.config)
        with observations.writing(run.table(job), schema) as writer:
            writer.write_table(pa.table(_said(job, rng), schema=schema))
    return run


def _said(job: Job, rng: np.random.Generator) -> dict[str, Any]:
    rows = pa.concat_tables(chunk for _, chunk in job.chunks())
    task = job.task
    if isinstance(task, ReadTask):
        targets = task.targets(rows)
        n = len(targets.row)
        right = rng.random(n) > np.minimum(0.002 * targets.gap, 0.5)
        logprobs = np.log(np.where(np.arange(2) == targets.target[:, None], 0.7, 0.2)).astype(np.float32)
        logprobs = np.where(right[:, None], logprobs, logprobs[:, ::-1])
        token = 10 + targets.target
        argmax = np.where(right, token, np.where(rng.random(n) < 0.2, 99, 21 - token))
        logprobs[:3], argmax[:3] = np.nan, -1
        return {
            "id": targets.row, "position": targets.position, "gap": targets.gap, "gold": targets.target,
            "logprobs": observations.logprobs_column(logprobs), "gold_token": token, "argmax": argmax,
        }  # fmt: skip
    if isinstance(task, ChoiceTask):
        target, sizes = task.target(rows), [len(one) for one in task.candidates(rows)]
        found = [-rng.gamma(2.0, 3.0, size) for size in sizes]
        for line, one in zip(found, target, strict=True):
            line[one] *= 0.1
        return {
            "id": np.arange(job.rows),
            "gold": target,
            "logprobs": found,
            "written": np.where(rng.random(job.rows) < 0.5, target, -1),
        }
    turns = job.prompting.turns
    n = job.rows * turns
    outputs: list[str] = []
    for row in range(job.rows):
        for _ in range(turns):
            chance = rng.random()
            if isinstance(task, HistogramTask):
                counts = dict(task.target(rows.slice(row, 1))[0])
                if chance < 0.5:
                    counts[next(iter(counts))] += int(rng.integers(1, 3))
                answer = json.dumps(counts)
            else:
                true = int(cast(NumberTask, task).target(rows.slice(row, 1))[0])
                answer = str(true if chance < 0.5 else max(0, true + int(rng.integers(-4, 5))))
            odd = {0: "I cannot help with that.", 1: HOSTILE, 2: "987654321"}
            outputs.append(odd.get(int(rng.integers(0, 40)), answer) + "\n")
    tokens = np.full(n, 4)
    tokens[::23] = -1 if turns == 1 else 4
    return {"id": np.repeat(np.arange(job.rows), turns), "turn": np.tile(np.arange(turns), job.rows),
            "output": outputs, "tokens": tokens}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made_up_run(tmp_path_factory.mktemp("made") / "run", seed=1)


@pytest.fixture(scope="module")
def graded(run: Run) -> dict[tuple[str, str], Any]:
    return {(job.task.name, job.split): grade(run, job) for job in run.jobs()}


def table_of(run: Run, job: Job) -> list[dict[str, Any]]:
    table = observations.read(run.table(job), observations.schema_of(job.task, job.config))
    return cast(list[dict[str, Any]], table.to_pylist())


def rows_of(job: Job) -> list[dict[str, Any]]:
    return [row for _, chunk in job.chunks() for row in chunk.to_pylist()]


def check_shares(curve: Curve, items: dict[str, list[tuple[int, bool]]]) -> None:
    """Compares a curve with (row, right) of the items of each of its points."""
    assert set(curve.names) == {name for name, found in items.items() if found}
    for i, name in enumerate(curve.names):
        by_row: dict[int, list[bool]] = {}
        for row, right in items[name]:
            by_row.setdefault(row, []).append(right)
        errors = [float(sum(not right for right in rights)) for rights in by_row.values()]
        low, high = proportion_interval(np.array(errors), np.array([float(len(rights)) for rights in by_row.values()]))
        assert curve.n[i] == len(items[name])
        assert curve.errors is not None and curve.errors[i] == sum(errors)
        got = curve.value[i], curve.low[i], curve.high[i]
        assert got == pytest.approx((1 - sum(errors) / len(items[name]), 1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize("key", [("flipflop", "val"), ("flipflop", "val_dense"), ("flipflop-piecewise", "test")])
def test_glitches_by_distance_and_position(run: Run, graded: dict[tuple[str, str], Any], key: tuple[str, str]) -> None:
    one: GradedReads = graded[key]
    by_gap: dict[str, list[tuple[int, bool]]] = {}
    by_position: dict[str, list[tuple[int, bool]]] = {}
    for read in table_of(run, one.job):
        if read["argmax"] >= 0:
            low = 2 ** (read["gap"].bit_length() - 1)
            octave = f"{low}" if low == 1 else f"{low}\N{EN DASH}{2 * low - 1}"
            part = read["position"] // 64 * 64
            item = (read["id"], read["argmax"] == read["gold_token"])
            by_gap.setdefault(octave, []).append(item)
            by_position.setdefault(f"{part}\N{EN DASH}{part + 63}", []).append(item)
    shares = plot_data.share_curve(one, "x", plot_data.gap_octaves(one))
    check_shares(shares, by_gap)
    check_shares(plot_data.share_curve(one, "x", plot_data.position_bins(one)), by_position)
    assert all(2 ** int(np.log2(x)) <= x for x in shares.x)
    wrong = plot_data.error_rate(shares)
    assert wrong.value == pytest.approx(1 - shares.value) and wrong.low == pytest.approx(1 - shares.high)
    assert (wrong.low <= wrong.value + 1e-12).all() and (wrong.value <= wrong.high + 1e-12).all()
    assert shares.baseline is not None
    assert shares.baseline[0] == max(
        baseline[one.counted & (one.gap == 1)].mean() for baseline in one.baselines.values()
    )


def test_glitches_of_stories_by_two_metrics(run: Run, graded: dict[tuple[str, str], Any]) -> None:
    one: GradedReads = graded["flipflop-prose", "test"]
    rows = rows_of(one.job)
    whole: dict[str, list[tuple[int, bool]]] = {}
    two: dict[str, list[tuple[int, bool]]] = {}
    for read in table_of(run, one.job):
        if read["argmax"] >= 0:
            length, target = str(rows[read["id"]]["length"]), ("off", "on").index(rows[read["id"]]["answer"])
            whole.setdefault(length, []).append((read["id"], read["argmax"] == read["gold_token"]))
            two.setdefault(length, []).append((read["id"], read["logprobs"][target] > read["logprobs"][1 - target]))
    places = plot_data.distinct_values(one.position + 1)
    check_shares(plot_data.share_curve(one, "x", places), whole)
    check_shares(plot_data.share_curve(one, "x", places, one.among), two)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("task", ["query-count", "most-frequent"])
def test_errors_of_counts(graded: dict[tuple[str, str], Any], task: str, signed: bool) -> None:
    one: GradedNumbers = graded[task, "test"]
    samples: dict[str, list[float]] = {}
    absolute: dict[str, list[int]] = {}
    for i, row in enumerate(rows_of(one.job)):
        number = one.predicted[i]
        if number is not None and one.counted[i]:
            off = number - row["answer"]
            samples.setdefault(str(row["vocabulary"]), []).append(off if signed else abs(off))
            absolute.setdefault(str(row["vocabulary"]), []).append(abs(10 - row["answer"]))
    (sizes,) = plot_data.columns(one, "vocabulary")
    baseline = None if signed else "always 10"
    curve = plot_data.error_curve(one, "x", plot_data.distinct_values(sizes), signed=signed, baseline=baseline)
    assert curve.names == tuple(sorted(samples, key=int)) and curve.x.tolist() == [int(name) for name in curve.names]
    for i, name in enumerate(curve.names):
        interval = mean_interval(np.array(samples[name], float))
        assert curve.n[i] == len(samples[name])
        assert curve.value[i] == pytest.approx(sum(samples[name]) / len(samples[name]))
        assert interval is not None and curve.high[i] == pytest.approx(interval.high)
        assert curve.low[i] == pytest.approx(interval.low if signed else max(interval.low, 0))
        if curve.baseline is not None:
            assert curve.baseline[i] == pytest.approx(np.mean(absolute[name]))


@pytest.mark.parametrize("stratum", ["english", "random"])
def test_letters_by_word(graded: dict[tuple[str, str], Any], stratum: str) -> None:
    one: GradedNumbers = graded["letters", "test"]
    cells: dict[tuple[str, str], list[bool]] = {}
    for i, row in enumerate(rows_of(one.job)):
        if row["stratum"] == stratum and one.counted[i]:
            length = len(row["word"])
            column = (
                "to 5" if length <= 5 else str(length) if length <= 9 else "10\N{EN DASH}11" if length < 12 else "12+"
            )
            cells.setdefault((str(row["answer"]), column), []).append(one.predicted[i] == row["answer"])
    (strata,) = plot_data.columns(one, "stratum")
    grid = plot_data.accuracy_by_word(one, strata == stratum)
    for i, j in np.ndindex(grid.n.shape):
        found = cells.pop((grid.rows[i], grid.columns[j]), [])
        assert grid.n[i, j] == len(found) and (not found or grid.value[i, j] == pytest.approx(np.mean(found)))
    assert not cells


def test_a_dialogue(graded: dict[tuple[str, str], Any]) -> None:
    one: GradedNumbers = graded["strawberry", "test"]
    rows = rows_of(one.job)
    right = [[one.predicted[37 * i + k] == row["answer"] for k in range(37)] for i, row in enumerate(rows)]
    then, still = plot_data.challenge_curve(one, "x", still=False), plot_data.challenge_curve(one, "x", still=True)
    assert then is not None and still is not None
    for i, k in enumerate(map(int, then.x)):
        assert then.value[i] == pytest.approx(np.mean([line[k] for line in right]))
        assert still.value[i] == pytest.approx(np.mean([all(line[: k + 1]) for line in right if line[0]]))
    assert then.x[-1] == 36 and still.total == sum(line[0] for line in right) and then.total == len(rows)
    numbers, kinds, place = plot_data.tally(one, one.row == 0)
    assert numbers[place][0] == "3" and sum(count for _, count in [*numbers, *kinds]) == 37
    assert dict(numbers)["3"] == sum(right[0])


def test_challenge_curve_without_right_answers(graded: dict[tuple[str, str], Any]) -> None:
    one: GradedNumbers = graded["strawberry", "test"]
    assert plot_data.challenge_curve(replace(one, right=one.right & False), "x", still=True) is None


def test_ranks(graded: dict[tuple[str, str], Any]) -> None:
    one: GradedChoices = graded["capitals", "test"]
    for name, inside in one.groups.items():
        curve = plot_data.rank_curve(one, name, inside)
        ranks = [rank for rank, here in zip(one.rank.tolist(), inside.tolist(), strict=True) if here]
        for i, k in enumerate(curve.x):
            assert curve.value[i] == pytest.approx(sum(rank <= k for rank in ranks) / len(ranks))
        assert curve.value[-1] == 1 and curve.total == len(ranks)


def test_rank_curve_is_clustered_by_fact(graded: dict[tuple[str, str], Any]) -> None:
    """The first point of the curve has the interval of the accuracy, which is clustered by fact."""
    one: GradedChoices = graded["capitals", "test"]
    one = replace(one, cluster=np.arange(len(one.row)) // 12)
    accuracy = {each.group: each for each in score(one) if each.metric == "accuracy"}
    for name, inside in one.groups.items():
        curve = plot_data.rank_curve(one, name, inside)
        assert curve.x[0] == 1
        assert (curve.low[0], curve.high[0]) == pytest.approx((accuracy[name].low, accuracy[name].high))


def test_headline_equals_score(graded: dict[tuple[str, str], Any]) -> None:
    for one in graded.values():
        line, scores = headline_of(one), score(one)
        assert line is not None
        (accuracy,) = (s for s in scores if s.metric == "accuracy" and s.group is None)
        assert (line.accuracy, line.interval, line.errors, line.n) == (
            accuracy.value, (accuracy.low, accuracy.high), accuracy.errors, accuracy.n,
        )  # fmt: skip
        assert line.baseline == accuracy.baseline
        same = compare_accuracy(one, one)
        assert same is not None and same.difference == 0 and same.p_value == 1 and same.n == line.n


def test_compare_accuracy_of_same_items(graded: dict[tuple[str, str], Any]) -> None:
    assert compare_accuracy(graded["flipflop", "val"], graded["flipflop", "val_dense"]) is None
    one: GradedNumbers = graded["letters", "test"]
    other = replace(one, right=~one.right)
    found = compare_accuracy(one, other)
    counted = one.right[one.counted]
    assert found is not None and found.only_a == counted.sum() and found.only_b == (~counted).sum()


def test_headline_without_finite_logits(graded: dict[tuple[str, str], Any]) -> None:
    one = graded["letters", "test"]
    assert headline_of(replace(one, counted=one.counted & False)) is None


def test_error_examples_are_wrong_and_of_all_tasks(graded: dict[tuple[str, str], Any]) -> None:
    found = error_examples(list(graded.values()))
    assert len(found) == 10 and len({(one.task, one.split) for one in found}) == 10
    for one in error_examples([graded["letters", "test"]]):
        task = graded["letters", "test"]
        assert not task.right[one.row] and one.predicted == task.output[one.row][:300]
        assert rows_of(task.job)[one.row]["question"] == one.prompt
    reads: GradedReads = graded["flipflop", "val_sparse"]
    for one in error_examples([reads]):
        assert one.prompt.endswith("r ") and not reads.right[reads.row == one.row].all()


@pytest.mark.parametrize("value, text", [(0.0013, "0.0013"), (0, "0"), (12.34, "12.3"), (1234, "1,234"), (-2.5, "-2.5"),
                                         (float("nan"), "\N{EN DASH}"), (1e-9, "0.000000001")])  # fmt: skip
def test_significant(value: float, text: str) -> None:
    assert significant(value) == text


@pytest.mark.parametrize(
    "value, text",
    [(1.0, "1.000"), (0.99996, "0.99996"), (0.5, "0.500"), (-0.25, "\N{MINUS SIGN}0.250"), (0.0, "0.000")],
)
def test_skills(value: float, text: str) -> None:
    assert typographic(skill(value)) == text


def test_sections_of_a_single_task(run: Run, graded: dict[tuple[str, str], Any]) -> None:
    only = {key: one for key, one in graded.items() if key[0] == "arithmetic"}
    (part,) = sections([GradedRun("m", run, only)])
    assert [plot.name for plot in part.plots] == ["arithmetic-test-groups"]
    one = graded["letters", "test"]
    assert sections([GradedRun("m", run, {("letters", "test"): replace(one, counted=one.counted & False)})]) == []
