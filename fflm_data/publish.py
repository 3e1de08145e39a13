"""Publishes configs on the Hugging Face Hub: one commit with the changed files, or none if nothing changed.

The manifest of the repository lists its contents. A config with the same row hashes is not uploaded
again, even if its files would differ in their bytes. Configs that are not pushed stay unchanged.
"""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError

from fflm_data.build import write_metadata, write_rows
from fflm_data.config import Config, ParameterError
from fflm_data.figures import FOLDER as FIGURES
from fflm_data.hub import (
    DATASET,
    NEW_REPOSITORY_FILES,
    HubError,
    content_ids,
    file_content_ids,
    hub_errors,
    invalid_name_error,
    require_token,
)
from fflm_data.manifest import MANIFEST_FILE, Manifest, Split, VersionMismatchError, row_hashes
from fflm_data.registry import CONFIGS
from fflm_data.version import GENERATOR_VERSION

_TAG = re.compile(r"(?!.*(\.\.|\.lock$))[A-Za-z0-9_][A-Za-z0-9._-]*(?<!\.)")


@dataclass(frozen=True)
class RemoteState:
    """Current state of a repository: content id of each file, commit of each tag, manifest.

    `commit` is None if the repository does not exist. `outdated` are the config names of a manifest that is corrupt
    or of another generator version; `manifest` is then None.
    """

    commit: str | None = None
    private: bool = False
    files: dict[str, str] = field(default_factory=dict)
    branches: frozenset[str] = frozenset({"main"})
    tags: dict[str, str] = field(default_factory=dict)
    manifest: Manifest | None = None
    outdated: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PushResult:
    """Result of a push or dry run: sizes of the uploaded files in bytes, deleted files, unchanged configs."""

    files: dict[str, int]
    deleted: list[str]
    unchanged: list[str]
    url: str | None = None
    tagged: bool = False


def push(
    repository: str,
    configs: Sequence[Config],
    *,
    create_pr: bool = False,
    private: bool = False,
    tag: str | None = None,
    dry_run: bool = False,
) -> PushResult:
    """Updates the configs of a dataset repository in one commit or pull request.

    Raises ParameterError, or HubError for errors of the Hub. The repository is then unchanged, unless the message
    says that only the tag is missing.
    """
    _check_arguments(repository, create_pr, tag, dry_run)
    api = HfApi()
    with hub_errors(repository):
        remote = _fetch_remote(api, repository)
    _check_remote(repository, remote, configs, create_pr=create_pr, private=private, tag=tag)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        written = {config.name: write_rows(folder, config) for config in configs}
        manifest, unchanged = _merge_manifest(remote, configs, written)
        if tag in remote.tags:
            with hub_errors(repository):
                same = _has_same_rows(api, repository, remote.tags[tag], manifest)
            if not same:
                raise HubError(f"{repository} has a tag {tag} with other rows. Choose another --tag.")
        write_metadata(folder, manifest, repository)
        adds, deleted = _operations(folder, manifest, remote, [name for name in written if name not in unchanged])
        sizes = {add.path_in_repo: add.upload_info.size for add in adds}
        tagged = tag is not None and tag not in remote.tags
        if dry_run:
            return PushResult(sizes, deleted, unchanged, None, tagged)
        commit, url = remote.commit, None
        alternative = "" if create_pr or commit is None else ", or add --create-pr"
        forbidden = f"write to {repository}: use one that may{alternative}"
        if adds or deleted:
            with hub_errors(repository, forbidden):
                if commit is None:
                    api.create_repo(repository, repo_type=DATASET, private=private)
                    commit = api.dataset_info(repository).sha
                info = api.create_commit(
                    repository,
                    [*adds, *(CommitOperationDelete(path) for path in deleted)],
                    commit_message=f"fflm {GENERATOR_VERSION}: {', '.join(written)}",
                    repo_type=DATASET,
                    parent_commit=commit,
                    create_pr=create_pr,
                )
            commit, url = info.oid, info.pr_url if create_pr else info.commit_url
    if tagged:
        try:
            with hub_errors(repository, forbidden):
                api.create_tag(repository, tag=str(tag), revision=commit, repo_type=DATASET)
        except HubError as error:
            raise HubError(f"the rows were pushed, but the tag {tag} was not set: {error}") from None
    return PushResult(sizes, deleted, unchanged, url, tagged)


def _check_arguments(repository: str, create_pr: bool, tag: str | None, dry_run: bool) -> None:
    """Raises HubError for arguments that are invalid for any repository."""
    if "/" not in repository:
        raise invalid_name_error(repository)
    if create_pr and tag is not None:
        raise HubError("--create-pr excludes --tag. Push with --tag after the pull request is merged.")
    if tag is not None and not _TAG.fullmatch(tag):
        raise HubError(
            f"{tag!r} is not a valid tag. Use letters, digits, dots, hyphens and underscores, such as v1.0.0."
        )
    if not dry_run:
        require_token("push")


