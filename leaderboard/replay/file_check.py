"""Checks the files of an untrusted model before it is run: in a separate process with limits on memory and time.

The process tokenizes the selected rows, renders their prompts with the chat template, and builds the layers without
weights. Excessive memory or time ends that process only, and the caller gets a one-line error. Weights need as much
memory as their files, and are loaded later.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fflm_data.arrays import Ints
from harness.errors import UserError
from harness.models import sandbox
from harness.prompts.jobs import CHUNK_ROWS, Job

MOST_MEMORY = 8 * 2**30
# CPU time: for reading and building, and per hundred rows.
MOST_SECONDS, MOST_SECONDS_OF_ROWS = 600, 30


@dataclass(frozen=True)
class SelectedRows:
    """Rows of a record that will be run. count: number of sampled rows, 0 for none, None for all. fresh: whether fresh
    rows are run too; rows: their number per split."""

    nonce: str
    count: int | None
    fresh: bool = False
    rows: int | None = None


def check_model_files(folder: Path, selected: SelectedRows, model: str | None = None) -> None:
    """Raises UserError if a record's model is not available, cannot run the selected rows, or exceeds the limits.

    model: a folder to use instead of the recorded id.
    """
    arguments = json.dumps({"folder": str(folder), "model": model, "memory": MOST_MEMORY, **asdict(selected)})
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    try:
        fault = sandbox.run_json("leaderboard.replay.file_check", arguments, env=environment)
    except ValueError:
        fault = (
            f"reading the files of the model of {folder.name} takes more than {MOST_MEMORY >> 30} GiB of memory, or "
            "too much time. Replay another record."
        )
    if fault is not None:
        raise UserError(str(fault))


def main(arguments: str) -> None:
    """Entry point of the process: prints the error as a JSON string, null if there is none."""
    given = json.loads(arguments)
    folder, model, memory = Path(given.pop("folder")), given.pop("model"), given.pop("memory")
    fault = None
    try:
        _check(folder, model, memory, SelectedRows(**given))
    except MemoryError:
        raise
    except UserError as error:
        fault = str(error)
    except Exception as error:  # an untrusted file can raise anything
        fault = f"the model of {folder.name} cannot be run ({type(error).__name__}). Replay another record."
    sys.stdout.write(json.dumps(fault))


def _check(folder: Path, model: str | None, memory: int, selected: SelectedRows) -> None:
    import torch

    from harness.models.architectures import auto_class
    from harness.models.load_errors import untrusted_files
    from harness.planning.planner import plan_rows
    from harness.planning.work_queue import WorkItem
    from leaderboard.records import read_record
    from leaderboard.replay.rerun import continuation_tasks, resolve_recorded_model

    run = read_record(folder).run
    jobs = [*_jobs(folder, selected)]
    rows = sum(len(ids) for _, ids in jobs)
    sandbox.limit(memory, MOST_SECONDS + MOST_SECONDS_OF_ROWS * rows // 100)
    source = resolve_recorded_model(run, model)
    with untrusted_files(source.name), torch.device("meta"):
        auto_class(source.config, source.name).from_config(source.config)
    for job, ids in jobs:
        for start in range(0, len(ids), CHUNK_ROWS):
            table = WorkItem(0, ids[start : start + CHUNK_ROWS], 0).rows([job])
            plan_rows(job, source, table, job.task.name in continuation_tasks(run))


def _jobs(folder: Path, selected: SelectedRows) -> Iterator[tuple[Job, Ints]]:
    """Yields jobs and row ids, as `replay` and `fresh` select them."""
    import numpy as np

    from leaderboard.records import read_record
    from leaderboard.replay.fresh_rows import fresh_job
    from leaderboard.replay.row_sampling import draw, fresh_seed

    record = read_record(folder)
    jobs = record.run.jobs()
    sizes = {job.name: job.rows for job in jobs}
    count = sum(sizes.values()) if selected.count is None else selected.count
    chosen = draw(record.digest, selected.nonce, sizes, count) if count else {}
    yield from ((job, np.array(chosen[job.name], dtype=np.int64)) for job in jobs if job.name in chosen)
    if selected.fresh:
        seed = fresh_seed(record.run.facts["model"]["revision"], selected.nonce)
        for job in jobs:
            fresh = fresh_job(job, seed, selected.rows)
            yield fresh, np.arange(fresh.rows)
