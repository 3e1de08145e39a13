"""`harness leaderboard publish`: the genuine client pushes a site as a static Space to the Hub of the tests."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi, close_session, constants

from fflm_data.config import ParameterError
from harness.errors import UserError
from leaderboard.hub import space as publish
from tests.hub import Hub

NAME = "org/board"
GITATTRIBUTES = ".gitattributes"
FILES = {
    "index.html": b"<!doctype html><title>fflm</title>",
    "index.json": json.dumps({"schema": "fflm-leaderboard/1", "models": []}).encode(),
    "models/a--b.html": b"<!doctype html>",
    "wrong/a.png": bytes(range(256)) * 64,  # by its suffix an LFS file
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write(tmp_path / "site", FILES)
    return tmp_path / "site"


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def files(hub: Hub) -> dict[str, bytes]:
    return {path: content for path, content in hub.files("space", NAME).items() if path != GITATTRIBUTES}


def commits(hub: Hub) -> list[str]:
    repository = hub.store.find("spaces", NAME)
    return [one.id for one in repository.history(repository.resolve("main"))] if repository else []


def uploads(hub: Hub) -> list[str]:
    return [target for method, target, _ in hub.requests if method in ("POST", "PUT") and "validate-yaml" not in target]


def test_a_site_becomes_a_space(hub: Hub, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish.command(NAME, site)
    there = files(hub)
    card = there.pop("README.md").decode()
    assert there == FILES
    assert len(commits(hub)) == 2  # the Hub's own first, then ours
    head = yaml.safe_load(card.split("---\n")[1])
    assert (head["sdk"], head["app_file"], head["license"]) == ("static", "index.html", "mit")
    assert head["title"] == "fflm leaderboard" and len(head["short_description"]) <= 60
    said = capsys.readouterr().out.splitlines()
    assert said == ["5 files uploaded, 0 deleted", f"{hub.url}/spaces/{NAME}/commit/{commits(hub)[0]}"]


def test_only_what_changed_goes_and_what_vanished_is_deleted(
    hub: Hub, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish.command(NAME, site)
    before = commits(hub)
    hub.requests.clear()
    hub.uploaded.clear()
    capsys.readouterr()
    publish.command(NAME, site)
    assert capsys.readouterr().out == f"nothing to upload: {NAME} holds this site\n"
    assert (commits(hub), uploads(hub), hub.uploaded.total()) == (before, [], 0)

    (site / "models" / "a--b.html").unlink()
    write(site, {"index.html": b"<!doctype html><title>new</title>", "models/c--d.html": b"new"})
    publish.command(NAME, site)
    assert capsys.readouterr().out.startswith("2 files uploaded, 1 deleted\n")
    there = files(hub)
    assert set(there) == {"README.md", "index.html", "index.json", "models/c--d.html", "wrong/a.png"}
    assert there["index.html"] == b"<!doctype html><title>new</title>"
    assert len(commits(hub)) == len(before) + 1
    assert hub.uploaded["lfs"] == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda site: (site / "index.json").unlink(),
        lambda site: (site / "index.html").unlink(),
        lambda site: (site / "index.json").write_text("{}"),
        lambda site: (site / "index.json").write_text("["),
        lambda site: (site / "index.json").write_text('["index.schema.json"]'),
        lambda site: (site / "index.json").write_bytes(b"\xff\xfe\xfa"),
    ],
)
def test_a_folder_that_is_no_site(hub: Hub, site: Path, change: Callable[[Path], object]) -> None:
    change(site)
    with pytest.raises(UserError, match="is no built site: write one with harness leaderboard build --out"):
        publish.command(NAME, site)
    assert hub.requests == []


def test_no_folder_at_all(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no built site"):
        publish.command(NAME, tmp_path / "nothing")


@pytest.mark.parametrize(
    ("there", "ours"),
    [
        ({}, True),
        ({"README.md": b"# Mine"}, True),
        ({"index.json": FILES["index.json"], "old.html": b"old"}, True),
        ({"index.html": b"somebody's"}, False),
        ({"index.json": b'{"$schema": "other"}', "index.html": b"somebody's"}, False),
        ({"index.json": b"[" * 100_000}, False),
        ({"app.py": b"import gradio"}, False),
        ({"sub/index.json": FILES["index.json"]}, False),
    ],
)
def test_a_space_that_is_there(hub: Hub, site: Path, tmp_path: Path, there: dict[str, bytes], ours: bool) -> None:
    (tmp_path / "there").mkdir()
    write(tmp_path / "there", there)
    hub.add_repository("space", NAME, tmp_path / "there")
    before = files(hub), commits(hub)
    if ours:
        publish.command(NAME, site)
        assert set(files(hub)) == {*FILES, "README.md"}
        return
    with pytest.raises(ParameterError) as error:
        publish.command(NAME, site)
    assert str(error.value) == f"{NAME} holds something else (no index.json of ours): choose another name"
    assert (files(hub), commits(hub)) == before


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()


TROUBLES: dict[str, tuple[Callable[[Hub, pytest.MonkeyPatch], object], str]] = {
    "bad token": (lambda hub, patch: patch.setenv("HF_TOKEN", "hf_wrong"), "the Hub does not know this token"),
    "no token": (lambda hub, patch: patch.setenv("HF_TOKEN", ""), "the Hub needs a token to publish a Space: log in"),
    "token of others": (
        lambda hub, patch: patch.setenv("HF_TOKEN", "hf_guest"),
        "your token may not write to org/board: use one that may",
    ),
    "token that only reads": (lambda hub, patch: patch.setenv("HF_TOKEN", "hf_reader"), "your token may not write to"),
    "offline": (lambda hub, patch: offline(patch), "HF_HUB_OFFLINE is set: unset it"),
    "cut": (lambda hub, patch: hub.cut_next("POST", "/commit/", after_bytes=9, times=9), "the connection to the Hub"),
    "changed": (
        lambda hub, patch: hub.fail_next("POST", "/commit/", status=412),
        "org/board changed during this command",
    ),
    "rate limit": (
        lambda hub, patch: hub.fail_next("POST", "/commit/", times=9),
        "the rate limit of the Hub is exceeded",
    ),
}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_goes_wrong_is_one_line(
    hub: Hub, site: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, new: bool
) -> None:
    if not new:
        publish.command(NAME, site)
        write(site, {"index.html": b"new"})
    before = {} if new else files(hub)
    make, words = TROUBLES[trouble]
    make(hub, monkeypatch)
    with pytest.raises(ParameterError) as error:
        publish.command(NAME, site)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert before == (files(hub) if hub.store.find("spaces", NAME) else {})
    assert len(commits(hub)) <= 2


@pytest.mark.parametrize("name", ["board", "org/board/more", "org/-x", ""])
def test_names(hub: Hub, site: Path, name: str) -> None:
    with pytest.raises(ParameterError, match="write ORG/NAME"):
        publish.command(name, site)
    assert uploads(hub) == []


def test_somebody_commits_meanwhile(hub: Hub, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish.command(NAME, site)
    write(site, {"index.html": b"new"})
    asked = HfApi.create_commit

    def late(api: HfApi, *arguments: object, **options: object) -> object:
        repository = hub.store.find("spaces", NAME)
        assert repository
        repository.push("refs/heads/main", [("theirs.txt", repository.add_content(b"theirs"))], "By somebody else")
        return asked(api, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(HfApi, "create_commit", late)
    with pytest.raises(ParameterError, match="changed during this command"):
        publish.command(NAME, site)
    assert files(hub)["theirs.txt"] == b"theirs" and files(hub)["index.html"] == FILES["index.html"]
