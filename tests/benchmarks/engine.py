"""Speed of a run compared with lm-evaluation-harness, with bare forward passes, and with more cores or rows.

python tests/benchmarks/engine.py                          all parts, up to an hour on two CPU cores
python tests/benchmarks/engine.py --part bare rows         some of them: lm-eval, bare, ranks, memory, rows
python tests/benchmarks/engine.py --part lm-eval --model tiny --rows 4 --reads 8 --repeats 1

Part lm-eval needs `pip install lm-eval==0.4.13`. `pytest tests/harness/evaluation/test_smollm2.py` downloads the model
smollm2.
Prints tables in Markdown. Asserts equal predictions, but no times. Run it on an idle machine: another process on one of
two cores can make a forward pass ten times slower (OpenMP's threads spin).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `tests`

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from harness.engine.engine import Engine
from harness.evaluation.merge_shards import merge
from harness.evaluation.shards import ShardWriter, records
from harness.models.model_request import ModelRequest
from harness.prompts.jobs import Job
from tests.benchmarks.cases import (
    LENGTH,
    SPLITS,
    TIE,
    Case,
    against_bare,
    case_of,
    logprobs_at,
    ours,
    prepare,
    random_llama,
    reads_job,
    request_of,
    seen,
)
from tests.benchmarks.measuring import Ratio, echo, short, show, take_turns

ROOT = Path(__file__).parents[2]
# Models of a part, and how many rows each gets.
ROWS = {
    "lm-eval": {"smollm2": 4, "tiny": 64, "large": 64},
    "letters": {"smollm2": 128, "tiny": 512, "large": 256},
    "bare": {"smollm2": 4, "llama64": 256, "lstm": 1024, "large": 256},
    "ranks": {"lstm": 16_384, "tiny": 4096},
}
READS = {"smollm2": 16, "tiny": 128, "large": 256}
MODELS = ("smollm2", "tiny", "llama64", "lstm", "large")


@dataclass(frozen=True)
class Options:
    """Options of the command; scratch: a folder for models and runs."""

    model: str | None
    rows: int | None
    reads: int | None
    repeats: int
    scratch: Path

    def models(self, part: str) -> list[str]:
        """The models of a part, or the named model if the part has it. `large` needs a GPU."""
        gpu = torch.cuda.is_available()
        return [name for name in ROWS[part] if self.model in (None, name) and (name != "large" or gpu)]


# Part lm-eval


LM_EVAL_NOTE = """\
Milliseconds per read or completion, the fastest of {repeats} turns; the ratio is lm-eval to ours (in brackets the
lowest and highest of the turns). Batch: that of lm-eval. Ours: all reads of the rows, from rows to observations, with
trials of the model, tokenization, plans and Arrow. lm-eval: one multiple-choice document per read, `lm_eval.evaluate`
only, for a sample of the same reads: all reads, ordered by the length of the text before them, are divided into equal
parts, and one read is drawn from each, the same in every run. Neither side loads a model; each has run once before, on
one row and one document. Both sides give the same answers; differences below {tie} nats count as ties."""


def lm_eval(options: Options) -> None:
    from tests.benchmarks.against_lm_eval import DEMONSTRATIONS, quiet

    quiet()
    head = ("documents", "rows", "reads", "of them lm-eval's", "ours, ms", "lm-eval, ms", "ratio", "batch", "ties")
    for name in options.models("lm-eval"):
        case = case_of(name, options.scratch)
        note = LM_EVAL_NOTE.format(repeats=options.repeats, tie=TIE[case.model.dtype])
        lines = (reads_line(case, options, split) for split in SPLITS)
        show(f"lm-eval: flip-flop, T = {LENGTH}; {case.heading}", note, head, lines)
        note = (
            "As above; both sides get all rows. Compares the numbers in the first line, up to where our side takes\n"
            "an answer to be complete. Same text: that part of the line is also equal."
        )
        head_letters = (
            "documents",
            "rows",
            "ours, ms",
            "lm-eval, ms",
            "ratio",
            "batch",
            "same number",
            "of them any",
            "same text",
        )
        shots = f"letters after {DEMONSTRATIONS} demonstrations"
        show(f"lm-eval: {shots}; {case.heading}", note, head_letters, [letters_line(case, options)])


def reads_line(case: Case, options: Options, split: str) -> Sequence[object]:
    from tests.benchmarks import against_lm_eval

    job = reads_job(split, options.rows or ROWS["lm-eval"][case.name])
    found = against_lm_eval.reads(case, job, options.reads or READS[case.name], options.repeats)
    times = map(short, found.ratio.each)
    return SPLITS[split], job.rows, found.reads, found.sample, *times, found.ratio, found.batch, found.ties


def letters_line(case: Case, options: Options) -> Sequence[object]:
    from tests.benchmarks import against_lm_eval

    rows = options.rows or ROWS["letters"][case.name]
    found = against_lm_eval.letters(case, rows, options.repeats)
    times = map(short, found.ratio.each)
    same, texts = f"{found.same} of {rows}", f"{found.texts} of {rows}"
    return "letters", rows, *times, found.ratio, found.batch, same, found.numbers, texts


# Part bare


BARE_NOTE = """\
Milliseconds per row, the fastest of {repeats} turns; the ratio is the time from rows to observations, with an engine
that has to try its model, to that of bare forward passes over the same batches: ids and masks are on the device, logits
are computed at the reads only and not used. The predicted symbols of all reads are equal."""


def bare(options: Options) -> None:
    head = ("rows of", "rows", "batches", "reads", "bare, ms", "ours, ms", "ratio", "logits by", "ties")
    for name in options.models("bare"):
        case = case_of(name, options.scratch)
        note = BARE_NOTE.format(repeats=options.repeats)
        lines = (bare_line(case, options, split) for split in SPLITS)
        show(f"bare: flip-flop, T = {LENGTH}; {case.heading}", note, head, lines)


def bare_line(case: Case, options: Options, split: str) -> Sequence[object]:
    job = reads_job(split, options.rows or ROWS["bare"][case.name])
    found = against_bare(case, job, options.repeats)
    times = map(short, found.ratio.each)
    return SPLITS[split], job.rows, found.batches, found.reads, *times, found.ratio, f"`{found.kept}`", found.ties


# Part ranks


RANKS_NOTE = """\
`harness eval --num-processes 2` on two cores against one process pinned to one of them, OMP_NUM_THREADS=1 on both,
T = {length}, FFL(0.98); the fastest of {repeats} turns (in brackets the lowest and highest ratio of the turns). Rows
per second are measured from the first shard (polled every 50 ms), when models are loaded, to the last write to any
shard, before tables are merged and scored. All: from start to end of the command. Both write the same observations, up
to rounding below 1e-4. nan: less than a second; use more rows."""


def ranks(options: Options) -> None:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        print("\nPart ranks is skipped: it needs two cores and taskset.")
        return
    head = ("model", "rows", "rows/s, 1 process", "2 processes", "ratio", "all, s, 1 process", "2 processes", "ratio")
    names = [options.model] if options.model in ("smollm2", "tiny", "lstm") else options.models("ranks")
    note = RANKS_NOTE.format(length=LENGTH, repeats=options.repeats)
    show("ranks: two processes and one, on CPU", note, head, (two_and_one(name, options, cores) for name in names))


def two_and_one(name: str, options: Options, cores: list[int]) -> Sequence[object]:
    request, rows = request_of(name, options.scratch), options.rows or ROWS["ranks"].get(name, 64)
    echo(f"ranks {name}: {rows} rows")
    (one, _), (two, _) = take_turns(
        options.repeats, partial(run_pinned, request, rows, cores[:1]), partial(run_pinned, request, rows, cores[:2])
    )
    for run in [*one, *two]:
        assert_same(one[0][0], run[0])
    observing = Ratio([run[1] for run in two], [run[1] for run in one], (rows, rows))
    whole = Ratio([run[2] for run in two], [run[2] for run in one])
    speeds = [short(1000 / each) for each in reversed(observing.each)]
    seconds = [short(each / 1000) for each in reversed(whole.each)]
    return name, rows, *speeds, observing, *seconds, whole


def run_pinned(request: ModelRequest, rows: int, cores: list[int]) -> tuple[tuple[pa.Table, float, float], float]:
    """One command with a process per core: its observations, seconds of inference, and seconds in total."""
    words = ["--model", request.model, "--task", "flipflop", "--limit", str(rows)]
    words += ["--gguf-file", request.gguf_file] if request.gguf_file else []
    for key, value in {"length": LENGTH, "val_rows": 0, "val_dense_rows": 0, "val_sparse_rows": rows}.items():
        words += ["--set", f"flipflop.{key}={value}"]
    pinned = ["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-m", "harness", "eval"]
    pinned += ["--num-processes", str(len(cores))]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder) / "runs", Path(folder) / "stderr"
        command = [*pinned, *words, "--output", str(output)]
        start = time.perf_counter()
        with errors.open("w") as log:
            process = subprocess.Popen(command, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=log)
            observing = watch(process, output)
        whole = time.perf_counter() - start
        assert process.returncode == 0, errors.read_text()
        (path,) = output.glob("*/*/observations/flipflop.val_sparse.parquet")
        return (pq.read_table(path), observing, whole), whole


def watch(process: "subprocess.Popen[bytes]", output: Path) -> float:
    """Seconds from the first appearance of a shard to the last write. NaN below one second, since polling is every
    50 ms."""
    first = last = 0.0
    while process.poll() is None:
        for shard in output.glob("*/*/shards/*.shard"):
            first = first or time.time()
            with suppress(OSError):
                last = max(last, shard.stat().st_mtime)
        time.sleep(0.05)
    return last - first if last - first > 1 else float("nan")


def assert_same(one: pa.Table, two: pa.Table) -> None:
    """Fails if two tables of reads differ by more than rounding."""
    logprobs = [table["logprobs"].combine_chunks().flatten().to_numpy() for table in (one, two)]
    for name in ("id", "position", "gap", "gold"):
        assert one[name].equals(two[name]), name
    assert np.abs(logprobs[0] - logprobs[1]).max(initial=0) < 1e-4


# Part memory


MEMORY_NOTE = """\
MiB of a separate process on a CPU that evaluates FFL(0.8), writes shards and merges them into a table. Peak: the
largest resident size (VmHWM, because ru_maxrss of a child starts with that of its parent). Loaded: the resident size
after loading the model and one row of 16 symbols, to which the peak is reset. Full logits (computed): the tokens of the
largest batch, or of one row, times vocabulary times 4 bytes."""
HEAD = ("peak", "loaded", "peak less loaded", "largest batch, tokens")


def memory(options: Options) -> None:
    if not Path("/proc/self/clear_refs").exists():
        print("\nPart memory is skipped: it needs /proc, as on Linux.")
        return
    logits = ("full logits of that batch", "full logits of one row")
    lengths = (256, 512, 1024, 2048)
    show(
        "memory against T: Llama of width 64, 4 layers, vocabulary 32,000", MEMORY_NOTE, ("T", "rows", *HEAD, *logits),
        (memory_line(length, 32_000, options.rows or 2**17 // length, [length]) for length in lengths),
    )  # fmt: skip
    show(
        f"memory against vocabulary: the same, T = {LENGTH}", "", ("vocabulary", "rows", *HEAD, *logits),
        (memory_line(LENGTH, size, options.rows or 256, [f"{size:,}"]) for size in (300, 32_000, 128_000)),
    )  # fmt: skip
    counts = [options.rows] if options.rows else [1_000, 10_000, 50_000]
    show(
        "memory against the number of rows: LSTM, T = 64", "", ("rows", *HEAD),
        (memory_line(64, 0, rows, [])[:-2] for rows in counts),
    )  # fmt: skip


def memory_line(length: int, vocabulary: int, rows: int, first: list[object]) -> list[object]:
    echo(f"memory: T = {length}, vocabulary {vocabulary}, {rows} rows")
    command = [sys.executable, __file__, "--child", *map(str, (length, vocabulary, rows))]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    peak, loaded, tokens = json.loads(result.stdout.splitlines()[-1])
    full = (f"{each * vocabulary * 4 / 2**20:,.0f}" for each in (tokens, length))
    return [*first, f"{rows:,}", f"{peak:,.0f}", f"{loaded:,.0f}", f"**{peak - loaded:,.0f}**", f"{tokens:,}", *full]


def child(length: int, vocabulary: int, rows: int) -> None:
    """Prints peak and loaded memory in MiB, and the tokens of the largest batch; vocabulary 0 is the LSTM."""
    with tempfile.TemporaryDirectory() as folder:
        case = random_llama("llama64", vocabulary, 64, 4) if vocabulary else case_of("lstm", Path(folder))
        observe_to_disk(case, reads_job("val", 1, 16), Path(folder) / "first")
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        loaded = resident("VmRSS:")
        job = reads_job("val", rows, length)
        observe_to_disk(case, job, Path(folder) / "all")
        peak = resident("VmHWM:")
        print(
            json.dumps(
                [
                    peak,
                    loaded,
                    max(
                        batch.ids.numel() for batch in prepare(Engine(case.model, case.source.tokenizer), case, job)[1]
                    ),
                ]
            )
        )


def observe_to_disk(case: Case, job: Job, folder: Path) -> None:
    """The part of a run between opening its folder and scoring."""
    folder.mkdir(exist_ok=True)
    with ShardWriter(folder / "0000-0000.shard") as writer:
        for batch in seen(case, job):
            writer.append(job.name, batch.ids, batch.table)
    merge(job, records(folder), folder / "table.parquet")


def resident(field: str) -> float:
    """MiB, from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


