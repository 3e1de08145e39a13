"""A tiny sweep through the command line: killed and resumed, finished members, its table, failures."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import harness
from harness.training.sweep_file import read_sweep
from harness.training.sweep_table import counting_numbers
from harness.training.sweep_workers import worker_environment

SHORT = '"schedule.warmup_steps" = 2, "schedule.steps"'
SWEEP = f"""
title = "Tiny"
evaluation = {{limit = 4}}

[[group]]
name = "Positions"
recipe = "flipflop-small"
set = {{"data.length" = 64, {SHORT} = 40, "model.width" = 16}}
grid = {{"model.positions" = ["rope", "none"]}}

[[group]]
name = "Counting"
recipe = "query-count"
seeds = 2
side_by_side = true
set = {{"model.width" = 8, "model.max_positions" = 64, "data.vocabulary" = 4, {SHORT} = 200}}
"""
MEMBERS = ["positions/positions-rope/seed-0", "positions/positions-none/seed-0", "counting/seed-0", "counting/seed-1"]


def started(file: Path, output: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "harness", "train", "--sweep", str(file), "--output", str(output), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )  # fmt: skip


def finished(file: Path, output: Path, *options: str) -> tuple[int, str]:
    process = started(file, output, *options)
    text, _ = process.communicate(timeout=300)
    return process.returncode, text


def wait_for(ready: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not ready():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)


def has_checkpoint(folder: Path) -> Callable[[], bool]:
    return lambda: any(folder.glob("checkpoints/checkpoint-*/trainer_state.json"))


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of the last change and content of every file of a member."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "tiny.toml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(file: Path) -> Path:
    """The folder of the sweep, never stopped, with two workers."""
    output = file.with_name("whole")
    status, text = finished(file, output, "--num-processes", "2")
    assert status == 0, text
    return output


@pytest.mark.slow("harness/training", "harness/evaluation")
def test_killed_sweep_goes_on(file: Path, whole: Path, tmp_path: Path) -> None:
    """SIGKILL of the whole process group in the second member, then of the parent alone in the stack."""
    output = tmp_path / "killed"
    process = started(file, output)
    wait_for(has_checkpoint(output / MEMBERS[1]), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    first = contents(output / MEMBERS[0])
    assert "member.json" in first and not (output / MEMBERS[1] / "member.json").exists()

    process = started(file, output)
    wait_for(has_checkpoint(output / "counting"), process)
    process.kill()  # its worker ends by itself, and then nothing is written any more
    process.communicate(timeout=30)
    second = contents(output / MEMBERS[1])
    assert "member.json" in second and not (output / MEMBERS[2] / "member.json").exists()

    status, text = finished(file, output)
    assert status == 0 and "2 of 4 members done before" in text, text
    assert contents(output / MEMBERS[0]) == first and contents(output / MEMBERS[1]) == second
    for member in MEMBERS:
        for name in ("model.safetensors", "recipe.json"):
            assert (output / member / name).read_bytes() == (whole / member / name).read_bytes(), member
    columns = ["group", "cell", "seed", "digest", "steps", "loss", "val_errors", "val_sparse_reads", "accuracy"]
    tables = [pq.read_table(folder / "results.parquet", columns=columns) for folder in (output, whole)]
    assert tables[0].equals(tables[1]) and tables[0].num_rows == 4
    assert not list(output.rglob("*.time.json")) and not list(output.rglob("checkpoints"))


def test_finished_sweep_only_draws(file: Path, whole: Path) -> None:
    before = {member: contents(whole / member) for member in MEMBERS}
    page = (whole / "report.html").read_text(encoding="utf-8")
    (whole / "report.html").unlink()
    status, text = finished(file, whole)
    assert status == 0 and "Positions" in text and "100,416" not in text
    assert {member: contents(whole / member) for member in MEMBERS} == before
    assert (whole / "report.html").read_text(encoding="utf-8") == page


def test_table_is_that_of_the_observations(whole: Path) -> None:
    rows = pq.read_table(whole / "results.parquet").to_pylist()
    assert [row["folder"] for row in rows] == MEMBERS
    for row in rows:
        folder = whole / row["folder"]
        recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        assert (row["recipe"], row["seed"], row["steps"]) == (
            recipe["name"], recipe["model"]["seed"], recipe["schedule"]["steps"]
        )  # fmt: skip
        assert json.loads(row["changes"]) == recipe["changes"] and row["cpu_seconds"] > 0
        curve = pq.read_table(folder / "curve.parquet")
        assert row["loss"] == curve["loss"].drop_null()[-1].as_py()
    for row in rows[:2]:
        (run,) = (whole / row["folder"]).glob("runs/*/*")
        loaded = harness.load_run(run)
        for name in ("val", "val_sparse", "val_dense"):
            graded = loaded.graded("flipflop", name)
            wrong, reads = int((~graded["right"].astype(bool)).sum()), len(graded)
            assert (row[f"{name}_errors"], row[f"{name}_reads"]) == (wrong, reads) and reads > 4
            assert row[f"{name}_rate"] == pytest.approx(wrong / reads)
            assert row[f"{name}_low"] <= row[f"{name}_rate"] <= row[f"{name}_high"]
        assert row["accuracy"] is None and row["task"] is None
    for row in rows[2:]:
        assert row["val_errors"] is None and (row["task"], row["width"], row["vocabulary"]) == ("query-count", 8, 4)
        observed = pq.read_table(whole / row["folder"] / "counting.parquet").to_pylist()
        errors = [abs(round(one["predicted"]) - one["count"]) for one in observed]
        assert len(errors) == row["sequences"] == 1_000
        assert row["accuracy"] == pytest.approx(sum(error == 0 for error in errors) / 1_000)
        assert row["mean_absolute_error"] == pytest.approx(sum(errors) / 1_000)


def test_stored_counts_are_those_of_the_model(whole: Path) -> None:
    """Against the first sequences, one at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from fflm_data.counting_ids import sample_counting
    from harness.models.classes import register

    register()
    folder = whole / MEMBERS[2]
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids, counts = sample_counting("query-count", 4, 10, range(5), split="test")
    observed = pq.read_table(folder / "counting.parquet").slice(0, 5)
    assert observed["count"].to_pylist() == [int((row[:-1] == row[-1]).sum()) for row in ids] == counts.tolist()
    with torch.no_grad():
        alone = [model(torch.tensor(row[None])).logits.item() for row in ids]
    np.testing.assert_allclose(observed["predicted"].to_numpy(), alone, rtol=1e-4)
    recipe = read_sweep(whole / "sweep.toml").members[2].recipe
    assert (recipe.model.width, counting_numbers(folder)["sequences"]) == (8, 1_000)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("40", "50", "schedule.steps=40 instead of 50"),
        ('"model.width" = 8', '"model.width" = 16', "Counting, seed 0"),
        ("seeds = 2", "seeds = [1]\nevaluation = {limit = 3}", ""),  # the first seed stays as it is
        ('"Tiny"', '"Other"', "the sweep 'Tiny'"),
    ],
)
def test_folders_of_other_sweeps(file: Path, whole: Path, tmp_path: Path, old: str, new: str, named: str) -> None:
    from harness.errors import UserError
    from harness.training.sweep import require_folder

    other = tmp_path / "other.toml"
    other.write_text(SWEEP.replace(old, new), encoding="utf-8")
    if not named:
        require_folder(whole, read_sweep(other))
        return
    before = contents(whole)
    with pytest.raises(UserError) as raised:
        require_folder(whole, read_sweep(other))
    assert named in str(raised.value) and "\n" not in str(raised.value)
    assert contents(whole) == before


