"""Selection of slow tests: they run if a covered file has changed, and are recorded only if all of them passed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROJECT = {
    "pyproject.toml": '[tool.pytest.ini_options]\ntestpaths = ["tests"]\naddopts = "--import-mode=importlib"\n'
    'markers = ["slow(*paths): slow"]\n',
    "tests/__init__.py": "",
    "tests/support/__init__.py": "",
    "harness/engine/engine.py": "",
    "harness/evaluation/evaluate.py": "",
    "package/code.py": "",
    "tests/test_one.py": 'import pytest\n\ndef test_fast():\n    pass\n\n@pytest.mark.slow("package")\n'
    "def test_slow():\n    pass\n",
    "tests/test_two.py": "import pytest\n\n@pytest.mark.slow()\ndef test_slow():\n    pass\n\n"
    "@pytest.mark.slow()\ndef test_slow_more():\n    pass\n",
}
Counts = dict[str, int]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Creates a small project with fast and slow tests."""
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name in ("conftest.py", "support/slow.py"):
        shutil.copy(TESTS / name, tmp_path / "tests" / name)
    return tmp_path


@pytest.fixture
def run(project: Path) -> Callable[..., Counts]:
    """Returns a function that runs pytest in the project and returns the counts of passed, failed, deselected tests."""

    def run(*arguments: str) -> Counts:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments], cwd=project,
            env=environment | {"PYTHONPATH": str(project)}, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        return {name: int(count) for count, name in re.findall(r"(\d+) (passed|failed|deselected)", result.stdout)}

    return run


@pytest.mark.slow("tests/conftest.py", "tests/support/slow.py")
@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadfile")], ids=["alone", "workers"])
def test_slow_tests_run_after_covered_changes(
    project: Path, run: Callable[..., Counts], workers: tuple[str, ...]
) -> None:
    assert run("-m", "slow", *workers)["passed"] == 3
    assert run(*workers) == {"passed": 1} | ({} if workers else {"deselected": 3})
    assert run("tests/test_two.py", *workers) == {"passed": 2}  # tests named on the command line always run
    assert run(*workers)["passed"] == 1  # and the other file is still recorded
    (project / "package" / "new.py").write_text("", encoding="utf-8")
    assert run(*workers)["passed"] == 2
    assert run(*workers)["passed"] == 1
    (project / "harness" / "engine" / "engine.py").write_text("# changed\n", encoding="utf-8")
    assert run(*workers)["passed"] == 3


@pytest.mark.slow("tests/conftest.py", "tests/support/slow.py")
@pytest.mark.parametrize(
    "arguments",
    [("-k", "test_slow_more"), ("tests/test_two.py::test_slow",), ("--collect-only",), ("-m", "not slow")],
)
def test_partial_runs_are_not_recorded(project: Path, run: Callable[..., Counts], arguments: tuple[str, ...]) -> None:
    run(*arguments)
    assert not (project / "tests" / "slow_passed.json").exists()


@pytest.mark.slow("tests/conftest.py", "tests/support/slow.py")
def test_failed_runs_are_not_recorded(project: Path, run: Callable[..., Counts]) -> None:
    file = project / "tests" / "test_two.py"
    file.write_text(PROJECT["tests/test_two.py"].replace("pass", "assert False", 1), encoding="utf-8")
    assert run("-m", "slow") == {"passed": 2, "failed": 1, "deselected": 1}
    assert [*json.loads((project / "tests" / "slow_passed.json").read_text(encoding="utf-8"))] == ["tests/test_one.py"]
    assert run() == {"passed": 2, "failed": 1, "deselected": 1}
