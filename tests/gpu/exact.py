"""Part exact: `harness eval` on tiny models of many families against plain passes over single sequences.

float32: log-probabilities within 1e-5 (and the rounding of the table; of a model whose own rounding is coarser, within
that), texts equal. bfloat16, float16: how far the same
model, in other batches, is from its own plain passes; and from those of the CPU. Those differences are what replays
must tolerate. Tiny models keep a CPU core busier than a GPU, so several families are done at a time.
"""

from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from fflm_data.arrays import Floats
from harness.evaluation.evaluate import evaluate
from harness.models.loading import load
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.planning.evaluation_request import EvalRequest, Execution, Questions
from harness.prompts.jobs import Job
from harness.prompts.rendering import prompt_texts
from harness.runs.observations import ROUNDING
from harness.runs.run import Run
from harness.tasks import CompletionTask, ReadTask
from leaderboard.replay.tolerances import TOLERANCES
from tests.gpu import machine
from tests.gpu.results import Figures, Part
from tests.support import families, models

VOCABULARY = 300
LENGTH = 64
EXACT = 1e-5 + ROUNDING / 2
# Logits nearer than this may be ranked either way by rounding.
TIE = 1e-4
FEWEST_FAMILIES = 30
SMALL = ("gpt2", "llama", "mixtral", "rwkv")
# One of each kind of positions, attention, experts and states.
# fmt: off
FULL = (
    "gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "mpt", "falcon-new", "phi", "phi3",
    "llama", "mistral", "qwen2", "qwen3", "smollm3", "olmo2", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text",
    "granite", "cohere2", "glm4", "diffllama", "llama4_text", "mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3",
    "minicpm3", "modernbert-decoder", "mamba", "mamba2", "falcon_mamba", "rwkv", "recurrent_gemma", "jamba", "zamba2",
    "falcon_h1", "qwen3_next", "lfm2", "minimax",
)
# fmt: on
HALVES = ("bfloat16", "float16")


@dataclass(frozen=True)
class Apart:
    """Differences of log-probabilities, in nats, by read and symbol; allowed: the tolerance of a replay."""

    off: Floats
    allowed: Floats

    @property
    def largest(self) -> float:
        return float(self.off.max())

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.square(self.off).mean()))


def check(part: Part) -> None:
    """Every family, then a summary."""
    names = part.pick(FULL, SMALL)
    with ProcessPoolExecutor(part.pick(6, 1), get_context("spawn"), torch.set_num_threads, (1,)) as workers:
        todo = {name: workers.submit(family, name, part.scratch, part.pick(6, 3)) for name in part.open(names)}
        for name, done in todo.items():
            part.case(name, done.result)
    part.case("all", partial(summary, part, part.pick(FEWEST_FAMILIES, len(names))))


def summary(part: Part, fewest: int) -> Figures:
    """The number of exact families, and the largest differences in half precision."""
    found = [figures for name, figures in part.figures.items() if name != "all"]
    assert len(found) >= fewest, f"{len(found)} families are exact, of at least {fewest}"
    totals: Figures = {"families": len(found), "float32 largest": max(one["float32 largest"] for one in found)}
    for dtype in HALVES:
        totals[f"{dtype} largest"] = max(one[f"{dtype} largest"] for one in found)
        totals[f"{dtype} rms"] = float(np.sqrt(np.mean([one[f"{dtype} rms"] ** 2 for one in found])))
        totals[f"{dtype} within tolerance"] = sum(one[f"{dtype} of tolerance"] <= 1 for one in found)
        totals[f"{dtype} from CPU within tolerance"] = sum(one[f"{dtype} from CPU, of tolerance"] <= 1 for one in found)
    return totals


