"""Records of real runs of small models, made here, and changed at will."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness import observations
from harness.cli import main
from harness.run import read_run
from leaderboard.records import Record, read_record
from leaderboard.submission import PRETRAINED, SUBMISSION_FILE, Submission

SUBMITTED = Submission("someone", "CC0-1.0", PRETRAINED, "none", "2026-11-21")


def record_of(output: Path, *words: object) -> Path:
    """The folder of a record of `harness eval WORDS`."""
    assert main(["eval", *map(str, words), "--output", str(output)]) == 0
    (run,) = output.glob("*/*/run.json")
    (run.parent / SUBMISSION_FILE).write_text(json.dumps(SUBMITTED.to_json()), encoding="utf-8")
    return run.parent.rename(run.parent.with_name(read_record(run.parent).digest[:12]))


def copied(folder: Path, to: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(folder, to / "record"))


def edited(folder: Path, table: str, change: Callable[[list[dict[str, Any]]], object]) -> Record:
    """The record after its maker has edited a table, line by line."""
    run = read_run(folder)
    job = next(job for job in run.jobs() if job.name == table)
    schema = observations.schema_of(job.task, job.config)
    lines = pq.read_table(run.table(job)).to_pylist()
    change(lines)
    with observations.writing(run.table(job), schema) as writer:
        writer.write_table(pa.Table.from_pylist(lines, schema=schema))
    return read_record(folder)


def told(folder: Path, change: Callable[[dict[str, Any]], object]) -> Record:
    """The record after its maker has edited its run.json."""
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    change(facts)
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return read_record(folder)
