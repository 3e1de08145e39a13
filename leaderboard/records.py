"""Records: accepted runs, kept as they came.

    records/<org>--<model>/<revision, 12 hex>/<digest, 12 hex>/
        run.json  result.json  observations/<task>.<split>.parquet

The digest is that of the contents, so that a record cannot be edited, only followed by another.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.run import Run, read_run
from harness.scoring import score_run

RECORDS = Path(__file__).parent / "records"


def record_files(run: Run) -> list[Path]:
    """The files of a run that make its record, relative to its folder."""
    tables = [run.table(job).relative_to(run.folder) for job in run.jobs()]
    return [Path("run.json"), Path("result.json"), *sorted(tables)]


def record_folder(run: Run) -> Path:
    """Where the record of a run belongs, relative to the records."""
    digest = hashlib.sha256()
    for path in record_files(run):
        content = hashlib.sha256((run.folder / path).read_bytes()).hexdigest()
        digest.update(f"{path.as_posix()} {content}\n".encode())
    model = run.facts["model"]
    return Path(model["id"].replace("/", "--"), model["revision"][:12], digest.hexdigest()[:12])


def find_records(records: Path = RECORDS) -> list[Run]:
    """All records, in the order of their paths. Raises UserError for one whose contents are not those of its digest."""
    runs = [read_run(path.parent) for path in sorted(records.glob("*/*/*/run.json"))]
    for run in runs:
        if record_folder(run) != run.folder.relative_to(records):
            raise UserError(f"{run.folder} was changed after it was recorded: restore it from git")
    return runs


def rescore(run: Run) -> dict[str, Any]:
    """The result recomputed from the observations. Raises UserError unless result.json says the same."""
    result = score_run(run)
    try:
        stored = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stored = None
    if stored != result:
        raise UserError(f"{run.folder}/result.json is not what its observations give: run harness score {run.folder}")
    return result
