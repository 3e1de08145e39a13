"""The test Hub, checked with the unmodified clients: push, read, pull requests, failures."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    close_session,
    constants,
    file_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import _http

from tests.hub import Hub

CARD = b"---\nlicense: mit\n---\n# Card\n"
TABLE = bytes(range(256)) * 40
GITATTRIBUTES = ".gitattributes"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Returns the recorded pauses of the client between retries."""
    waits: list[float] = []
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=waits.append))
    return waits


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[None]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield
    close_session()


@pytest.fixture
def hub(tmp_path: Path, online: None) -> Iterator[Hub]:
    with Hub(tmp_path / "hub", page_size=3, chunk_size=4096) as hub:
        yield hub
    assert 501 not in {status for *_, status in hub.requests}, "the test Hub failed"


Client = Callable[[str | bool], HfApi]


@pytest.fixture
def client(hub: Hub) -> Client:
    """Returns a function from a token to a client. False means no token, not even one saved on this machine."""
    return lambda token: HfApi(endpoint=hub.url, token=token)


@pytest.fixture
def api(client: Client) -> HfApi:
    return client("hf_owner")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_bytes(CARD)
    (folder / "empty.txt").write_bytes(b"")
    (folder / "data" / "train.parquet").write_bytes(TABLE)
    return folder


FILES = {"README.md": CARD, "empty.txt": b"", "data/train.parquet": TABLE}


@pytest.fixture
def published(hub: Hub, folder: Path) -> str:
    """Creates org/set with FILES and returns its commit."""
    return hub.add_repository("dataset", "org/set", folder, tags=["v1"])


def pushed(hub: Hub, *ref: str) -> dict[str, bytes]:
    return {path: content for path, content in hub.files("dataset", "org/set", *ref).items() if path != GITATTRIBUTES}


def add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


def commit(
    api: HfApi, *operations: CommitOperationAdd | CommitOperationCopy | CommitOperationDelete, **options: object
) -> str:
    info = api.create_commit("org/set", operations, commit_message="Change", repo_type="dataset", **options)  # type: ignore[call-overload]
    return info.oid


def status_of(error: "pytest.ExceptionInfo[HfHubHTTPError]") -> int:
    return error.value.response.status_code


def statuses(hub: Hub, method: str, part: str) -> list[int]:
    """Returns the statuses of the requests with a method whose target contains `part`."""
    return [status for verb, target, status in hub.requests if verb == method and part in target]


# Creating and pushing


def test_whoami(client: Client) -> None:
    assert client("hf_owner").whoami()["name"] == "owner"
    assert client("hf_reader").whoami()["auth"]["accessToken"]["role"] == "read"
    with pytest.raises(HfHubHTTPError) as error:
        client("hf_wrong").whoami()
    assert status_of(error) == 401


def test_create_and_delete_repository(hub: Hub, api: HfApi) -> None:
    url = api.create_repo("org/set", repo_type="dataset")
    assert (url, url.repo_id, url.repo_type) == (f"{hub.url}/datasets/org/set", "org/set", "dataset")
    assert api.list_repo_files("org/set", repo_type="dataset") == [GITATTRIBUTES]
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("org/set", repo_type="dataset")
    assert status_of(error) == 409
    assert api.create_repo("org/set", repo_type="dataset", exist_ok=True).repo_id == "org/set"
    assert api.create_repo("mine").repo_id == "owner/mine"
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("elsewhere/set")
    assert status_of(error) == 403
    api.delete_repo("org/set", repo_type="dataset")
    assert not api.repo_exists("org/set", repo_type="dataset")


def test_upload_folder_twice(hub: Hub, api: HfApi, folder: Path) -> None:
    api.create_repo("org/set", repo_type="dataset")
    first = api.upload_folder(repo_id="org/set", folder_path=folder, repo_type="dataset", commit_message="Data")
    assert pushed(hub) == FILES
    assert hub.uploaded == {"lfs": len(TABLE), "regular": len(CARD)}
    assert statuses(hub, "PUT", "/lfs/") == [200] * 3  # 10,240 bytes in parts of 4,096
    info = api.dataset_info("org/set", files_metadata=True)
    table = next(file for file in info.siblings or [] if file.rfilename == "data/train.parquet")
    assert info.sha == first.oid
    assert table.lfs and table.size == table.lfs.size == len(TABLE)

    hub.uploaded.clear()
    again = api.upload_folder(repo_id="org/set", folder_path=folder, repo_type="dataset", commit_message="Again")
    assert again.oid == first.oid
    assert hub.uploaded.total() == 0
    assert [entry.title for entry in api.list_repo_commits("org/set", repo_type="dataset")] == [
        "Data",
        "initial commit",
    ]


