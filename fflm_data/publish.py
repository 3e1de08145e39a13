"""Publishing on the Hugging Face Hub: all that changed in one commit, nothing where nothing changed.

What a repository holds is read from its manifest. A config whose rows have the same hashes is not
uploaded again, even if its files would differ in their bytes; configs that are not pushed stay.
"""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError

from fflm_data.build import write_rows, write_texts
from fflm_data.config import Config, ParameterError
from fflm_data.figures import FOLDER as FIGURES
from fflm_data.hub import DATASET, OF_NEW, HubError, content_ids, contents, hub_errors, not_a_name, require_token
from fflm_data.manifest import MANIFEST_FILE, Manifest, OtherVersionError, Split, row_hashes
from fflm_data.registry import CONFIGS
from fflm_data.version import GENERATOR_VERSION

_TAG = re.compile(r"(?!.*(\.\.|\.lock$))[A-Za-z0-9_][A-Za-z0-9._-]*(?<!\.)")


@dataclass(frozen=True)
class Remote:
    """What a repository holds now: files with their content ids, tags with their commits, the manifest or, if
    that is damaged or of another version, the names of its configs. `commit` is None if there is no repository."""

    commit: str | None = None
    private: bool = False
    files: dict[str, str] = field(default_factory=dict)
    branches: frozenset[str] = frozenset({"main"})
    tags: dict[str, str] = field(default_factory=dict)
    manifest: Manifest | None = None
    outdated: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Pushed:
    """What a push did, or would do. `files` are the uploads and their bytes, `deleted` the files taken away,
    `kept` the configs whose rows are there already."""

    files: dict[str, int]
    deleted: list[str]
    kept: list[str]
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
) -> Pushed:
    """Brings the configs of a data set repository up to date, in one commit or pull request.

    Raises ParameterError (of the Hub's refusals and failures HubError), one line, for all that goes wrong;
    the repository is then as it was, unless the line says that only the tag is missing.
    """
    _require_sense(repository, create_pr, tag, dry_run)
    api = HfApi()
    with hub_errors(repository):
        remote = _look(api, repository)
    _require_fit(repository, remote, configs, create_pr=create_pr, private=private, tag=tag)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        made = {config.name: write_rows(folder, config) for config in configs}
        manifest, kept = _merge(remote, configs, made)
        if tag in remote.tags:
            with hub_errors(repository):
                same = _holds(api, repository, remote.tags[tag], manifest)
            if not same:
                raise HubError(f"{repository} has a tag {tag} with other rows, which stays: choose another --tag")
        write_texts(folder, manifest, repository)
        adds, deleted = _operations(folder, manifest, remote, [name for name in made if name not in kept])
        sizes = {add.path_in_repo: add.upload_info.size for add in adds}
        tagged = tag is not None and tag not in remote.tags
        if dry_run:
            return Pushed(sizes, deleted, kept, None, tagged)
        commit, url = remote.commit, None
        or_else = "" if create_pr or commit is None else ", or add --create-pr"
        forbidden = f"write to {repository}: use one that may{or_else}"
        if adds or deleted:
            with hub_errors(repository, forbidden):
                if commit is None:
                    api.create_repo(repository, repo_type=DATASET, private=private)
                    commit = api.dataset_info(repository).sha
                info = api.create_commit(
                    repository,
                    [*adds, *(CommitOperationDelete(path) for path in deleted)],
                    commit_message=f"fflm {GENERATOR_VERSION}: {', '.join(made)}",
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
            raise HubError(f"the rows are there, but without the tag {tag}: {error}") from None
    return Pushed(sizes, deleted, kept, url, tagged)


def _require_sense(repository: str, create_pr: bool, tag: str | None, dry_run: bool) -> None:
    """What can be refused without asking the Hub."""
    if "/" not in repository:
        raise not_a_name(repository)
    if create_pr and tag is not None:
        raise HubError("a pull request is not tagged: push with --tag when it is merged")
    if tag is not None and not _TAG.fullmatch(tag):
        raise HubError(f"{tag!r} can be no tag: letters, digits, dots, hyphens and underlines, such as v1.0.0")
    if not dry_run:
        require_token("push")


def _look(api: HfApi, repository: str) -> Remote:
    try:
        info = api.dataset_info(repository, files_metadata=True)
    except RepositoryNotFoundError as error:
        if "Invalid credentials" in str(error):
            raise
        return Remote()
    files = contents(info)
    refs = api.list_repo_refs(repository, repo_type=DATASET)
    branches = frozenset(ref.name for ref in refs.branches)
    tags = {ref.name: ref.target_commit for ref in refs.tags}
    manifest, outdated = None, set()
    if MANIFEST_FILE in files:
        try:
            manifest = _manifest(api, repository, str(info.sha))
        except OtherVersionError as error:
            if error.newer:
                raise
            outdated = error.configs & set(CONFIGS)
        except ParameterError:
            # Damaged: nothing of it is believed, and what has a folder must be pushed again.
            outdated = {path.split("/")[0] for path in files} & set(CONFIGS)
    return Remote(info.sha, bool(info.private), files, branches, tags, manifest, frozenset(outdated))


def _manifest(api: HfApi, repository: str, revision: str) -> Manifest:
    path = api.hf_hub_download(repository, MANIFEST_FILE, repo_type=DATASET, revision=revision)
    return Manifest.from_json(Path(path).read_bytes(), repository)


def _holds(api: HfApi, repository: str, revision: str, manifest: Manifest) -> bool:
    """Whether a revision holds the rows of a manifest."""
    try:
        return _manifest(api, repository, revision).same_rows(manifest)
    except (ParameterError, RemoteEntryNotFoundError):
        return False


def _require_fit(
    repository: str, remote: Remote, configs: Sequence[Config], *, create_pr: bool, private: bool, tag: str | None
) -> None:
    """What the repository as it is does not allow."""
    if remote.commit is None and create_pr:
        raise HubError(f"there is no data set {repository} to open a pull request in: push without --create-pr")
    if remote.commit is not None and private and not remote.private:
        raise HubError(f"{repository} is there already and public: make it private on the Hub, or leave out --private")
    if tag in remote.branches:
        raise HubError(f"{repository} has a branch {tag}, which would hide the tag: choose another --tag")
    stale = remote.outdated - {config.name for config in configs}
    if stale:
        raise HubError(f"{repository} holds {', '.join(sorted(stale))} that this version did not write: push them too")
    if MANIFEST_FILE not in remote.files and set(remote.files) - OF_NEW:
        raise HubError(f"{repository} holds another data set (no {MANIFEST_FILE}): choose another name")


def _merge(remote: Remote, configs: Sequence[Config], made: dict[str, dict[str, Split]]) -> tuple[Manifest, list[str]]:
    """The manifest after the push, in the order of the registry; and the pushed configs that are there already."""
    old = remote.manifest
    before = {} if old is None else {config.name: config for config in old.configs}
    after = before | {config.name: config for config in configs}
    splits, kept = {}, []
    for name in sorted(after, key=list(CONFIGS).index):
        new = made.get(name)
        there = old.splits[name] if old is not None and name in before else None
        same = there and new and before[name] == after[name] and row_hashes(there) == row_hashes(new)
        if there and same and all(remote.files.get(path) == content for path, content in _files(there)):
            kept.append(name)
            new = there
        splits[name] = new or there or {}
    return Manifest(tuple(after[name] for name in splits), splits), kept


def _files(splits: dict[str, Split]) -> Iterator[tuple[str, str]]:
    for split in splits.values():
        yield from split.files.items()


def _operations(
    folder: Path, manifest: Manifest, remote: Remote, changed: list[str]
) -> tuple[list[CommitOperationAdd], list[str]]:
    """The files to add, and those of the repository that the changed configs no longer have."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    wanted = {path for splits in manifest.splits.values() for path, _ in _files(splits)}
    adds = [
        CommitOperationAdd(path, folder / path)
        for path in paths
        if path.split("/")[0] in {*changed, FIGURES, path}
        and remote.files.get(path) not in content_ids((folder / path).read_bytes())
    ]
    owned = tuple(folder for name in changed for folder in (f"{name}/", f"{FIGURES}/{name}-"))
    return adds, sorted(path for path in remote.files if path.startswith(owned) and path not in wanted | set(paths))
