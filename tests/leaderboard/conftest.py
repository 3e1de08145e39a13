"""What the tests of the leaderboard share: a Hub that this process asks, a site of known records."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main
from tests.hub import Hub
from tests.hub.client import pointed_at, record_waits
from tests.leaderboard.browsing import served
from tests.leaderboard.record_edits import only_run
from tests.leaderboard.site_fixtures import EPOCH, Built, built


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The Hub that this process asks, as the owner of org."""
    record_waits(monkeypatch)
    hub = Hub(tmp_path / "hub")
    with pointed_at(hub, monkeypatch, tmp_path):
        yield hub


@pytest.fixture
def results(hub: Hub, tmp_path: Path) -> str:
    """A results repository without any."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("Results", "utf-8")
    hub.add_repository("dataset", "org/results", tmp_path / "empty")
    return "org/results"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the LSTM on the first rows of flipflop; not to be changed."""
    output = tmp_path_factory.mktemp("finished")
    assert main(["eval", "--task", "flipflop", "--limit", "8", "--output", str(output)]) == 0
    return only_run(output).folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A site of records of all kinds; not to be changed."""
    return built(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def address(site: Built) -> Iterator[str]:
    """Where that site is served."""
    with served(site.folder) as where:
        yield where


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache and a day of the test's own."""
    monkeypatch.setenv("FFLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)


@pytest.fixture
def records(tmp_path: Path, own_cache: None) -> Path:
    """An empty folder for records, with a cache of its own."""
    (tmp_path / "records").mkdir()
    return tmp_path / "records"
