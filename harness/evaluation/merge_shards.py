"""Merges shards into observation tables: every row once, in order, one window of rows at a time."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.errors import UserError
from harness.evaluation.shards import Record
from harness.prompts.jobs import CHUNK_ROWS, Job
from harness.runs import observations


def without_duplicates(records: Iterable[Record]) -> list[Record]:
    """The records without those that repeat a row, which a process of an earlier start may have written; their other
    rows are evaluated again."""
    seen: dict[str, set[int]] = {}
    kept = []
    for record in records:
        ids = set(record.ids.tolist())
        if seen.setdefault(record.job, set()).isdisjoint(ids):
            seen[record.job] |= ids
            kept.append(record)
    return kept


def rows_done(jobs: Sequence[Job], records: Iterable[Record]) -> list[npt.NDArray[np.bool_]]:
    """Which rows have observations, bool (rows,), for each job."""
    done = {job.name: np.zeros(job.rows, dtype=bool) for job in jobs}
    for record in records:
        done[record.job][record.ids] = True
    return [done[job.name] for job in jobs]


def merge(job: Job, records: Iterable[Record], path: Path) -> None:
    """Writes the table of a job. Raises UserError unless the records hold each of its rows exactly once."""
    job_records = [record for record in records if record.job == job.name]
    times = np.zeros(job.rows, dtype=np.int64)
    by_window: dict[int, set[int]] = {}
    for number, record in enumerate(job_records):
        np.add.at(times, record.ids, 1)
        for window in np.unique(record.ids // CHUNK_ROWS).tolist():
            by_window.setdefault(window, set()).add(number)
    if (times != 1).any():
        raise UserError(
            f"of the {job.rows:,} rows of {job.name}, {int((times == 0).sum()):,} are missing in the shards and "
            f"{int((times > 1).sum()):,} are duplicates. Run the same command to resume."
        )
    schema = observations.schema_of(job.task, job.config)
    order = [(name, "ascending") for name in ("id", "position", "turn") if name in schema.names]
    with observations.writing(path, schema) as writer:
        for window in range(-(-job.rows // CHUNK_ROWS)):
            tables = [job_records[number].observations() for number in sorted(by_window[window])]
            table = pa.concat_tables(tables).sort_by(order)
            first = np.searchsorted(table["id"].to_numpy(), [window * CHUNK_ROWS, (window + 1) * CHUNK_ROWS])
            writer.write_table(table.slice(first[0], first[1] - first[0]).combine_chunks())
