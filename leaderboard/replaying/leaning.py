"""Leaning: whether what differs, each number by no more than is allowed, leans to the record's side all together.

Noise knows no right answers: where it turns any, it turns about as many against a record as in its favour, and it is
mostly far below the most that is allowed. A record that was made better within what is allowed is known by that:

- More answers that are right as recorded and wrong as replayed than the other way round: an exact sign test, one-sided,
  of sequences, dialogues and facts, whose answers noise may turn together, and a stricter one of the answers.
- Log-probabilities that use too much of what they are allowed, as a root mean square.

Both are demanded of each table, and the first one of all tables together, too.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import numpy as np
import pyarrow as pa

from harness.prompting import answer_part
from harness.rows import Job
from harness.tasks import ChoiceTask, HistogramTask, NumberTask, ReadTask
from harness.tasks.base import Bools, Floats, Ints

# How often noise may be taken for a lean. Answers of one sequence are no independent draws.
LEVEL, LEVEL_OF_ANSWERS = 1e-3, 1e-6
# Of what is allowed, as a root mean square. In other batches SmolLM2-135M uses 0.11 in bfloat16, much smaller models at
# most 0.006, and in float32 0.001.
MOST_USED = 1 / 3
FEWEST_NUMBERS = 30


@dataclass
class Tally:
    """What has been counted of one table. of: answers, of which so many are right as recorded and as replayed. favour,
    against: answers that turned. clusters: by sequence, dialogue or fact, how many more turned in favour. squares: sum
    of those of so many numbers, each as a share of what it was allowed."""

    of: int = 0
    recorded: int = 0
    replayed: int = 0
    favour: int = 0
    against: int = 0
    clusters: Counter[int] = field(default_factory=Counter)
    squares: float = 0.0
    numbers: int = 0

    def answered(self, clusters: Ints, recorded: Bools, replayed: Bools) -> None:
        """Counts answers. clusters: (answers,). recorded, replayed: whether they are right, (answers, measures), of
        which the first is the one that they are called right by."""
        self.of += len(clusters)
        self.recorded += int(recorded[:, 0].sum())
        self.replayed += int(replayed[:, 0].sum())
        turned = np.sign(recorded.sum(axis=1) - replayed.sum(axis=1))
        self.favour += int((turned > 0).sum())
        self.against += int((turned < 0).sum())
        for answer in np.flatnonzero(turned).tolist():
            self.clusters[int(clusters[answer])] += int(turned[answer])

    def compared(self, distances: Floats, allowed: Floats) -> None:
        """Counts numbers that are no further apart than is allowed; others are differences of their own."""
        fine = np.isfinite(distances) & (distances <= allowed)
        used = distances[fine] / allowed[fine]
        self.squares += float(used @ used)
        self.numbers += len(used)

    @property
    def used(self) -> float:
        """The root mean square of the shares of what was allowed; 0 of too few numbers."""
        return float(np.sqrt(self.squares / self.numbers)) if self.numbers >= FEWEST_NUMBERS else 0.0

    def leans(self, tests: int) -> bool:
        """Whether more answers turned in favour than chance turns, as one of so many tests."""
        turned = Counter(np.sign([*self.clusters.values()]).tolist())
        by_cluster = _chance(turned[1], turned[-1])
        return by_cluster < LEVEL / tests or _chance(self.favour, self.against) < LEVEL_OF_ANSWERS / tests


def _chance(favour: int, against: int) -> float:
    """How probable it is that so many or more of all are in favour, each with one half."""
    from scipy.special import bdtr

    return float(bdtr(against, favour + against, 0.5)) if favour else 1.0


def leanings(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """What leans to the record's side, a phrase each; tallies: by job."""
    tested = {"": together(tallies), **(tallies if len(tallies) > 1 else {})}
    for name, tally in tested.items():
        if tally.leans(len(tested)):
            turned = f"{tally.favour:,} answers turned in favour of the record, {tally.against:,} against it"
            yield f"{name}{': ' if name else ''}{turned}, more than noise turns"
    for name, tally in tallies.items():
        if tally.used > MOST_USED:
            yield (
                f"{name}: the log-probabilities are apart by {tally.used:.0%} of what is allowed (root mean square of "
                f"{tally.numbers:,}), noise by less than {MOST_USED:.0%}"
            )


def together(tallies: Mapping[str, Tally]) -> Tally:
    """The answers of several jobs, in which no cluster stands in two of them."""
    whole = Tally()
    for tally in tallies.values():
        for name in ("of", "recorded", "replayed", "favour", "against"):
            setattr(whole, name, getattr(whole, name) + getattr(tally, name))
        start = len(whole.clusters)
        whole.clusters.update({start + place: net for place, net in enumerate(tally.clusters.values())})
    return whole


# ---- Right or wrong, as in harness.judging, of any rows


def clusters(job: Job, table: pa.Table) -> Ints:
    """What each answer in a table of observations of some rows is about, as its judge numbers it."""
    ids = table["id"].to_numpy()
    return _facts(job)[ids] if isinstance(job.task, ChoiceTask) else ids


@lru_cache(maxsize=4)
def _facts(job: Job) -> Ints:
    """Which fact each row is about: numbers of all rows, since those of some would mean others elsewhere."""
    return cast(ChoiceTask, job.task).facts(pa.concat_tables(chunk for _, chunk in job.chunks()))


def right(job: Job, rows: pa.Table, table: pa.Table) -> Bools:
    """Whether the answers in a table of observations of some rows are right, (answers, measures): the accuracy first,
    and what else is scored."""
    if isinstance(job.task, ReadTask):
        logprobs = table["logprobs"].combine_chunks().values.to_numpy().reshape(len(table), -1)
        gold = np.arange(logprobs.shape[1]) == table["gold"].to_numpy()[:, None]
        best = np.where(gold, -np.inf, logprobs).max(axis=1)
        most = (table["argmax"].to_numpy() == table["gold_token"].to_numpy()) & ~np.isnan(logprobs).all(axis=1)
        return np.stack([most, logprobs[gold] > best], axis=1)
    if isinstance(job.task, ChoiceTask):
        golds, lines = table["gold"].to_pylist(), table["logprobs"].to_pylist()
        first = [sum(one >= line[gold] for one in line) == 1 for gold, line in zip(golds, lines, strict=True)]
        return np.stack([np.array(first, dtype=bool), table["written"].to_numpy() == golds], axis=1)
    task = cast(NumberTask | HistogramTask, job.task)
    limit, turns = job.prompting.max_new_tokens(task), job.prompting.turns
    said = list(zip(table["output"].to_pylist(), table["tokens"].to_pylist(), strict=True))
    golds = [gold for gold in task.gold(rows) for _ in range(turns)]
    same = [
        tokens >= 0 and task.read(*answer_part(task, output, tokens >= limit, job.prompting)).value == gold
        for (output, tokens), gold in zip(said, golds, strict=True)
    ]
    return np.array(same, dtype=bool)[:, None]
