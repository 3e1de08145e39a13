"""Time and peak memory of verifying a record with the paper's full read set.

    python tests/benchmarks/verification.py

Verifies the LSTM's record (0.73M reads of three splits) in a separate process, as `harness verify` does, and measures
its parts: process start, and reading and regenerating the rows, which is the lower bound.
"""

import resource
import subprocess
import sys
import time

import pyarrow.parquet as pq

from harness.runs.run import read_run
from leaderboard.records import record_folders
from leaderboard.verification.sandbox import verify_in_sandbox

TURNS = 3


def main() -> None:
    folder = next(one for one in record_folders() if one.parents[1].name == "fflm--lstm")
    run = read_run(folder)
    reads = sum(pq.read_metadata(run.table(job)).num_rows for job in run.jobs())
    print(f"{reads:,} reads, {sum(run.table(job).stat().st_size for job in run.jobs()):,} bytes of tables")
    whole, started, floor = [], [], []
    for _ in range(TURNS):
        start = time.perf_counter()
        assert verify_in_sandbox(folder, new=False).accepted
        whole.append(time.perf_counter() - start)
        start = time.perf_counter()
        imports = "import leaderboard.verification.verify_record, scipy.special, jsonschema"
        subprocess.run([sys.executable, "-c", imports], check=True)
        started.append(time.perf_counter() - start)
        start = time.perf_counter()
        for job in run.jobs():
            pq.read_table(run.table(job))
            for _, rows in job.chunks():
                job.task.targets(rows)
        floor.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)
    print(f"verified, with process start: {min(whole):.1f} s; peak memory {peak:.2f} GiB")
    print(f"of which the process starts in {min(started):.1f} s, tables and rows alone take {min(floor):.1f} s")


if __name__ == "__main__":
    main()
