"""Fixtures of the leaderboard tests: a local Hub, and a site of known records."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main
from tests.hub import Hub
from tests.hub.client import pointed_at, record_waits
from tests.leaderboard.browsing import served
from tests.leaderboard.record_edits import make_record, only_run
from tests.leaderboard.site_fixtures import EPOCH, Built, built


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The local Hub, with the token of the owner of org."""
    record_waits(monkeypatch)
    hub = Hub(tmp_path / "hub")
    with pointed_at(hub, monkeypatch, tmp_path):
        yield hub


@pytest.fixture
def results(hub: Hub, tmp_path: Path) -> str:
    """An empty results repository."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("Results", "utf-8")
    hub.add_repository("dataset", "org/results", tmp_path / "empty")
    return "org/results"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the LSTM on the first rows of flipflop. Read-only."""
    output = tmp_path_factory.mktemp("finished")
    assert main(["eval", "--task", "flipflop", "--limit", "8", "--output", str(output)]) == 0
    return only_run(output).folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A site with records of all kinds. Read-only."""
    return built(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def address(site: Built) -> Iterator[str]:
    """The address of that site."""
    with served(site.folder) as where:
        yield where


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A separate cache, and a fixed date."""
    monkeypatch.setenv("FFLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """An empty records folder."""
    (tmp_path / "records").mkdir()
    return tmp_path / "records"


@pytest.fixture
def record(finished: Path, records: Path) -> Path:
    """The record of a finished run."""
    return make_record(finished, records)
