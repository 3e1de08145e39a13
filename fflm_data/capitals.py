"""Facts with one right answer (arXiv 2403.19521): sentences completed by a country, capital, continent or domain.

Rows cycle through the relations, and a relation uses every fact once before it repeats one, so the
first N rows are balanced until the smallest relation is exhausted.

The set of facts is fixed: other seeds give the same facts in another order and in other sentences.
There is no train split, so no test row can leak into one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fflm_data.config import Config, answer_column, majority, require, require_integer
from fflm_data.facts import RELATIONS, facts_for, with_article
from fflm_data.seeding import Stream

# The simplest sentence of a relation comes first. No verb agrees with the subject, which may be plural.
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
    """Which answer completes a sentence about a country or a city? Each fact has `prefixes` sentences."""

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
        # On the command line, several names are separated by commas.
        relations = (
            [name.strip() for name in self.relations.split(",")] if isinstance(self.relations, str) else self.relations
        )
        allowed = f"one or more of {', '.join(RELATIONS)}"
        require(isinstance(relations, list | tuple) and len(relations) > 0, "relations", self.relations, allowed)
        for relation in relations:
            require(isinstance(relation, str) and relation in RELATIONS, "relations", relation, allowed, RELATIONS)
        require(len(set(relations)) == len(relations), "relations", relations, "free of duplicates")
        object.__setattr__(self, "relations", tuple(relations))
        require_integer("prefixes", self.prefixes, 1, MAX_PREFIXES)

    def splits(self) -> dict[str, int]:
        return {"test": self.block_rows("test")}

    def baseline_predictions(self, rows: pa.Table) -> dict[str, npt.NDArray[Any]]:
        relations = np.asarray(rows["relation"].to_pylist(), dtype=object)
        prediction = answer_column(rows)
        for relation in self.relations:
            mask = relations == relation
            if mask.any():
                prediction[mask] = majority(prediction[mask])
        return {"majority of the relation": prediction}

    def block_rows(self, split: str) -> int:
        return self.prefixes * sum(len(facts_for(relation)) for relation in self.relations)

    def block(self, split: str, number: int) -> pa.Table:
        """Returns the whole split. It is one block because every fact is drawn."""
        key = {"relations": list(self.relations), "prefixes": self.prefixes}
        stream = Stream(self.name, key, split, self.seed, number)
        rounds = zip_longest(*[list(self._rows(stream, relation)) for relation in self.relations])
        rows = [row for row in chain.from_iterable(rounds) if row is not None]
        return pa.Table.from_pylist(rows, schema=self.schema.remove(0))

    def _rows(self, stream: Stream, relation: str) -> Iterator[dict[str, Any]]:
        """Yields the rows of one relation, without `id`: all facts with one sentence each, then all with the next."""
        facts = [facts_for(relation)[index] for index in stream.permutation(len(facts_for(relation)))]
        sentences = [stream.permutation(len(PREFIXES[relation]))[: self.prefixes] for _ in facts]
        for round_ in range(self.prefixes):
            for fact, indices in zip(facts, sentences, strict=True):
                prompt = PREFIXES[relation][indices[round_]].format(subject=with_article(fact.subject))
                yield {"subject": fact.subject, "relation": relation, "prompt": prompt, "answer": fact.answer}
