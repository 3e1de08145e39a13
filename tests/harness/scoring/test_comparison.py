"""Comparisons of two runs of tiny models, against loops over their tables."""

import csv
import json
import math
import random
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from scipy.stats import binomtest

from fflm_data import get_config
from fflm_data.number_formats import points
from harness.cli import main
from harness.errors import UserError
from harness.reporting.comparison_table import comparison_table, show, write_items
from harness.reporting.page import write_comparison
from harness.runs import observations
from harness.runs.files import write_json
from harness.runs.run import Run, read_run
from harness.scoring.comparison import JobComparison, compare_jobs, compare_runs, remarks
from harness.scoring.grading import grade
from harness.scoring.statistics import paired_comparison
from harness.tasks import ChoiceTask, HistogramTask, ReadTask, get_task
from tests.support import models

TASKS = ("flipflop", "letters", "letters-histogram", "strawberry", "capitals")
ROWS = {"a": 16, "b": 12}
TURNS = {"a": 3, "b": 2}
Items = dict[tuple[int, int], tuple[bool, int | str, str]]  # (row, place) -> whether right, turn or position, predicted


def evaluate(folder: Path, kind: str, *words: object) -> Run:
    model = models.save_tiny(folder / kind, models.gpt2_like(), context=13_000, kind=kind)
    assert main(["eval", "--model", str(model), "--output", str(folder / "runs"), *map(str, words)]) == 0
    (path,) = folder.glob("runs/*/*/run.json")
    return read_run(path.parent)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> tuple[Run, Run]:
    """Two random models of different shapes; some of their numbers are then replaced by right answers."""
    found = []
    for name, kind in (("a", "gpt2"), ("b", "llama")):
        words = [word for task in TASKS for word in ("--task", task)]
        words += ["--limit", str(ROWS[name]), "--challenges", str(TURNS[name] - 1), "--set", "flipflop.length=64"]
        found.append(evaluate(tmp_path_factory.mktemp(name), kind, *words))
        doctor(found[-1], random.Random(name))
    return found[0], found[1]


def doctor(run: Run, chance: random.Random) -> None:
    """Makes half of the answers right and the others wrong; some logits non-finite."""
    for job in run.jobs():
        table = pq.read_table(run.table(job)).to_pylist()
        rows = job.config.table(job.split, 0, job.rows).to_pylist()
        symbols = sorted({line["gold_token"] for line in table if "gold_token" in line})
        for line in table:
            right, lost = chance.random() < 0.5, chance.random() < 0.03
            if isinstance(job.task, ReadTask):
                line["argmax"] = line["gold_token"] if right else chance.choice([*symbols, 999])
                if lost:
                    line |= {"argmax": -1, "logprobs": [math.nan] * len(line["logprobs"])}
            elif isinstance(job.task, ChoiceTask):
                best = line["gold"] if right else line["gold"] - 1
                line["logprobs"] = [-9.0] * len(line["logprobs"])
                line["logprobs"][best] = -1.0
            elif isinstance(job.task, HistogramTask):
                word = rows[line["id"]]["word"].lower()
                line |= {"tokens": -1 if lost else 5, "output": json.dumps({c: word.count(c) for c in word})}
                if not right:
                    line["output"] = '{"q": 9}'
            else:
                line |= {"tokens": -1 if lost else 5, "output": str(rows[line["id"]]["answer"] + (not right))}
        pq.write_table(pa.Table.from_pylist(table, schema=observations.schema_of(job.task, job.config)), run.table(job))
        run.seal(job)


def walked(run: Run, name: str) -> Items:
    """The counted items of a table, one by one."""
    task, rows = get_task(name.split(".", maxsplit=1)[0]), {}
    (job,) = (job for job in run.jobs() if job.name == name)
    data = job.config.table(job.split, 0, job.rows).to_pylist()
    for line in pq.read_table(run.folder / "observations" / f"{name}.parquet").to_pylist():
        row, row_data = line["id"], data[line["id"]]
        if isinstance(task, ReadTask):
            if not math.isnan(line["logprobs"][0]):
                predicted = {line["gold_token"]: str(line["gold"]), 999: "another token"}.get(
                    line["argmax"], str(1 - line["gold"])
                )
                rows[row, line["position"]] = (line["argmax"] == line["gold_token"], line["position"], predicted)
        elif isinstance(task, ChoiceTask):
            best = max(range(len(line["logprobs"])), key=line["logprobs"].__getitem__)
            rows[row, 0] = (best == line["gold"], 0, row_data["answer"] if best == line["gold"] else "")
        elif line["tokens"] >= 0 and isinstance(task, HistogramTask):
            counts = sorted((c, row_data["word"].lower().count(c)) for c in set(row_data["word"].lower()))
            right = json.loads(line["output"]) == dict(counts)
            rows[row, 0] = (right, 0, " ".join(f"{c}={n}" for c, n in counts) if right else "q=9")
        elif line["tokens"] >= 0:
            rows[row, line["turn"]] = (line["output"] == str(row_data["answer"]), line["turn"], line["output"])
    return rows