def test_known_content_is_not_uploaded_again(hub: Hub, api: HfApi, published: str) -> None:
    first = commit(api, add("data/test.parquet", TABLE), add("notes.txt", b"new"), CommitOperationDelete("empty.txt"))
    assert pushed(hub) == {"README.md": CARD, "notes.txt": b"new"} | dict.fromkeys(
        ("data/train.parquet", "data/test.parquet"), TABLE
    )
    assert hub.uploaded == {"regular": 3}
    assert pushed(hub, published) == FILES
    commit(api, CommitOperationDelete("data/"), CommitOperationCopy("data/train.parquet", "copy.parquet"))
    assert pushed(hub) == {"README.md": CARD, "notes.txt": b"new", "copy.parquet": TABLE}
    assert hub.uploaded == {"regular": 3}
    assert api.repo_info("org/set", repo_type="dataset", revision=first[:40]).sha == first


def test_delete_missing_file(hub: Hub, api: HfApi, published: str) -> None:
    with pytest.raises(EntryNotFoundError, match="A file with this name doesn't exist"):
        commit(api, add("new.txt", b"new"), CommitOperationDelete("absent.txt"))
    assert api.dataset_info("org/set").sha == published
    assert pushed(hub) == FILES


def test_stale_parent_commit(hub: Hub, api: HfApi, published: str) -> None:
    ours = commit(api, add("one.txt", b"1"), parent_commit=published)
    with pytest.raises(HfHubHTTPError) as error:
        commit(api, add("two.txt", b"2"), parent_commit=published)
    assert status_of(error) == 412
    assert api.dataset_info("org/set").sha == ours
    assert "two.txt" not in pushed(hub)


def test_concurrent_commits(hub: Hub, api: HfApi, published: str) -> None:
    def push(name: str) -> str | int:
        try:
            return commit(api, add(f"{name}.txt", name.encode()), parent_commit=published)
        except HfHubHTTPError as error:
            return error.response.status_code

    with ThreadPoolExecutor(4) as threads:
        results = dict(zip("abcd", threads.map(push, "abcd"), strict=True))
    assert [*results.values()].count(412) == 3
    (first,) = (name for name, result in results.items() if result != 412)
    assert api.dataset_info("org/set").sha == results[first]
    assert pushed(hub) == FILES | {f"{first}.txt": first.encode()}


def test_branches_and_tags(hub: Hub, api: HfApi, published: str) -> None:
    api.create_branch("org/set", branch="next", repo_type="dataset")
    after = commit(api, add("one.txt", b"1"), revision="next")
    api.create_tag("org/set", tag="v2", revision="next", repo_type="dataset")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag("org/set", tag="v1", revision="next", repo_type="dataset")
    assert status_of(error) == 409
    with pytest.raises(HfHubHTTPError) as error:
        api.create_branch("org/set", branch="next", repo_type="dataset")
    assert status_of(error) == 409
    refs = api.list_repo_refs("org/set", repo_type="dataset")
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": published, "next": after}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": published, "v2": after}
    api.delete_tag("org/set", tag="v2", repo_type="dataset")
    api.delete_branch("org/set", branch="next", repo_type="dataset")
    for revision in ("v2", "next"):
        with pytest.raises(RevisionNotFoundError):
            api.dataset_info("org/set", revision=revision)
    assert pushed(hub, after) == FILES | {"one.txt": b"1"}


# Pull requests


