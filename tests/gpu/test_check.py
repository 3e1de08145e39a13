"""The GPU check on a CPU with smaller models; it keeps its results when interrupted."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.gpu import __main__ as check
from tests.gpu import table, train
from tests.gpu.results import FAILED, PASSED, BrokenClaimError, NotMeasuredError, Part, Results

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run(out: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"OUT": str(out), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(HERE / "check.sh"), *words]
    return subprocess.run(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        check=False,
    )  # fmt: skip


@pytest.mark.slow("tests/gpu", "harness/engine", "harness/evaluation")
@pytest.mark.usefixtures("smollm2")
def test_all_parts_pass_on_a_cpu_and_are_not_run_twice(tmp_path: Path) -> None:
    done = run(tmp_path, "--size", "small")
    assert done.returncode == 0, done.stdout[-4000:]
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(results["parts"]) == [*check.PARTS]
    assert {part["status"] for part in results["parts"].values()} == {PASSED}
    left_out = {f"{part}, {case}" for part, found in results["parts"].items() for case in found["not_measured"]}
    assert left_out - {"speed, Llama of width 64, lm-eval"} == {
        "processes, tensor parallel",
        "quantized, 8bit",
        "quantized, 4bit",
    }
    again = run(tmp_path, "--size", "small", "exact", "memory", "smollm2")
    assert again.returncode == 0
    assert again.stdout.count("passed in an earlier call") == 3
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8")) == results
    assert (tmp_path / table.FILE).read_text(encoding="utf-8").count("passed") == len(check.PARTS)


@pytest.mark.slow("tests/gpu", "harness/training", "harness/models/classes")
def test_training_on_a_cpu(tmp_path: Path) -> None:
    environment = os.environ | {"OUT": str(tmp_path), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(HERE / "train.sh"), "--size", "small"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    part = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["parts"]["train"]
    assert (part["status"], list(part["not_measured"])) == (PASSED, ["steps, tf32", f"steps, {train.COMPILED}"])
    assert {"seed 0", "seed 1", "steps, 4 seeds side by side"} <= set(part["figures"])
    for seed in range(2):
        with tarfile.open(tmp_path / train.RECORDS.replace("*", str(seed))) as archive:
            assert sum(name.endswith("result.json") for name in archive.getnames()) == 1


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "exakt")
    assert done.returncode == 2
    assert "there is no part 'exakt'" in done.stdout


def test_failed_part_is_run_again(tmp_path: Path) -> None:
    Results(tmp_path, {"device": "a test"})
    broken = True

    def case() -> dict[str, int]:
        assert not broken, "no luck"
        return {"figure": 7}

    def unmeasured() -> dict[str, int]:
        raise NotMeasuredError("it takes two GPUs")

    part = Part("speed", "small", tmp_path, tmp_path)
    part.case("first", case)
    part.case("second", lambda: {"figure": 1})
    part.case("third", unmeasured)
    assert part.failures == {"first": "AssertionError: no luck assert not True"}
    broken = False
    part.case("first", case)
    part.case("second", lambda: pytest.fail("it was measured before"))
    assert part.failures == {}
    assert part.figures == {"first": {"figure": 7}, "second": {"figure": 1}}
    assert Results(tmp_path).part("speed")["not_measured"] == {"third": "it takes two GPUs"}
    part.case("third", lambda: {"figure": 2})
    assert part.figures["third"] == {"figure": 2} and not Results(tmp_path).part("speed")["not_measured"]


def test_broken_claim_keeps_figures_and_is_measured_again(tmp_path: Path) -> None:
    Results(tmp_path, {"device": "a test"})

    def slow() -> dict[str, float]:
        raise BrokenClaimError("1.3 times the bare passes, at most 1.15 are claimed", {"ratio": 1.3})

    part = Part("speed", "small", tmp_path, tmp_path)
    part.case("bare", slow)
    assert part.figures == {"bare": {"ratio": 1.3}} and "1.15 are claimed" in part.failures["bare"]
    part.case("bare", lambda: {"ratio": 1.1})
    assert part.figures == {"bare": {"ratio": 1.1}} and not part.failures


def test_timed_out_part_keeps_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Results(tmp_path, {"device": "a test"}).update("exact", figures={"gpt2": {"figure": 7}})
    monkeypatch.setitem(check.PARTS, "exact", 0.01)
    assert check.run_part("exact", "small", tmp_path) == "out of time"
    found = Results(tmp_path).part("exact")
    assert found["status"] == "out of time" and found["figures"] == {"gpt2": {"figure": 7}}


def test_results_of_other_machine_are_kept_separate(tmp_path: Path) -> None:
    Results(tmp_path, {"device": "one"}).update("exact", status=FAILED)
    assert Results(tmp_path, {"device": "one"}).part("exact")["status"] == FAILED
    assert Results(tmp_path, {"device": "another"}).part("exact")["status"] is None
    kept = json.loads((tmp_path / "results-1.json").read_text(encoding="utf-8"))
    assert kept["machine"] == {"device": "one"} and kept["parts"]["exact"]["status"] == FAILED


def test_runs_are_exported_as_one_file(tmp_path: Path) -> None:
    (tmp_path / "runs" / "model").mkdir(parents=True)
    (tmp_path / "runs" / "model" / "run.json").write_text("{}", encoding="utf-8")
    check.pack(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / check.RUNS).rename(other / check.RUNS)
    check.unpack(other)
    assert (other / "runs" / "model" / "run.json").read_text(encoding="utf-8") == "{}"
