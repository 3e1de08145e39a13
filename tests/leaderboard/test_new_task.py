"""A new task is a new file, and records of older suite versions stay accepted."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import harness.tasks
from harness.errors import OtherVersion
from harness.planning.evaluation_request import Questions
from harness.planning.planner import plan_jobs
from harness.tasks import all_tasks, get_task
from harness.tasks.suites import get_suite, suites
from leaderboard.records import RECORDS
from leaderboard.site.columns import columns
from leaderboard.verification.verify_record import verify_record

NEW_TASK = '''
"""
name: letters-upper
what: how many times a letter occurs in a word written in capital letters
paper: none
data: fflm_data config letters, test
scored: as letters
baselines: the most frequent answer
"""

from harness.tasks.base import Membership
from harness.tasks.letters import LettersTask


class LettersUpperTask(LettersTask):
    """Counting a letter of a word in capital letters."""

    name = "letters-upper"
    version = 1
    same_prompts_since = None
    order = 65
    suites = {"quick": (Membership(since=2, rows=5),), "full": (Membership(since=2), Membership(since=3, rows=10))}

    def texts(self, rows):
        return [text.upper() for text in super().texts(rows)]
'''


@pytest.fixture
def new_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Adds the task file to a folder that the registry searches."""
    (tmp_path / "letters_upper.py").write_text(NEW_TASK, encoding="utf-8")
    monkeypatch.setattr(harness.tasks, "__path__", [*harness.tasks.__path__, str(tmp_path)])
    all_tasks.cache_clear()
    yield
    all_tasks.cache_clear()


@pytest.mark.usefixtures("new_task")
def test_new_task_keeps_shipped_records_accepted() -> None:
    folders = [*RECORDS.glob("fflm--lstm/*/1bb8f50dd523"), *RECORDS.glob("local--SmolLM2*/*/791c5b86141e")]
    assert len(folders) == 2
    for folder in folders:
        assert verify_record(folder, RECORDS, new=False).accepted


@pytest.mark.usefixtures("new_task")
def test_new_task_is_in_the_next_suite_version_only() -> None:
    assert get_suite("quick").version == 2 and get_suite("full").version == 3 and get_suite("paper").version == 1
    assert get_suite("quick").rows["letters-upper"] == 5
    assert "letters-upper" not in get_suite("quick", 1).rows
    assert get_suite("full", 2).rows["letters-upper"] is None and get_suite("full").rows["letters-upper"] == 10
    # The other tasks are unchanged.
    assert {name: rows for name, rows in get_suite("quick").rows.items() if name != "letters-upper"} == get_suite(
        "quick", 1
    ).rows
    with pytest.raises(OtherVersion, match="no version 3 of suite quick"):
        get_suite("quick", 3)


@pytest.mark.usefixtures("new_task")
def test_new_task_has_its_order_and_group() -> None:
    names = list(all_tasks())
    assert names.index("letters") + 1 == names.index("letters-upper") == names.index("letters-spelled") - 1
    assert get_task("letters-upper").group == "letters"
    request = Questions(suite="quick", limit=1)
    assert "letters-upper.test" in [job.name for job in plan_jobs(request)]
    cells: Any = {(name, "test"): SimpleNamespace(rows=1, baseline=0.2, baseline_name="majority") for name in names}
    found = [(column.group, column.task) for column in columns([SimpleNamespace(cells=cells)])]  # type: ignore[list-item]
    assert found.index(("letters", "letters-upper")) == found.index(("letters", "letters")) + 1


def test_every_task_is_in_the_full_suite() -> None:
    assert set(suites()["full"].rows) == set(suites()["quick"].rows) == set(all_tasks())
    for task in all_tasks().values():
        for joined in task.suites.values():
            versions = [one.since for one in joined]
            assert versions == sorted(set(versions)) and versions[0] >= 1
