"""The frozen word lists of the package; PROVENANCE.md beside them says where they come from."""

from functools import cache
from importlib.resources import files


@cache
def items() -> tuple[str, ...]:
    """Common short English nouns, each one token in the usual byte-level vocabularies."""
    return _lines("items.txt")


@cache
def english() -> tuple[str, ...]:
    """Common English words of a-z, sorted."""
    return _lines("english.txt")


def _lines(name: str) -> tuple[str, ...]:
    return tuple(files(__name__).joinpath(name).read_text(encoding="ascii").split())
