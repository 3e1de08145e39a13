"""Errors of the Hugging Face Hub as one-line messages with the next step, and content ids of its files."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # of httpx, or of httpx2 since huggingface_hub 2
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from fflm_data.config import ParameterError

DATASET, MODEL, SPACE = "dataset", "model", "space"
_KIND_NAMES = {DATASET: "dataset", MODEL: "model", SPACE: "Space"}
# Files that the Hub creates in a new repository.
NEW_REPOSITORY_FILES = {".gitattributes", "README.md"}
_OFFLINE = "HF_HUB_OFFLINE is set: unset it to reach the Hub"
_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


class HubError(ParameterError):
    """A request to the Hub failed."""


def invalid_name_error(repository: str) -> HubError:
    """Returns the error for an invalid repository name."""
    return HubError(f"{repository!r} is not a repository name: write ORG/NAME")


def require_token(action: str) -> None:
    """Raises HubError if no token is configured. action: a verb for the message, such as "push"."""
    if get_token() is None:
        raise HubError(f"the Hub needs a token to {action}: {_LOG_IN}")


def content_ids(content: bytes) -> set[str]:
    """Returns the ids that the Hub may use for the content of a file: SHA-256 (LFS files) and git blob id."""
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return {hashlib.sha256(content).hexdigest(), git.hexdigest()}


def file_content_ids(info: Any) -> dict[str, str]:
    """Returns the content id of each file in a repository info (requested with files_metadata)."""
    return {file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id) for file in info.siblings or []}


@contextmanager
def hub_errors(repository: str, forbidden: str | None = None, kind: str = DATASET) -> Iterator[None]:
    """Converts exceptions of the Hub client to HubError.

    forbidden: the end of "your token may not ..." for a write; None for a read. kind: DATASET, MODEL or SPACE.
    """
    try:
        yield
    except ParameterError:
        raise
    except HFValidationError:
        raise invalid_name_error(repository) from None
    except LocalTokenNotFoundError:
        raise HubError(f"the Hub needs a token: {_LOG_IN}") from None
    except OfflineModeIsEnabled:
        raise HubError(_OFFLINE) from None
    except LocalEntryNotFoundError as error:
        # The request failed and the file is not in the cache.
        raise _failure(repository, error.__cause__ or error, forbidden, kind) from None
    except RevisionNotFoundError:
        raise HubError(f"{repository} has no such revision: use one of its branches, tags or commits") from None
    except HTTPError as error:
        raise _failure(repository, error, forbidden, kind) from None
    except ConnectionError as error:
        # Raised by `datasets` if the Hub cannot be reached.
        raise _failure(repository, error.__cause__ or error, forbidden, kind) from None
    except (RuntimeError, ValueError) as error:
        # Raised by the client if an upload fails or the Hub rejects it.
        if forbidden is None:
            raise
        raise _failure(repository, error.__cause__ or error, forbidden, kind) from None


def _failure(repository: str, error: BaseException, forbidden: str | None, kind: str) -> HubError:
    # A push is one commit, which may have succeeded even if its reply was lost. Repeating the command is safe.
    again = "try again" if forbidden is None else "run the command again"
    if isinstance(error, HfHubHTTPError):
        forbidden = forbidden or f"read {repository}: use one that may"
        return HubError(_error_message(repository, error, again, forbidden, kind))
    if constants.HF_HUB_OFFLINE:
        return HubError(_OFFLINE)
    failed = "the Hub refused" if isinstance(error, ValueError) else "the connection to the Hub failed"
    return HubError(f"{failed} ({_line(error)}), {again}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _error_message(repository: str, error: HfHubHTTPError, again: str, forbidden: str, kind: str) -> str:
    status = error.response.status_code
    if isinstance(error, RepositoryNotFoundError) and "Invalid credentials" not in str(error):
        return f"cannot find or access the {_KIND_NAMES[kind]} {repository}: check the name, or {_LOG_IN}"
    wait = error.response.headers.get("Retry-After")
    messages = {
        401: f"the Hub does not know this token: {_LOG_IN}" if get_token() else f"the Hub needs a token: {_LOG_IN}",
        403: f"your token may not {forbidden}",
        409: f"another commit to {repository} is in progress; {again}",
        412: f"{repository} changed during this command; {again}",
        429: f"the rate limit of the Hub is exceeded; {again}" + (f" in {wait} seconds" if wait else " later"),
    }
    return messages.get(status) or f"the Hub refused ({_line(error)}), {again}"
