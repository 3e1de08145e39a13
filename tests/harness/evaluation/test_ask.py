"""`harness ask` and `harness tasks` show the actual prompts and outputs."""

import json
import math
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.tasks import CompletionTask, DialogueTask, ReadTask, all_tasks
from harness.tasks.suites import suites
from tests.conftest import Run, refused
from tests.support import models, scripted

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def perfect(tmp_path: Path) -> str:
    scripted.save(tmp_path / "model", "perfect", None, scripted.CHATML)
    return "model"


def test_ask_row_of_completion_task(cli: Run, perfect: str) -> None:
    done = cli("harness", "ask", "--model", perfect, "--task", "letters", "--row", 0)
    assert done.returncode == 0, done.stderr
    output = done.stdout
    assert "letters.test row 0, version" in output and ", chat" in output.splitlines()[0]
    # Bytes and special tokens, a bar between two; a line break is written out.
    assert "<|im_start|>|u|s|e|r|\\n|H|o|w| |m|a|n|y| |t|i|m|e|s|" in output
    assert "|" + "|".join('"strawberry"?') + "|" in output
    assert "output, 1 tokens:\n  3\n" in output
    assert re.search(r"\n  '3' 9\d\.\d   ", output)
    assert output.endswith("right answer: 3\nparsed answer: 3\n")


def test_ask_reads_equal_observations(cli: Run, tmp_path: Path) -> None:
    small = ("--task", "flipflop", "--set", "flipflop.length=64")
    assert "flipflop.val_dense row 1," in cli("harness", "ask", *small, "--split", "val_dense", "--row", 1).stdout
    done = cli("harness", "ask", *small, "--row", 2)
    assert done.returncode == 0, done.stderr
    found = r"position (\d+), (\d+) after its write: (\d) is right; 0 ([\d.]+)%  1 ([\d.]+)%  (right|WRONG)"
    shown = [tuple(map(float, read[:5])) for read in re.findall(found, done.stdout)]
    assert cli("harness", "eval", *small, "--limit", 3).returncode == 0
    (path,) = tmp_path.glob("runs/*/*/observations/flipflop.val.parquet")
    reads = [read for read in pq.read_table(path).to_pylist() if read["id"] == 2]
    assert len(shown) == len(reads) > 3 and f"{len(reads)} reads" in done.stdout
    for (position, gap, target, *odds), read in zip(shown, reads, strict=True):
        assert (position, gap, target) == (read["position"], read["gap"], read["gold"])
        assert odds == pytest.approx([100 * math.exp(logprob) for logprob in read["logprobs"]], abs=0.01)


def test_ask_dialogue(cli: Run, tmp_path: Path) -> None:
    scripted.save(tmp_path / "model", "wavers", None, scripted.CHATML)
    done = cli("harness", "ask", "--model", "model", "--task", "strawberry", "--row", 0, "--challenges", 3)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:4] for line in done.stdout.splitlines()[-4:]] == [
        [str(turn), "parsed", "answer", f"{answer}:"] for turn, answer in enumerate((3, 4, 3, 4))
    ]
    assert "challenge after each answer: No, that is wrong. Count again." in done.stdout


def test_ask_free_question(cli: Run, tmp_path: Path) -> None:
    models.save_tiny(tmp_path / "tiny", models.gpt2_like())
    done = cli("harness", "ask", "--model", "tiny", "r 1")
    assert done.returncode == 0, done.stderr
    assert "plain text" in done.stdout.splitlines()[0] and "prompt, 2 tokens:\n  r| 1\n" in done.stdout
    table = done.stdout.split("in percent:\n")[1].splitlines()
    assert len(table) == int(re.search(r"output, (\d+) tokens", done.stdout)[1])  # type: ignore[index]
    for line in table:
        shares = [float(share) for share in re.findall(r"([\d.]+)(?:   |$)", line)]
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 100.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a row with --task NAME --row N"),
        (("why?", "--task", "letters"), "name a row with --task NAME --row N"),
        (("--task", "letters", "--row", "1000"), "letters.test has 1,000 rows. Use a smaller --row."),
        (("--task", "words"), "there is no task 'words'"),
        (("--task", "letters", "--chat", "perhaps"), "--chat takes auto, on, off"),
        (("a " * 3000,), "Ask a shorter question."),
        (("",), "the question is empty"),
        (("why?", "--shots", "2"), "--shots needs a row of a task"),
        (("--task", "flipflop", "--split", "test"), "Its splits are val, val_sparse, val_dense"),
    ],
)
def test_ask_refusals(cli: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    models.save_tiny(tmp_path / "tiny", models.gpt2_like())
    assert message in refused(cli("harness", "ask", "--model", "tiny", *arguments))


@pytest.mark.parametrize("name", all_tasks())
def test_tasks_show_prompts(cli: Run, name: str) -> None:
    task = all_tasks()[name]
    shots = ("--shots", 2) if isinstance(task, CompletionTask) else ()
    done = cli("harness", "tasks", "--show", name, *shots)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout and f"version: {task.version}" in done.stdout
    if isinstance(task, CompletionTask):
        assert done.stdout.count("assistant:") >= 2 and "Answer:" in done.stdout
    if isinstance(task, DialogueTask):
        assert task.challenge in done.stdout
    if isinstance(task, ReadTask):
        assert "r" in done.stdout


def test_the_list_of_tasks_and_suites(cli: Run) -> None:
    output = cli("harness", "tasks").stdout
    for task in all_tasks().values():
        assert f"name: {task.name}\n" in output
    for name, suite in suites().items():
        assert f"--suite {name}, version {suite.version}: {suite.about}" in output and set(suite.rows) <= set(
            all_tasks()
        )
    assert set(suites()["quick"].rows) == set(suites()["full"].rows) == set(all_tasks())
    assert "baselines:" in output and "strawberry 10" in output


def test_suites_set_rows_and_challenges(cli: Run, tmp_path: Path, perfect: str) -> None:
    done = cli("harness", "eval", "--model", perfect, "--suite", "quick", "--limit", 3, "--set", "query-count.seed=1")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("runs/*/*/run.json")
    tasks = json.loads(path.read_text(encoding="utf-8"))["data"]["tasks"]
    assert tasks["strawberry"]["prompting"]["turns"] == 1 + 12
    assert {split["rows"] for task in tasks.values() for split in task["splits"].values()} == {3}
    assert "there is no suite 'slow': the suites are quick, paper, full" in refused(
        cli("harness", "eval", "--suite", "slow")
    )
    assert "remove one" in refused(cli("harness", "eval", "--suite", "quick", "--task", "letters"))
