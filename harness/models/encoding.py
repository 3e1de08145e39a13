"""The tokenizers library, asked within a bound on time: the patterns of a tokenizer.json may go on without end over
some texts, and the library is Rust, which nothing interrupts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any

from harness.errors import UserError

# By the clock, on however busy a machine: for a call, and for each text, which takes about a millisecond.
MOST_SECONDS, MOST_SECONDS_OF_TEXT = 60.0, 0.1


class CannotEncodeError(UserError):
    """A tokenizer has no tokens for a text."""


class Unfaithful(UserError):
    """A tokenizer that does not just cut texts into tokens, in time, and put them together again."""


_REHEARSALS: list[Callable[[list[str], bool], None]] = []


@contextmanager
def rehearsing(rehearsal: Callable[[list[str], bool], None]) -> Iterator[None]:
    """Tells `rehearsal` of texts before they are encoded, and whether with special tokens; it raises what it will."""
    _REHEARSALS.append(rehearsal)
    try:
        yield
    finally:
        _REHEARSALS.pop()


def encode_batch(tokenizer: Any, texts: Sequence[str], special: bool) -> list[Any]:
    """The encodings of texts by a tokenizer of transformers; special: whether with the special tokens that it adds.

    Raises Unfaithful if that takes too long or ends in a panic of the library, whatever it raises itself otherwise.
    """
    for rehearse in _REHEARSALS:
        rehearse(list(texts), special)
    found: list[list[Any]] = []
    raised: list[BaseException] = []

    def split() -> None:
        try:
            found.append(list(tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=special)))
        except BaseException as error:  # a panic is no Exception
            raised.append(error)

    # Where it is too late, the thread is left behind: it ends with the process.
    thread = Thread(target=split, daemon=True)
    thread.start()
    most = MOST_SECONDS + MOST_SECONDS_OF_TEXT * len(texts)
    thread.join(most)
    if found:
        return found[0]
    if raised and isinstance(raised[0], Exception):
        raise raised[0]
    some = repr(texts[0][:40]) + (f" or {len(texts) - 1:,} other texts" if len(texts) > 1 else "")
    how = f"takes more than {most:.0f} seconds for {some}"
    if raised:
        how = f"fails on {some} ({' '.join(str(raised[0]).split())[:120]})"
    raise Unfaithful(f"the tokenizer of {tokenizer.name_or_path} {how}: name a model with another tokenizer")


def lacks(tokenizer: Any, text: str) -> CannotEncodeError:
    """What to say of a text that a tokenizer has no tokens for."""
    return CannotEncodeError(f"the tokenizer of {tokenizer.name_or_path} has no token for parts of {text[:40]!r}...")
