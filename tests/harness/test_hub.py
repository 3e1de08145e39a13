"""Models by Hub id, over HTTP with the genuine client: pinned revisions, refusals, and offline from the cache."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import hub
from tests.conftest import Run, refused
from tests.harness import models

ASKED = ("--task", "flipflop", "--limit", "2", "--set", "flipflop.length=32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hub")
    return {
        "main": models.save_tiny(root / "two", models.gpt2_like(), kind="llama"),
        "v1": models.save_tiny(root / "one", models.gpt2_like()),
    }


@pytest.fixture(scope="module")
def endpoint(folders: dict[str, Path]) -> Iterator[str]:
    with hub.serving({"org/tiny": folders}) as address:
        yield address


def evaluate(cli: Run, tmp_path: Path, endpoint: str, *arguments: str, offline: bool = False) -> object:
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": str(int(offline))}
    return cli("harness", "eval", *ASKED, *arguments, **environment)


@pytest.mark.parametrize("revision", ["main", "v1"])
def test_a_revision_is_pinned_to_its_commit(
    cli: Run, tmp_path: Path, endpoint: str, folders: dict[str, Path], revision: str
) -> None:
    for offline in (False, True):
        result = evaluate(cli, tmp_path, endpoint, "--model", "org/tiny", "--revision", revision, offline=offline)
        assert result.returncode == 0, result.stderr  # type: ignore[attr-defined]
    (run,) = tmp_path.glob("runs/org--tiny/*")  # one folder: the offline run found its id again
    model = json.loads((run / "run.json").read_text(encoding="utf-8"))["model"]
    assert model["revision"] == hub.commit_of(folders[revision])
    assert model["class"] == {"main": "LlamaForCausalLM", "v1": "GPT2LMHeadModel"}[revision]


@pytest.mark.parametrize(("model", "revision"), [("org/nothing", "main"), ("org/tiny", "v9")])
def test_what_the_hub_does_not_have(cli: Run, tmp_path: Path, endpoint: str, model: str, revision: str) -> None:
    result = evaluate(cli, tmp_path, endpoint, "--model", model, "--revision", revision)
    assert f"the model {model!r} cannot be loaded" in refused(result)  # type: ignore[arg-type]
