"""How far a run is from lm-evaluation-harness, from its bare forward passes, and from itself on more cores or rows.

python tests/benchmarks/engine.py                          all parts, about an hour on two CPU cores
python tests/benchmarks/engine.py --part bare rows         some of them: lm-eval, bare, ranks, memory, rows
python tests/benchmarks/engine.py --part lm-eval --model tiny --rows 4 --reads 8 --repeats 1

Part lm-eval needs `pip install lm-eval==0.4.13`. Model smollm2 is fetched by `pytest tests/harness/test_smollm2.py`.
Prints tables in Markdown. No time is asserted; that both sides say the same is. Leave the machine alone meanwhile:
another process on one of two cores makes a forward pass on both ten times as long and more (OpenMP's threads spin).
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `tests`

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig

from fflm_data import get_config
from harness import answers, reference
from harness.engine import Engine
from harness.engine.abilities import Kept
from harness.engine.batches import padded
from harness.loading import load
from harness.merge import merge
from harness.models import ModelRequest, ModelSource, resolve
from harness.observing import Observed, observe
from harness.parcels import deal
from harness.plan import Plan, ReadPlan
from harness.planning import plan_rows
from harness.prompting import Prompting
from harness.rendering import plain_texts
from harness.rows import Job
from harness.shards import ShardWriter, records
from harness.tasks import ReadTask, get_task
from harness.tasks.base import Floats, Ints
from harness.tasks.letters import LettersTask
from tests.conftest import CACHE, SMOLLM2_FILE
from tests.harness import models

ROOT = Path(__file__).parents[2]
LENGTH = 512
SPLITS = {"val": "FFL(0.8)", "val_sparse": "FFL(0.98)", "val_dense": "FFL(0.1)"}
DEMONSTRATIONS = 8
# Of two answers whose log-probabilities are closer than this either is right. lm-eval's are bfloat16 numbers if the
# model is, and at -16 the next one is 0.125 away.
TIE = {torch.float32: 1e-4, torch.bfloat16: 0.25}
# Models of a part, and how many rows each gets.
ROWS = {
    "lm-eval": {"smollm2": 4, "tiny": 64, "large": 64},
    "letters": {"smollm2": 128, "tiny": 512, "large": 256},
    "bare": {"smollm2": 4, "llama64": 256, "lstm": 1024, "large": 256},
    "ranks": {"lstm": 16_384, "tiny": 4096},
}
READS = {"smollm2": 16, "tiny": 128, "large": 256}
MODELS = ("smollm2", "tiny", "llama64", "lstm", "large")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Case:
    """A loaded model."""

    name: str
    source: ModelSource
    model: Any

    @property
    def heading(self) -> str:
        device = self.model.device
        card = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
        return f"{self.name}, {str(self.model.dtype).removeprefix('torch.')}, {card}"


@dataclass(frozen=True)
class Options:
    """What was asked for; scratch: a folder for models and runs."""

    model: str | None
    rows: int | None
    reads: int | None
    repeats: int
    scratch: Path

    def models(self, part: str) -> list[str]:
        """Those of a part, or the one that was named if the part has it. `large` takes a GPU."""
        gpu = torch.cuda.is_available()
        return [name for name in ROWS[part] if self.model in (None, name) and (name != "large" or gpu)]


# Models


def request_of(name: str, scratch: Path) -> ModelRequest:
    """What `harness eval` is asked for to get a model."""
    if name == "lstm":
        return ModelRequest(reference.DEFAULT_MODEL)
    if name == "tiny":
        folder = scratch / "tiny"
        return ModelRequest(str(folder if folder.exists() else tiny(folder)))
    folder = CACHE / "SmolLM2-135M-Instruct"
    if not (folder / SMOLLM2_FILE).exists():
        sys.exit(f"{folder / SMOLLM2_FILE} is missing: pytest tests/harness/test_smollm2.py fetches it")
    return ModelRequest(str(folder), gguf_file=SMOLLM2_FILE)


def tiny(folder: Path) -> Path:
    return models.save_tiny(folder, models.gpt2_like(), 13_000, "llama")


@cache
def case_of(name: str, scratch: Path) -> Case:
    say(f"loading {name}")
    if name == "llama64":
        return random_llama(name, vocabulary=300, width=64, layers=4)
    if name == "large":
        shape = {"num_key_value_heads": 8, "intermediate_size": 8192}
        return random_llama(name, 32_000, 2048, 16, torch.bfloat16, num_attention_heads=32, **shape)
    source = resolve(request_of(name, scratch))
    return Case(name, source, load(source))


def random_llama(
    name: str, vocabulary: int, width: int, layers: int, dtype: torch.dtype = torch.float32, **shape: Any
) -> Case:
    """A Llama with weights of no meaning, on the GPU if there is one; its tokenizer has an end of text."""
    torch.manual_seed(0)
    tokenizer = models.fast(models.gpt2_like())
    tokenizer.add_special_tokens({"eos_token": "</s>"})
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    sizes: dict[str, Any] = {"vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers, **ends}
    shape = {"num_attention_heads": 2, "intermediate_size": 2 * width} | shape
    config = LlamaConfig(max_position_embeddings=13_000, **sizes, **shape)
    model = AutoModelForCausalLM.from_config(config).to("cuda" if torch.cuda.is_available() else "cpu", dtype).eval()
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=tokenizer.eos_token_id)
    return Case(name, ModelSource(name, "", "0" * 40, ModelRequest(), config, tokenizer), model)


# Our side


def seen(case: Case, job: Job) -> Iterator[Observed]:
    """All of a job as a run of one process goes through it, with an engine that knows nothing of the model yet."""

    def planner(job: Job, rows: pa.Table) -> Plan:
        return plan_rows(job, case.source, rows, False)

    engine = Engine(case.model, case.source.tokenizer)
    parcels = deal([job], [np.zeros(job.rows, dtype=bool)], 1)
    yield from observe([job], iter(parcels), planner, engine)


def ours(case: Case, job: Job) -> tuple[pa.Table, float]:
    """Observations, and the seconds from rows to them."""
    start = time.perf_counter()
    table = pa.concat_tables([batch.table for batch in seen(case, job)])
    return table, time.perf_counter() - start


def reads_job(split: str, rows: int, length: int | None = None) -> Job:
    """Strings of LENGTH symbols if no other length is asked for."""
    config = get_config("flipflop", length=length or LENGTH, **{f"{split}_rows": max(rows, 1000)})
    return Job(get_task("flipflop"), config, split, rows)


def logprobs_at(table: pa.Table, ids: Ints, positions: Ints) -> Floats:
    """Log-probabilities of the symbols, (reads, symbols), of some reads of an observation table."""
    keys = table["id"].to_numpy() * LENGTH + table["position"].to_numpy()
    logprobs = table["logprobs"].combine_chunks().flatten().to_numpy().reshape(len(keys), -1)
    order = np.argsort(keys)
    places = order[np.searchsorted(keys[order], ids * LENGTH + positions)]
    assert np.array_equal(keys[places], ids * LENGTH + positions)
    return logprobs[places].astype(np.float64)


def otherwise(logprobs: Floats, theirs: Ints, case: Case) -> int:
    """How many of their answers are not ours; fails unless all of those are ties."""
    behind = logprobs.max(axis=1) - logprobs[np.arange(len(theirs)), theirs]
    assert (behind < TIE[case.model.dtype]).all(), f"{case.name}: other answers, by {behind.max():.2g} nats"
    return int((behind > 0).sum())


# Measuring and printing


@dataclass(frozen=True)
class Ratio:
    """Seconds of two sides that took turns, for `work` units each."""

    first: list[float]
    second: list[float]
    work: tuple[int, int] = (1, 1)

    @property
    def each(self) -> tuple[float, float]:
        """Milliseconds a unit of work in the fastest turn: the machine's noise only ever adds."""
        return 1000 * min(self.first) / self.work[0], 1000 * min(self.second) / self.work[1]

    def __str__(self) -> str:
        """Second to first: of the fastest turns, and in brackets the lowest and highest of any one turn."""
        scale = self.work[0] / self.work[1]
        turns = [scale * second / first for first, second in zip(self.first, self.second, strict=True)]
        return f"**{self.each[1] / self.each[0]:.3g}** ({min(turns):.3g} to {max(turns):.3g})"


