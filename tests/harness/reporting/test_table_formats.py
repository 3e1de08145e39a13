"""Table file formats, and commands on several runs, some of them unusable."""

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.reporting import table_formats
from harness.runs.files import write_json
from harness.runs.run import read_run
from harness.scoring.scores import score_run
from tests.conftest import Run, refused
from tests.harness.reporting.test_page import made_up_run

TASKS = ("flipflop", "letters", "strawberry")


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs of one model and one run of another, with different seeds and answers."""
    found = []
    for seed, (model, name) in enumerate([("org/one", "a"), ("org/one", "b"), ("org/two", "c")]):
        folder = tmp_path / "runs" / model.replace("/", "--") / name
        facts = made_up_run(folder, seed=seed, model=model, tasks=TASKS).facts
        write_json(folder / "run.json", facts | {"command": "harness eval"})
        write_json(folder / "result.json", score_run(read_run(folder)))
        found.append(folder.relative_to(tmp_path))
    return found


def scores(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "result.json").read_text(encoding="utf-8"))["scores"]
    return found


def expected(tmp_path: Path, run: Path) -> list[dict[str, Any]]:
    """The accuracies of whole splits in result.json."""
    return [one for one in scores(tmp_path / run) if one["metric"] == "accuracy" and one["group"] is None]


@pytest.mark.parametrize("verb", ["score", "report"])
def test_csv_and_json_have_the_numbers_of_result_json(cli: Run, tmp_path: Path, runs: list[Path], verb: str) -> None:
    done = cli("harness", verb, *runs, "--format", "csv")
    assert done.returncode == 0, done.stderr
    lines = list(csv.DictReader(io.StringIO(done.stdout)))
    entries = json.loads(cli("harness", verb, *runs, "--format", "json").stdout)
    text = [{key: "" if value is None else str(value) for key, value in line.items()} for line in entries]
    assert lines == text and len(lines) > 0
    for run in runs:
        of_run = [line for line in entries if line["run"] == str(run) and line["group"] is None]
        assert [(line["task"], line["split"], line["accuracy"], line["low"], line["errors"]) for line in of_run] == [
            (one["task"], one["split"], one["value"], one["low"], one["errors"]) for one in expected(tmp_path, run)
        ]
        skills = {one["split"]: one["value"] for one in scores(tmp_path / run) if one["metric"] == "skill"}
        assert skills.keys() >= {line["split"] for line in of_run}
        assert {line["model"] for line in of_run} == {run.parent.name.replace("--", "/")}
    assert not list(tmp_path.glob("runs/*/*/report.html"))


def test_markdown_and_latex_have_formatted_texts(cli: Run, tmp_path: Path, runs: list[Path]) -> None:
    one, other = (cli("harness", "report", runs[0], "--format", form).stdout for form in ("markdown", "latex"))
    rows = [re.split(r"\s*(?<!\\)\|\s*", line.strip())[1:-1] for line in one.splitlines()]
    assert rows[0][:5] == ["model", "task", "split", "group", "rows"] and set(one.splitlines()[1]) == set("|-")
    accuracy = {(row[1], row[2]): row[5] for row in rows[2:] if not row[3]}
    for line in expected(tmp_path, runs[0]):
        assert float(accuracy[line["task"], line["split"]]) == pytest.approx(100 * line["value"], abs=0.005)
    assert other.startswith("% needs \\usepackage{booktabs}\n\\begin{tabular}{llllrrrrrr}\n")
    assert other.count(r"\\") == len(rows) - 1 and r"val\_dense" in other and "%" not in other[2:].replace(r"\%", "")


def test_a_comparison(cli: Run, tmp_path: Path, runs: list[Path]) -> None:
    done = cli("harness", "compare", *runs, "--format", "csv", "--out", "both")
    assert done.returncode == 0, done.stderr
    lines = list(csv.DictReader(io.StringIO(done.stdout)))
    assert "compare.html" in done.stderr and (tmp_path / "both" / "compare.html").is_file()
    for line in lines:
        assert float(line["difference"]) == pytest.approx(float(line["accuracy_a"]) - float(line["accuracy_b"]))
        assert line["run_a"] == str(runs[0])
    assert [line["run_b"] for line in lines if line["task"] == "letters"] == [str(runs[1]), str(runs[2])]
    shown = cli("harness", "compare", *runs, "--format", "markdown").stdout
    assert re.search(
        r"^\| org/one float32 0123456 \(1\) +\| org/one float32 0123456 \(2\) +\| letters ", shown, re.MULTILINE
    )
    assert re.search(r"\| org/two +\| strawberry +\| test +\| all turns ", shown)


def test_comparison_remarks_go_to_stderr(cli: Run, tmp_path: Path) -> None:
    for rows in (4, 3):
        (tmp_path / f"answers-{rows}.jsonl").touch()
        cli("harness", "prompts", "--task", "letters", "--limit", rows, "--out", f"prompts-{rows}.jsonl")
        lines = (tmp_path / f"prompts-{rows}.jsonl").read_text(encoding="utf-8").splitlines()
        answers = "\n".join(json.dumps({"id": json.loads(line)["id"], "output": "3"}) for line in lines)
        (tmp_path / f"answers-{rows}.jsonl").write_text(answers, encoding="utf-8")
        options = ("--prompts", f"prompts-{rows}.jsonl", "--model", f"org/m{rows}", "--format", "csv")
        done = cli("harness", "score", "--outputs", f"answers-{rows}.jsonl", *options)
        assert done.returncode == 0 and done.stdout.startswith("model,revision,run,task,"), done.stderr
        assert "run.json, observations" in done.stderr
    done = cli(
        "harness", "compare", *sorted(path.parent for path in tmp_path.glob("runs/*/*/run.json")), "--format", "csv"
    )
    assert "org/m3 has 3 rows, org/m4 has 4; compared on the first 3" in done.stderr and done.stdout.count("\n") == 2


def test_format_characters_are_escaped() -> None:
    lines = [{"a": 'x,"y"\n', "b": None}]
    assert list(csv.DictReader(io.StringIO(table_formats.write("csv", lines, ("a", "b"), [], texts=1)))) == [
        {"a": 'x,"y" ', "b": ""}  # a line each, for readers that take its end for that of a row
    ]
    assert json.loads(table_formats.write("json", lines, ("a", "b"), [], texts=1)) == lines
    cells = [("a|b", "5_0%")]
    assert r"| a\|b |" in table_formats.write("markdown", lines, ("a", "b"), cells, texts=1)
    assert r" a|b & 5\_0\% \\" in table_formats.write("latex", lines, ("a", "b"), cells, texts=1)
    assert table_formats.write("csv", [], ("a", "b"), [], texts=1) == "a,b\n"


@pytest.mark.parametrize("verb", ["report", "score", "compare"])
def test_unusable_runs_are_skipped(cli: Run, tmp_path: Path, runs: list[Path], verb: str) -> None:
    (tmp_path / runs[1] / "observations" / "letters.test.parquet").unlink()
    (tmp_path / "runs" / "org--one" / "empty").mkdir()
    named = [*runs, "runs/org--one/empty"]
    done = cli("harness", verb, *named)
    assert done.returncode == 0, done.stderr
    left_out = done.stderr.strip().splitlines()
    assert len(left_out) == 2 and all(line.startswith("skipped: ") for line in left_out)
    assert f"{runs[1]} has no observations of letters.test yet" in left_out[0] and "empty is not a run" in left_out[1]
    assert [path.parent.name for path in sorted(tmp_path.glob("runs/*/*/report.html"))] == (
        ["a", "c"] if verb == "report" else []
    )


@pytest.mark.parametrize("verb", ["report", "score"])
def test_single_unusable_run_is_refused(cli: Run, tmp_path: Path, runs: list[Path], verb: str) -> None:
    (tmp_path / runs[1] / "observations" / "letters.test.parquet").unlink()
    assert "has no observations of letters.test yet" in refused(cli("harness", verb, runs[1]))
    assert "there is no such folder" in refused(cli("harness", verb, "nope", "nope2"))


def test_runs_without_shared_tasks_are_skipped(cli: Run, tmp_path: Path, runs: list[Path]) -> None:
    made_up_run(tmp_path / "facts", seed=4, tasks=("capitals",))
    write_json(tmp_path / "facts" / "run.json", made_up_run(tmp_path / "x", seed=4, tasks=("capitals",)).facts)
    done = cli("harness", "compare", runs[0], "facts", runs[2], "--out", "both")
    assert done.returncode == 0 and "have no task in common" in done.stderr
    assert [path.name for path in (tmp_path / "both").glob("*.csv")] == ["differences-1-3.csv"]
    assert "have no task in common" in refused(cli("harness", "compare", runs[0], "facts"))
    shutil.rmtree(tmp_path / runs[2])
    assert "is the only usable run" in cli("harness", "compare", runs[0], runs[2]).stderr
