"""A results repository on the Hugging Face Hub: a data set whose records are added by pull requests.

ORG/NAME
    records/<org>--<model>/<revision, 12 hex>/<digest, 12 hex>/...
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.hf_api import RepoFile

from fflm_data.hub import DATASET, hub_errors
from harness.errors import UserError
from leaderboard.judging.changes import added_records
from leaderboard.judging.reading import most_bytes
from leaderboard.judging.refusal import Refused, shown
from leaderboard.records import Record, record_files

RECORDS = PurePosixPath("records")


def propose(repository: str, record: Record, description: str) -> str:
    """Opens a pull request that adds a record; returns its address. Raises UserError if the record is there, and
    HubError, one line, for what the Hub refuses; nothing is left behind then."""
    place = RECORDS / record.place
    files = record_files(record.run)
    with hub_errors(repository, forbidden=f"open a pull request in {repository}: use one that may"):
        api = HfApi()
        there = _files(api, repository, None)
        if any(path.startswith(f"{place}/") for path in there):
            raise UserError(f"{repository} has {place} already: this run has been recorded")
        commit = api.create_commit(
            repository,
            [CommitOperationAdd(f"{place}/{path}", record.folder / path) for path in files],
            commit_message=f"Record {record.run.facts['model']['id']}",
            commit_description=description,
            repo_type=DATASET,
            create_pr=True,
        )
    return str(commit.pr_url)


@contextmanager
def fetched(repository: str, pull_request: int | None, attested: bool) -> Iterator[tuple[Path, list[PurePosixPath]]]:
    """The records of a repository as it is, or as a pull request would leave it, in a folder for the time being; and
    which of them the request adds (all of them without one), relative to it. attested: whether it may add attestations.

    Raises Refused, before anything is downloaded, for a request that does more than adding records, or has files that
    are too large; HubError, one line, for what the Hub refuses.
    """
    with tempfile.TemporaryDirectory() as path, hub_errors(repository):
        api = HfApi()
        revision = None if pull_request is None else f"refs/pr/{pull_request}"
        main, files = _files(api, repository, None), _files(api, repository, revision)
        if pull_request is None:
            added = sorted({PurePosixPath(*PurePosixPath(name).parts[:4]) for name in files if name.count("/") > 3})
        else:
            before, after = ({name: file.blob_id for name, file in one.items()} for one in (main, files))
            added = added_records(before, after, attested)
        for name, file in files.items():
            if name not in main and file.size > most_bytes(name):
                raise Refused(f"{shown(name)} has {file.size:,} bytes, at most {most_bytes(name):,} are read")
        api.snapshot_download(
            repository,
            repo_type=DATASET,
            revision=revision,
            local_dir=path,
            allow_patterns=[f"{RECORDS}/**", "reported/**"],
        )
        yield Path(path), added


def push(repository: str, pull_request: int | None, place: Path, files: list[Path]) -> str:
    """Adds files of a fetched folder to the repository, or to a pull request: attestations, by maintainers. Returns
    the address of the commit."""
    with hub_errors(repository, forbidden=f"write to {repository}: use one that may"):
        commit = HfApi().create_commit(
            repository,
            [CommitOperationAdd(file.relative_to(place).as_posix(), file) for file in files],
            commit_message=f"Attest {', '.join(file.name for file in files)}",
            repo_type=DATASET,
            revision=None if pull_request is None else f"refs/pr/{pull_request}",
        )
    return str(commit.commit_url)


def _files(api: HfApi, repository: str, revision: str | None) -> dict[str, RepoFile]:
    """Every file of a revision below its records, by its path."""
    tree = api.list_repo_tree(repository, repo_type=DATASET, revision=revision, recursive=True)
    return {one.path: one for one in tree if isinstance(one, RepoFile)}
