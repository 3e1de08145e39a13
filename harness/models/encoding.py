"""Encodes batches of text with a time limit: a pattern in tokenizer.json can take forever on some texts, and the
library is Rust, which Python cannot interrupt."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any

from harness.errors import UserError

# Wall-clock limits for a call and for each text, ample on a busy machine: a text takes about a millisecond.
MAX_SECONDS, MAX_SECONDS_PER_TEXT = 60.0, 0.1


class CannotEncodeError(UserError):
    """A tokenizer cannot encode a text."""


class UnusableTokenizer(UserError):
    """A tokenizer that changes texts when it encodes or decodes them, or takes too long."""


_HOOKS: list[Callable[[list[str], bool], None]] = []


@contextmanager
def encode_hook(hook: Callable[[list[str], bool], None]) -> Iterator[None]:
    """Calls `hook(texts, special)` before each batch is encoded; its errors propagate."""
    _HOOKS.append(hook)
    try:
        yield
    finally:
        _HOOKS.pop()


def encode_batch(tokenizer: Any, texts: Sequence[str], special: bool) -> list[Any]:
    """The encodings of texts. special: whether to add special tokens.

    Raises UnusableTokenizer on timeout or a panic of the library; other errors of the library propagate.
    """
    for hook in _HOOKS:
        hook(list(texts), special)
    results: list[list[Any]] = []
    errors: list[BaseException] = []

    def encode() -> None:
        try:
            results.append(list(tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=special)))
        except BaseException as error:  # a panic is no Exception
            errors.append(error)

    # After a timeout the thread keeps running; a daemon thread ends with the process.
    thread = Thread(target=encode, daemon=True)
    thread.start()
    limit = MAX_SECONDS + MAX_SECONDS_PER_TEXT * len(texts)
    thread.join(limit)
    if results:
        return results[0]
    if errors and isinstance(errors[0], Exception):
        raise errors[0]
    listed = repr(texts[0][:40]) + (f" or {len(texts) - 1:,} other texts" if len(texts) > 1 else "")
    problem = f"takes more than {limit:.0f} seconds for {listed}"
    if errors:
        problem = f"fails on {listed} ({' '.join(str(errors[0]).split())[:120]})"
    raise UnusableTokenizer(f"the tokenizer of {tokenizer.name_or_path} {problem}: name a model with another tokenizer")


def cannot_encode(tokenizer: Any, text: str) -> CannotEncodeError:
    """The error for a text with parts that a tokenizer has no tokens for."""
    return CannotEncodeError(f"the tokenizer of {tokenizer.name_or_path} has no token for parts of {text[:40]!r}...")