def test_comparison_equals_loops_over_tables(runs: tuple[Run, Run]) -> None:
    found = compare_runs(*runs)
    assert [(one.task, one.split, one.group) for one in found] == [
        ("flipflop", "val", None), ("flipflop", "val_sparse", None), ("flipflop", "val_dense", None),
        ("letters", "test", None), ("letters-histogram", "test", None), ("strawberry", "test", None),
        ("strawberry", "test", "all turns"), ("capitals", "test", None),
    ]  # fmt: skip
    for one in found:
        places = {"strawberry": 2 if one.group else 1}.get(one.task, 1000)
        a, b = (walked(run, f"{one.task}.{one.split}") for run in runs)
        common = [key for key in a if key in b and key[0] < min(ROWS.values()) and key[1] < places]
        unlike = [key for key in common if a[key][0] != b[key][0]]
        only_a = sum(a[key][0] for key in unlike)
        assert one.rows == 12 and one.paired is not None
        assert (one.paired.n, one.paired.only_a, one.paired.only_b) == (len(common), only_a, len(unlike) - only_a)
        assert one.accuracy_a == pytest.approx(sum(a[key][0] for key in common) / len(common))
        assert one.accuracy_b == pytest.approx(sum(b[key][0] for key in common) / len(common))
        assert one.paired.difference == pytest.approx((2 * only_a - len(unlike)) / len(common))
        if len({row for row, _ in common}) == len(common):
            expected = binomtest(only_a, len(unlike)).pvalue if unlike else 1.0
            assert one.paired.p_value == pytest.approx(expected)
        columns = [np.array(part) for part in zip(*((a[key][0], b[key][0], key[0]) for key in common), strict=True)]
        assert one.paired == paired_comparison(*columns)
        assert_items(one, a, b, unlike)


def assert_items(one: JobComparison, a: Items, b: Items, unlike: list[tuple[int, int]]) -> None:
    """The table lists the differing items in order, with the predictions."""
    lines = one.items.to_pylist()
    assert [line["id"] for line in lines] == [row for row, _ in unlike] and lines
    for line, key in zip(lines, unlike, strict=True):
        placed = one.task in ("flipflop", "strawberry")
        assert line["place"] == (key[1] if placed else None)
        right, wrong = ("a", "b") if a[key][0] else ("b", "a")
        assert line["right"] == right
        assert line["target"] == line[right] == {"a": a, "b": b}[right][key][2]
        assert line[wrong] != line["target"]
        if one.task != "capitals":
            assert line[wrong] == {"a": a, "b": b}[wrong][key][2]


def test_remarks_on_rows_and_data(runs: tuple[Run, Run], tmp_path: Path) -> None:
    sentences = remarks(*runs, ("A", "B"))
    assert "letters.test: A has 16 rows, B has 12; compared on the first 12" in sentences
    assert "strawberry.test: turns: A 3, B 2" in sentences
    assert remarks(runs[0], runs[0], ("A", "B")) == []
    page = write_comparison(runs, tmp_path / "out").read_text(encoding="utf-8")
    assert "16 rows" in page and "has 12; compared on the first 12</p>" in page
    changed = deepcopy(runs[1].facts)
    config = get_config("letters", seed=3)
    changed["data"]["tasks"]["letters"] |= {"parameters": config.parameters(), "fingerprint": config.fingerprint()}
    other = Run(runs[1].folder, changed)
    assert "letters has different data and is not compared: letters.seed was 0, is 3" in remarks(
        runs[0], other, ("A", "B")
    )


def test_remarks_on_prompting(runs: tuple[Run, Run]) -> None:
    (letters,) = (job for job in runs[0].jobs() if job.task.name == "letters")

    def sentences(**prompting: Any) -> list[str]:
        facts = deepcopy(runs[0].facts)
        facts["data"]["tasks"]["letters"]["prompting"] |= prompting
        return remarks(runs[0], Run(runs[0].folder, facts), ("one", "other"))

    assert letters.prompting.shots == 0
    assert sentences(template="ab", shots=4, system="Think.", thinking=100) == [
        "letters.test: other uses its chat template, one plain text",
        "letters.test: few-shot examples: one 0, other 4",
        "letters.test: system prompt: one none, other 'Think.'",
        "letters.test: tokens for thinking: one 0, other 100",
    ]
    assert sentences(switch="thinking") == []  # the model's own


