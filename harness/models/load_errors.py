"""Turns the exceptions of libraries over a model's files into one-line errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import HTTPError

from harness.errors import UserError
from harness.models import name_suggestions
from harness.models.model_config import FaultyFile, reason_of
from harness.models.packages import lacks_package

MAX_REASON = 120  # characters


@contextmanager
def untrusted_files(model: str) -> Iterator[None]:
    """Reports what libraries raise over a model's files as UserError; also a Rust panic, which is no Exception."""
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except ImportError as error:
        raise lacks_package(error) from None
    except BaseException as error:
        raise cannot_load(model, error) from None


def cannot_load(model: str, error: BaseException) -> UserError:
    """The error of a model that a library cannot load, or whose download failed."""
    if isinstance(error, FaultyFile):
        return UserError(f"the model {model!r} cannot be loaded ({error}): {error.advice}, or name another model")
    missing = isinstance(error, OSError | HTTPError) and not Path(model).is_dir()
    hint = name_suggestions.near_folder(Path(model), name_suggestions.is_model) if missing else ""
    reason = short_reason(error)
    if isinstance(error, HTTPError) and not isinstance(error, OSError):  # the Hub's own answers are OSErrors too
        advice = "try again" if "/" in model else "there is no such folder; name one, or try again"
        return UserError(
            f"the model {model!r} cannot be loaded (the connection to the Hub failed: {reason}): {advice}{hint}"
        )
    return UserError(
        f"the model {model!r} cannot be loaded ({reason}): name a causal LM on the Hub, or a folder with config.json, "
        f"tokenizer.json and safetensors (GGUF: the folder, and the file with --gguf-file){hint}"
    )


def short_reason(error: BaseException) -> str:
    """A library's message in one line of at most 120 characters."""
    reason = reason_of(error)
    return reason if len(reason) < MAX_REASON else reason[:MAX_REASON] + "..."
