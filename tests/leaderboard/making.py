"""Records for tests: made by a real run, then changed as somebody who knows all the rules would."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import UserError
from harness.runs import observations
from harness.runs.files import CHECKSUMS, write_json
from harness.runs.identity import run_id
from harness.runs.run import Run, read_run
from harness.scoring.scores import score_run
from leaderboard.records import digest_of, place_of, record_files
from leaderboard.submission import Submission
from leaderboard.submit import today

PRETRAINED, TRAINED = "pretrained", "trained on fflm"
SUBMISSION = Submission(
    contact="a tester",
    licence="CC-BY-4.0",
    division=PRETRAINED,
    disclosure="Made by a test.\nNothing is known of its training data.",
    submitted=today(),
)
# The same kind of terms as options of harness submit.
TERMS = ["--contact", "a tester", "--licence", "CC0-1.0", "--division", "trained on fflm", "--disclosure", "None."]
Json = dict[str, Any]


def make_record(run: Path, records: Path, submission: Submission = SUBMISSION) -> Path:
    """The record of a finished run below `records`, without judging it; returns its folder."""
    draft = records / "draft"
    shutil.copytree(run, draft, ignore=shutil.ignore_patterns(".lock", "*.html", "plots", CHECKSUMS))
    write_json(draft / "submission.json", submission.to_json())
    return resign(draft, records)


def resign(folder: Path, records: Path) -> Path:
    """Moves a record to where its contents say; returns the folder."""
    run = read_run(folder)
    place = records / place_of(run, digest_of(folder, record_files(run)))
    place.parent.mkdir(parents=True, exist_ok=True)
    return folder.rename(place)


def signed(folder: Path, records: Path) -> Path:
    """The same, of a record that may be too damaged for that."""
    try:
        return resign(folder, records)
    except (UserError, OSError):
        return folder


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Changes a JSON file; `change` edits the value or returns another."""
    value = json.loads(path.read_text(encoding="utf-8"))
    value = changed if (changed := change(value)) is not None else value
    write_json(path, value)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Changes an observation table, writes it as all are: rounded, in the same encodings; and leaves no trace of what
    it was."""
    table = change(pq.read_table(path))
    if "logprobs" in table.schema.names:
        place = table.schema.get_field_index("logprobs")
        lists = table["logprobs"].combine_chunks()
        values = pa.array(
            np.round(lists.flatten().to_numpy() / observations.ROUNDING) * observations.ROUNDING, pa.float32()
        )
        kind = lists.type
        lists = (
            pa.FixedSizeListArray.from_arrays(values, type=kind)
            if pa.types.is_fixed_size_list(kind)
            else pa.ListArray.from_arrays(lists.offsets, values, type=kind)
        )
        table = table.set_column(place, table.schema.field(place), lists)
    with observations.writing(path, table.schema) as writer:
        writer.write_table(table)
    path.parents[1].joinpath(CHECKSUMS).unlink(missing_ok=True)


def replaced(table: pa.Table, name: str, change: Callable[[Any], Any]) -> pa.Table:
    """The table with a column changed: `change` takes and gives a list."""
    place = table.schema.get_field_index(name)
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array(change(table[name].to_pylist()), field.type))


def consistent(folder: Path) -> None:
    """Makes id and scores those of what was changed, as somebody who knows all the rules would."""
    edit(folder / "run.json", with_id)
    write_json(folder / "result.json", score_run(read_run(folder)))


def with_id(facts: Json) -> Json:
    """run.json with the id that its model and data come to."""
    return facts | {"id": run_id(facts["model"], facts["data"], facts["environment"]["fflm"])}


def only_run(output: Path) -> Run:
    """The one run below a folder."""
    (folder,) = output.glob("*/*")
    return read_run(folder)