# Part rows


def rows(options: Options) -> None:
    counts = (500, 2_000, 8_000) if options.rows is None else tuple(options.rows * times for times in (1, 4, 16))
    case = case_of("lstm", options.scratch)
    ours(case, reads_job("val_sparse", 1))
    echo(f"rows: {counts}")
    sides: list[Callable[[], tuple[Any, float]]] = [partial(ours, case, reads_job("val_sparse", n)) for n in counts]
    turns = take_turns(options.repeats, *sides)
    few = turns[0][0][0]
    where = few["id"].to_numpy(), few["position"].to_numpy()
    for tables, _ in turns:
        for table in tables:
            assert np.abs(logprobs_at(table, *where) - logprobs_at(few, *where)).max() < 1e-4
    note = f"""\
From rows to observations, FFL(0.98), T = {LENGTH}, the fastest of {options.repeats} turns; the ratio is the cost of a
row to that of the first line (in brackets the lowest and highest of the turns). The observations of the first
{counts[0]:,} rows are equal in all."""
    ratios = [
        Ratio(turns[0][1], seconds, (counts[0], count)) for count, (_, seconds) in zip(counts, turns, strict=True)
    ]
    lines = [(f"{count:,}", f"{ratio.each[1]:.3g}", ratio) for count, ratio in zip(counts, ratios, strict=True)]
    show(f"rows: {case.heading}", note, ("rows", "ms per row", "ratio"), lines)


PARTS: dict[str, Callable[[Options], None]] = {
    "lm-eval": lm_eval, "bare": bare, "ranks": ranks, "memory": memory, "rows": rows,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--model", choices=MODELS, help="only this one, in parts lm-eval, bare and ranks")
    parser.add_argument("--rows", type=int, help="rows of each line (part rows: of the first)")
    parser.add_argument("--reads", type=int, help="how many of them lm-eval is timed on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", type=int, nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    if not torch.cuda.is_available():
        print("There is no CUDA GPU here: the Llama of 1B parameters in bfloat16 is skipped in lm-eval and bare.")
    with tempfile.TemporaryDirectory() as folder:
        for part in arguments.part:
            PARTS[part](Options(arguments.model, arguments.rows, arguments.reads, arguments.repeats, Path(folder)))


if __name__ == "__main__":
    main()
