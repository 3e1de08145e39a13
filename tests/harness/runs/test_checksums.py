"""A changed observation table is refused, by its checksum beside run.json."""

import hashlib
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.runs.files import CHECKSUMS
from tests.conftest import Run, refused

TASKS = ("--task", "flipflop", "--limit", "5")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from harness.cli import main

    folder = tmp_path_factory.mktemp("finished")
    assert main(["eval", *TASKS, "--output", str(folder / "runs")]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (found,) = tmp_path.glob("runs/*/*")
    return found


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_checksums_match_files(run: Path) -> None:
    noted = dict(reversed(line.split("  ")) for line in (run / CHECKSUMS).read_text("utf-8").splitlines())
    tables = {f"observations/{path.name}": path for path in run.glob("observations/*")}
    assert noted == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in tables.items()}
    assert len(noted) == 3
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], cwd=run, check=True, capture_output=True)


def test_every_flipped_bit_is_found(cli: Run, run: Path) -> None:
    path = run / "observations" / "flipflop.val_dense.parquet"
    before = (run / "result.json").read_bytes()
    bits = 8 * path.stat().st_size
    chance = random.Random(0)
    for bit in [0, bits - 1, *(chance.randrange(bits) for _ in range(60))]:
        flip(path, bit)
        message = refused(cli("harness", "score", run))
        assert "flipflop.val_dense.parquet has changed since it was written" in message and "harness eval" in message
        flip(path, bit)
    assert (run / "result.json").read_bytes() == before
    assert cli("harness", "score", run).returncode == 0
    assert (run / "result.json").read_bytes() == before


@pytest.mark.parametrize("change", ["cut", "longer", "another"])
def test_other_changes_are_found(cli: Run, run: Path, change: str) -> None:
    path, other = (run / "observations" / f"flipflop.{split}.parquet" for split in ("val", "val_sparse"))
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-1], "longer": content + b"\0", "another": other.read_bytes()}[change])
    assert "has changed since it was written" in refused(cli("harness", "score", run))
    assert "has changed since it was written" in refused(cli("harness", "report", run))
    assert "has changed since it was written" in refused(cli("harness", "compare", run, run))


def test_resume_finds_changed_table(cli: Run, run: Path) -> None:
    before = (run / "result.json").read_bytes()
    path = run / "observations" / "flipflop.val.parquet"
    flip(path, 8 * 1_000)
    assert "has changed since it was written" in refused(cli("harness", "eval", *TASKS))
    path.unlink()
    done = cli("harness", "eval", *TASKS)
    assert done.returncode == 0 and "flipflop.val_dense: 5 of 5 rows done before, resuming" in done.stdout
    assert (run / "result.json").read_bytes() == before
    assert cli("harness", "score", run).returncode == 0


def test_runs_of_earlier_versions_are_read(cli: Run, run: Path) -> None:
    before = (run / "result.json").read_bytes()
    (run / CHECKSUMS).unlink()
    assert cli("harness", "score", run).returncode == 0
    assert (run / "result.json").read_bytes() == before
    assert cli("harness", "eval", *TASKS).returncode == 0
    assert (run / "result.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"no checksum\n", b"x" * 70_000])
def test_damaged_checksums_give_no_traceback(cli: Run, run: Path, content: bytes) -> None:
    (run / CHECKSUMS).write_bytes(content)
    assert cli("harness", "score", run).returncode == 0


def test_external_outputs_have_checksums(cli: Run, tmp_path: Path) -> None:
    assert cli("harness", "prompts", "--task", "letters", "--limit", "6", "--out", "prompts.jsonl").returncode == 0
    prompts = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text("utf-8").splitlines()]
    answers = "".join(json.dumps({"id": one["id"], "output": "3"}) + "\n" for one in prompts)
    (tmp_path / "answers.jsonl").write_text(answers, "utf-8")
    words = ("harness", "score", "--outputs", "answers.jsonl", "--model", "an-org/a-model")
    assert cli(*words).returncode == 0
    (run,) = tmp_path.glob("runs/*/*")
    flip(run / "observations" / "letters.test.parquet", 8 * 200)
    assert "has changed since it was written" in refused(cli("harness", "score", run))
    assert cli(*words).returncode == 0  # written again from the answers
    assert cli("harness", "score", run).returncode == 0


def test_changed_table_is_not_submitted(cli: Run, run: Path, tmp_path: Path) -> None:
    flip(run / "observations" / "flipflop.val.parquet", 8 * 1_000)
    (tmp_path / "records").mkdir()
    terms = ["--contact", "a tester", "--licence", "CC-BY-4.0", "--division", "pretrained", "--disclosure", "No ties."]
    done = cli("harness", "submit", run, "--to", tmp_path, *terms, "--dry-run")
    assert "has changed since it was written" in refused(done)
