"""Facts with one right answer (arXiv 2403.19521): sentences that a country, a capital, a continent or a domain ends.

Rows take one relation after the other, and within a relation every fact once before any a second time:
the first N rows have as many of one relation as of another until the shortest relation is used up.

The facts are finite, so other seeds give the same facts in another order and in other sentences.
There is no train split: no row of the test split can stand in one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.config import Config, answers, majority, require, require_integer
from fflm_data.facts import RELATIONS, facts_of, in_a_sentence
from fflm_data.seeding import Stream

# The plain sentence of a relation comes first. No verb depends on the subject, which may be a plural.
PREFIXES = {
    "capital": (
        "The capital of {subject} is",
        "The name of the capital city of {subject} is",
        "Every pupil in the class knew that the capital of {subject} is",
        "The delegation arrived in the capital of {subject}, the city of",
        "At the end of our stay in {subject} we visited the capital,",
        "The atlas marks with a star the capital of {subject}, called",
    ),
    "country": (
        "{subject} is the capital of",
        "The country whose capital is {subject} is called",
        "Every pupil in the class knew that {subject} is the capital of",
        "The city of {subject} is best known as the national capital of",
        "They moved to {subject}, the capital of",
        "The atlas marks {subject} with a star, as it is the capital city of",
    ),
    "continent": (
        "The continent of {subject} is",
        "The atlas, which is ordered by continent, lists {subject} under",
        "Asked for the continent of {subject}, every pupil in the class wrote",
        "Geographers count {subject} among the countries of the continent of",
        "The table gives beside each country its continent, and for {subject} that is",
        "On the form, under country, he wrote the name of {subject}, and under continent he wrote",
    ),
    "domain": (
        "The country-code top-level domain of {subject} is",
        "On the internet, the two-letter country domain of {subject} is",
        "Web addresses under the national top-level domain of {subject} end in",
        "The table gives beside each country its top-level domain, and for {subject} that is",
        "Asked for the country-code domain of {subject}, every engineer in the room wrote",
        "The registry that looks after the internet domain of {subject} hands out names that end in",
    ),
}
MAX_PREFIXES = min(len(prefixes) for prefixes in PREFIXES.values())


@dataclass(frozen=True)
class Capitals(Config):
    """Which answer ends a sentence about a country or a city? Each fact stands in `prefixes` sentences."""

    relations: tuple[str, ...] = RELATIONS
    prefixes: int = 3

    name: ClassVar[str] = "capitals"
    title: ClassVar[str] = "recall a fact about a country"
    paper: ClassVar[str] = "arXiv 2403.19521"
    licence: ClassVar[str] = "cc-by-4.0"
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("id", pa.int64()),
            ("subject", pa.string()),
            ("relation", pa.string()),
            ("prompt", pa.string()),
            ("answer", pa.string()),
        ]
    )

    def validate(self) -> None:
        # A bare string is how the command line hands over one name or, with commas, several.
        given = (
            [name.strip() for name in self.relations.split(",")] if isinstance(self.relations, str) else self.relations
        )
        allowed = f"some of {', '.join(RELATIONS)}"
        require(isinstance(given, list | tuple) and len(given) > 0, "relations", self.relations, allowed)
        for relation in given:
            require(isinstance(relation, str) and relation in RELATIONS, "relations", relation, allowed, RELATIONS)
        require(len(set(given)) == len(given), "relations", given, "free of repetition")
        object.__setattr__(self, "relations", tuple(given))
        require_integer("prefixes", self.prefixes, 1, MAX_PREFIXES)

    def splits(self) -> dict[str, int]:
        return {"test": self.block_rows("test")}

    def baseline_predictions(self, rows: pa.Table) -> dict[str, npt.NDArray[Any]]:
        relations = np.asarray(rows["relation"].to_pylist(), dtype=object)
        prediction = answers(rows)
        for relation in self.relations:
            inside = relations == relation
            if inside.any():
                prediction[inside] = majority(prediction[inside])
        return {"majority of the relation": prediction}

    def block_rows(self, split: str) -> int:
        return self.prefixes * sum(len(facts_of(relation)) for relation in self.relations)

    def block(self, split: str, number: int) -> pa.Table:
        """The whole split: every fact is drawn, so that it is one block."""
        key = {"relations": list(self.relations), "prefixes": self.prefixes}
        stream = Stream(self.name, key, split, self.seed, number)
        turns = zip_longest(*[list(self._rows(stream, relation)) for relation in self.relations])
        rows = [row for row in chain.from_iterable(turns) if row is not None]
        return pa.Table.from_pylist(rows, schema=self.schema.remove(0))

    def _rows(self, stream: Stream, relation: str) -> Iterator[dict[str, Any]]:
        """The rows of one relation, without `id`: each fact in one of its sentences, then each in the next."""
        facts = [facts_of(relation)[index] for index in stream.permutation(len(facts_of(relation)))]
        sentences = [stream.permutation(len(PREFIXES[relation]))[: self.prefixes] for _ in facts]
        for turn in range(self.prefixes):
            for fact, chosen in zip(facts, sentences, strict=True):
                prompt = PREFIXES[relation][chosen[turn]].format(subject=in_a_sentence(fact.subject))
                yield {"subject": fact.subject, "relation": relation, "prompt": prompt, "answer": fact.answer}
