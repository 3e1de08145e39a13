"""A fixed table of facts with one right answer each. PROVENANCE.md documents the source."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from fflm_data.facts.exclusions import ARTICLE

RELATIONS = ("capital", "country", "continent", "domain")
HEADER = "relation\tsubject\tanswer"


class Fact(NamedTuple):
    """A row of facts.tsv."""

    relation: str
    subject: str
    answer: str


@cache
def facts() -> tuple[Fact, ...]:
    """Returns all facts, sorted."""
    header, *lines = files(__name__).joinpath("facts.tsv").read_text(encoding="utf-8").splitlines()
    if header != HEADER:
        raise ValueError(f"expected the header {HEADER!r} in facts.tsv, got {header!r}")
    return tuple(Fact(*line.split("\t")) for line in lines)


@cache
def facts_for(relation: str) -> tuple[Fact, ...]:
    """Returns the facts of one relation, sorted by subject."""
    return tuple(fact for fact in facts() if fact.relation == relation)


def with_article(subject: str) -> str:
    """Returns a name as used within a sentence: `the USA`, `France`."""
    return f"the {subject}" if subject in ARTICLE else subject
