"""Publishes a built site as a static Space of the Hub, in one commit with the changed files."""

from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from fflm_data.hub import (
    NEW_REPOSITORY_FILES,
    SPACE,
    HubError,
    content_ids,
    file_content_ids,
    hub_errors,
    invalid_name_error,
    require_token,
)
from fflm_data.terminal import echo
from harness.errors import UserError
from leaderboard.hub import files as hub_files
from leaderboard.site.files import INDEX_FILE, is_index, is_site, other_files
from leaderboard.verification.refusal import Refused

PAGE, CARD, ATTRIBUTES = "index.html", "README.md", ".gitattributes"
MOST_INDEX_BYTES = 2**26
_CARD = f"""---
title: fflm leaderboard
emoji: \U0001f9ee
colorFrom: gray
colorTo: blue
sdk: static
app_file: {PAGE}
license: mit
short_description: Can a language model hold one bit and count to n?
---

# fflm leaderboard

Can a language model hold one bit and count to n? Every number on these pages is recomputed from recorded outputs.
The package fflm builds the site (`harness leaderboard build`) and publishes this Space (`harness leaderboard publish`),
which overwrites manual changes. The licence of each record's outputs is on its page.
"""


def command(space: str, site: Path) -> None:
    """Replaces the files of a static Space by those of a built site, and prints the commit.

    Raises UserError for a folder that is not a site, and HubError for a Space with other content or if the Hub refuses.
    The Space is then unchanged.
    """
    local = _site_files(site)
    if "/" not in space:
        raise invalid_name_error(space)
    require_token("publish a Space")
    api = HfApi()
    with hub_errors(space, kind=SPACE):
        commit, remote = _look(api, space)
    adds = [path for path, content in local.items() if remote.get(path) not in content_ids(content)]
    deleted = sorted(remote.keys() - local.keys() - {ATTRIBUTES})
    if not adds and not deleted:
        echo(f"nothing to upload: {space} already has this site")
        return
    with hub_errors(space, f"write to {space}: use one that may", SPACE):
        if commit is None:
            api.create_repo(space, repo_type=SPACE, space_sdk="static", exist_ok=True)
            commit = api.space_info(space).sha
        info = api.create_commit(
            space,
            [*(CommitOperationAdd(path, local[path]) for path in adds), *map(CommitOperationDelete, deleted)],
            commit_message="fflm leaderboard",
            repo_type=SPACE,
            parent_commit=commit,
        )
    echo(f"{len(adds):,} files uploaded, {len(deleted):,} deleted")
    echo(info.commit_url)


def _site_files(site: Path) -> dict[str, bytes]:
    """Returns the files of the Space by path. Raises UserError if the folder is not a site."""
    if not is_site(site):
        raise UserError(f"{site} is not a built site. Run harness leaderboard build --out {site}.")
    if others := other_files(site):
        raise UserError(f"{site} has files that are not part of the site ({others[0]}). Build it in an empty folder.")
    files = sorted(path for path in site.rglob("*") if path.is_file())
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in files} | {CARD: _CARD.encode()}


def _look(api: HfApi, space: str) -> tuple[str | None, dict[str, str]]:
    """Returns the commit of a Space and the content ids of its files; None if it does not exist. Raises HubError if the
    Space has other content."""
    try:
        info = api.space_info(space, files_metadata=True)
    except RepositoryNotFoundError as error:
        if "Invalid credentials" in str(error):
            raise
        return None, {}
    remote, commit = file_content_ids(info), str(info.sha)
    if remote.keys() - NEW_REPOSITORY_FILES:
        size = hub_files.sizes(api, space, commit, SPACE).get(INDEX_FILE)
        try:
            ours = is_index(hub_files.fetch(api, space, INDEX_FILE, commit, SPACE, size, MOST_INDEX_BYTES))
        except Refused:
            ours = False
        if not ours:
            raise HubError(f"{space} has other content (no {INDEX_FILE} of fflm). Choose another name.")
    return commit, remote
