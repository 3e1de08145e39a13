"""Names that were nearly right: what was probably meant."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

# How alike a name must be to one of the words of another; of whole names less will do.
_WORD = 0.8


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a refusal: `; did you mean 'letters'?` where a known name is near, else nothing."""
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is nearly this one, in any case, or of which one word is; None if none is near."""
    names = {one.casefold(): one for one in known}
    words = {word: one for one in reversed(names) for word in re.findall("[^_-]+", one)}
    asked = name.casefold()
    near = get_close_matches(asked, names, n=1)
    near = near or [words[one] for one in get_close_matches(asked, words, n=1, cutoff=_WORD)]
    return names[near[0]] if near else None