def test_pull_request(hub: Hub, client: Client, api: HfApi, published: str) -> None:
    guest = client("hf_guest")
    more = TABLE + b"more"
    info = guest.create_commit(
        "org/set",
        [add("new.parquet", more), CommitOperationDelete("empty.txt")],
        commit_message="Proposal",
        commit_description="Reasons",
        repo_type="dataset",
        create_pr=True,
    )
    proposed = {"README.md": CARD, "data/train.parquet": TABLE, "new.parquet": more}
    assert (info.pr_num, info.pr_revision) == (1, "refs/pr/1")
    assert api.dataset_info("org/set").sha == published
    assert pushed(hub) == FILES
    assert pushed(hub, "refs/pr/1") == proposed
    assert api.list_repo_files("org/set", repo_type="dataset", revision="refs/pr/1") == sorted(proposed)
    pulls = api.list_repo_refs("org/set", repo_type="dataset", include_pull_requests=True).pull_requests or []
    assert [(ref.ref, ref.target_commit) for ref in pulls] == [("refs/pr/1", info.oid)]

    commit(guest, add("more.txt", b"more"), revision="refs/pr/1")
    api.comment_discussion("org/set", 1, "Thanks", repo_type="dataset")
    details = api.get_discussion_details("org/set", 1, repo_type="dataset")
    assert (details.title, details.status, details.author) == ("Proposal", "open", "guest")
    assert (details.is_pull_request, details.target_branch, details.conflicting_files) == (True, "refs/heads/main", [])
    events = [(event.type, getattr(event, "content", getattr(event, "summary", ""))) for event in details.events]
    assert events == [("comment", "Reasons"), ("commit", "Proposal"), ("commit", "Change"), ("comment", "Thanks")]

    commit(api, add("README.md", b"Another card"))
    with pytest.raises(HfHubHTTPError) as error:
        guest.merge_pull_request("org/set", 1, repo_type="dataset")
    assert status_of(error) == 403
    api.merge_pull_request("org/set", 1, repo_type="dataset")
    assert pushed(hub) == proposed | {"README.md": b"Another card", "more.txt": b"more"}
    merged = api.get_discussion_details("org/set", 1, repo_type="dataset")
    assert (merged.status, merged.merge_commit_oid) == ("merged", api.dataset_info("org/set").sha)


def test_pull_request_conflict(hub: Hub, api: HfApi, published: str) -> None:
    commit(api, add("README.md", b"Theirs"), create_pr=True)
    ours = commit(api, add("README.md", b"Ours"))
    assert api.get_discussion_details("org/set", 1, repo_type="dataset").conflicting_files == ["README.md"]
    with pytest.raises(HfHubHTTPError) as error:
        api.merge_pull_request("org/set", 1, repo_type="dataset")
    assert status_of(error) == 409
    assert api.dataset_info("org/set").sha == ours


def test_draft_pull_request(hub: Hub, api: HfApi, published: str) -> None:
    api.create_discussion("org/set", "A question", repo_type="dataset")
    draft = api.create_pull_request("org/set", "A draft", repo_type="dataset")
    assert (draft.num, draft.status) == (2, "draft")
    commit(api, add("one.txt", b"1"), revision="refs/pr/2")
    with pytest.raises(HfHubHTTPError):
        api.merge_pull_request("org/set", 2, repo_type="dataset")
    assert pushed(hub) == FILES
    api.change_discussion_status("org/set", 2, "open", repo_type="dataset")
    api.rename_discussion("org/set", 2, new_title="A proposal", repo_type="dataset")
    api.merge_pull_request("org/set", 2, repo_type="dataset")
    assert pushed(hub) == FILES | {"one.txt": b"1"}
    listed = {entry.num: entry for entry in api.get_repo_discussions("org/set", repo_type="dataset")}
    assert {number: entry.title for number, entry in listed.items()} == {1: "A question", 2: "A proposal"}
    assert {number: entry.status for number, entry in listed.items()} == {1: "open", 2: "merged"}


# Errors


def test_token_permissions(hub: Hub, client: Client, published: str) -> None:
    expected = {
        "hf_wrong": (401, "Invalid credentials"),
        "hf_reader": (403, "only read"),
        "hf_guest": (403, "right to"),
    }
    for token, (status, message) in expected.items():
        with pytest.raises(HfHubHTTPError, match=message) as error:
            commit(client(token), add("one.txt", b"1"))
        assert status_of(error) == status
        assert not isinstance(error.value, RepositoryNotFoundError)
    assert client("hf_reader").dataset_info("org/set").sha == published
    with pytest.raises(HfHubHTTPError):
        commit(client(False), add("one.txt", b"1"))
    assert pushed(hub) == FILES
    assert hub.uploaded.total() == 0