def test_foreign_folder(file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("important")
    status, text = finished(file, tmp_path / "out")
    assert status == 2 and "holds no sweep" in text and len(text.splitlines()) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.slow("harness/training", "harness/evaluation")
def test_failed_member_is_reported_and_the_others_are_trained(tmp_path: Path) -> None:
    one = '[[group]]\nname = "{}"\nrecipe = "query-count"\nset = {{"model.width" = 8, "data.vocabulary" = 4, {}}}\n'
    text = one.format("bad", f'"optimizer.learning_rate" = 1e6, {SHORT} = 20') + one.format("good", f"{SHORT} = 20")
    path = tmp_path / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    status, text = finished(path, tmp_path / "out")
    assert status == 1 and "the loss is not finite" in text.splitlines()[-1] and "bad, seed 0" in text.splitlines()[-1]
    assert pq.read_table(tmp_path / "out" / "results.parquet")["group"].to_pylist() == ["good"]


@pytest.mark.slow("harness/training", "harness/evaluation")
def test_seeds_that_are_added_to_a_stack_are_trained_alone(file: Path, tmp_path: Path) -> None:
    """The finished seeds stay as they are; another evaluation evaluates them again, without training."""
    counting = "[[group]]" + SWEEP.split("[[group]]")[2]
    path, output = tmp_path / "sweep.toml", tmp_path / "out"
    path.write_text(counting.replace("= 200", "= 20"), encoding="utf-8")
    assert finished(path, output)[0] == 0
    before = contents(output / "counting" / "seed-0")
    path.write_text(counting.replace("= 200", "= 20").replace("seeds = 2", "seeds = 3"), encoding="utf-8")
    assert finished(path, output)[0] == 0
    assert contents(output / "counting" / "seed-0") == before
    assert pq.read_table(output / "results.parquet")["seed"].to_pylist() == [0, 1, 2]
    more = "seeds = 3\nevaluation = {limit = 30}"
    path.write_text(counting.replace("= 200", "= 20").replace("seeds = 2", more), encoding="utf-8")
    assert finished(path, output)[0] == 0
    after = contents(output / "counting" / "seed-0")
    assert {name for name in after if after[name] != before[name]} == {"member.json", "counting.parquet"}
    assert pq.read_table(output / "results.parquet")["sequences"].to_pylist() == [30] * 3


@pytest.mark.parametrize(
    ("number", "gpus", "variables", "expected"),
    [
        (2, 0, {}, [{"OMP_NUM_THREADS": "4", "FFLM_CORES_DEALT": "4"}] * 2),
        (3, 0, {"OMP_NUM_THREADS": "1"}, [{}] * 3),
        (3, 2, {}, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": "0"}]),
        (2, 2, {"CUDA_VISIBLE_DEVICES": "5,7"}, [{"CUDA_VISIBLE_DEVICES": "5"}, {"CUDA_VISIBLE_DEVICES": "7"}]),
    ],
)
def test_workers_share_the_machine(
    monkeypatch: pytest.MonkeyPatch, number: int, gpus: int, variables: dict[str, str], expected: list[Any]
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "FFLM_CORES_DEALT", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert worker_environment(number, gpus, 8) == expected
