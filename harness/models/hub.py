"""The Hugging Face Hub as models are fetched from it: whether it can be reached, and what a repository holds."""

import time

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RemoteEntryNotFoundError

# The client itself tries for half a minute, in silence, where there is no network at all.
ATTEMPTS, PAUSE_SECONDS = 2, 1.0


def require_reachable(repository: str, file: str, revision: str | None) -> None:
    """Raises what the client raises, HTTPError or RemoteEntryNotFoundError, where neither the cache of this machine nor
    the Hub has a file; all other refusals are left to the download itself."""
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
    """The files of a repository with a suffix, by name; none if the Hub does not say."""
    try:
        info = HfApi().model_info(repository, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (HTTPError, OSError):
        return []
    return sorted(one.rfilename for one in info.siblings or [] if one.rfilename.endswith(suffix))
