"""Records of real runs of small models, made here, and changed at will."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.cli import main
from harness.runs.files import write_json
from harness.runs.run import read_run
from leaderboard.records import Record, read_record
from leaderboard.submission import SUBMISSION_FILE
from tests.leaderboard.making import SUBMISSION, edit, only_run, rewrite


def record_of(output: Path, *words: object) -> Path:
    """The folder of a record of `harness eval WORDS`."""
    assert main(["eval", *map(str, words), "--output", str(output)]) == 0
    folder = only_run(output).folder
    write_json(folder / SUBMISSION_FILE, SUBMISSION.to_json())
    return folder.rename(folder.with_name(read_record(folder).digest[:12]))


def copied(folder: Path, to: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(folder, to / "record"))


def edited(folder: Path, table: str, change: Callable[[list[dict[str, Any]]], object]) -> Record:
    """The record after its maker has edited a table, line by line."""
    run = read_run(folder)

    def line_by_line(said: pa.Table) -> pa.Table:
        lines = said.to_pylist()
        change(lines)
        return pa.Table.from_pylist(lines, schema=said.schema)

    rewrite(next(run.table(job) for job in run.jobs() if job.name == table), line_by_line)
    return read_record(folder)


def told(folder: Path, change: Callable[[dict[str, Any]], object]) -> Record:
    """The record after its maker has edited its run.json in place."""
    edit(folder / "run.json", lambda facts: change(facts) and None)
    return read_record(folder)
