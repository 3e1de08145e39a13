"""The files of an installed package, as setuptools copies them into a wheel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.leaderboard.site_fixtures import make_answers_record

ROOT = Path(__file__).parents[1]
PACKAGES = ("fflm_data", "harness", "leaderboard")
RECORDS = Path("leaderboard", "records")
MOST_BYTES = 5_000_000  # of an index's limit of 100 MB
BUILD = "from setuptools import setup; setup(script_args=['--quiet', 'build_py', '--build-lib', {0!r}])"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed package. Read-only."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "observations"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    subprocess.run([sys.executable, "-c", BUILD.format(str(target))], cwd=source, check=True, capture_output=True)
    return target


def files_below(folder: Path) -> set[Path]:
    paths = (path.relative_to(folder) for name in PACKAGES for path in (folder / name).rglob("*") if path.is_file())
    return {path for path in paths if "__pycache__" not in path.parts}


def test_all_files_but_records_are_installed(installed: Path) -> None:
    expected = {path for path in files_below(ROOT) if RECORDS not in path.parents}
    assert files_below(installed) == expected
    assert any((ROOT / RECORDS).rglob("*.parquet"))
    assert sum((installed / path).stat().st_size for path in files_below(installed)) < MOST_BYTES


def run_installed(installed: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(installed), "FFLM_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "harness", *arguments] if sys.version_info >= (3, 11)
        else [sys.executable, "-m", "harness", *arguments],
        cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip


def test_site_of_an_installed_package(installed: Path, tmp_path: Path) -> None:
    """It shows local runs, and says where the records are."""
    result = run_installed(installed, tmp_path, "leaderboard", "build", "--out", "site")
    assert result.returncode == 2 and result.stderr.splitlines()[-1].endswith(
        "this installation of fflm has no records, which are in a clone. Name a clone, or ORG/NAME of the Hub, with "
        "--records, or name run folders with --run."
    )
    mine = make_answers_record(tmp_path / "mine", "org/m", wrong=2)
    (mine / "submission.json").unlink()
    result = run_installed(installed, tmp_path, "leaderboard", "build", "--out", "site", "--run", str(mine))
    assert result.returncode == 0, result.stderr
    assert "1 row" in result.stdout and "note: this installation of fflm has no records" in result.stderr
    (tmp_path / "clone").mkdir()
    make_answers_record(tmp_path / "clone" / "records", "org/other", wrong=3)
    result = run_installed(
        installed, tmp_path, "leaderboard", "build", "--out", "site", "--run", str(mine), "--records", "clone"
    )
    assert result.returncode == 0 and "2 rows" in result.stdout and "note" not in result.stderr, result.stderr