@pytest.mark.parametrize("token", ["hf_owner", False])
def test_missing_entries(client: Client, published: str, token: str | bool) -> None:
    api = client(token)
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("org/absent")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/set")  # a dataset
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info("org/set", revision="absent")
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download("org/set", "README.md", repo_type="dataset", revision="0" * 40)
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("org/set", "absent.txt", repo_type="dataset")
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("org/set", "absent", repo_type="dataset"))
    assert not api.file_exists("org/set", "absent.txt", repo_type="dataset")


def test_private_repository(hub: Hub, client: Client, folder: Path) -> None:
    owner = client("hf_owner")
    owner.create_repo("org/hidden", private=True)
    owner.upload_file(path_or_fileobj=b"secret", path_in_repo="secret.txt", repo_id="org/hidden")
    assert owner.model_info("org/hidden").private is True
    assert client("hf_reader").file_exists("org/hidden", "secret.txt")
    for token, status in (("hf_guest", 404), (False, 401)):
        other = client(token)
        with pytest.raises(RepositoryNotFoundError) as error:
            other.model_info("org/hidden")
        assert status_of(error) == status
        with pytest.raises(RepositoryNotFoundError):
            other.hf_hub_download("org/hidden", "secret.txt")
    owner.update_repo_settings("org/hidden", private=False)
    assert client(False).file_exists("org/hidden", "secret.txt")


# Faults


def test_rate_limit_is_retried(hub: Hub, api: HfApi, published: str, waits: list[float]) -> None:
    hub.fail_next("POST", "/preupload/", status=429, headers={"Retry-After": "1"}, times=2)
    commit(api, add("one.txt", b"1"))
    assert statuses(hub, "POST", "/preupload/") == [429, 429, 200]
    assert waits == [2.0, 2.0]
    assert pushed(hub)["one.txt"] == b"1"


def test_permanent_failure(hub: Hub, api: HfApi, published: str, waits: list[float]) -> None:
    hub.fail_next("POST", r"objects/batch$", status=503, times=6)
    with pytest.raises(HfHubHTTPError) as error:
        commit(api, add("new.parquet", TABLE + b"more"))
    assert status_of(error) == 503
    assert len(waits) == 5
    assert pushed(hub) == FILES


@pytest.mark.parametrize("size", [2048, 10000])
def test_interrupted_upload(hub: Hub, api: HfApi, published: str, waits: list[float], size: int) -> None:
    hub.cut_next("PUT", "/lfs/", after_bytes=1000, times=6)
    with pytest.raises(RuntimeError, match=r"Error while uploading 'new.parquet'"):
        commit(api, add("new.parquet", TABLE[:size]), add("one.txt", b"1"))
    assert (statuses(hub, "PUT", "/lfs/"), len(waits)) == ([0] * 6, 5)
    assert hub.uploaded == {"lfs": 6000}
    assert api.dataset_info("org/set").sha == published
    assert pushed(hub) == FILES
    assert not [*hub.root.rglob("*.partial")]

    commit(api, add("new.parquet", TABLE[:size]), add("one.txt", b"1"))
    assert pushed(hub) == FILES | {"new.parquet": TABLE[:size], "one.txt": b"1"}


def test_interrupted_commit(hub: Hub, api: HfApi, published: str) -> None:
    hub.cut_next("POST", "/commit/main", after_bytes=100)
    with pytest.raises(Exception, match=r"disconnected|reset|Broken pipe"):
        commit(api, add("new.parquet", TABLE + b"more"), add("one.txt", b"1"))
    assert pushed(hub) == FILES
    assert hub.uploaded == {"lfs": len(TABLE) + 4}
    hub.uploaded.clear()
    commit(api, add("new.parquet", TABLE + b"more"), add("one.txt", b"1"))
    assert hub.uploaded == {"regular": 1}  # the LFS object had arrived
    assert pushed(hub) == FILES | {"new.parquet": TABLE + b"more", "one.txt": b"1"}


def test_lost_response(hub: Hub, api: HfApi, published: str) -> None:
    hub.cut_next("POST", "/commit/main", reply=True)
    with pytest.raises(Exception, match=r"disconnected|reset"):
        commit(api, add("one.txt", b"1"))
    assert pushed(hub) == FILES | {"one.txt": b"1"}


def test_interrupted_download_is_resumed(
    hub: Hub, api: HfApi, published: str, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=waits.append))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    hub.cut_next("GET", "/resolve/.*parquet", after_bytes=5000)
    path = api.hf_hub_download(
        "org/set", "data/train.parquet", repo_type="dataset", cache_dir=tmp_path / "cache", revision="v1"
    )
    assert Path(path).read_bytes() == TABLE
    assert statuses(hub, "GET", "/resolve/") == [0, 206]


