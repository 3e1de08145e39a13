"""The README's Python works as pasted, and the options it names exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_verbs_and_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import main

    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    options = capsys.readouterr().out
    evaluations = " ".join(re.findall(r"harness eval [^\n`]*", README))
    assert all(option in options for option in set(re.findall(r"--[a-z-]+", evaluations)))
