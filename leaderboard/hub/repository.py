"""A results repository on the Hugging Face Hub: a dataset with records, which are added by pull requests.

ORG/NAME
    records/<org>--<model>/<revision, 12 hex>/<digest, 12 hex>/...
"""

import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.hf_api import RepoFile

from fflm_data.hub import DATASET, hub_errors
from harness.errors import UserError
from leaderboard.records import Record, record_files
from leaderboard.submission_file import SUBMISSION_FILE
from leaderboard.untrusted_text import quote
from leaderboard.verification.pull_request_diff import added_records
from leaderboard.verification.reading import max_bytes, read_json
from leaderboard.verification.refusal import Refused

RECORDS, REPORTED = PurePosixPath("records"), PurePosixPath("reported")
# Limits of one pull request.
MOST_NEW_FILES = 1_000
MOST_NEW_BYTES = 2**29
# Placeholders for a deleted account. Two deleted accounts are not the same sender.
NO_AUTHOR = ("", "deleted")


def propose(repository: str, record: Record, description: str) -> str:
    """Opens a pull request that adds a record and returns its address. Raises UserError if the record already exists,
    and HubError if the Hub refuses."""
    place = RECORDS / record.place
    files = record_files(record.run)
    with hub_errors(repository, forbidden=f"open a pull request in {repository}: use one that may"):
        api = HfApi()
        there = _files(api, repository, None)
        if any(path.startswith(f"{place}/") for path in there):
            raise UserError(f"{repository} already has {place}: this run was submitted before. There is nothing to do.")
        commit = api.create_commit(
            repository,
            [CommitOperationAdd(f"{place}/{path}", record.folder / path) for path in files],
            commit_message=f"Record {record.run.facts['model']['id']}",
            commit_description=description,
            repo_type=DATASET,
            create_pr=True,
        )
    return str(commit.pr_url)


@dataclass(frozen=True)
class Fetched:
    """A repository at one commit, in a temporary folder. added: the records to verify, relative to it. pull_request:
    None for the main branch. own: superseded records that came by pull requests of the same author, 12 hex digits
    each."""

    repository: str
    pull_request: int | None
    revision: str
    root: Path
    added: list[PurePosixPath]
    own: frozenset[str] = frozenset()


@contextmanager
def fetched(repository: str, pull_request: int | None, attested: Collection[str] = ()) -> Iterator[Fetched]:
    """Yields the records of a repository, or of a pull request, at the current commits. attested: file names of
    attestations that the pull request may add.

    Raises Refused, before the download, if the pull request changes more than new records or exceeds the limits, and
    HubError if the Hub refuses.
    """
    with tempfile.TemporaryDirectory() as path, hub_errors(repository):
        api = HfApi()
        main = str(api.dataset_info(repository).sha)
        head = main if pull_request is None else str(_head(api, repository, pull_request))
        before, after = _files(api, repository, main), _files(api, repository, head)
        if pull_request is None:
            parts = [PurePosixPath(name).parts for name in after if name.startswith(f"{RECORDS}/")]
            added = sorted({PurePosixPath(*names[:4]) for names in parts if len(names) > 4})
        else:
            blobs = [{name: str(file.blob_id) for name, file in files.items()} for files in (before, after)]
            added = added_records(blobs[0], blobs[1], RECORDS, attested)
            _require_bounded({name: file.size for name, file in after.items() if name not in before})
        patterns = [f"{RECORDS}/**", f"{REPORTED}/**"]
        api.snapshot_download(repository, repo_type=DATASET, revision=head, local_dir=path, allow_patterns=patterns)
        own: frozenset[str] = frozenset()
        if pull_request is not None:
            earlier = {PurePosixPath(name).parts[3]: name for name in before if _is_run(PurePosixPath(name))}
            wanted = {name: earlier[name] for name in _superseded(Path(path), added) if name in earlier}
            own = _own(api, repository, pull_request, wanted)
        yield Fetched(repository, pull_request, head, Path(path), added, own)


def push(fetched: Fetched, files: list[Path]) -> str:
    """Adds attestations to the repository or its pull request and returns the address of the commit. The Hub refuses it
    if another commit was pushed since the download."""
    with hub_errors(fetched.repository, forbidden=f"write to {fetched.repository}: use one that may"):
        commit = HfApi().create_commit(
            fetched.repository,
            [CommitOperationAdd(file.relative_to(fetched.root).as_posix(), file) for file in files],
            commit_message=f"Attest {', '.join(file.name for file in files)}",
            repo_type=DATASET,
            revision=None if fetched.pull_request is None else f"refs/pr/{fetched.pull_request}",
            parent_commit=fetched.revision,
        )
    return str(commit.commit_url)


def _head(api: HfApi, repository: str, pull_request: int) -> str | None:
    return api.dataset_info(repository, revision=f"refs/pr/{pull_request}").sha


def _is_run(path: PurePosixPath) -> bool:
    """Returns whether a file is the run.json of a record."""
    return len(path.parts) == 5 and path.parts[0] == str(RECORDS) and path.name == "run.json"


def _superseded(root: Path, added: Collection[PurePosixPath]) -> set[str]:
    """Returns the digests that the new records supersede. Unreadable files are skipped: verification refuses them."""
    digests: set[str] = set()
    for place in added:
        with suppress(Refused):
            names = read_json(root / place / SUBMISSION_FILE).get("supersedes")
            digests |= {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
    return digests


def _own(api: HfApi, repository: str, pull_request: int, runs: Mapping[str, str]) -> frozenset[str]:
    """Returns the digests of records that came by pull requests of the same author. runs: run.json files by digest."""
    author = api.get_discussion_details(repository, pull_request, repo_type=DATASET).author
    if not runs or author in NO_AUTHOR:
        return frozenset()
    entries = api.get_paths_info(repository, sorted(runs.values()), expand=True, repo_type=DATASET)
    commits = {entry.path: entry.last_commit for entry in entries if isinstance(entry, RepoFile)}
    return frozenset(
        name
        for name, path in runs.items()
        if (commit := commits.get(path)) and _author_of(api, repository, commit.oid, commit.title) == author
    )


def _author_of(api: HfApi, repository: str, commit: str, title: str) -> str | None:
    """Returns the author of the pull request that a commit merged; None if it merged none. The Hub appends the number
    to the title and stores the merge commit in the pull request. The rest of the title is chosen by the author."""
    number = re.search(r"\(#([0-9]{1,9})\)$", title)
    if number is None:
        return None
    request = api.get_discussion_details(repository, int(number[1]), repo_type=DATASET)
    merged = request.is_pull_request and request.status == "merged" and request.merge_commit_oid == commit
    return request.author if merged and request.author not in NO_AUTHOR else None


def _require_bounded(sizes: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        if size > max_bytes(name):
            raise Refused(f"{quote(name)} has {size:,} bytes, the limit is {max_bytes(name):,}")
    if len(sizes) > MOST_NEW_FILES or sum(sizes.values()) > MOST_NEW_BYTES:
        raise Refused(
            f"the pull request adds {len(sizes):,} files with {sum(sizes.values()):,} bytes. The limits are "
            f"{MOST_NEW_FILES:,} and {MOST_NEW_BYTES:,}. Split it into several requests."
        )


def _files(api: HfApi, repository: str, revision: str | None) -> dict[str, RepoFile]:
    """Returns all files of a revision by path."""
    tree = api.list_repo_tree(repository, repo_type=DATASET, revision=revision, recursive=True)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
