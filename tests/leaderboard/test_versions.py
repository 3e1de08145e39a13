"""Records of older versions of a task: read by the rules of today where it asked the same, accepted as they were."""

from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import OtherVersion
from harness.runs.run import read_run
from harness.scoring.scores import score_run
from harness.tasks import CompletionTask, all_tasks, get_task
from leaderboard.site.verified import find_one
from leaderboard.verification.record import verify_record
from tests.leaderboard.making import consistent, edit, make_record, replaced, rewrite
from tests.leaderboard.runs import external_run

LETTERS = get_task("letters")
RETRACTED = "7\n\nOops. Update: {}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of letters that takes back every first answer, read by the rules of today."""
    run = external_run(tmp_path_factory.mktemp("run"))

    def retracted(said: list[str]) -> list[str]:
        return [RETRACTED.format(one) for one in said]

    rewrite(run.folder / "observations" / "letters.test.parquet", lambda table: replaced(table, "output", retracted))
    command = "harness prompts --task letters --out prompts.jsonl"
    edit(run.folder / "run.json", lambda facts: facts | {"command": command})
    consistent(run.folder)
    return run.folder


def of_version(version: int, finished: Path, tmp_path: Path, change: Any = None) -> Path:
    """A record of that run by another version, with other scores."""
    records = tmp_path / "records"
    folder = make_record(finished, records)
    edit(folder / "run.json", lambda facts: facts["data"]["tasks"]["letters"].update(version=version))
    edit(folder / "result.json", lambda result: result["data"]["tasks"]["letters"].update(version=version))
    if LETTERS.has_same_prompts(version):
        consistent(folder)
    if change:
        edit(folder / "result.json", change)
    return make_record(folder, tmp_path / "others")


def none_right(result: dict[str, Any]) -> None:
    """The scores of rules that read none of the answers."""
    for one in result["scores"]:
        if one["metric"] == "accuracy":
            one.update(value=0.0, low=0.0, high=0.5, errors=one["n"])


def overall(scores: list[dict[str, Any]]) -> float:
    return next(one["value"] for one in scores if one["metric"] == "accuracy" and one["group"] is None)


def test_a_record_read_by_older_rules_stays_accepted(finished: Path, tmp_path: Path) -> None:
    folder = of_version(LETTERS.version - 1, finished, tmp_path, none_right)
    verdict = verify_record(folder, tmp_path / "others", new=False)
    assert verdict.accepted, verdict.reasons
    assert overall((verdict.result or {})["scores"]) == pytest.approx(6 / 7, abs=0.01)  # what is read today
    assert overall(find_one(read_run(folder), "2026-11-01").result["scores"]) == pytest.approx(6 / 7, abs=0.01)


def test_a_new_record_has_the_scores_of_today(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    wrong = of_version(LETTERS.version - 1, finished, tmp_path / "a", none_right)
    (reason,) = verify_record(wrong, tmp_path / "a" / "others", new=True).reasons
    assert "accuracy of letters.test is 0.0 there" in reason
    (tmp_path / "b").mkdir()
    right = of_version(LETTERS.version - 1, finished, tmp_path / "b")
    assert verify_record(right, tmp_path / "b" / "others", new=True).accepted


def test_scores_of_this_version_are_compared_whenever(finished: Path, tmp_path: Path) -> None:
    folder = of_version(LETTERS.version, finished, tmp_path, none_right)
    assert not verify_record(folder, tmp_path / "others", new=False).accepted


@pytest.mark.parametrize("field", ["model", "command", "environment"])
def test_nothing_else_of_an_older_result_may_differ(finished: Path, tmp_path: Path, field: str) -> None:
    folder = of_version(LETTERS.version - 1, finished, tmp_path, lambda result: result.update({field: {}}))
    assert f"result.json, {field}" in verify_record(folder, tmp_path / "others", new=False).reasons[0]


@pytest.mark.parametrize("version", [1, 2, LETTERS.version + 1])
def test_other_questions_are_not_read(finished: Path, tmp_path: Path, version: int) -> None:
    folder = of_version(version, finished, tmp_path)
    with pytest.raises(OtherVersion, match=f"has version {version} of task letters, this is version {LETTERS.version}"):
        read_run(folder).jobs()
    assert f"version {version} of task letters" in verify_record(folder, tmp_path / "others", new=False).reasons[0]


def test_an_older_run_is_scored_again(finished: Path, tmp_path: Path) -> None:
    folder = of_version(LETTERS.version - 1, finished, tmp_path, none_right)
    assert main(["score", str(folder)]) == 0
    assert score_run(read_run(folder)) == find_one(read_run(folder), "2026-11-01").result
    (job,) = read_run(folder).jobs()
    assert (job.version, job.task.version) == (LETTERS.version - 1, LETTERS.version)


def test_tasks_that_read_texts_read_those_of_the_version_before() -> None:
    for task in all_tasks().values():
        older = task.version - 1
        assert task.has_same_prompts(older) == isinstance(task, CompletionTask)
        assert (
            task.has_same_prompts(task.version)
            and not task.has_same_prompts(task.version + 1)
            and not task.has_same_prompts(str(older))
        )
