"""Speed and memory of generating rows, and a search for test rows among training rows.

python tests/benchmarks/data.py            all of it, some minutes
python tests/benchmarks/data.py sampling   one part of it: sampling, loading, training, memory or leaks
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice

import numpy as np
from tqdm import tqdm

from fflm_data import get_config
from fflm_data.flipflop import FFL, FlipFlop, Ids, Mixture, encode, sample

LENGTH = 512
ROWS = 20_480


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of several calls, since noise only adds time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def python_string(source: random.Random, ffl: FFL, at_once: bool) -> str:
    """One string in plain Python, its instructions drawn one by one or all at once."""
    weights = (ffl.p_write, ffl.p_read, 1 - ffl.p_write - ffl.p_read)
    count = ffl.instructions - 2
    if at_once:
        inner = source.choices("wri", weights, k=count)
    else:
        inner = [source.choices("wri", weights)[0] for _ in range(count)]
    held, parts = "", []
    for instruction in ["w", *inner, "r"]:
        symbol = held if instruction == "r" else source.choice("01")
        if instruction == "w":
            held = symbol
        parts.append(instruction + symbol)
    return "".join(parts)


def sampling() -> None:
    """Symbols per second on one core, compared with raw random numbers and with Python string by string."""
    source = random.Random(0)
    for split in ("val", "val_sparse", "val_dense"):
        config = get_config("flipflop", **{f"{split}_rows": ROWS})
        assert isinstance(config, FlipFlop)
        ffl, symbols = config.distribution(split), ROWS * LENGTH
        floor = best_of(5, lambda ffl=ffl: np.random.Philox(key=1).random_raw(ROWS * ffl.instructions))
        arrays = best_of(5, lambda ffl=ffl, split=split: sample(ffl, ROWS, split=split))
        text = best_of(5, lambda c=config, split=split: sum(table.num_rows for table in c.tables(split)))
        plain = [
            ROWS
            / 200
            * best_of(5, lambda f=ffl, at_once=at_once: [python_string(source, f, at_once) for _ in range(200)])
            for at_once in (False, True)
        ]
        print(
            f"{split}: ids {symbols / arrays / 1e6:.0f}M, text {symbols / text / 1e6:.0f}M symbols/s; "
            f"{arrays / floor:.1f} and {text / floor:.1f} times the raw random numbers alone; Python a string "
            f"at a time takes {plain[0] / arrays:.0f} times the ids "
            f"({plain[1] / arrays:.0f} times if it draws all its instructions at once)"
        )


def loading() -> None:
    """Seconds of load_dataset("fflm") in a new process; importing datasets is the lower bound."""
    code = "import datasets; {}print(datasets.load_dataset('fflm')['val_sparse'].num_rows)"
    with tempfile.TemporaryDirectory() as folder:
        for name, program in (
            ("import datasets alone", "import datasets"),
            ("cold", code.format("import fflm_data; ")),
            ("warm, new process", code.format("import fflm_data; ")),
        ):
            start = time.perf_counter()
            command = [sys.executable, "-c", program]
            subprocess.run(command, env=os.environ | {"HF_HOME": folder}, cwd=folder, check=True, capture_output=True)
            print(f'load_dataset("fflm"), {name}: {time.perf_counter() - start:.1f} s')
        import datasets

        import fflm_data  # noqa: F401 (registers the name)

        datasets.disable_progress_bars()
        warm = best_of(3, lambda: datasets.load_dataset("fflm", cache_dir=f"{folder}/datasets"))
        print(f'load_dataset("fflm"), warm, same process: {warm:.2f} s')


def training() -> None:
    """Tokens per second of the infinite stream through PyTorch's data loader."""
    from datasets import load_dataset
    from torch.utils.data import DataLoader

    stream = load_dataset("fflm", "flipflop-train", split="train", streaming=True)
    stream = stream.remove_columns("labels").with_format("torch")
    for size in (16, 64, 256):
        for workers in (0, 1):
            loader = iter(DataLoader(stream.batch(size), batch_size=None, num_workers=workers))
            next(loader)
            batches = 20_480 // size
            speeds = []
            for _ in range(4):
                seconds = best_of(1, lambda loader=loader, n=batches: [batch["id"] for batch in islice(loader, n)])
                speeds.append(batches * size * LENGTH / seconds / 1e6)
            print(f"batches of {size}, {workers} workers: {max(speeds):.0f}M tokens/s")


MEMORY = """
import sys
from pathlib import Path
from fflm_data import get_config
rows = int(sys.argv[1])
config = get_config("flipflop", train_rows=rows)
assert sum(table.num_rows for table in config.tables("train")) == rows
# Not getrusage, which counts what the parent held before this program started.
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line[:6] == "VmHWM:"))
"""


def memory() -> None:
    """Peak memory of a process that generates rows (needs /proc, as on Linux)."""
    for rows in (10**5, 10**6, 10**7):
        command = [sys.executable, "-c", MEMORY, str(rows)]
        kilobytes = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{rows:>10,} rows: peak {kilobytes / 1024:.0f} MiB")


def leaks(rows: int = 10**7) -> None:
    """Looks for test rows among training rows, for T = 512; exits with status 1 if it finds one."""
    config = get_config()
    held_out = [
        _prints(encode(table["text"]))
        for split in config.splits()
        if split != "train"
        for table in config.tables(split)
    ]
    known = np.sort(np.concatenate(held_out))
    plain = tuple(FFL.from_p_ignore(p_ignore, LENGTH) for p_ignore in (0.8, 0.98, 0.1))
    parts = [*plain, Mixture(plain)]
    found = 0
    with tqdm(total=rows, unit="row", unit_scale=True, disable=None) as progress:
        for number, ffl in enumerate(parts):
            share = rows * (number + 1) // len(parts) - rows * number // len(parts)
            for start in range(0, share, 2**15):
                prints = _prints(sample(ffl, min(2**15, share - start), start=start))
                place = np.minimum(np.searchsorted(known, prints), len(known) - 1)
                found += int((known[place] == prints).sum())
                progress.update(len(prints))
    print(
        f"{found} of {rows:,} training rows, FFL(0.8), FFL(0.98), FFL(0.1) and their mixture, "
        f"are among {len(known):,} test rows"
    )
    if found or len(np.unique(known)) < len(known):
        sys.exit(1)


def _prints(ids: Ids) -> np.ndarray:
    """A 64-bit hash of each string."""
    words = np.ascontiguousarray(ids).view(np.uint64)
    mixed = np.zeros(len(ids), dtype=np.uint64)
    for column in words.T:
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


PARTS: dict[str, Callable[[], None]] = {
    "sampling": sampling, "loading": loading, "training": training, "memory": memory, "leaks": leaks,
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], metavar="PART")
    for name in parser.parse_args().part or PARTS:
        print(f"# {name}")
        PARTS[name]()