# Reading


def test_pagination(hub: Hub, api: HfApi, published: str) -> None:
    paths = sorted(FILES | {"data": b""})
    tree = {entry.path: entry for entry in api.list_repo_tree("org/set", recursive=True, repo_type="dataset")}
    assert sorted(tree) == paths
    assert statuses(hub, "GET", "/tree/") == [200, 200]  # pages of at most three entries
    top = api.list_repo_tree("org/set", repo_type="dataset", expand=True)
    assert {entry.path: entry.last_commit and entry.last_commit.oid for entry in top} == dict.fromkeys(
        ("README.md", "data", "empty.txt"), published
    )
    (table,) = api.get_paths_info("org/set", ["data/train.parquet", "absent"], repo_type="dataset")
    assert (table.path, table.size, table.lfs is not None) == ("data/train.parquet", len(TABLE), True)  # type: ignore[union-attr]
    for number in range(3):
        commit(api, add("counter.txt", str(number).encode()))
    assert len(api.list_repo_commits("org/set", repo_type="dataset")) == 5


def test_range_request(hub: Hub, published: str) -> None:
    files = HfFileSystem(endpoint=hub.url, token=False, skip_instance_cache=True)
    hub.requests.clear()
    with files.open("datasets/org/set@v1/data/train.parquet", block_size=512) as stream:
        stream.seek(5000)
        assert stream.read(100) == TABLE[5000:5100]
    assert statuses(hub, "GET", "/resolve/") == [206]
    assert files.ls("datasets/org/set/data", detail=False) == ["datasets/org/set/data/train.parquet"]


def test_snapshot_download(hub: Hub, client: Client, published: str, tmp_path: Path) -> None:
    owner, reader = client("hf_owner"), client(False)

    def snapshot(revision: str) -> dict[str, bytes]:
        folder = Path(
            reader.snapshot_download("org/set", repo_type="dataset", revision=revision, cache_dir=tmp_path / "cache")
        )
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert snapshot("main") == FILES
    commit(owner, add("README.md", b"Another card"))
    hub.requests.clear()
    assert snapshot("main") == FILES | {"README.md": b"Another card"}
    assert statuses(hub, "GET", "/resolve/") == [200]
    assert snapshot("v1") == FILES


def test_reopened_hub_keeps_content(hub: Hub, published: str) -> None:
    with Hub(hub.root) as again:
        assert HfApi(endpoint=again.url, token=False).dataset_info("org/set", revision="v1").sha == published
        assert again.files("dataset", "org/set") == FILES


@pytest.mark.slow("tests/hub")
def test_datasets_push_and_load(hub: Hub, tmp_path: Path) -> None:
    script = """
        from datasets import Dataset, load_dataset
        from huggingface_hub import HfApi

        rows = Dataset.from_dict({"text": [f"row {i}" for i in range(100)]})
        rows.push_to_hub("org/rows", "some", split="train")
        rows.select(range(3)).push_to_hub("org/rows", "some", split="test")
        rows.select(range(5)).push_to_hub("org/rows", "few", create_pr=True)
        loaded = load_dataset("org/rows", "some")
        assert {name: split.num_rows for name, split in loaded.items()} == {"train": 100, "test": 3}, loaded
        assert loaded["train"]["text"][:] == rows["text"][:]
        streamed = load_dataset("org/rows", "some", split="train", streaming=True)
        assert [row["text"] for row in streamed.skip(97)] == ["row 97", "row 98", "row 99"]
        few = load_dataset("org/rows", "few", split="train", revision="refs/pr/1")
        assert few.num_rows == 5
        print(HfApi().dataset_info("org/rows").sha)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | hub.environment("hf_owner", home=tmp_path / "home"),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    head = hub.store.find("datasets", "org/rows").resolve("main")  # type: ignore[union-attr]
    assert result.stdout.split() == [head.id]
    files = hub.files("dataset", "org/rows")
    assert sorted(files) == [
        GITATTRIBUTES,
        "README.md",
        "some/test-00000-of-00001.parquet",
        "some/train-00000-of-00001.parquet",
    ]
    assert b"config_name: some" in files["README.md"]
    assert {206, 200} <= {status for method, target, status in hub.requests if "/resolve/" in target}
