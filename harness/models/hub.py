"""The Hugging Face Hub: whether it can be reached, and the files of a model repository."""

import time

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RemoteEntryNotFoundError

# Without a network, the client itself would retry silently for half a minute.
ATTEMPTS, PAUSE_SECONDS = 2, 1.0


def require_reachable(repository: str, file: str, revision: str | None) -> None:
    """Raises the client's HTTPError or RemoteEntryNotFoundError if neither the local cache nor the Hub has the file.

    Other errors are left to the download.
    """
    if constants.HF_HUB_OFFLINE or isinstance(try_to_load_from_cache(repository, file, revision=revision), str):
        return
    url = hf_hub_url(repository, file, revision=revision)
    for left in reversed(range(ATTEMPTS)):
        try:
            get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            return
        except RemoteEntryNotFoundError:
            raise
        except (HfHubHTTPError, OSError):
            return
        except HTTPError:
            if not left:
                raise
            time.sleep(PAUSE_SECONDS)


def files_of(repository: str, revision: str | None, suffix: str) -> list[str]:
    """The sorted file names of a repository with a suffix; empty if the Hub cannot be reached."""
    try:
        info = HfApi().model_info(repository, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (HTTPError, OSError):
        return []
    return sorted(file.rfilename for file in info.siblings or [] if file.rfilename.endswith(suffix))
