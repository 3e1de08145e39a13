"""Configures the Hub client of this process for the test Hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import close_session, constants
from huggingface_hub.utils import _http

from tests.hub.server import Hub


def record_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Records the pauses of the client between retries instead of sleeping, and returns the list."""
    waits: list[float] = []
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=waits.append))
    return waits


@contextmanager
def pointed_at(hub: Hub, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """Makes the client of this process use the test Hub with the token of the owner of org and a cache in `folder`.

    Fails if the test Hub had an internal error (status 501).
    """
    with hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
        monkeypatch.setenv("HF_TOKEN", "hf_owner")
        yield
        close_session()
    assert 501 not in {status for *_, status in hub.requests}, "the test Hub failed"
