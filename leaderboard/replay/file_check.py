"""Before a stranger's model is asked again: its files are read in a process of its own, with bounds on memory and time.

There its tokenizer splits the very rows that will be asked, its chat template writes their prompts, and its layers are
made without weights. What needs memory or time without end ends that process alone, and whoever asked gets one line.
Weights take what their files do, and are read later.
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
# Of processor time: for reading and building, and for each hundred rows.
MOST_SECONDS, MOST_SECONDS_OF_ROWS = 600, 30


@dataclass(frozen=True)
class Questions:
    """Which rows of a record will be asked. count: how many are drawn, 0 for none, None for all. fresh: whether rows of
    a new seed are asked too, and of each split how many."""

    nonce: str
    count: int | None
    fresh: bool = False
    rows: int | None = None


def examine(folder: Path, questions: Questions, model: str | None = None) -> None:
    """Raises UserError where a record's model cannot be had or be asked these rows, or not within bounds.

    model: a folder in the place of the recorded id.
    """
    arguments = json.dumps({"folder": str(folder), "model": model, "memory": MOST_MEMORY, **asdict(questions)})
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    try:
        fault = sandbox.run_json("leaderboard.replay.file_check", arguments, env=environment)
    except ValueError:
        fault = (
            f"reading the files of the model of {folder.name} takes more than {MOST_MEMORY >> 30} GiB of memory, or "
            "too much time: it is not asked again"
        )
    if fault is not None:
        raise UserError(str(fault))


def main(arguments: str) -> None:
    """In that process: prints what is wrong as a JSON text, null if nothing."""
    given = json.loads(arguments)
    folder, model, memory = Path(given.pop("folder")), given.pop("model"), given.pop("memory")
    fault = None
    try:
        _read_all(folder, model, memory, Questions(**given))
    except MemoryError:
        raise
    except UserError as error:
        fault = str(error)
    except Exception as error:  # what no boundary further in has named
        fault = f"the model of {folder.name} cannot be asked ({type(error).__name__}): replay another record"
    sys.stdout.write(json.dumps(fault))


def _read_all(folder: Path, model: str | None, memory: int, questions: Questions) -> None:
    import torch

    from harness.models.architectures import auto_class
    from harness.models.load_errors import untrusted_files
    from harness.planning.planner import plan_rows
    from harness.planning.work_queue import WorkItem
    from leaderboard.records import read_record
    from leaderboard.replay.rerun import continued, recorded_source

    run = read_record(folder).run
    asked = [*_asked(folder, questions)]
    rows = sum(len(ids) for _, ids in asked)
    sandbox.limit(memory, MOST_SECONDS + MOST_SECONDS_OF_ROWS * rows // 100)
    source = recorded_source(run, model)
    with untrusted_files(source.name), torch.device("meta"):
        auto_class(source.config, source.name).from_config(source.config)
    for job, ids in asked:
        for start in range(0, len(ids), CHUNK_ROWS):
            table = WorkItem(0, ids[start : start + CHUNK_ROWS], 0).rows([job])
            plan_rows(job, source, table, job.task.name in continued(run))


def _asked(folder: Path, questions: Questions) -> Iterator[tuple[Job, Ints]]:
    """Jobs and the ids of their rows, as `replay` and `fresh` take them."""
    import numpy as np

    from leaderboard.records import read_record
    from leaderboard.replay.fresh import rows_anew
    from leaderboard.replay.row_choice import draw, seed_of

    record = read_record(folder)
    jobs = record.run.jobs()
    sizes = {job.name: job.rows for job in jobs}
    count = sum(sizes.values()) if questions.count is None else questions.count
    chosen = draw(record.digest, questions.nonce, sizes, count) if count else {}
    yield from ((job, np.array(chosen[job.name], dtype=np.int64)) for job in jobs if job.name in chosen)
    if questions.fresh:
        seed = seed_of(record.run.facts["model"]["revision"], questions.nonce)
        for job in jobs:
            anew = rows_anew(job, seed, questions.rows)
            yield anew, np.arange(anew.rows)