def take_turns(repeats: int, *sides: Callable[[], tuple[Answer, float]]) -> list[tuple[list[Answer], list[float]]]:
    """What each side says and how long it takes, every time: first, second, first, second ..."""
    turns: list[list[tuple[Answer, float]]] = [[] for _ in sides]
    for repeat in range(repeats):
        for number, side in enumerate(sides):
            turns[number].append(side())
            say(f"  turn {repeat + 1} of {repeats}, side {number + 1}: {turns[number][-1][1]:.2f} s")
    return [([said for said, _ in turn], [seconds for _, seconds in turn]) for turn in turns]


def short(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(title: str, note: str, head: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """A table, line by line as they are measured."""
    print(f"\n### {title}\n\n{note}{note and chr(10) * 2}| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for line in lines:
        print(f"| {' | '.join(map(str, line))} |", flush=True)


# Part lm-eval


LM_EVAL_NOTE = """\
Milliseconds a read or a completion, the fastest of {repeats} turns; the ratio is lm-eval to ours (in brackets the
turns' lowest and highest). Batch: lm-eval's. Ours: all reads of the rows, from rows to observations, with probing,
tokens, plans and Arrow. lm-eval: one multiple-choice document per read, `lm_eval.evaluate` alone, and only for the
sampled reads of the same rows: all reads, ordered by the length of the text before them, are cut into as many equal
parts, and of each part one is drawn, the same in every run. Neither side loads a model; each has run once before, on
one row and one document. Answers of the sampled reads are the same on both sides; those that differ by less than
{tie} nats count as ties."""


def lm_eval(options: Options) -> None:
    quiet_lm_eval()
    head = ("documents", "rows", "reads", "of them lm-eval's", "ours, ms", "lm-eval, ms", "ratio", "batch", "ties")
    for name in options.models("lm-eval"):
        case = case_of(name, options.scratch)
        note = LM_EVAL_NOTE.format(repeats=options.repeats, tie=TIE[case.model.dtype])
        lines = (against_lm_eval(case, options, split) for split in SPLITS)
        show(f"lm-eval: flip-flop, T = {LENGTH}; {case.heading}", note, head, lines)
        note = (
            "As above; both sides get all rows, and numbers are what is compared, read from the first line up to\n"
            "where our side takes an answer to be complete. Same text: that part of the line is the same, too."
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
        show(f"lm-eval: {shots}; {case.heading}", note, head_letters, [letters_against_lm_eval(case, options)])


def quiet_lm_eval() -> None:
    import logging

    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


def against_lm_eval(case: Case, options: Options, split: str) -> Sequence[object]:
    from tests.benchmarks import lm_eval_side

    job = reads_job(split, options.rows or ROWS["lm-eval"][case.name])
    task, rows = cast(ReadTask, job.task), job.config.table(split, 0, job.rows)
    targets, texts, symbols = task.targets(rows), task.texts(rows), task.symbols(job.config)
    reads = spread(targets.offset, options.reads or READS[case.name])
    contexts = [texts[targets.row[read]][: targets.offset[read] - 1] for read in reads.tolist()]

    def theirs(size: int, contexts: list[str] = contexts) -> tuple[Any, float]:
        return lm_eval_side.choices(case.model, case.source.tokenizer, contexts, symbols, size)

    say(f"lm-eval {split}: {job.rows} rows, {len(targets.row)} reads, lm-eval gets {len(reads)}")
    ours(case, reads_job(split, 1))
    size = fastest(case, lm_eval_side.CHOICES_BATCH, theirs, contexts)
    (tables, mine), (said, other) = take_turns(
        options.repeats, partial(cast(Any, ours), case, job), partial(theirs, size)
    )
    where = targets.row[reads], targets.position[reads]
    ties = [
        otherwise(logprobs_at(table, *where), np.array(turn), case) for table, turn in zip(tables, said, strict=True)
    ]
    ratio = Ratio(mine, other, (len(targets.row), len(reads)))
    times = map(short, ratio.each)
    return SPLITS[split], job.rows, len(targets.row), len(reads), *times, ratio, size, max(ties)


def spread(lengths: Ints, count: int) -> Ints:
    """Indices: one at random out of each of `count` equal parts of all, by length."""
    parts = np.array_split(np.argsort(lengths, kind="stable"), min(count, len(lengths)))
    drawn = random.Random(0)
    return np.array([drawn.choice(part.tolist()) for part in parts])


def fastest(case: Case, on_cpu: int, theirs: Callable[..., tuple[Any, float]], texts: list[str]) -> int:
    """The size of lm-eval's batches: on a GPU the best of some, tried with all texts. On a CPU that is known."""
    if case.model.device.type != "cuda":
        theirs(on_cpu, texts[:1])
        return on_cpu
    theirs(1, texts[:1])
    return min((1, 4, 16, 64), key=lambda size: theirs(size, texts)[1])


def letters_against_lm_eval(case: Case, options: Options) -> Sequence[object]:
    from tests.benchmarks import lm_eval_side

    task, config = LettersTask(), get_config("letters")
    shown = Prompting(shots=DEMONSTRATIONS)
    job = Job(task, config, "test", options.rows or ROWS["letters"][case.name], shown)
    prompts = plain_texts(job, config.table("test", 0, job.rows))

    def theirs(size: int, prompts: list[str] = prompts) -> tuple[Any, float]:
        model, tokenizer = case.model, case.source.tokenizer
        return lm_eval_side.completions(model, tokenizer, prompts, task.max_new_tokens(chat=False), size)

    say(f"lm-eval letters: {job.rows} rows")
    ours(case, Job(task, config, "test", 1, shown))
    can_pad = case.source.tokenizer.eos_token is not None
    size = fastest(case, lm_eval_side.COMPLETIONS_BATCH, theirs, prompts) if can_pad else 1
    (tables, mine), (said, other) = take_turns(
        options.repeats, partial(cast(Any, ours), case, job), partial(theirs, size)
    )
    agreed = []
    for table, turn in zip(tables, said, strict=True):
        written = map(answer_in, table.sort_by("id")["output"].to_pylist())
        agreed.append(agreement(list(written), [answer_in(text) for text in turn]))
        # In half precision a batch of another shape is rounded otherwise, and greedy texts part at the first tie.
        assert agreed[-1][0] == job.rows or case.model.dtype != torch.float32, f"{case.name}: {agreed[-1]}"
    ratio = Ratio(mine, other, (job.rows, job.rows))
    times = map(short, ratio.each)
    same, numbers, texts = min(agreed)
    return "letters", job.rows, *times, ratio, size, f"{same} of {job.rows}", numbers, f"{texts} of {job.rows}"


def answer_in(text: str) -> str:
    """The first line, up to where it is complete."""
    line = text.partition("\n")[0]
    ends = (end for end in range(len(line)) if answers.is_complete(line[:end]))
    return line[: next(ends, len(line))]


def agreement(one: list[str], two: list[str]) -> tuple[int, int, int]:
    """How many answers say the same number (or both none), how many of those one at all, how many are the same text."""
    pairs = [(answers.parse(first).value, answers.parse(second).value) for first, second in zip(one, two, strict=True)]
    same = [first for first, second in pairs if first == second]
    texts = sum(first == second for first, second in zip(one, two, strict=True))
    return len(same), sum(number is not None for number in same), texts


# Part bare


BARE_NOTE = """\
Milliseconds a row, the fastest of {repeats} turns; the ratio is our whole way from rows to observations, with an engine
that has to probe its model, to the bare forward passes over the same batches: ids and masks lie ready on the device,
logits are made where something is read, and nothing is done with them. Same symbols said in all reads."""


def bare(options: Options) -> None:
    head = ("rows of", "rows", "batches", "reads", "bare, ms", "ours, ms", "ratio", "logits by", "ties")
    for name in options.models("bare"):
        case = case_of(name, options.scratch)
        note = BARE_NOTE.format(repeats=options.repeats)
        lines = (against_bare(case, options, split) for split in SPLITS)
        show(f"bare: flip-flop, T = {LENGTH}; {case.heading}", note, head, lines)


@dataclass(frozen=True)
class Batch:
    """What the model is fed, and of which reads the logits are, in their order."""

    ids: torch.Tensor
    mask: torch.Tensor
    row: Ints
    position: Ints
    candidates: Ints


def against_bare(case: Case, options: Options, split: str) -> Sequence[object]:
    job = reads_job(split, options.rows or ROWS["bare"][case.name])
    kept, batches = prepare(case, job)
    reads = sum(len(batch.row) for batch in batches)
    say(f"bare {case.name} {split}: {job.rows} rows, {reads} reads")
    (_, passes), (tables, mine) = take_turns(
        options.repeats, partial(forward_passes, kept, batches), partial(cast(Any, ours), case, job)
    )
    row, position = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("row", "position"))
    theirs = most_probable(kept, batches)
    ties = [otherwise(logprobs_at(table, row, position), theirs, case) for table in tables]
    ratio = Ratio(passes, mine, (job.rows, job.rows))
    times = map(short, ratio.each)
    return SPLITS[split], job.rows, len(batches), reads, *times, ratio, f"`{kept.__name__}`", max(ties)


def prepare(case: Case, job: Job) -> tuple[Kept, list[Batch]]:
    """The engine's way to logits at some positions, and its batches for a job."""
    engine = Engine(case.model, case.source.tokenizer)
    batches: list[Batch] = []
    for parcel in deal([job], [np.zeros(job.rows, dtype=bool)], 1):
        rows = parcel.rows([job])
        position = cast(ReadTask, job.task).targets(rows).position
        plan = cast(ReadPlan, plan_rows(job, case.source, rows, False))
        for batch in engine.read_batches(plan):
            ids = padded([plan.sequences[one] for one in batch.tolist()], 0, left=False)
            mask = torch.zeros(ids.shape, dtype=torch.bool)
            points = [np.flatnonzero(plan.sequence == one) for one in batch.tolist()]
            for line, those in enumerate(points):
                mask[line, torch.from_numpy(plan.at[those] - 1)] = True
            every = np.concatenate(points)
            device = case.model.device
            row = parcel.ids[plan.row[plan.sequence[every]]]
            batches.append(Batch(ids.to(device), mask.to(device), row, position[every], plan.candidates))
    return engine.reading(plan.sequences[0]).kept, batches


@torch.inference_mode()
def forward_passes(kept: Kept, batches: list[Batch]) -> tuple[None, float]:
    """`model(input_ids=ids, logits_to_keep=mask)` or the model's other way to that, and nothing else."""
    start = time.perf_counter()
    for batch in batches:
        kept(batch.ids, batch.mask)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return None, time.perf_counter() - start


@torch.inference_mode()
def most_probable(kept: Kept, batches: list[Batch]) -> Ints:
    """Index of the most probable symbol of each read."""
    said = [kept(batch.ids, batch.mask).float().cpu().numpy()[:, batch.candidates].argmax(axis=1) for batch in batches]
    return np.concatenate(said)


# Part ranks


RANKS_NOTE = """\
`harness eval --num-processes 2` on two cores against one process pinned to one of them, OMP_NUM_THREADS=1 on both,
T = {length}, FFL(0.98); the fastest of {repeats} turns (in brackets the turns' lowest and highest ratio). Observing
lasts from the moment at which the first shard is there (looked for every 50 ms), when models are loaded, to the last
write to any shard, before tables are merged and scored. All: from start to end of the command. Both write the same
observations, but for roundings under 1e-4. nan: observing took less than a second, ask for more rows."""


def ranks(options: Options) -> None:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        print("\nPart ranks is left out: it takes two cores, and a system with taskset.")
        return
    head = ("model", "rows", "rows/s, 1 process", "2 processes", "ratio", "all, s, 1 process", "2 processes", "ratio")
    names = [options.model] if options.model in ("smollm2", "tiny", "lstm") else options.models("ranks")
    note = RANKS_NOTE.format(length=LENGTH, repeats=options.repeats)
    show("ranks: two processes and one, on CPU", note, head, (two_and_one(name, options, cores) for name in names))


def two_and_one(name: str, options: Options, cores: list[int]) -> Sequence[object]:
    request, rows = request_of(name, options.scratch), options.rows or ROWS["ranks"].get(name, 64)
    say(f"ranks {name}: {rows} rows")
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
    """One command, a process for each core: its observations, seconds of observing, and of all."""
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
    """Seconds from the first sight of a shard to the last write to one; shards go away with the end of a run. NaN if
    that is less than a second: looking every 50 ms would be too coarse."""
    first = last = 0.0
    while process.poll() is None:
        for shard in output.glob("*/*/shards/*.shard"):
            first = first or time.time()
            with suppress(OSError):
                last = max(last, shard.stat().st_mtime)
        time.sleep(0.05)
    return last - first if last - first > 1 else float("nan")


def assert_same(one: pa.Table, two: pa.Table) -> None:
    """Two tables of reads, in order of their rows, that differ by no more than roundings."""
    logprobs = [table["logprobs"].combine_chunks().flatten().to_numpy() for table in (one, two)]
    for name in ("id", "position", "gap", "gold"):
        assert one[name].equals(two[name]), name
    assert np.abs(logprobs[0] - logprobs[1]).max(initial=0) < 1e-4


# Part memory


MEMORY_NOTE = """\
MiB of a process of its own, on CPU, that observes FFL(0.8), writes shards and merges them into a table. Peak: the most
that was resident (VmHWM, because ru_maxrss of a child begins with what its parent held). Loaded: what was resident
after the model was loaded and one row of 16 symbols was observed; the peak was set back to that. Full logits, computed:
the largest batch's tokens, or one row's, times vocabulary times 4 bytes."""
HEAD = ("peak", "loaded", "peak less loaded", "largest batch, tokens")


def memory(options: Options) -> None:
    if not Path("/proc/self/clear_refs").exists():
        print("\nPart memory is left out: it takes a /proc, as Linux has it.")
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
    say(f"memory: T = {length}, vocabulary {vocabulary}, {rows} rows")
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
        print(json.dumps([peak, loaded, max(batch.ids.numel() for batch in prepare(case, job)[1])]))


def observe_to_disk(case: Case, job: Job, folder: Path) -> None:
    """What a run does between opening its folder and scoring."""
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
    say(f"rows: {counts}")
    sides: list[Callable[[], tuple[Any, float]]] = [partial(ours, case, reads_job("val_sparse", n)) for n in counts]
    turns = take_turns(options.repeats, *sides)
    few = turns[0][0][0]
    where = few["id"].to_numpy(), few["position"].to_numpy()
    for tables, _ in turns:
        for table in tables:
            assert np.abs(logprobs_at(table, *where) - logprobs_at(few, *where)).max() < 1e-4
    note = f"""\
From rows to observations, FFL(0.98), T = {LENGTH}, the fastest of {options.repeats} turns; the ratio is the cost of a
row to that of the first line (in brackets the turns' lowest and highest). The first {counts[0]:,} rows' observations
are the same in all."""
    ratios = [
        Ratio(turns[0][1], seconds, (counts[0], count)) for count, (_, seconds) in zip(counts, turns, strict=True)
    ]
    lines = [(f"{count:,}", f"{ratio.each[1]:.3g}", ratio) for count, ratio in zip(counts, ratios, strict=True)]
    show(f"rows: {case.heading}", note, ("rows", "ms a row", "ratio"), lines)


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
    asked = parser.parse_args()
    if asked.child:
        child(*asked.child)
        return
    if not torch.cuda.is_available():
        print("There is no CUDA GPU here: the Llama of 1B parameters in bfloat16 is left out of lm-eval and bare.")
    with tempfile.TemporaryDirectory() as folder:
        for part in asked.part:
            PARTS[part](Options(asked.model, asked.rows, asked.reads, asked.repeats, Path(folder)))


if __name__ == "__main__":
    main()
