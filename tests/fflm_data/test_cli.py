"""The command line `fflm-data`."""

import signal
import subprocess
import sys
import time
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest
from datasets import load_dataset

from fflm_data import CONFIGS, get_config
from fflm_data.manifest import Manifest
from tests.conftest import Run, refused


@pytest.mark.slow("fflm_data")
def test_built_folder_loads_generated_rows(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    result = cli("fflm-data", "build", "folder")
    assert result.returncode == 0, result.stderr
    for name in CONFIGS:
        built = load_dataset(str(tmp_path / "folder"), name)
        config = get_config(name)
        assert {split: rows.num_rows for split, rows in built.items()} == config.splits()
        for split, rows in built.items():
            assert rows.features.arrow_schema.remove_metadata() == config.schema
            assert rows.select(range(100)).to_list() == config.table(split, 0, 100).to_pylist()
            assert rows[-1] == config.table(split, config.rows(split) - 1).to_pylist()[0]
    assert set(load_dataset(str(tmp_path / "folder"))) == set(get_config().splits())


def test_build_with_parameters(cli: Run, tmp_path: Path) -> None:
    result = cli(
        "fflm-data", "build", "few", "--config", "query-count", "--set", "vocabularies=2,3", "--set", "repeats=4"
    )
    assert result.returncode == 0, result.stderr
    card = (tmp_path / "few" / "README.md").read_text(encoding="utf-8")
    assert '"vocabularies": [2, 3]' in card and "| `test` | 16 |" in card and "flipflop/" not in card


def test_build_with_parameters_per_config(cli: Run, tmp_path: Path) -> None:
    result = cli(
        "fflm-data", "build", "two", "--config", "letters", "--config", "arithmetic",
        "--set", "letters.words_per_cell=2", "--set", "arithmetic.digits=5,6", "--set", "seed=9",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    manifest = Manifest.from_json((tmp_path / "two" / "fflm.json").read_text(encoding="utf-8"), "two")
    assert manifest.configs == (
        get_config("letters", words_per_cell=2, seed=9), get_config("arithmetic", digits=[5, 6], seed=9),
    )  # fmt: skip


def test_version_option(cli: Run) -> None:
    setup = ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    module, _, name = setup["metadata"]["version"].removeprefix("attr: ").rpartition(".")
    built = getattr(import_module(module), name)
    for program in ("fflm-data", "harness"):
        result = cli(program, "--version")
        assert (result.returncode, result.stdout, result.stderr) == (0, f"fflm {built}\n", "")


def test_list_and_show(cli: Run) -> None:
    listed = cli("fflm-data", "list").stdout
    assert all(name in listed for name in CONFIGS) and "flipflop-train" in listed and "train infinite" in listed
    shown = cli("fflm-data", "show", "letters", "--rows", "1").stdout
    assert '"id": 7' not in cli("fflm-data", "show", "flipflop-train", "--rows", "2", "--set", "length=32").stdout
    assert '"word": "strawberry"' in shown and "words_per_cell = 100" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nothing"], "there is no config 'nothing'"),
        (["show", "flipflop", "--split", "test"], "split='test'"),
        (["show", "flipflop", "--set", "length=5"], "length=5"),
        (["show", "flipflop", "--set", "length"], "sets nothing"),
        (["show", "letters", "--set", "name=5"], "letters has no parameter 'name'"),
        (["show", "letters", "--rows", "-1"], "stop=-1"),
        (["build", "."], "already exists"),
        (["build"], "FOLDER"),
        (["build", "new", "--config", "flipflop-train"], "is an infinite stream"),
        (["build", "new", "--set", "repeats=4"], "flipflop has no parameter 'repeats'"),
        (["build", "new", "--set", "numbers.length=64"], "--set numbers.length=64 names no selected config"),
    ],
)
def test_error_messages(cli: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "something").touch()
    assert message in refused(cli("fflm-data", *arguments))


# Background processes ignore SIGINT, and child processes inherit this.
MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from fflm_data.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_build_leaves_no_folder(cli: Run, tmp_path: Path, number: signal.Signals) -> None:
    arguments = ["build", "half", "--config", "flipflop", "--set", "train_rows=5000000"]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".half.*/half/flipflop/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert not (tmp_path / "half").exists()
    if number == signal.SIGINT:
        assert (process.returncode, list(tmp_path.iterdir())) == (130, [])
        assert errors.strip().splitlines()[-1] == "fflm-data: interrupted"
    assert cli("fflm-data", "build", "half", "--config", "letters").returncode == 0
    assert sorted(path.name for path in (tmp_path / "half").iterdir()) == [
        "README.md", "eval.yaml", "fflm.json", "letters",
    ]  # fmt: skip


def test_closed_pipe_is_silent(tmp_path: Path) -> None:
    command = f"{sys.executable} -m fflm_data.cli show flipflop --rows 3000 | head -1"
    result = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.stdout.count("\n"), result.stderr) == (1, "")
