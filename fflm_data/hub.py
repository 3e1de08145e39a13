"""The Hugging Face Hub: its refusals and failures, each as one line that says what to type next; its content ids."""

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
_CALLED = {DATASET: "data set", MODEL: "model", SPACE: "Space"}
# What the Hub itself puts into a new repository.
OF_NEW = {".gitattributes", "README.md"}
_OFFLINE = "HF_HUB_OFFLINE is set: unset it to reach the Hub"
_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


class HubError(ParameterError):
    """What was asked of the Hub did not happen."""


def not_a_name(repository: str) -> HubError:
    """The refusal of what can name no repository."""
    return HubError(f"{repository!r} is no repository: write ORG/NAME")


def require_token(to: str) -> None:
    """Raises HubError unless there is a token. to: what it is needed to do."""
    if get_token() is None:
        raise HubError(f"the Hub needs a token to {to}: {_LOG_IN}")


def content_ids(content: bytes) -> set[str]:
    """By what the Hub may know the content of a file: its SHA-256, or the id git gives it."""
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return {hashlib.sha256(content).hexdigest(), git.hexdigest()}


def contents(info: Any) -> dict[str, str]:
    """The content id of each file, of what the client says of a repository (with files_metadata)."""
    return {file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id) for file in info.siblings or []}


@contextmanager
def hub_errors(repository: str, forbidden: str | None = None, kind: str = DATASET) -> Iterator[None]:
    """Turns what the client raises into HubError. `forbidden` ends "your token may not ..." where it may not
    write; without it, the repository is only read. kind: DATASET, MODEL or SPACE."""
    try:
        yield
    except ParameterError:
        raise
    except HFValidationError:
        raise not_a_name(repository) from None
    except LocalTokenNotFoundError:
        raise HubError(f"the Hub needs a token: {_LOG_IN}") from None
    except OfflineModeIsEnabled:
        raise HubError(_OFFLINE) from None
    except LocalEntryNotFoundError as error:
        # A file that could not be asked for, which the cache does not hold either.
        raise _failure(repository, error.__cause__ or error, forbidden, kind) from None
    except RevisionNotFoundError:
        raise HubError(f"{repository} has no such revision: name a branch, tag or commit of it") from None
    except HTTPError as error:
        raise _failure(repository, error, forbidden, kind) from None
    except ConnectionError as error:
        # What `datasets` makes of a Hub that it cannot reach.
        raise _failure(repository, error.__cause__ or error, forbidden, kind) from None
    except (RuntimeError, ValueError) as error:
        # What the client makes of an upload that failed, or that the Hub will not take.
        if forbidden is None:
            raise
        raise _failure(repository, error.__cause__ or error, forbidden, kind) from None


def _failure(repository: str, error: BaseException, forbidden: str | None, kind: str) -> HubError:
    again = "try again" if forbidden is None else f"{repository} is as its last writer left it: run the command again"
    if isinstance(error, HfHubHTTPError):
        return HubError(_refusal(repository, error, again, forbidden or f"read {repository}: use one that may", kind))
    if constants.HF_HUB_OFFLINE:
        return HubError(_OFFLINE)
    failed = "the Hub refused" if isinstance(error, ValueError) else "the connection to the Hub failed"
    return HubError(f"{failed} ({_line(error)}), {again}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _refusal(repository: str, error: HfHubHTTPError, again: str, forbidden: str, kind: str) -> str:
    status = error.response.status_code
    if isinstance(error, RepositoryNotFoundError) and "Invalid credentials" not in str(error):
        return f"there is no {_CALLED[kind]} {repository} that you may see: check the name, or {_LOG_IN}"
    wait = error.response.headers.get("Retry-After")
    known = {
        401: f"the Hub does not know this token: {_LOG_IN}" if get_token() else f"the Hub needs a token: {_LOG_IN}",
        403: f"your token may not {forbidden}",
        409: f"another change of {repository} is under way; {again}",
        412: f"{repository} changed while this ran; {again}",
        429: f"the Hub is asked too often; {again}" + (f" in {wait} seconds" if wait else " later"),
    }
    return known.get(status) or f"the Hub refused ({_line(error)}), {again}"
