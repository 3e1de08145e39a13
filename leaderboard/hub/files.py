"""Files of repositories on the Hub, as strangers left them: listed with their sizes, fetched if they are not large."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import RepoFile

from leaderboard.verification.refusal import Refused, shown


def sizes(api: HfApi, repository: str, revision: str, kind: str, folder: str | None = None) -> dict[str, int]:
    """The files that lie in a folder of a repository (in its root, if None) and their bytes, in order; none if there
    is no such folder."""
    try:
        listed = [*api.list_repo_tree(repository, folder, revision=revision, repo_type=kind)]
    except EntryNotFoundError:
        return {}
    return dict(sorted((entry.path, entry.size) for entry in listed if isinstance(entry, RepoFile)))


def fetch(  # noqa: PLR0917
    api: HfApi, repository: str, path: str, revision: str, kind: str, size: int | None, most: int
) -> bytes:
    """The content of a file. size: what `sizes` says of it. Raises Refused, before it is asked for, if it is not there
    or has more than `most` bytes."""
    if size is None:
        raise Refused(f"there is no {shown(path)}")
    if size > most:
        raise Refused(f"{shown(path)} has {size:,} bytes, at most {most:,} are read")
    return Path(api.hf_hub_download(repository, path, revision=revision, repo_type=kind)).read_bytes()