def test_a_run_and_itself(runs: tuple[Run, Run]) -> None:
    for one in compare_runs(runs[0], runs[0]):
        assert one.paired is not None and one.paired.difference == 0 and one.paired.p_value == 1
        assert one.paired.low < 0 < one.paired.high and one.items.num_rows == 0


def test_comparison_is_antisymmetric(runs: tuple[Run, Run]) -> None:
    for one, other in zip(compare_runs(*runs), compare_runs(runs[1], runs[0]), strict=True):
        assert one.paired is not None and other.paired is not None
        assert (one.paired.only_a, one.paired.p_value) == (other.paired.only_b, other.paired.p_value)
        assert one.items["a"].equals(other.items["b"]) and one.items["id"].equals(other.items["id"])


def test_comparison_without_finite_logits(runs: tuple[Run, Run]) -> None:
    (job,) = (job for job in runs[0].jobs() if job.task.name == "letters")
    graded = grade(runs[0], job)
    lost = replace(graded, counted=np.zeros(job.rows, dtype=bool))
    (found,) = compare_jobs(graded, lost)
    assert found.paired is None and found.accuracy_a is None and found.items.num_rows == 0
    assert found.nonfinite == 16
    assert "-" in printed(*runs, [found])


def printed(run_a: Run, run_b: Run, found: list[JobComparison]) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(comparison_table(run_a, run_b, found))
    return capture.get()


def test_table(runs: tuple[Run, Run], capsys: pytest.CaptureFixture[str]) -> None:
    found = compare_runs(*runs)
    text = printed(*runs, found)
    for letter, run in zip("AB", runs, strict=True):
        assert f"{letter}: {run.facts['model']['id']} @ {run.facts['model']['revision'][:12]}" in text
    for one in found:
        assert one.paired is not None
        assert f"{one.paired.only_a:,} / {one.paired.only_b:,}" in text and points(one.paired.difference) in text
    assert "all turns" in text
    show(*runs, found)
    assert "letters.test: A has 16 rows, B has 12; compared on the first 12" in capsys.readouterr().out


def test_items_as_csv(runs: tuple[Run, Run], tmp_path: Path) -> None:
    found = compare_runs(*runs)
    write_items(found, tmp_path / "items.csv")
    with (tmp_path / "items.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    expected = [
        {"task": one.task, "split": one.split}
        | {name: "" if value is None else str(value) for name, value in line.items()}
        for one in found
        if one.task != "strawberry" or one.group == "all turns"
        for line in one.items.to_pylist()
    ]
    assert lines == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (0.1234, "+12.34"), (-1, "-100.00"), (-0.00001, "-0.001"), (0.000001, "+0.0001")],
)
def test_points(value: float, text: str) -> None:
    assert points(value) == text


def changed(run: Run, folder: Path, change: Callable[[dict[str, Any]], object]) -> Run:
    """A copy of a run with a changed run.json."""
    shutil.copytree(run.folder, folder)
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    change(facts)
    write_json(folder / "run.json", facts)
    return read_run(folder)


def test_refusals(runs: tuple[Run, Run], tmp_path: Path) -> None:
    def keep(*names: str) -> Callable[[dict[str, Any]], object]:
        return lambda facts: facts["data"].update(tasks={name: facts["data"]["tasks"][name] for name in names})

    counting = changed(runs[0], tmp_path / "counting", keep("letters"))
    facts = changed(runs[1], tmp_path / "facts", keep("capitals"))
    with pytest.raises(UserError, match=r"no task in common \(letters; capitals\)\. Run .* --task letters\.$"):
        compare_runs(counting, facts)
    old = changed(runs[0], tmp_path / "old", lambda facts: facts["data"].update(generator=0))
    with pytest.raises(UserError, match="generator version 0"):
        compare_runs(runs[1], old)
    older = changed(runs[0], tmp_path / "older", lambda facts: facts["data"]["tasks"]["capitals"].update(version=0))
    with pytest.raises(UserError, match="version 0 of task capitals"):
        compare_runs(older, runs[1])
    half = changed(runs[0], tmp_path / "half", keep("capitals"))
    (half.folder / "observations" / "capitals.test.parquet").unlink()
    with pytest.raises(UserError, match="Resume the run with its command"):
        compare_runs(half, runs[1])


def test_other_data_is_not_compared(runs: tuple[Run, Run], tmp_path: Path, one_thread: None) -> None:
    longer = evaluate(tmp_path, "gpt2", "--task", "flipflop", "--limit", "3", "--set", "flipflop.length=66")
    with pytest.raises(UserError, match=r"flipflop.length was 64, is 66\)\. Run harness eval with the same --set"):
        compare_runs(changed(runs[0], tmp_path / "x", lambda facts: None), longer)
