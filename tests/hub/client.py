"""The genuine client of this process, pointed at the Hub of the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import close_session, constants
from huggingface_hub.utils import _http

from tests.hub.server import Hub


def record_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client makes between its attempts, from now on, in place of making them."""
    waits: list[float] = []
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=waits.append))
    return waits


@contextmanager
def pointed_at(hub: Hub, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """This process asks the Hub as the owner of org, with a cache below `folder`; the Hub itself must not fail."""
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
    assert 501 not in {status for *_, status in hub.requests}, "the Hub itself failed"
