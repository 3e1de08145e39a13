"""Hub models over HTTP with the real client: pinned revisions, errors, offline from the cache."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Run, refused
from tests.harness.models import test_gguf_files as gguf
from tests.hub import Hub
from tests.support import models

OPTIONS = ("--task", "flipflop", "--limit", "2", "--set", "flipflop.length=32")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub")) as serving:
        yield serving


@pytest.fixture(scope="module")
def commits(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    one = models.save_tiny(root / "one", models.gpt2_like())
    two = models.save_tiny(root / "two", models.gpt2_like(), kind="llama")
    return {
        "v1": hub.add_repository("model", "org/tiny", one, tags=["v1"]),
        "main": hub.add_repository("model", "org/tiny", two),
    }


def evaluate(
    cli: Run, tmp_path: Path, hub: Hub, *arguments: str, offline: bool = False
) -> "subprocess.CompletedProcess[str]":
    environment = hub.environment(home=tmp_path / "home") | {"HF_HUB_OFFLINE": str(int(offline))}
    return cli("harness", "eval", *OPTIONS, *arguments, **environment)


@pytest.mark.slow("harness/models")
@pytest.mark.parametrize("revision", ["main", "v1"])
def test_revision_is_pinned_to_commit(
    cli: Run, tmp_path: Path, hub: Hub, commits: dict[str, str], revision: str
) -> None:
    for offline in (False, True):
        result = evaluate(cli, tmp_path, hub, "--model", "org/tiny", "--revision", revision, offline=offline)
        assert result.returncode == 0, result.stderr
    (run,) = tmp_path.glob("runs/org--tiny/*")  # one folder: the offline run found its id again
    model = json.loads((run / "run.json").read_text(encoding="utf-8"))["model"]
    assert model["revision"] == commits[revision]
    assert model["class"] == {"main": "LlamaForCausalLM", "v1": "GPT2LMHeadModel"}[revision]


@pytest.mark.slow("harness/models")
def test_all_gguf_parts_are_fetched(cli: Run, tmp_path: Path, hub: Hub) -> None:
    parts = gguf.write(tmp_path / "parts", 8)
    commit = hub.add_repository("model", "org/parts", tmp_path / "parts")
    for offline in (False, True):
        words = ("--model", "org/parts", "--gguf-file", parts[0])
        result = evaluate(cli, tmp_path, hub, *words, offline=offline)
        assert result.returncode == 0, result.stderr
    (run,) = tmp_path.glob("runs/org--parts/*")
    model = json.loads((run / "run.json").read_text(encoding="utf-8"))["model"]
    assert (model["revision"], model["gguf_file"]) == (commit, parts[0])


@pytest.mark.slow("harness/models")
@pytest.mark.parametrize(("model", "revision"), [("org/nothing", "main"), ("org/tiny", "v9")])
@pytest.mark.usefixtures("commits")
def test_missing_on_hub_errors(cli: Run, tmp_path: Path, hub: Hub, model: str, revision: str) -> None:
    result = evaluate(cli, tmp_path, hub, "--model", model, "--revision", revision)
    assert f"the model {model!r} cannot be loaded" in refused(result)
