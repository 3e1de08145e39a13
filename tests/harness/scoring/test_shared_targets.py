"""Regenerated targets are shared by runs of the same rows, and do not depend on what was graded before."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from fflm_data import get_config
from harness.cli import main
from harness.errors import UserError
from harness.prompts.jobs import CHUNK_ROWS, Job
from harness.runs import observations
from harness.runs.run import Run
from harness.scoring.grading import _regenerated, grade, grade_table
from harness.tasks import ReadTask, get_task
from tests.leaderboard.record_edits import only_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("runs")
    assert main(["eval", "--task", "flipflop", "--limit", "5", "--output", str(output)]) == 0
    return only_run(output)


def arrays(graded: Any) -> dict[str, Any]:
    values = {field.name: getattr(graded, field.name) for field in fields(graded)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)} | graded.baselines


def test_grading_twice_gives_the_same(run: Run) -> None:
    for job in run.jobs():
        _regenerated.cache_clear()
        first = arrays(grade(run, job))
        again = arrays(grade(run, job))
        assert len(first) > 10 and all(np.array_equal(first[name], again[name]) for name in first)


def test_other_rows_are_still_refused(run: Run) -> None:
    """Also if the right rows were graded before."""
    job = run.jobs()[0]
    table = observations.read(run.table(job), observations.schema_of(job.task, job.config))
    grade(run, job)
    for wrong in (table.slice(1), table.take(np.arange(len(table))[::-1])):
        with pytest.raises(UserError):
            grade_table(job.task, job, wrong)
    for name in ("position", "gap", "gold", "gold_token"):
        column = table[name].to_numpy().copy()
        column[3] += 1
        changed = table.set_column(table.schema.get_field_index(name), table.schema.field(name), [column])
        with pytest.raises(UserError):
            grade_table(job.task, job, changed)
    assert grade_table(job.task, job, table).right.shape == (len(table),)


@pytest.mark.parametrize("name", ["flipflop", "flipflop-piecewise"])
def test_targets_are_those_of_the_chunks(name: str) -> None:
    task: Any = get_task(name)
    assert isinstance(task, ReadTask)
    config, split = get_config(task.config, **task.parameters), task.splits[-1]
    rows = min(config.rows(split), CHUNK_ROWS + 10)
    targets = _regenerated(task, config, split, rows)
    parts = [(start, task.targets(chunk)) for start, chunk in Job(task, config, split, rows).chunks()]
    assert np.array_equal(targets.row, np.concatenate([part.row + start for start, part in parts]))
    assert np.array_equal(targets.target, np.concatenate([part.target for _, part in parts]))
    assert targets.row.max() == rows - 1
    with pytest.raises(ValueError, match="read-only"):
        targets.target[0] = 1
