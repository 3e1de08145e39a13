"""The README's Python works as pasted, and the options it names exist."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub import Hub

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks(code: str, tmp_path: Path) -> None:
    environment = os.environ | {"HF_HOME": str(tmp_path / "home")}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == code.count("print(")


COMMANDS = """
import shlex, sys
from fflm_data.cli import main
for line in sys.argv[1:]:
    assert main(shlex.split(line)[1:]) == 0, line
"""
# Fewer rows than the README's commands would push, and no others.
FEW = "--config flipflop --config letters" + "".join(
    f" --set flipflop.{split}_rows=1500" for split in ("train", "val", "val_sparse", "val_dense")
)


def test_data_commands(tmp_path: Path) -> None:
    """The README's commands for the data in their order, against a Hub where the foreign set is published too."""
    lines = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    lines = [line.replace("ORG/", "org/") for line in lines if line.startswith("fflm-data ")]
    lines = [
        f"{line} {FEW}" if line.startswith("fflm-data push") and "--config" not in line else line for line in lines
    ]
    assert len(lines) == 6
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "val.csv").write_text("text\n" + "w0i1r0\nw1r1w0r0\n" * 50, encoding="utf-8")
    with Hub(tmp_path / "hub") as hub:
        hub.add_repository("dataset", "synthseq/flipflop", foreign)
        result = subprocess.run(
            [sys.executable, "-c", COMMANDS, *lines],
            cwd=tmp_path, env=os.environ | hub.environment("hf_owner", tmp_path / "home"),
            capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-2000:]
        parameters = {
            revision: json.loads(hub.files("dataset", "org/fflm", revision)["fflm.json"])["configs"]
            for revision in ("main", "v1.0.0", "long", "refs/pr/1")
        }
    assert "flipflop/val: 1,500 rows as generated" in result.stdout
    assert "validation: 100 of 100 strings are legal" in result.stdout
    lengths = {revision: configs["flipflop"]["parameters"]["length"] for revision, configs in parameters.items()}
    assert lengths == {"main": 1024, "v1.0.0": 512, "long": 1024, "refs/pr/1": 1024}
    seeds = {revision: configs["letters"]["parameters"]["seed"] for revision, configs in parameters.items()}
    assert seeds == {"main": 0, "v1.0.0": 0, "long": 0, "refs/pr/1": 7}


PAGES = [README, (Path(__file__).parents[1] / "leaderboard" / "LEADERBOARD.md").read_text(encoding="utf-8")]
TYPED = [
    line
    for page in PAGES
    for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("harness ")
]


@pytest.mark.parametrize("line", TYPED)
def test_harness_commands_are_taken(line: str) -> None:
    """Every verb and option that the pages show."""
    from harness.cli import parser

    parser().parse_args(shlex.split(line, comments=True)[1:])


def test_options_named_in_sentences_exist(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import main

    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    options = capsys.readouterr().out
    evaluations = " ".join(re.findall(r"harness eval [^\n`]*", README))
    assert all(option in options for option in set(re.findall(r"--[a-z-]+", evaluations)))
