"""How fast rows are made, and how far that is from the floor: drawing the random numbers alone.

pytest -m benchmark -s tests/benchmarks/test_data_speed.py
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fflm_data import get_config
from fflm_data.flipflop import FlipFlop, sample

ROWS = 20_480
pytestmark = pytest.mark.benchmark


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of several calls: the machine's noise only ever adds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.parametrize("split", ["val", "val_sparse", "val_dense"])
def test_sampling(split: str) -> None:
    config = get_config("flipflop", **{f"{split}_rows": ROWS})
    assert isinstance(config, FlipFlop)
    ffl = config.distribution(split)
    symbols = ROWS * ffl.length
    floor = best_of(3, lambda: np.random.Philox(key=1).random_raw(ROWS * ffl.instructions))
    arrays = best_of(3, lambda: sample(ffl, ROWS, split=split))
    text = best_of(3, lambda: sum(table.num_rows for table in config.tables(split)))
    print(
        f"\n{split}: arrays {symbols / arrays / 1e6:.0f}M symbols/s ({arrays / floor:.1f}x the raw draws), "
        f"text {symbols / text / 1e6:.0f}M symbols/s"
    )
    assert sample(ffl, ROWS, split=split).shape == (ROWS, ffl.length)


def test_cold_load_dataset(tmp_path: Path) -> None:
    code = "import fflm_data; from datasets import load_dataset; print(load_dataset('fflm').num_rows)"
    start = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HF_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    print(f"\nload_dataset('fflm'), new process and empty cache: {time.perf_counter() - start:.1f} s")
    assert "264000" in str(sum(int(number) for number in output.replace("}", "").replace(",", ":").split(":")[1::2]))
