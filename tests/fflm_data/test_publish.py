"""`fflm-data push`: the Hugging Face client against the test Hub, including failures."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi, close_session, constants

from fflm_data import build, get_config, publish
from fflm_data.config import Config
from fflm_data.hub import HubError
from fflm_data.manifest import MANIFEST_FILE
from fflm_data.version import GENERATOR_VERSION
from tests.conftest import Run, refused
from tests.hub import Hub, pushing
from tests.hub.client import pointed_at, record_waits
from tests.hub.messages import Request

NAME = "org/set"
GITATTRIBUTES = ".gitattributes"
TEXTS = {"README.md", "eval.yaml", MANIFEST_FILE}
ROWS = {"train": 20, "val": 8, "val_sparse": 12, "val_dense": 4}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Returns the recorded pauses of the client between retries."""
    return record_waits(monkeypatch)


class WatchedHub(Hub):
    """A Hub whose LFS uploads can be paused."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.started, self.resume = threading.Event(), threading.Event()
        self.resume.set()

    @contextmanager
    def receiving(self, request: Request) -> Iterator[tuple[Path, str]]:
        self.started.set()
        assert self.resume.wait(60)
        with super().receiving(request) as received:
            yield received


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[WatchedHub]:
    """Returns a Hub that this process uses with the token of the owner of org."""
    hub = WatchedHub(tmp_path / "hub")
    with pointed_at(hub, monkeypatch, tmp_path):
        yield hub


@pytest.fixture
def push(cli: Run) -> Run:
    """Returns a function that pushes the config letters, with words_per_cell and more options."""

    def push(words: int | None = 2, *options: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        selection = [] if words is None else ["--config", "letters", "--set", f"letters.words_per_cell={words}"]
        return cli("fflm-data", "push", NAME, *selection, *options, **environment)

    return push


def letters(words: int = 2) -> Config:
    return get_config("letters", words_per_cell=words)


def query_count(repeats: int = 2) -> Config:
    return get_config("query-count", vocabularies=[2, 3], repeats=repeats)


def flipflop(**parameters: object) -> Config:
    return get_config(
        "flipflop", **{"length": 32} | {f"{split}_rows": rows for split, rows in ROWS.items()} | parameters
    )


def output_of(result: "subprocess.CompletedProcess[str]") -> str:
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def state(hub: Hub, name: str = NAME) -> dict[str, Any] | None:
    """Returns the refs of a repository and the files of each ref."""
    repository = hub.store.find("datasets", name)
    if repository is None:
        return None
    refs = repository.state["refs"]
    return {"refs": refs, "private": repository.state["private"]} | {
        ref: hub.files("dataset", name, ref) for ref in refs
    }


def titles(hub: Hub, revision: str = "main") -> list[str]:
    repository = hub.store.find("datasets", NAME)
    assert repository
    return [commit.title for commit in repository.history(repository.resolve(revision))]


def head(hub: Hub, ref: str = "refs/heads/main") -> str:
    repository = hub.store.find("datasets", NAME)
    assert repository
    return repository.state["refs"][ref]


def commit(hub: Hub, **files: bytes) -> None:
    """Commits files to main, as another user."""
    repository = hub.store.find("datasets", NAME)
    assert repository
    changes = [(path, repository.add_content(content)) for path, content in files.items()]
    repository.push("refs/heads/main", changes, "By another user")


def manifest(hub: Hub, revision: str = "main") -> dict[str, Any]:
    return json.loads(hub.files("dataset", NAME, revision)[MANIFEST_FILE])


def rows(hub: Hub, path: str, tmp_path: Path, revision: str = "main") -> list[dict[str, Any]]:
    (tmp_path / "read.parquet").write_bytes(hub.files("dataset", NAME, revision)[path])
    return pq.read_table(tmp_path / "read.parquet").to_pylist()


def writes(hub: Hub) -> list[tuple[str, str]]:
    """Returns the requests that write. Validating the header of the card is not a write."""
    return [
        (method, target)
        for method, target, _ in hub.requests
        if method not in ("GET", "HEAD") and "/validate-yaml" not in target
    ]


def forget(hub: Hub) -> None:
    hub.requests.clear()
    hub.uploaded.clear()


# One commit, or none if nothing changed


def test_push_is_one_commit(hub: Hub, tmp_path: Path) -> None:
    configs = [flipflop(), letters(), query_count()]
    pushed = publish.push(NAME, configs)
    files = hub.files("dataset", NAME)
    parquet = {f"{config.name}/{split}-00000-of-00001.parquet" for config in configs for split in config.splits()}
    figures = {f"figures/flipflop-{split}.svg" for split in ROWS}
    assert set(files) == {GITATTRIBUTES} | TEXTS | parquet | figures
    assert titles(hub) == [f"fflm {GENERATOR_VERSION}: flipflop, letters, query-count", "initial commit"]
    assert pushed.files == {path: len(content) for path, content in files.items() if path != GITATTRIBUTES}
    assert (pushed.deleted, pushed.unchanged, pushed.tagged) == ([], [], False)
    assert pushed.url == f"{hub.url}/datasets/{NAME}/commit/{head(hub)}"
    assert hub.uploaded["lfs"] == sum(len(files[path]) for path in parquet)
    assert [target for method, target in writes(hub) if "/commit/" in target] == [f"/api/datasets/{NAME}/commit/main"]
    for config in configs:
        for split in config.splits():
            assert (
                rows(hub, f"{config.name}/{split}-00000-of-00001.parquet", tmp_path) == config.table(split).to_pylist()
            )
    listed = manifest(hub)
    assert list(listed["configs"]) == ["flipflop", "query-count", "letters"]  # registry order
    assert listed["configs"]["flipflop"]["parameters"]["train_rows"] == ROWS["train"]
    assert {name: split["rows"] for name, split in listed["configs"]["flipflop"]["splits"].items()} == ROWS
    card = files["README.md"].decode()
    assert f'load_dataset("{NAME}", "letters"' in card and "figures/flipflop-val_sparse.svg" in card
    assert b"id: letters.test" in files["eval.yaml"]


def test_second_push_uploads_nothing(hub: Hub, push: Run) -> None:
    output = output_of(push())
    assert re.search(r"bytes  letters/test-00000-of-00001\.parquet\n", output)
    assert re.search(r"^4 files, [\d,]+ bytes, uploaded$", output, re.MULTILINE)
    before = state(hub)
    forget(hub)
    assert output_of(push()) == f"unchanged: letters\nnothing to upload: {NAME} is up to date\n"
    assert state(hub) == before
    assert writes(hub) == []
    assert hub.uploaded.total() == 0


def test_push_compares_rows_not_bytes(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish.push(NAME, [letters(), query_count()])
    before = hub.files("dataset", NAME)

    def uncompressed(path: Path, schema: Any, compression: str) -> pq.ParquetWriter:
        return pq.ParquetWriter(path, schema, compression="none", use_dictionary=False)

    monkeypatch.setattr(build, "pq", SimpleNamespace(ParquetWriter=uncompressed))
    monkeypatch.setattr(build, "FILE_BYTES", 1024)
    splits = build.write_rows(tmp_path, letters())
    assert len(splits["test"].files) > 1
    assert (tmp_path / next(iter(splits["test"].files))).read_bytes() != before["letters/test-00000-of-00001.parquet"]
    forget(hub)
    pushed = publish.push(NAME, [letters(), query_count()])
    assert (pushed.files, pushed.deleted, sorted(pushed.unchanged)) == ({}, [], ["letters", "query-count"])
    assert (writes(hub), hub.uploaded.total()) == ([], 0)

    # If another config changes, the files of the unchanged config stay the same.
    pushed = publish.push(NAME, [letters(), query_count(repeats=1)])
    assert pushed.unchanged == ["letters"]
    after = hub.files("dataset", NAME)
    assert {path for path in after if path.startswith("letters/")} == {"letters/test-00000-of-00001.parquet"}
    assert after["letters/test-00000-of-00001.parquet"] == before["letters/test-00000-of-00001.parquet"]
    listed = manifest(hub)["configs"]
    assert list(listed["letters"]["splits"]["test"]["files"]) == ["letters/test-00000-of-00001.parquet"]
    assert {path for path in after if path.startswith("query-count/")} == set(
        listed["query-count"]["splits"]["test"]["files"]
    )


def test_push_replaces_only_changed_config(
    hub: Hub, push: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "FILE_BYTES", 2**11)
    publish.push(NAME, [flipflop(), letters(10), query_count()])
    before, listed = hub.files("dataset", NAME), manifest(hub)["configs"]
    shards = listed["letters"]["splits"]["test"]["files"]
    assert len(shards) > 2 and set(shards) < set(before)
    assert [row for path in shards for row in rows(hub, path, tmp_path)] == letters(10).table("test").to_pylist()

    forget(hub)
    output = output_of(push(1))
    after = hub.files("dataset", NAME)
    (shard,) = (path for path in after if path.startswith("letters/"))
    assert shard == "letters/test-00000-of-00001.parquet"
    assert rows(hub, shard, tmp_path) == letters(1).table("test").to_pylist()
    for path in shards:
        assert f"deleted  {path}\n" in output
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed == {"README.md", MANIFEST_FILE, shard, *shards}
    assert len(titles(hub)) == 3
    assert hub.uploaded["lfs"] == len(after[shard])
    now = manifest(hub)["configs"]
    assert {name: now[name] == listed[name] for name in now} == {
        "flipflop": True,
        "query-count": True,
        "letters": False,
    }
    card = after["README.md"].decode()
    assert all(f"config_name: {name}\n" in card for name in now)


def test_push_deletes_files_of_removed_split(hub: Hub) -> None:
    publish.push(NAME, [flipflop(), letters()])
    pushed = publish.push(NAME, [flipflop(val_dense_rows=0)])
    assert pushed.deleted == ["figures/flipflop-val_dense.svg", "flipflop/val_dense-00000-of-00001.parquet"]
    assert not [path for path in hub.files("dataset", NAME) if "val_dense" in path]
    # The other splits are regenerated with the same bytes, so they are not uploaded.
    assert set(pushed.files) == TEXTS
    assert "letters" in manifest(hub)["configs"]


def test_push_keeps_other_files(hub: Hub) -> None:
    publish.push(NAME, [letters()])
    commit(hub, **{"notes/read-me.txt": b"ours"})
    publish.push(NAME, [letters(1)])
    assert hub.files("dataset", NAME)["notes/read-me.txt"] == b"ours"


def test_push_restores_deleted_file(hub: Hub, tmp_path: Path) -> None:
    publish.push(NAME, [letters(), query_count()])
    path = "letters/test-00000-of-00001.parquet"
    HfApi(endpoint=hub.url, token="hf_owner").delete_file(path, NAME, repo_type="dataset")
    pushed = publish.push(NAME, [letters(), query_count()])
    assert (list(pushed.files), pushed.unchanged) == ([path], ["query-count"])
    assert rows(hub, path, tmp_path) == letters().table("test").to_pylist()


def test_dry_run_changes_nothing(hub: Hub, push: Run) -> None:
    output = output_of(push(2, "--tag", "v1", "--dry-run"))
    assert "would be uploaded" in output and "tag v1 would be set" in output
    assert state(hub) is None
    assert writes(hub) == []
    output_of(push(2))
    before = state(hub)
    forget(hub)
    output = output_of(push(1, "--tag", "v1", "--dry-run"))
    assert re.search(r"bytes  letters/test-00000-of-00001\.parquet", output)
    assert "would be uploaded" in output
    assert (state(hub), writes(hub), hub.uploaded.total()) == (before, [], 0)


# Tags


def test_tags_are_never_moved(hub: Hub, push: Run) -> None:
    assert "tag v1 set\n" in output_of(push(2, "--tag", "v1"))
    first, old = head(hub), hub.files("dataset", NAME)
    assert head(hub, "refs/tags/v1") == first
    output_of(push(2, "--tag", "v1"))
    before = state(hub)

    forget(hub)
    assert "has a tag v1 with other rows" in refused(push(1, "--tag", "v1"))
    assert (state(hub), writes(hub), hub.uploaded.total()) == (before, [], 0)

    assert "tag v2 set\n" in output_of(push(1, "--tag", "v2"))
    assert head(hub, "refs/tags/v1") == first
    assert hub.files("dataset", NAME, "v1") == old
    assert head(hub, "refs/tags/v2") == head(hub) != first
    assert manifest(hub, "v2")["configs"]["letters"]["parameters"]["words_per_cell"] == 1

    # Pushing the rows of v1 to main again, also with --tag v1, does not move the tags.
    output_of(push(2))
    tags = {ref: commit for ref, commit in (state(hub) or {})["refs"].items() if ref.startswith("refs/tags/")}
    output_of(push(2, "--tag", "v1"))
    assert {ref: commit for ref, commit in (state(hub) or {})["refs"].items() if ref.startswith("refs/tags/")} == tags


def test_tag_without_new_commit(hub: Hub, push: Run) -> None:
    output_of(push())
    before = titles(hub)
    assert output_of(push(2, "--tag", "v1")).splitlines()[-2:] == [
        f"nothing to upload: {NAME} is up to date",
        "tag v1 set",
    ]
    assert (head(hub, "refs/tags/v1"), titles(hub)) == (head(hub), before)


def test_tag_with_additional_config_is_refused(hub: Hub) -> None:
    publish.push(NAME, [letters()], tag="v1")
    before = state(hub)
    with pytest.raises(HubError, match="tag v1 with other rows"):
        publish.push(NAME, [query_count()], tag="v1")
    assert state(hub) == before


def test_failed_tag_is_set_by_next_push(hub: Hub, push: Run) -> None:
    hub.fail_next("POST", "/tag/", status=503, times=20)
    assert "the Hub refused (" in refused(push(2, "--tag", "v1"))
    assert "refs/tags/v1" not in (state(hub) or {})["refs"]
    hub._faults._planned.clear()
    forget(hub)
    assert "tag v1 set" in output_of(push(2, "--tag", "v1"))
    assert head(hub, "refs/tags/v1") == head(hub)
    assert hub.uploaded.total() == 0


# Pull requests


def test_pull_request_leaves_main_unchanged(hub: Hub, push: Run) -> None:
    output_of(push(2))
    main = head(hub)
    output = output_of(push(1, "--create-pr"))
    assert output.splitlines()[-1] == f"{hub.url}/datasets/{NAME}/discussions/1"
    assert head(hub) == main
    assert manifest(hub)["configs"]["letters"]["parameters"]["words_per_cell"] == 2
    proposed = hub.files("dataset", NAME, "refs/pr/1")
    assert manifest(hub, "refs/pr/1")["configs"]["letters"]["parameters"]["words_per_cell"] == 1
    assert len(titles(hub, "refs/pr/1")) == 3

    HfApi(endpoint=hub.url, token="hf_owner").merge_pull_request(NAME, 1, repo_type="dataset")
    assert hub.files("dataset", NAME) == proposed
    forget(hub)
    assert "nothing to upload" in output_of(push(1, "--create-pr"))
    assert writes(hub) == []


def test_guest_needs_pull_request(hub: Hub, push: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    output_of(push(2))
    main = head(hub)
    monkeypatch.setenv("HF_TOKEN", "hf_guest")
    assert "add --create-pr" in refused(push(1))
    output_of(push(1, "--create-pr"))
    assert head(hub) == main
    assert manifest(hub, "refs/pr/1")["configs"]["letters"]["parameters"]["words_per_cell"] == 1


def test_pull_request_needs_repository_and_no_tag(hub: Hub, push: Run) -> None:
    assert "Push without --create-pr" in refused(push(2, "--create-pr"))
    assert "--create-pr excludes --tag" in refused(push(2, "--create-pr", "--tag", "v1"))
    assert (state(hub), writes(hub)) == (None, [])


# Existing repositories


def test_private_repository(hub: Hub, push: Run) -> None:
    output_of(push(2, "--private"))
    assert (state(hub) or {})["private"] is True
    output_of(push(1, "--private"))
    assert (state(hub) or {})["private"] is True
    output_of(push(2))
    assert (state(hub) or {})["private"] is True


def test_private_option_for_public_repository(hub: Hub, push: Run) -> None:
    output_of(push(2))
    before = state(hub)
    forget(hub)
    assert "already exists and is public" in refused(push(1, "--private"))
    assert (state(hub), writes(hub)) == (before, [])
    assert (before or {})["private"] is False


def test_push_refuses_other_dataset(hub: Hub, push: Run, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "README.md").write_text("theirs")
    (folder / "train.csv").write_text("text\nw0r0\n")
    hub.add_repository("dataset", NAME, folder)
    before = state(hub)
    assert f"contains another dataset (no {MANIFEST_FILE})" in refused(push(2))
    assert (state(hub), writes(hub)) == (before, [])


def test_push_to_empty_repository(hub: Hub, push: Run) -> None:
    HfApi(endpoint=hub.url, token="hf_owner").create_repo(NAME, repo_type="dataset")
    commit(hub, **{"README.md": b"To come."})
    output_of(push(2))
    assert b"To come." not in hub.files("dataset", NAME)["README.md"]


def test_push_over_older_generator_version(hub: Hub) -> None:
    publish.push(NAME, [letters(), query_count()])
    old = hub.files("dataset", NAME)
    other = old[MANIFEST_FILE].replace(json.dumps(GENERATOR_VERSION).encode(), b'"0.9.0"', 1)
    assert other != old[MANIFEST_FILE]
    commit(hub, **{MANIFEST_FILE: other})
    before = state(hub)
    forget(hub)
    with pytest.raises(HubError, match=r"another version wrote query-count of org/set\. Push them too\."):
        publish.push(NAME, [letters()])
    assert (state(hub), writes(hub)) == (before, [])
    pushed = publish.push(NAME, [letters(1), query_count()])
    assert pushed.unchanged == []
    assert manifest(hub)["generator_version"] == GENERATOR_VERSION
    assert hub.files("dataset", NAME)["query-count/test-00000-of-00001.parquet"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"generator_version": 1}', b"\xff\xfe"])
def test_push_over_corrupt_manifest(hub: Hub, content: bytes) -> None:
    publish.push(NAME, [letters(), query_count()])
    original = hub.files("dataset", NAME)
    commit(hub, **{MANIFEST_FILE: content})
    before = state(hub)
    with pytest.raises(HubError, match=r"another version wrote query-count of org/set\. Push them too\."):
        publish.push(NAME, [letters()])
    assert state(hub) == before
    assert set(publish.push(NAME, [letters(), query_count()]).files) == {MANIFEST_FILE}
    assert hub.files("dataset", NAME) == original


def test_push_restores_edited_file(hub: Hub) -> None:
    publish.push(NAME, [letters(), query_count()])
    original = hub.files("dataset", NAME)
    path = "letters/test-00000-of-00001.parquet"
    commit(hub, **{path: original["query-count/test-00000-of-00001.parquet"]})
    pushed = publish.push(NAME, [letters(), query_count()])
    assert (set(pushed.files), pushed.unchanged) == ({path}, ["query-count"])
    assert hub.files("dataset", NAME) == original


# Failures


@pytest.fixture
def published(hub: Hub, push: Run) -> dict[str, Any]:
    """Pushes letters with a tag to org/set, and returns the state, which a failed push must not change."""
    output_of(push(1, "--tag", "v1"))
    forget(hub)
    return state(hub) or {}


def complete(hub: Hub, push: Run) -> None:
    """Repeats a failed push without faults."""
    hub._faults._planned.clear()
    output_of(push(2))
    assert manifest(hub)["configs"]["letters"]["parameters"]["words_per_cell"] == 2
    assert [title for title in titles(hub) if title.startswith("fflm ")] == [f"fflm {GENERATOR_VERSION}: letters"] * 2


FAULTS: dict[str, tuple[Callable[[Hub], object], str]] = {
    "429 for ever": (
        lambda hub: hub.fail_next("POST", "/preupload/", status=429, headers={"Retry-After": "7"}, times=99),
        "the rate limit of the Hub is exceeded; run the command again in 7 seconds",
    ),
    "429 at the commit": (
        lambda hub: hub.fail_next("POST", "/commit/", status=429, times=99),
        "the rate limit of the Hub is exceeded; run the command again later",
    ),
    "409": (
        lambda hub: hub.fail_next("POST", "/commit/", status=409),
        "another commit to org/set is in progress; run the command again",
    ),
    "412": (
        lambda hub: hub.fail_next("POST", "/commit/", status=412),
        "org/set changed during this command; run the command again",
    ),
    "403 at the commit": (
        lambda hub: hub.fail_next("POST", "/commit/", status=403),
        "your token may not write to org/set",
    ),
    "500 at the look": (
        lambda hub: hub.fail_next("GET", r"/api/datasets/org/set\?", status=500, times=99),
        "500",
    ),
    "500 at the refs": (lambda hub: hub.fail_next("GET", "/refs", status=500, times=99), "500"),
    "500 at the manifest": (lambda hub: hub.fail_next("HEAD", "/resolve/", status=500, times=99), "500"),
    "503 at preupload": (lambda hub: hub.fail_next("POST", "/preupload/", status=503, times=99), "503"),
    "504 at the LFS batch": (lambda hub: hub.fail_next("POST", "objects/batch", status=504, times=99), "504"),
    "500 at the LFS upload": (lambda hub: hub.fail_next("PUT", "/lfs/", status=500, times=99), "500"),
    "403 at the LFS upload": (lambda hub: hub.fail_next("PUT", "/lfs/", status=403, times=99), "your token may not"),
    "500 at the commit": (lambda hub: hub.fail_next("POST", "/commit/", status=500, times=99), "500"),
    "cut at the look": (
        lambda hub: hub.cut_next("GET", r"/api/datasets/org/set\?", times=99),
        "the connection to the Hub failed (",
    ),
    "cut at the manifest": (
        lambda hub: hub.cut_next("HEAD", "/resolve/", times=99),
        "the connection to the Hub failed (",
    ),
    "cut in the LFS upload": (
        lambda hub: hub.cut_next("PUT", "/lfs/", after_bytes=1000, times=99),
        "the connection to the Hub failed (",
    ),
    "cut in the commit": (
        lambda hub: hub.cut_next("POST", "/commit/", after_bytes=100, times=99),
        "the connection to the Hub failed (",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_push_leaves_repository_unchanged(
    hub: Hub, push: Run, published: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another cache"))
    plan, message = FAULTS[fault]
    plan(hub)
    line = refused(push(2))
    assert message in line
    assert line.startswith("fflm-data: ")
    assert state(hub) == published
    assert not [*hub.root.rglob("*.partial")]
    complete(hub, push)


def test_interrupted_upload(hub: Hub, published: dict[str, Any]) -> None:
    hub.cut_next("PUT", "/lfs/", after_bytes=500, times=99)
    with pytest.raises(HubError, match=r"^the connection to the Hub failed \("):
        publish.push(NAME, [flipflop(), letters()])
    assert state(hub) == published
    hub._faults._planned.clear()
    publish.push(NAME, [flipflop(), letters()])
    assert set(manifest(hub)["configs"]) == {"flipflop", "letters"}


def test_rate_limit_is_retried(hub: Hub, push: Run, published: dict[str, Any], waits: list[float]) -> None:
    hub.fail_next("POST", "/preupload/", status=429, headers={"Retry-After": "3"})
    hub.cut_next("PUT", "/lfs/", after_bytes=100)
    output_of(push(2))
    assert waits[0] >= 3 and len(waits) == 2
    assert manifest(hub)["configs"]["letters"]["parameters"]["words_per_cell"] == 2


def test_lost_commit_reply(hub: Hub, push: Run, published: dict[str, Any]) -> None:
    """The commit succeeded but its reply was lost: the message must not claim otherwise, and the next push finds it."""
    hub.cut_next("POST", "/commit/", reply=True)
    line = refused(push(2))
    assert "the connection to the Hub failed (" in line and "as it was" not in line
    forget(hub)
    assert "nothing to upload" in output_of(push(2))
    assert writes(hub) == []


def test_concurrent_commit(hub: Hub, push: Run, published: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    original = publish.write_metadata

    def interleaved(*arguments: Any) -> None:
        original(*arguments)
        commit(hub, **{"theirs.txt": b"theirs"})

    with monkeypatch.context() as patch:
        patch.setattr(publish, "write_metadata", interleaved)
        assert "changed during this command" in refused(push(2))
    assert hub.files("dataset", NAME) == published["refs/heads/main"] | {"theirs.txt": b"theirs"}
    complete(hub, push)
    assert hub.files("dataset", NAME)["theirs.txt"] == b"theirs"


def test_concurrent_repository_creation(hub: Hub, push: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    original = publish.write_metadata

    def interleaved(*arguments: Any) -> None:
        original(*arguments)
        HfApi(endpoint=hub.url, token="hf_owner").create_repo(NAME, repo_type="dataset")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "write_metadata", interleaved)
        assert "run the command again" in refused(push(2))
    assert titles(hub) == ["initial commit"]
    output_of(push(2))
    assert len(titles(hub)) == 2


def test_storage_full(hub: Hub, push: Run, published: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(hub: Hub, repository: Any, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "oid": request["oid"],
            "size": request["size"],
            "error": {"code": 403, "message": "storage limit reached"},
        }

    with monkeypatch.context() as patch:
        patch.setattr(pushing, "lfs_actions", full)
        assert "storage limit reached" in refused(push(2))
    assert state(hub) == published
    complete(hub, push)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("hf_wrong", "the Hub does not know this token: log in with `hf auth login` or set HF_TOKEN"),
        ("hf_reader", "your token may not write to org/set"),
        ("hf_guest", "your token may not write to org/set"),
    ],
)
@pytest.mark.parametrize("new", [True, False])
def test_invalid_tokens(
    hub: Hub, push: Run, monkeypatch: pytest.MonkeyPatch, token: str, message: str, new: bool
) -> None:
    if not new:
        output_of(push(1))
    before = state(hub)
    monkeypatch.setenv("HF_TOKEN", token)
    assert message in refused(push(2))
    assert state(hub) == before


def test_no_token(hub: Hub, push: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    assert "log in with `hf auth login` or set HF_TOKEN" in refused(push(2))
    assert state(hub) is None


def test_push_to_private_repository_of_others(hub: Hub, push: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    output_of(push(1, "--private"))
    before = state(hub)
    monkeypatch.setenv("HF_TOKEN", "hf_guest")
    assert NAME in refused(push(2))
    assert state(hub) == before


@pytest.mark.parametrize("name", ["org/set/more", "org//set", "org/-set", "org/se t", "no-slash", ""])
def test_invalid_repository_names(hub: Hub, cli: Run, name: str) -> None:
    line = refused(cli("fflm-data", "push", name, "--config", "letters", "--set", "words_per_cell=1"))
    assert "write ORG/NAME" in line
    assert writes(hub) == []


def test_push_offline(hub: Hub, push: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    assert "HF_HUB_OFFLINE is set: unset it" in refused(push(2))
    assert hub.requests == []


def test_push_unreachable_hub(push: Run, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "the connection to the Hub failed (" in refused(push(2))


# The command in a subprocess


def test_push_command_in_subprocess(hub: Hub, push: Run) -> None:
    environment = hub.environment("hf_owner")
    output = push(2, "--tag", "v1", **environment)
    assert output.returncode == 0, output.stderr
    assert output.stderr == ""
    assert f"{hub.url}/datasets/{NAME}/commit/{head(hub)}" in output.stdout.splitlines()
    assert set(hub.files("dataset", NAME, "v1")) == {GITATTRIBUTES, "letters/test-00000-of-00001.parquet"} | TEXTS
    before = state(hub)
    assert "the Hub does not know this token" in refused(push(1, **environment | {"HF_TOKEN": "hf_wrong"}))
    assert state(hub) == before


def test_killed_push(hub: WatchedHub, push: Run, published: dict[str, Any], tmp_path: Path) -> None:
    hub.resume.clear()
    hub.started.clear()
    arguments = ["push", NAME, "--config", "letters", "--set", "words_per_cell=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fflm_data.cli", *arguments],
        env=os.environ | hub.environment("hf_owner"),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert hub.started.wait(60)
        assert process.poll() is None
    finally:
        process.kill()
        status = process.wait()
        hub.resume.set()
    assert status == -signal.SIGKILL
    assert state(hub) == published
    complete(hub, push)


@pytest.mark.parametrize("tag", ["", "a b", "../x", "v1..2", "v1.lock", "-v", "v1."])
def test_invalid_tag_is_refused_before_upload(hub: Hub, tag: str) -> None:
    with pytest.raises(HubError, match="is not a valid tag"):
        publish.push(NAME, [letters()], tag=tag)
    assert writes(hub) == []


def test_tag_named_like_branch_is_refused(hub: Hub) -> None:
    publish.push(NAME, [letters()])
    forget(hub)
    with pytest.raises(HubError, match="has a branch main"):
        publish.push(NAME, [letters(1)], tag="main")
    assert writes(hub) == []


def test_first_push_refuses_tag_main(hub: Hub) -> None:
    with pytest.raises(HubError, match="has a branch main"):
        publish.push(NAME, [letters()], tag="main")
    assert writes(hub) == []


def test_push_refuses_newer_generator_version(hub: Hub) -> None:
    publish.push(NAME, [letters()])
    text = hub.files("dataset", NAME)[MANIFEST_FILE].decode()
    commit(hub, **{MANIFEST_FILE: text.replace(json.dumps(GENERATOR_VERSION), '"99.0.0"', 1).encode()})
    before = state(hub)
    with pytest.raises(ValueError, match=r"generator version 99\.0\.0, but this is .*Install the"):
        publish.push(NAME, [letters(1)])
    assert state(hub) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda listed: listed["letters"]["splits"]["test"].update(rows="x"),
        lambda listed: listed["letters"]["splits"]["test"].update(files=[3]),
        lambda listed: listed["letters"]["splits"]["test"].update(files={}),
        lambda listed: listed["letters"]["splits"]["test"].update(rows=-5),
        lambda listed: listed["letters"]["splits"]["test"].update(bytes=10**400),
        lambda listed: listed["letters"]["splits"]["test"].update(sha256=None),
        lambda listed: listed["letters"].update(splits={}),
        lambda listed: listed["letters"]["splits"].update({"../../x": listed["letters"]["splits"]["test"]}),
        lambda listed: listed.update({"flipflop-train": listed["letters"]}),
    ],
)
def test_invalid_manifest_is_ignored(hub: Hub, change: Any) -> None:
    publish.push(NAME, [letters()])
    content = json.loads(hub.files("dataset", NAME)[MANIFEST_FILE])
    change(content["configs"])
    commit(hub, **{MANIFEST_FILE: json.dumps(content).encode()})
    with pytest.raises(HubError, match="another version wrote letters of org/set"):
        publish.push(NAME, [query_count()])
    publish.push(NAME, [letters()])
    assert set(manifest(hub)["configs"]["letters"]["splits"]) == {"test"}


def test_push_keeps_files_of_other_configs(hub: Hub) -> None:
    publish.push(NAME, [letters(), query_count()])
    commit(hub, **{"letters/ours.txt": b"ours"})
    assert publish.push(NAME, [query_count(), get_config("arithmetic", rows_per_cell=1)]).deleted == []
    assert hub.files("dataset", NAME)["letters/ours.txt"] == b"ours"
    assert publish.push(NAME, [letters(1)]).deleted == ["letters/ours.txt"]
