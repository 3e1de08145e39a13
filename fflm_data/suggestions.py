"""Suggestions for misspelled names."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

# Minimum similarity of a name to one word of a known name. Whole names use the lower default of difflib.
_WORD_CUTOFF = 0.8


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the end of an error message, `; did you mean 'letters'?`, or "" if no known name is close."""
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name closest to `name`, comparing whole names, then single words; None if none is close."""
    names = {original.casefold(): original for original in known}
    name_of_word = {word: folded for folded in reversed(names) for word in re.findall("[^_-]+", folded)}
    query = name.casefold()
    matches = get_close_matches(query, names, n=1)
    matches = matches or [
        name_of_word[word] for word in get_close_matches(query, name_of_word, n=1, cutoff=_WORD_CUTOFF)
    ]
    return names[matches[0]] if matches else None
