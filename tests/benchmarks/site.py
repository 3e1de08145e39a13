"""Build time of a site with many models, and the size of its first page.

    python -m tests.benchmarks.site [MODELS]

Record folders are derived from one small run of the bundled LSTM, each with its own id, revision and answers. A cold
build verifies every record; a warm build uses the cache.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.cli import main as harness
from harness.runs import observations
from harness.runs.files import CHECKSUMS, write_json
from harness.runs.run import Run, read_run
from harness.scoring.scores import score_run
from leaderboard.site import build
from leaderboard.submission import Submission
from tests.leaderboard.making import PRETRAINED, TRAINED, resign

MODELS = 500
FIRST_LOAD = ("index.html", "style.css", "site.js", "icon.svg")


def derive(run: Run, records: Path, number: int) -> None:
    """A record of a model with its own error rate."""
    draft = records / "draft"
    shutil.copytree(run.folder, draft, ignore=shutil.ignore_patterns(".lock", CHECKSUMS))
    numbers = np.random.default_rng(number)
    for job in run.jobs():
        schema = observations.schema_of(job.task, job.config)
        table = observations.read(run.table(job), schema)
        wrong = numbers.random(table.num_rows) < number / 1000
        predicted = np.where(wrong, -1, table["argmax"].to_numpy())
        place = schema.get_field_index("argmax")
        changed = table.set_column(place, schema.field(place), pa.array(predicted, schema.field(place).type))
        with observations.writing(draft / "observations" / f"{job.name}.parquet", schema) as writer:
            writer.write_table(changed)
    model = {
        "id": f"organisation-{number % 40}/model-{number}",
        "revision": f"{number:040x}",
        "parameters": 10**6 * number,
    }
    write_json(draft / "run.json", run.facts | {"model": run.facts["model"] | model})
    write_json(draft / "result.json", score_run(read_run(draft)))
    division = TRAINED if number % 5 == 0 else PRETRAINED
    write_json(draft / "submission.json", Submission("a tester", "MIT", division, "none", "2026-11-21").to_json())
    resign(draft, records)


def main(models: int) -> None:
    """Prints the seconds of a cold and of a warm build, and the size of the first page."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        os.environ["FFLM_CACHE"] = str(root / "cache")
        with redirect_stdout(sys.stderr):
            harness(["eval", "--task", "flipflop", "--limit", "6", "--output", str(root / "runs")])
        (folder,) = root.glob("runs/*/*")
        records = root / "records"
        records.mkdir()
        for number in range(models):
            derive(read_run(folder), records, number)
        for name in ("cold", "warm"):
            start = time.perf_counter()
            with (root / "log").open("w", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
                build.command(root / "site", [], records, None)
            print(f"{name}: {time.perf_counter() - start:.1f} s for {models} models")
        shown = len(json.loads((root / "site" / "index.json").read_text(encoding="utf-8"))["models"])
        weight = sum((root / "site" / name).stat().st_size for name in FIRST_LOAD)
        print(f"first load: {weight:,} bytes, {shown} rows of 3 splits")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MODELS)
