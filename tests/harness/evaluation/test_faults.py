"""Faults in long runs (kills, full disks, lost connections, memory, NaN) lose no finished rows."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from fflm_data import get_config
from harness.errors import UserError
from harness.evaluation.merge_shards import merge
from harness.evaluation.shards import Record, ShardWriter, records
from harness.models.classes.recurrent import LSTMForCausalLM
from harness.prompts.jobs import Job
from harness.runs.json_differences import changes_between, differences, without_consequences
from harness.runs.observations import COMPLETIONS
from harness.runs.version import HARNESS_VERSION
from harness.tasks import get_task
from tests.conftest import Run, refused
from tests.hub import Hub
from tests.support import models, running

# The bundled LSTM over some seconds' worth of rows, in batches that leave several to a second.
OPTIONS: list[object] = ["--task", "flipflop", "--limit", "800", "--batch-size", "16"]
ROWS = 3 * 800


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = running.evaluate(folder, *OPTIONS)
    assert done.returncode == 0, done.stderr
    return running.result(folder)


def kept(done: "subprocess.CompletedProcess[str]") -> int:
    """The number of rows that a start reports as done before."""
    lines = [line for line in done.stdout.splitlines() if "done before, resuming" in line]
    return sum(int(line.split(": ")[1].split(" of ")[0].replace(",", "")) for line in lines)


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
@pytest.mark.parametrize(("victim", "again"), [(0, 1), (1, 3)])
def test_a_killed_rank(tmp_path: Path, undisturbed: bytes, victim: int, again: int) -> None:
    process = running.start(tmp_path, *running.HARNESS, "eval", *OPTIONS, "--num-processes", 2)
    running.until(lambda: len(running.ranks(process)) == 2 and running.shard_bytes(tmp_path) > 50_000, process)
    running.ranks(process)[victim].kill()
    killed = running.end(process)
    assert killed.returncode == 2
    assert f"process {victim} was ended by signal 9" in killed.stderr.splitlines()[-1]
    assert "Run the same command to resume" in killed.stderr.splitlines()[-1]
    for line in killed.stderr.splitlines():  # that of the other process, if it was not ended first, is as plain
        assert ".cc" not in line and "GLHF" not in line, killed.stderr
        assert "harness:" not in line or f"process {victim} " in line
    rows = running.rows_in_shards(tmp_path)
    assert 0 < rows < ROWS
    done = running.evaluate(tmp_path, *OPTIONS, "--num-processes", again)
    assert done.returncode == 0, done.stderr
    assert kept(done) == rows
    assert running.result(tmp_path) == undisturbed
    assert [start["processes"] for start in running.starts(tmp_path)] == [2, again]
    assert not (running.only_run(tmp_path) / "shards").exists()


FOUR = ["--nproc-per-node", "4", "-m", "harness", "eval"]


LAUNCHERS: dict[str, list[str]] = {
    "harness": [*running.HARNESS, "eval", "--num-processes", "4"],
    "torchrun": [*running.TORCHRUN, *FOUR],
    "torchrun and a shell": [*running.TORCHRUN, "--nproc-per-node", "4", "--no-python", "bash", "-c",
                             f'{sys.executable} -m harness eval "$@"; exit', "eval"],
    "accelerate": [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "4",
                   "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "harness", "eval"],
}  # fmt: skip


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
@pytest.mark.parametrize("megabytes", [0, 150], ids=["starting", "running"])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_ranks_end_with_killed_launcher(tmp_path: Path, launcher: str, megabytes: int) -> None:
    """Killed before its ranks look for it, and while they work."""
    process = running.start(tmp_path, *LAUNCHERS[launcher], *OPTIONS, "--limit", "3000")
    running.until(lambda: len(running.ranks(process)) == 4, process)
    ranks = [*running.ranks(process).values()]
    running.until(lambda: all(rank.memory_info().rss > megabytes * 1e6 for rank in ranks), process)
    process.kill()
    _, alive = psutil.wait_procs(ranks, timeout=30)
    for rank in alive:
        rank.kill()
    running.end(process)
    assert not alive


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_command_ends_its_ranks(tmp_path: Path, undisturbed: bytes, sent: signal.Signals) -> None:
    process = running.start(tmp_path, *running.HARNESS, "eval", *OPTIONS, "--num-processes", 2)
    running.until(lambda: len(running.ranks(process)) == 2 and running.shard_bytes(tmp_path) > 50_000, process)
    ranks = running.ranks(process)
    process.send_signal(sent)
    running.end(process)
    _, alive = psutil.wait_procs(list(ranks.values()), timeout=30)
    assert not alive
    rows = running.rows_in_shards(tmp_path)
    done = running.evaluate(tmp_path, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert kept(done) == rows > 0
    assert running.result(tmp_path) == undisturbed


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_a_single_process_killed_in_a_batch(tmp_path: Path, undisturbed: bytes) -> None:
    for more in (1, 2):
        process = running.start(tmp_path, *running.HARNESS, "eval", *OPTIONS)
        seen = running.rows_in_shards(tmp_path)
        running.until(lambda seen=seen: running.rows_in_shards(tmp_path) > seen + 300, process)  # type: ignore[misc]
        before = running.rows_in_shards(tmp_path)
        process.kill()
        running.end(process)
        after = running.rows_in_shards(tmp_path)
        assert before <= after < ROWS and len(running.starts(tmp_path)) == more
    done = running.evaluate(tmp_path, *OPTIONS, "--num-processes", 2)
    assert done.returncode == 0, done.stderr
    assert kept(done) == after
    assert running.result(tmp_path) == undisturbed


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_rank_0_killed_in_the_merge(tmp_path: Path, undisturbed: bytes) -> None:
    process = running.start(tmp_path, *running.HARNESS, "eval", *OPTIONS, "--num-processes", 2)
    running.until(lambda: any(tmp_path.glob("runs/*/*/observations/*.partial")), process)
    ranks = running.ranks(process)
    ranks[0].kill()
    assert running.end(process).returncode == 2
    run = running.only_run(tmp_path)
    assert not (run / "result.json").exists() and (run / "shards").exists()
    done = running.evaluate(tmp_path, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert kept(done) == ROWS  # no row is evaluated again
    assert running.result(tmp_path) == undisturbed
    assert not list(run.glob("observations/*.partial")) and not (run / "shards").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB that is enlarged later."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "fflm-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts file systems")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_disk(tmp_path: Path, undisturbed: bytes, small_disk: Path, processes: int) -> None:
    words = [*OPTIONS, "--output", small_disk, "--num-processes", processes]
    full = running.evaluate(tmp_path, *words)
    assert full.returncode == 2
    assert "No space left on device" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    (shards,) = small_disk.glob("*/*/shards")
    rows = sum(len(record.ids) for record in records(shards))
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    done = running.evaluate(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert kept(done) == rows > 0
    (result,) = small_disk.glob("*/*/result.json")
    assert result.read_bytes() == undisturbed


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_a_quota(tmp_path: Path, undisturbed: bytes) -> None:
    """Files are limited to 100 kB, so the last record is incomplete."""
    command = [*running.HARNESS, "eval", *map(str, OPTIONS)]
    full = subprocess.run(
        command, cwd=tmp_path, env=running.ENVIRONMENT, capture_output=True, encoding="utf-8",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)), check=False,
    )  # fmt: skip
    assert full.returncode == 2 and "File too large" in full.stderr.splitlines()[-1], full.stderr
    assert running.shard_bytes(tmp_path) == 100_000
    rows = running.rows_in_shards(tmp_path)
    done = running.evaluate(tmp_path, *OPTIONS)
    assert kept(done) == rows > 0
    assert running.result(tmp_path) == undisturbed


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_hub_connection_lost_during_download(cli: Run, tmp_path: Path) -> None:
    request_options = ["--model", "org/tiny", "--task", "flipflop", "--limit", "2", "--set", "flipflop.length=32"]
    folder = models.save_tiny(tmp_path / "tiny", models.gpt2_like())
    with Hub(tmp_path / "hub") as hub:
        hub.add_repository("model", "org/tiny", folder)
        environment = hub.environment(home=tmp_path / "home") | {"HF_HUB_OFFLINE": "0"}
        hub.cut_next("GET", "model.safetensors", after_bytes=20_000, times=50, reply=True)
        gone = cli("harness", "eval", *request_options, **environment)
        assert "'org/tiny' cannot be loaded" in refused(gone)
        assert not list(tmp_path.glob("runs/*/*"))
    with Hub(tmp_path / "hub2") as hub:
        hub.add_repository("model", "org/tiny", folder)
        environment = hub.environment(home=tmp_path / "home") | {"HF_HUB_OFFLINE": "0"}
        done = cli("harness", "eval", *request_options, **environment)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow("harness/engine", "harness/evaluation")
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
    ids=["accelerator", "processor", "python"],
)
def test_a_model_that_runs_out_of_memory(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    request_options = ["--limit", "40", "--task", "flipflop"]
    assert cli("harness", "eval", *request_options, "--output", "free").returncode == 0
    forward, sizes = LSTMForCausalLM.forward, []

    def scarce(self: LSTMForCausalLM, input_ids: torch.Tensor, **options: object) -> object:
        sizes.append(input_ids.numel())
        if input_ids.numel() > 5_000:
            raise error
        return forward(self, input_ids, **options)

    monkeypatch.setattr(LSTMForCausalLM, "forward", scarce)
    done = cli("harness", "eval", *request_options, "--output", "scarce")
    assert done.returncode == 0, done.stderr
    (free,), (scarce_result,) = tmp_path.glob("free/*/*/result.json"), tmp_path.glob("scarce/*/*/result.json")
    assert free.read_bytes() == scarce_result.read_bytes()
    assert 0 < sum(size > 5_000 for size in sizes) < 6  # what was learnt is not forgotten


def test_a_row_that_does_not_fit(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = LSTMForCausalLM.forward

    def scarce(self: LSTMForCausalLM, input_ids: torch.Tensor, **options: object) -> object:
        if input_ids.numel() > 100:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, input_ids, **options)

    monkeypatch.setattr(LSTMForCausalLM, "forward", scarce)
    done = cli("harness", "eval", "--task", "flipflop", "--limit", "4")
    assert done.returncode == 2
    assert "not enough memory for a single row" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("task", ["flipflop", "letters"])
def test_a_model_that_gives_nan(cli: Run, tmp_path: Path, task: str) -> None:
    """The embedding of one symbol is NaN: the rows with it cannot be scored, the others can."""
    folder = models.save_tiny(tmp_path / "model", models.gpt2_like(), kind="llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    piece = {"flipflop": "\u0120w", "letters": "k"}[task]
    token = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"][piece]
    model.get_input_embeddings().weight.data[token] = float("nan")
    model.save_pretrained(folder)
    request_options = ["--model", "model", "--task", task, "--limit", "40"]
    done = cli(
        "harness", "eval", *request_options, "--set", "flipflop.length=16" if task == "flipflop" else "letters.seed=0"
    )
    assert done.returncode == 0, done.stderr
    assert "have NaN or infinite logits, and are excluded from the scores" in done.stdout
    run = running.only_run(tmp_path)
    scores = json.loads((run / "result.json").read_text(encoding="utf-8"))["scores"]
    whole = {(one["split"], one["metric"]): one for one in scores if one["group"] is None}
    shares = []
    for path in (run / "observations").glob("*.parquet"):
        table, split = pq.read_table(path), path.name.split(".")[1]
        if task == "flipflop":
            lost = np.isnan(np.array(table["logprobs"].to_pylist())).all(axis=1)
            assert ((np.array(table["argmax"]) == -1) == lost).all()
        else:
            lost = np.array(table["tokens"]) == -1
        shares.append(lost.mean())
        if lost.any():
            assert whole[split, "not_a_number"]["errors"] == lost.sum()
            assert whole[split, "not_a_number"]["n"] == len(lost)
        if lost.all():
            assert (split, "accuracy") not in whole
            continue
        assert whole[split, "accuracy"]["n"] == (~lost).sum()
        if task == "flipflop":
            right = np.array(table["argmax"])[~lost] == np.array(table["gold_token"])[~lost]
            assert whole[split, "accuracy"]["errors"] == (~right).sum()
    assert 0 < np.mean(shares) < 1
    before = (run / "result.json").read_bytes()
    assert cli("harness", "score", run).returncode == 0
    assert (run / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (["--dtype", "bfloat16"], "model.requested_dtype was auto, is bfloat16"),
        (["--strict"], "model.strict was false, is true"),
        (["--limit", "4"], "data.tasks.flipflop.splits.val.rows was 3, is 4"),
        (["--set", "flipflop.seed=1"], "data.tasks.flipflop.parameters.seed was 0, is 1"),
    ],
)
def test_reuse_reason_for_other_requests(cli: Run, tmp_path: Path, change: list[str], reason: str) -> None:
    assert cli("harness", "eval", "--task", "flipflop", "--limit", "3").returncode == 0
    before = running.only_run(tmp_path)
    done = cli("harness", "eval", "--task", "flipflop", "--limit", "3", *change)
    assert done.returncode == 0, done.stderr
    assert f"{before.relative_to(tmp_path)} is not reused: " in done.stdout and reason in done.stdout
    assert "kept" not in done.stdout
    assert len(list(tmp_path.glob("runs/fflm--lstm/*"))) == 2


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (["--set", "flipflop.length=32"], ["data.tasks.flipflop.parameters.length was 512, is 32"]),
        (["--set", "flipflop.seed=1", "--limit", "4"], [
            "data.tasks.flipflop.parameters.seed was 0, is 1",
            *(f"data.tasks.flipflop.splits.{split}.rows was 3, is 4" for split in ("val", "val_sparse", "val_dense")),
        ]),
        (["--set", "flipflop.val_rows=0"], ["data.tasks.flipflop.parameters.val_rows was 1000, is 0"]),
        (["--set", "flipflop.val_rows=2"], [
            "data.tasks.flipflop.parameters.val_rows was 1000, is 2", "data.tasks.flipflop.splits.val.rows was 3, is 2",
        ]),
        (["--strict"], ["model.strict was false, is true"]),
        (["--exact-continuations"], ["data.tasks.flipflop.rendering.answers was tokens, is continuations"]),
    ],
)  # fmt: skip
def test_reuse_reason_has_only_causes(cli: Run, change: list[str], reasons: list[str]) -> None:
    """Another length gives other rows, with another fingerprint and other first tokens."""
    request_options = ("harness", "eval", "--task", "flipflop", "--limit", "3")
    assert cli(*request_options).returncode == 0
    done = cli(*request_options, *change)
    assert done.returncode == 0, done.stderr
    (printed,) = re.findall(r".* is not reused: (.*)\n", done.stdout)
    assert printed.split("; ") == reasons


def facts(task: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {"harness": "1", "model": {}, "data": {"generator": 1, "tasks": {"letters": task}}} | other


FIRST = {"rendering": {"first_tokens": [1], "first_token_is_bos": True}}
OTHER = {"rendering": {"first_tokens": [2], "first_token_is_bos": False}}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (facts(FIRST), facts(OTHER), {"first_tokens", "first_token_is_bos"}),
        (facts(FIRST), facts(OTHER, model={"revision": "x"}), {"revision"}),
        (facts(FIRST), facts(OTHER, harness="2"), {"harness", "first_tokens", "first_token_is_bos"}),
        (
            facts(FIRST | {"version": 1, "fingerprint": "a"}),
            facts(OTHER | {"version": 2, "fingerprint": "b"}),
            {"version"},
        ),
        (facts({"fingerprint": "a"}), facts({"fingerprint": "b"}), {"fingerprint"}),
        (
            facts(FIRST | {"prompting": {"thinking": 0, "opened": False, "shots": 0}}),
            facts(OTHER | {"prompting": {"thinking": 9, "opened": True, "shots": 0}}),
            {"thinking"},
        ),
        (
            facts({"prompting": {"template": "a", "switch": None, "opened": False}}),
            facts({"prompting": {"template": "b", "switch": "thinking", "opened": True}}),
            {"template"},
        ),
        (facts({"prompting": {"opened": False}}), facts({"prompting": {"opened": True}}), {"opened"}),
        (
            facts({"parameters": {"test": 9}, "splits": {"test": {"rows": 9, "of": 9}}}),
            facts({"parameters": {"test": 5}, "splits": {"test": {"rows": 5, "of": 5}}}),
            {"test"},
        ),
        (
            facts({"parameters": {"seed": 9}, "splits": {"test": {"rows": 9, "of": 9}}}),
            facts({"parameters": {"seed": 5}, "splits": {"test": {"rows": 5, "of": 9}}}),
            {"seed", "rows"},
        ),
        (facts("x"), facts({"fingerprint": "b"}), {"letters"}),  # type: ignore[arg-type]
    ],
)
def test_without_consequences(before: dict[str, Any], now: dict[str, Any], expected: set[str]) -> None:
    assert {path[-1] for path in without_consequences(changes_between(before, now))} == expected


def test_runs_of_other_tasks_are_not_reported(cli: Run, tmp_path: Path) -> None:
    request_options = ("--limit", "3", "--set", "flipflop.length=32")
    assert "is not reused" not in cli("harness", "eval", "--task", "flipflop", *request_options).stdout
    assert "is not reused" not in cli("harness", "eval", "--task", "flipflop-piecewise", "--limit", "3").stdout
    done = cli("harness", "eval", "--task", "flipflop", "--task", "flipflop-piecewise", *request_options)
    assert re.search(r"is not reused: it does not have flipflop(-piecewise)?\n", done.stdout)
    assert "{" not in done.stdout and "kept" not in done.stdout
    shutil.rmtree(tmp_path / "runs")
    assert cli("harness", "eval", "--task", "flipflop-piecewise", "--limit", "3").returncode == 0
    again = cli("harness", "eval", "--task", "flipflop-piecewise", "--limit", "2").stdout
    assert "flipflop-piecewise.splits.test.rows was 3, is 2\n" in again and "{" not in again


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"a": [0] * 40}, {"a": [1] * 40}, ["a differs"]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b was 1, is 2"]),
        ({"a": "x" * 70}, {"a": "y"}, [f"a was {'x' * 64}..., is y"]),
        ({"a": [1, 2]}, {}, ["a was [1, 2], is null"]),
        ({"a": {"b": "c" * 80}}, {"a": None}, ["a differs"]),
    ],
)
def test_differences_quote_short_values(before: object, now: object, expected: list[str]) -> None:
    assert differences(before, now) == expected


@pytest.mark.parametrize("what", ["weights", "tokenizer"])
def test_reuse_reason_for_changed_model(cli: Run, tmp_path: Path, what: str) -> None:
    folder = models.save_tiny(tmp_path / "model", models.gpt2_like())
    request_options = ["--model", "model", "--task", "flipflop", "--limit", "3"]
    assert cli("harness", "eval", *request_options).returncode == 0
    if what == "weights":
        model = AutoModelForCausalLM.from_pretrained(folder)
        model.get_input_embeddings().weight.data[0, 0] += 1
        model.save_pretrained(folder)
    else:
        models.fast(models.byte_level([("\u0120", symbol) for symbol in "10wri"])).save_pretrained(folder)
    done = cli("harness", "eval", *request_options)
    assert done.returncode == 0, done.stderr
    assert "model.revision was " in done.stdout
    assert ("model.tokenizer.sha256 was " in done.stdout) == (what == "tokenizer")


def test_reuse_reason_for_other_version(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("harness", "eval", "--task", "flipflop", "--limit", "3").returncode == 0
    monkeypatch.setattr("harness.runs.environment.HARNESS_VERSION", "99.0")
    monkeypatch.setattr("harness.tasks.flipflop.FlipFlopTask.version", 99)
    done = cli("harness", "eval", "--task", "flipflop", "--limit", "3")
    assert (
        f"harness was {HARNESS_VERSION}, is 99.0" in done.stdout
        and "data.tasks.flipflop.version was 1, is 99" in done.stdout
    )


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_another_machine_that_does_not_see_the_folder(tmp_path: Path) -> None:
    """Two machines with separate output folders are refused before the first batch."""
    machines = []
    for rank, port in enumerate([running.free_port()] * 2):
        folder = tmp_path / f"machine{rank}"
        folder.mkdir()
        machines.append(
            running.start(
                folder, *running.TORCHRUN, "--nnodes", 2, "--node-rank", rank, "--nproc-per-node", 1, "--master-addr",
                "127.0.0.1", "--master-port", port, "-m", "harness", "eval", "--task", "flipflop", "--limit", 20,
            )
        )  # fmt: skip
    ended = [running.end(machine) for machine in machines]
    assert all(machine.returncode for machine in ended)
    assert "does not see the run folder" in ended[1].stderr and "with --output" in ended[1].stderr
    assert not list(tmp_path.glob("*/runs/*/*/result.json"))


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_duplicate_shard_records_are_dropped(tmp_path: Path, undisturbed: bytes) -> None:
    process = running.start(tmp_path, *running.HARNESS, "eval", *OPTIONS)
    running.until(lambda: running.rows_in_shards(tmp_path) > 100, process)
    process.kill()
    running.end(process)
    (shard,) = tmp_path.glob("runs/*/*/shards/*.shard")
    rows = running.rows_in_shards(tmp_path)
    (shard.parent / "0000-0099.shard").write_bytes(shard.read_bytes())  # as of a process that had been thought dead
    (shard.parent / "0003-0000.shard").write_bytes(b"of nobody")
    (shard.parent / "folder.shard").mkdir()
    done = running.evaluate(tmp_path, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert kept(done) == rows
    assert running.result(tmp_path) == undisturbed


def test_merge_requires_each_row_once(tmp_path: Path) -> None:
    """A table is written only if the shards have every row exactly once."""
    job = Job(get_task("letters"), get_config("letters"), "test", 5)
    batches = [(ids, completions(ids)) for ids in ([0, 1], [2, 3, 4])]
    for parts in (batches[:1], [*batches, batches[0]]):
        folder = tmp_path / str(len(parts))
        folder.mkdir()
        with ShardWriter(folder / "0000-0000.shard") as writer:
            for ids, table in parts:
                writer.append(job.name, np.array(ids), table)
        with pytest.raises(UserError, match=r"are missing in the shards and \d are duplicates"):
            merge(job, records(folder), folder / "table.parquet")
        assert not (folder / "table.parquet").exists()


def completions(ids: list[int]) -> pa.Table:
    columns = {"id": ids, "turn": [0] * len(ids), "output": ["1"] * len(ids), "tokens": [1] * len(ids)}
    return pa.table(columns, schema=COMPLETIONS)


# Shards


def table(ids: list[int]) -> pa.Table:
    return pa.table({"id": pa.array(ids), "text": pa.array([f"row {one}" for one in ids])})


def written(folder: Path, parts: list[list[int]]) -> Path:
    path = folder / "0000-0000.shard"
    with ShardWriter(path) as writer:
        for part in parts:
            writer.append("job", np.array(part, dtype=np.int64), table(part))
    return path


def found(folder: Path) -> list[Record]:
    return list(records(folder))


PARTS = [[3, 4], [], [0], list(range(10, 40))]


def test_shard_round_trip(tmp_path: Path) -> None:
    written(tmp_path, PARTS)
    assert [record.ids.tolist() for record in found(tmp_path)] == PARTS
    assert [record.observations().to_pydict() for record in found(tmp_path)] == [table(p).to_pydict() for p in PARTS]


def test_shards_are_not_overwritten(tmp_path: Path) -> None:
    written(tmp_path, PARTS)
    with pytest.raises(FileExistsError):
        written(tmp_path, PARTS)


@given(st.data())
def test_incomplete_shard_keeps_complete_records(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("shards")
    path = written(folder, PARTS)
    content = path.read_bytes()
    ends = [record.offset + record.length for record in found(folder)]
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = sum(end <= cut for end in ends)
    assert [record.ids.tolist() for record in found(folder)] == PARTS[:whole]


@given(st.data())
def test_shard_checksum_finds_changed_byte(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("shards")
    path = written(folder, PARTS)
    content = bytearray(path.read_bytes())
    ends = [record.offset + record.length for record in found(folder)]
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert [record.ids.tolist() for record in found(folder)] == PARTS[: sum(end <= place for end in ends)]
