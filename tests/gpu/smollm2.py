"""Part smollm2: SmolLM2-135M-Instruct over the whole flip-flop set and `letters` in bfloat16, as a record, and the
difference between batches and single rows of a real model in half precision.

Looks for its GGUF file in tests/gpu/models (possibly in parts), then in the cache of the tests.
"""

import shutil
import tarfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fflm_data.arrays import Floats
from harness.cli import main
from harness.models.loading import load
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.runs.run import Run, read_run
from leaderboard.replay.tolerances import TOLERANCES
from tests.benchmarks.cases import Case, reads_job, seen
from tests.conftest import CACHE, SMOLLM2_FILE
from tests.gpu import machine
from tests.gpu.results import Figures, NotMeasuredError, Part

COPIED = Path(__file__).with_name("models")
RECORD = "record.tar"
CONTACT = "whoever ran tests/gpu/check.sh"


def check(part: Part) -> None:
    part.case("record", partial(record, part))
    part.case("bfloat16 in batches", partial(in_batches, "bfloat16", part))


def model_file() -> Path:
    """The GGUF file, joined from its parts if needed."""
    path = COPIED / SMOLLM2_FILE
    parts = sorted(COPIED.glob(f"{SMOLLM2_FILE}.part*"))
    if parts and not path.exists():
        announced = int(parts[0].suffix.removeprefix(".part").partition("of")[2])
        if len(parts) < announced:
            raise NotMeasuredError(f"{len(parts)} of {announced} parts of {SMOLLM2_FILE} are here: copy the others")
        partial_file = path.with_suffix(".partial")
        with partial_file.open("wb") as whole:
            for one in parts:
                with one.open("rb") as piece:
                    shutil.copyfileobj(piece, whole)
        partial_file.replace(path)
    found = next((one for one in (path, CACHE / "SmolLM2-135M-Instruct" / SMOLLM2_FILE) if one.exists()), None)
    if found is None:
        raise NotMeasuredError(f"{SMOLLM2_FILE} is missing: run tests/gpu/wheels.sh --model")
    return found


def in_batches(dtype: str, part: Part) -> Figures:
    """Fails if batches change log-probabilities by more than the tolerance of a replay; small size: the LSTM."""
    path = model_file()
    smollm2 = ModelRequest(str(path.parent), dtype=dtype, gguf_file=path.name)
    source = resolve(part.pick(smollm2, ModelRequest(dtype=dtype)))
    case = Case(source.name, source, load(source, machine.device()))
    together, alone = (read_logprobs(case, batch_size, part.pick(256, 64)) for batch_size in (None, 1))
    off = np.abs(together - alone)
    of_tolerance = float((off / TOLERANCES[dtype].allowed(alone)).max())
    assert of_tolerance <= 1, f"batches move log-probabilities by up to {off.max():.2g}"
    return {
        "largest": float(off.max()),
        "rms": float(np.sqrt(np.square(off).mean())),
        "of tolerance": of_tolerance,
        "numbers": len(off),
    }


def read_logprobs(case: Case, batch_size: int | None, rows: int) -> Floats:
    """Recorded log-probabilities, in order of rows and positions."""
    table = pa.concat_tables(one.table for one in seen(case, reads_job("val", rows), batch_size))
    table = table.sort_by([("id", "ascending"), ("position", "ascending")])
    return np.asarray(table["logprobs"].combine_chunks().flatten().to_numpy().astype(np.float64))


def record(part: Part) -> Figures:
    """A run that resumes an earlier call, and its accepted record."""
    path = model_file()
    command: list[object] = ["eval", "--model", path.parent, "--gguf-file", path.name]
    command += ["--dtype", part.pick("bfloat16", "float32")]
    command += ["--task", "flipflop", "--task", "letters", "--output", part.out / "runs"]
    resumed = (part.out / "runs").exists()
    start = time.perf_counter()
    harness(*command, *part.pick([], ["--limit", 1]))
    seconds = time.perf_counter() - start
    run = newest(part.out / "runs")
    reads = sum(pq.read_metadata(run.table(job)).num_rows for job in run.jobs() if job.task.name == "flipflop")
    checkout = part.scratch / "checkout"
    (checkout / "records").mkdir(parents=True)
    disclosure = (
        "Run by the GPU check of fflm; nothing ties us to the model. Its training data is not known to hold rows."
    )
    harness(
        "submit", run.folder, "--to", checkout, "--contact", CONTACT, "--licence", "CC-BY-4.0", "--division",
        "pretrained", "--disclosure", disclosure,
    )  # fmt: skip
    with tarfile.open(part.out / RECORD, "w") as archive:
        archive.add(checkout / "records", "records")
    speed = {} if resumed else {"seconds, loading included": seconds, "reads/s": reads / seconds}
    return {"reads": reads, **speed, "resumed": resumed, "record": RECORD}


def newest(folder: Path) -> Run:
    """The newest run."""
    return read_run(max(folder.glob("*/*/run.json"), key=lambda path: path.stat().st_mtime).parent)


def harness(*words: object) -> None:
    """Runs a command in this process; fails if it fails."""
    assert main([*map(str, words)]) == 0, f"harness {words[0]} failed: its line stands above"
