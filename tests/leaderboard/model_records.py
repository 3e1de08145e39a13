"""Records of real runs of small models, and edits of them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.cli import main
from harness.runs.files import write_json
from harness.runs.run import read_run
from leaderboard.records import Record, read_record
from leaderboard.submission_file import SUBMISSION_FILE
from tests.leaderboard.record_edits import SUBMISSION, edit, only_run, rewrite


def make_model_record(output: Path, *words: object) -> Path:
    """Returns the folder of a record of `harness eval WORDS`."""
    assert main(["eval", *map(str, words), "--output", str(output)]) == 0
    folder = only_run(output).folder
    write_json(folder / SUBMISSION_FILE, SUBMISSION.to_json())
    return folder.rename(folder.with_name(read_record(folder).digest[:12]))


def copy_record(folder: Path, to: Path) -> Path:
    """Returns a copy of a record, for edits."""
    return Path(shutil.copytree(folder, to / "record"))


def edit_table(folder: Path, table: str, change: Callable[[list[dict[str, Any]]], object]) -> Record:
    """Edits a table line by line and returns the record."""
    run = read_run(folder)

    def line_by_line(message: pa.Table) -> pa.Table:
        lines = message.to_pylist()
        change(lines)
        return pa.Table.from_pylist(lines, schema=message.schema)

    rewrite(next(run.table(job) for job in run.jobs() if job.name == table), line_by_line)
    return read_record(folder)


def edit_run_json(folder: Path, change: Callable[[dict[str, Any]], object]) -> Record:
    """Edits run.json in place and returns the record."""
    edit(folder / "run.json", lambda facts: change(facts) and None)
    return read_record(folder)
