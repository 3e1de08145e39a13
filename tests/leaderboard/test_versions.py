"""Records of older task versions: parsed by current rules if the prompts are the same, and still accepted."""

from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import OtherVersion
from harness.runs.run import read_run
from harness.scoring.scores import score_run
from harness.tasks import CompletionTask, all_tasks, get_task
from leaderboard.site.findings import find_one
from leaderboard.verification.verify_record import verify_record
from tests.leaderboard.external_runs import external_run
from tests.leaderboard.record_edits import edit, make_consistent, make_record, replace_column, rewrite

LETTERS = get_task("letters")
RETRACTED = "7\n\nOops. Update: {}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of letters that takes back every first answer, parsed by current rules."""
    run = external_run(tmp_path_factory.mktemp("run"))

    def retracted(message: list[str]) -> list[str]:
        return [RETRACTED.format(one) for one in message]

    rewrite(
        run.folder / "observations" / "letters.test.parquet", lambda table: replace_column(table, "output", retracted)
    )
    command = "harness prompts --task letters --out prompts.jsonl"
    edit(run.folder / "run.json", lambda facts: facts | {"command": command})
    make_consistent(run.folder)
    return run.folder


def of_version(version: int, finished: Path, tmp_path: Path, change: Any = None) -> Path:
    """Returns a record of that run by another version, with other scores."""
    records = tmp_path / "records"
    folder = make_record(finished, records)
    edit(folder / "run.json", lambda facts: facts["data"]["tasks"]["letters"].update(version=version))
    edit(folder / "result.json", lambda result: result["data"]["tasks"]["letters"].update(version=version))
    if LETTERS.has_same_prompts(version):
        make_consistent(folder)
    if change:
        edit(folder / "result.json", change)
    return make_record(folder, tmp_path / "others")


def none_right(result: dict[str, Any]) -> None:
    """Returns the scores of rules that parse no answer."""
    for one in result["scores"]:
        if one["metric"] == "accuracy":
            one.update(value=0.0, low=0.0, high=0.5, errors=one["n"])


def overall(scores: list[dict[str, Any]]) -> float:
    return next(one["value"] for one in scores if one["metric"] == "accuracy" and one["group"] is None)


def test_record_parsed_by_older_rules_stays_accepted(finished: Path, tmp_path: Path) -> None:
    folder = of_version(LETTERS.version - 1, finished, tmp_path, none_right)
    verdict = verify_record(folder, tmp_path / "others", new=False)
    assert verdict.accepted, verdict.reasons
    assert overall((verdict.result or {})["scores"]) == pytest.approx(6 / 7, abs=0.01)  # what is read today
    assert overall(find_one(read_run(folder), "2026-11-01").result["scores"]) == pytest.approx(6 / 7, abs=0.01)


def test_new_record_needs_current_scores(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    wrong = of_version(LETTERS.version - 1, finished, tmp_path / "a", none_right)
    (reason,) = verify_record(wrong, tmp_path / "a" / "others", new=True).reasons
    assert "accuracy of letters.test is 0.0, and" in reason
    (tmp_path / "b").mkdir()
    right = of_version(LETTERS.version - 1, finished, tmp_path / "b")
    assert verify_record(right, tmp_path / "b" / "others", new=True).accepted


def test_scores_of_this_version_are_always_compared(finished: Path, tmp_path: Path) -> None:
    folder = of_version(LETTERS.version, finished, tmp_path, none_right)
    assert not verify_record(folder, tmp_path / "others", new=False).accepted


@pytest.mark.parametrize("field", ["model", "command", "environment"])
def test_other_fields_of_an_older_result_must_match(finished: Path, tmp_path: Path, field: str) -> None:
    folder = of_version(LETTERS.version - 1, finished, tmp_path, lambda result: result.update({field: {}}))
    assert f"result.json, {field}" in verify_record(folder, tmp_path / "others", new=False).reasons[0]


@pytest.mark.parametrize("version", [1, 2, LETTERS.version + 1])
def test_other_task_versions_are_not_read(finished: Path, tmp_path: Path, version: int) -> None:
    folder = of_version(version, finished, tmp_path)
    message = f"has version {version} of task letters, and this is version {LETTERS.version}"
    with pytest.raises(OtherVersion, match=message):
        read_run(folder).jobs()
    assert f"letters has task version {version}" in verify_record(folder, tmp_path / "others", new=False).reasons[0]


def test_older_run_is_rescored(finished: Path, tmp_path: Path) -> None:
    folder = of_version(LETTERS.version - 1, finished, tmp_path, none_right)
    assert main(["score", str(folder)]) == 0
    assert score_run(read_run(folder)) == find_one(read_run(folder), "2026-11-01").result
    (job,) = read_run(folder).jobs()
    assert (job.version, job.task.version) == (LETTERS.version - 1, LETTERS.version)


def test_completion_tasks_read_the_previous_version() -> None:
    for task in all_tasks().values():
        older = task.version - 1
        assert task.has_same_prompts(older) == isinstance(task, CompletionTask)
        assert (
            task.has_same_prompts(task.version)
            and not task.has_same_prompts(task.version + 1)
            and not task.has_same_prompts(str(older))
        )
