"""Facts with one right answer, frozen; PROVENANCE.md beside them says where they come from."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from fflm_data.facts.exclusions import ARTICLE

RELATIONS = ("capital", "country", "continent", "domain")
HEADER = "relation\tsubject\tanswer"


class Fact(NamedTuple):
    """One line of facts.tsv."""

    relation: str
    subject: str
    answer: str


@cache
def facts() -> tuple[Fact, ...]:
    """All facts, sorted."""
    header, *lines = files(__name__).joinpath("facts.tsv").read_text(encoding="utf-8").splitlines()
    if header != HEADER:
        raise ValueError(f"facts.tsv begins with {header!r} instead of {HEADER!r}")
    return tuple(Fact(*line.split("\t")) for line in lines)


@cache
def facts_of(relation: str) -> tuple[Fact, ...]:
    """The facts of one relation, sorted by subject."""
    return tuple(fact for fact in facts() if fact.relation == relation)


def in_a_sentence(subject: str) -> str:
    """The subject as it stands in the middle of a sentence: `the USA`, `France`."""
    return f"the {subject}" if subject in ARTICLE else subject