def family(name: str, scratch: Path, rows: int) -> Figures:
    """One family in three dtypes. Fails unless it is exact in float32."""
    folder = scratch / name
    families.tiny(name, VOCABULARY).save_pretrained(folder)
    models.fast(models.gpt2_like()).save_pretrained(folder)
    run, model, tokenizer = evaluated(folder, "float32", rows, "flipflop", "letters")
    exact, (same, texts) = reads_apart(model, tokenizer, run), texts_alike(model, tokenizer, run, TIE)
    own = 0.0 if exact.largest <= EXACT else own_rounding(model, tokenizer, run)
    largest = exact.largest
    assert largest <= max(EXACT, own + ROUNDING / 2), f"float32 is off by {largest:.2g}, rounds by {own:.2g}"
    assert same == texts > 0, f"{texts - same} of {texts} texts are others"
    figures: Figures = {"float32 largest": largest, "reads": len(exact.off) // 2, "texts": texts}
    for dtype in HALVES:
        run, model, tokenizer = evaluated(folder, dtype, rows, "flipflop")
        half = reads_apart(model, tokenizer, run)
        from_cpu = reads_apart(model.to("cpu"), tokenizer, run)
        figures |= {
            f"{dtype} largest": half.largest,
            f"{dtype} rms": half.rms,
            f"{dtype} of tolerance": float((half.off / half.allowed).max()),
            f"{dtype} from CPU": from_cpu.largest,
            f"{dtype} from CPU, of tolerance": float((from_cpu.off / from_cpu.allowed).max()),
        }
    return figures


def evaluated(folder: Path, dtype: str, rows: int, *tasks: str) -> tuple[Run, Any, Any]:
    """A run of `harness eval`; the same model and its tokenizer."""
    request = ModelRequest(str(folder), dtype=dtype)
    parameters = {"flipflop": {"length": LENGTH, "val_rows": 0, "val_sparse_rows": 0}}
    scored = evaluate(
        EvalRequest(
            model=request,
            command="",
            questions=Questions(tasks=tasks, parameters=parameters, limit=rows),
            execution=Execution(output=folder / f"runs-{dtype}"),
        )
    )
    assert scored is not None
    source = resolve(request)
    return scored[0], load(source, machine.device()), source.tokenizer


@torch.inference_mode()
def plain(model: Any, ids: list[int]) -> Floats:
    """Log-probabilities of a plain pass over one sequence, (tokens, vocabulary)."""
    logits = model(torch.tensor([ids], device=model.device), use_cache=False).logits[0]
    return np.asarray(logits.float().log_softmax(-1).double().cpu().numpy())


@torch.inference_mode()
def own_rounding(model: Any, tokenizer: Any, run: Run) -> float:
    """The difference between float32 and float64 of the model on a CPU over the first text."""
    job = run.jobs()[0]
    text = cast(ReadTask, job.task).texts(rows_of(run, job)[0])[0]
    ids, on_cpu = torch.tensor([tokenizer.encode(text)]), deepcopy(model).to("cpu")
    logprobs = [
        one(ids, use_cache=False).logits[0].double().log_softmax(-1) for one in (on_cpu, deepcopy(on_cpu).double())
    ]
    return float((logprobs[0] - logprobs[1]).abs().max())


def rows_of(run: Run, job: Job) -> tuple[pa.Table, pa.Table]:
    """The rows of a job and their observations."""
    return job.config.table(job.split, 0, job.rows), pq.read_table(run.table(job))


def reads_apart(model: Any, tokenizer: Any, run: Run) -> Apart:
    """The difference of the recorded reads of the first job from plain passes."""
    job = run.jobs()[0]
    task = cast(ReadTask, job.task)
    rows, table = rows_of(run, job)
    symbols = [tokenizer.encode(f" {symbol}", add_special_tokens=False)[0] for symbol in task.symbols(job.config)]
    logprobs = [plain(model, tokenizer.encode(text)) for text in task.texts(rows)]
    assert all(len(one) == LENGTH for one in logprobs)  # a token for each symbol, so that positions are those of tokens
    recorded = table["logprobs"].combine_chunks().flatten().to_numpy().reshape(-1, len(symbols)).astype(np.float64)
    places = zip(table["id"].to_pylist(), table["position"].to_pylist(), strict=True)
    expected = np.array([logprobs[row][position - 1] for row, position in places])
    argmax = table["argmax"].to_numpy()
    behind = expected.max(axis=1) - expected[np.arange(len(argmax)), argmax]
    dtype = str(model.dtype).removeprefix("torch.")
    assert dtype != "float32" or behind.max() < TIE, f"another token is the most probable one, by {behind.max():.2g}"
    expected = expected[:, symbols]
    assert np.isfinite(expected).all() and np.isfinite(recorded).all(), "log-probabilities are no numbers"
    return Apart(np.abs(recorded - expected).ravel(), TOLERANCES[dtype].allowed(expected).ravel())


def texts_alike(model: Any, tokenizer: Any, run: Run, tie: float) -> tuple[int, int]:
    """The number of outputs of the second job that equal greedy plain passes, among those without ties within `tie`."""
    job = run.jobs()[1]
    task = cast(CompletionTask, job.task)
    rows, table = rows_of(run, job)
    table = table.sort_by("id")
    limit = job.prompting.max_new_tokens(task)
    same = clear = 0
    written = zip(
        prompt_texts(job, rows, tokenizer), table["output"].to_pylist(), table["tokens"].to_pylist(), strict=True
    )
    for prompt, output, count in written:
        ids, narrowest = tokenizer.encode(prompt), np.inf
        start = len(ids)
        for _ in range(count):
            last = plain(model, ids)[-1]
            best = np.sort(last)
            narrowest = min(narrowest, best[-1] - best[-2])
            ids.append(int(last.argmax()))
        text = tokenizer.decode(ids[start:], skip_special_tokens=True)
        ended = count == limit or task.is_complete(text) or int(plain(model, ids)[-1].argmax()) in ends_of(model)
        if narrowest >= tie:
            clear += 1
            same += text == output and ended
    return same, clear


def ends_of(model: Any) -> list[int]:
    """The tokens that end a text."""
    end = model.generation_config.eos_token_id
    return [] if end is None else end if isinstance(end, list) else [end]