def _fetch_remote(api: HfApi, repository: str) -> RemoteState:
    try:
        info = api.dataset_info(repository, files_metadata=True)
    except RepositoryNotFoundError as error:
        if "Invalid credentials" in str(error):
            raise
        return RemoteState()
    files = file_content_ids(info)
    refs = api.list_repo_refs(repository, repo_type=DATASET)
    branches = frozenset(ref.name for ref in refs.branches)
    tags = {ref.name: ref.target_commit for ref in refs.tags}
    manifest, outdated = None, set()
    if MANIFEST_FILE in files:
        try:
            manifest = _manifest(api, repository, str(info.sha))
        except VersionMismatchError as error:
            if error.newer:
                raise
            outdated = error.configs & set(CONFIGS)
        except ParameterError:
            # A corrupt manifest is ignored: every config with a folder must be pushed again.
            outdated = {path.split("/")[0] for path in files} & set(CONFIGS)
    return RemoteState(info.sha, bool(info.private), files, branches, tags, manifest, frozenset(outdated))


def _manifest(api: HfApi, repository: str, revision: str) -> Manifest:
    path = api.hf_hub_download(repository, MANIFEST_FILE, repo_type=DATASET, revision=revision)
    return Manifest.from_json(Path(path).read_bytes(), repository)


def _has_same_rows(api: HfApi, repository: str, revision: str, manifest: Manifest) -> bool:
    """Whether a revision has the same rows as a manifest."""
    try:
        return _manifest(api, repository, revision).same_rows(manifest)
    except (ParameterError, RemoteEntryNotFoundError):
        return False


def _check_remote(
    repository: str, remote: RemoteState, configs: Sequence[Config], *, create_pr: bool, private: bool, tag: str | None
) -> None:
    """Raises HubError if the current state of the repository does not allow the push."""
    if remote.commit is None and create_pr:
        raise HubError(f"the dataset {repository} does not exist yet. Push without --create-pr.")
    if remote.commit is not None and private and not remote.private:
        raise HubError(f"{repository} already exists and is public. Make it private on the Hub, or omit --private.")
    if tag in remote.branches:
        raise HubError(f"{repository} has a branch {tag}, which would hide the tag. Choose another --tag.")
    stale = remote.outdated - {config.name for config in configs}
    if stale:
        raise HubError(f"another version wrote {', '.join(sorted(stale))} of {repository}. Push them too.")
    if MANIFEST_FILE not in remote.files and set(remote.files) - NEW_REPOSITORY_FILES:
        raise HubError(f"{repository} contains another dataset (no {MANIFEST_FILE}). Choose another name.")


def _merge_manifest(
    remote: RemoteState, configs: Sequence[Config], written: dict[str, dict[str, Split]]
) -> tuple[Manifest, list[str]]:
    """Returns the manifest after the push, in registry order, and the names of the unchanged configs."""
    old = remote.manifest
    old_configs = {} if old is None else {config.name: config for config in old.configs}
    new_configs = old_configs | {config.name: config for config in configs}
    splits, unchanged = {}, []
    for name in sorted(new_configs, key=list(CONFIGS).index):
        new = written.get(name)
        current = old.splits[name] if old is not None and name in old_configs else None
        same = current and new and old_configs[name] == new_configs[name] and row_hashes(current) == row_hashes(new)
        if current and same and all(remote.files.get(path) == content for path, content in _files_of(current)):
            unchanged.append(name)
            new = current
        splits[name] = new or current or {}
    return Manifest(tuple(new_configs[name] for name in splits), splits), unchanged


def _files_of(splits: dict[str, Split]) -> Iterator[tuple[str, str]]:
    for split in splits.values():
        yield from split.files.items()


def _operations(
    folder: Path, manifest: Manifest, remote: RemoteState, changed: list[str]
) -> tuple[list[CommitOperationAdd], list[str]]:
    """Returns the files to add, and the files in the repository that the changed configs no longer have."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    listed = {path for splits in manifest.splits.values() for path, _ in _files_of(splits)}
    adds = [
        CommitOperationAdd(path, folder / path)
        for path in paths
        if path.split("/")[0] in {*changed, FIGURES, path}
        and remote.files.get(path) not in content_ids((folder / path).read_bytes())
    ]
    owned = tuple(folder for name in changed for folder in (f"{name}/", f"{FIGURES}/{name}-"))
    return adds, sorted(path for path in remote.files if path.startswith(owned) and path not in listed | set(paths))
