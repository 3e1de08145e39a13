"""Fixed word lists. PROVENANCE.md documents their sources."""

from functools import cache
from importlib.resources import files


@cache
def items() -> tuple[str, ...]:
    """Returns common short English nouns, each a single token in the usual vocabularies."""
    return _lines("items.txt")


@cache
def english() -> tuple[str, ...]:
    """Returns common English words in the letters a-z, sorted."""
    return _lines("english.txt")


def _lines(name: str) -> tuple[str, ...]:
    return tuple(files(__name__).joinpath(name).read_text(encoding="ascii").split())
