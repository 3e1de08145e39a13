"""Lists and downloads untrusted files of Hub repositories, within size limits."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import RepoFile

from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused


def sizes(api: HfApi, repository: str, revision: str, kind: str, folder: str | None = None) -> dict[str, int]:
    """Returns the sizes in bytes of the files in a folder of a repository (None: the root), sorted by path; empty if
    the folder does not exist."""
    try:
        listed = [*api.list_repo_tree(repository, folder, revision=revision, repo_type=kind)]
    except EntryNotFoundError:
        return {}
    return dict(sorted((entry.path, entry.size) for entry in listed if isinstance(entry, RepoFile)))


def fetch(  # noqa: PLR0917
    api: HfApi, repository: str, path: str, revision: str, kind: str, size: int | None, most: int
) -> bytes:
    """Returns the content of a file. size: from `sizes`. Raises Refused, before the download, if the file does not
    exist or has more than `most` bytes."""
    if size is None:
        raise Refused(f"it has no file {quote(path)}")
    if size > most:
        raise Refused(f"{quote(path)} has {size:,} bytes, the limit is {most:,}")
    return Path(api.hf_hub_download(repository, path, revision=revision, repo_type=kind)).read_bytes()
