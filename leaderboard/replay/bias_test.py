"""Leaning: whether what differs, each number by no more than is allowed, leans to the record's side all together.

Noise knows no right answers: where it turns any, it turns about as many against a record as in its favour, and it is
mostly far below the most that is allowed. A record that was made better within what is allowed is known by that:

- More answers that are right as recorded and wrong as replayed than the other way round: an exact sign test, one-sided,
  of sequences, dialogues and facts, whose answers noise may turn together, and a stricter one of the answers.
- Log-probabilities, or those of right answers, that use too much of what they are allowed, as a root mean square.
- Near ties without end, of which nobody can say how they come out.

The first two are demanded of each table, the first and the last one of all tables together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Bools, Floats, Ints
from harness.prompts.jobs import Job
from harness.prompts.prompting import answer_part
from harness.tasks import ChoiceTask, HistogramTask, NumberTask, ReadTask

# How often noise may be taken for a lean. Answers of one sequence are no independent draws.
LEVEL, LEVEL_OF_ANSWERS = 1e-3, 1e-6
# Of what is allowed, as a root mean square. In other batches SmolLM2-135M uses 0.11 in bfloat16, much smaller models at
# most 0.006, and in float32 0.001.
MOST_USED = 1 / 3
FEWEST_NUMBERS = 30
# Of all answers: near ties beyond that are no exception, and which token a model says is then nobody's to check.
MOST_FLIPPED = 0.1


@dataclass
class Measure:
    """Answers of one measure that turned, in favour of the record and against it. clusters: by sequence, dialogue or
    fact, how many more turned in favour."""

    favour: int = 0
    against: int = 0
    clusters: Counter[int] = field(default_factory=Counter)

    def leans(self, tests: int) -> bool:
        """Whether more answers turned in favour than chance turns, as one of so many tests."""
        turned = Counter(np.sign([*self.clusters.values()]).tolist())
        by_cluster = chance(turned[1], turned[-1])
        return by_cluster < LEVEL / tests or chance(self.favour, self.against) < LEVEL_OF_ANSWERS / tests


@dataclass
class Used:
    """By how much of what they are allowed so many log-probabilities are apart: the sum of squares of the shares."""

    squares: float = 0.0
    numbers: int = 0

    def add(self, shares: Floats) -> None:
        """Counts some."""
        self.squares += float(shares @ shares)
        self.numbers += len(shares)

    @property
    def share(self) -> float:
        """The root mean square; 0 of too few numbers."""
        return float(np.sqrt(self.squares / self.numbers)) if self.numbers >= FEWEST_NUMBERS else 0.0


@dataclass
class Tally:
    """What has been counted of one table. of: answers, of which so many are right as recorded and as replayed.
    measures: what turned, by each measure alone, so that none makes up for another. used: of all log-probabilities,
    and of those of right answers alone, which among many candidates would be lost."""

    of: int = 0
    recorded: int = 0
    replayed: int = 0
    measures: list[Measure] = field(default_factory=list)
    used: Used = field(default_factory=Used)
    used_by_right: Used = field(default_factory=Used)

    def answered(self, clusters: Ints, recorded: Bools, replayed: Bools) -> None:
        """Counts answers. clusters: (answers,). recorded, replayed: whether they are right, (answers, measures), of
        which the first is the one that they are called right by."""
        self.of += len(clusters)
        self.recorded += int(recorded[:, 0].sum())
        self.replayed += int(replayed[:, 0].sum())
        self.measures += [Measure() for _ in range(recorded.shape[1] - len(self.measures))]
        for measure, was, now in zip(self.measures, recorded.T, replayed.T, strict=True):
            turned = was.astype(np.int64) - now
            measure.favour += int((turned > 0).sum())
            measure.against += int((turned < 0).sum())
            for answer in np.flatnonzero(turned).tolist():
                measure.clusters[int(clusters[answer])] += int(turned[answer])

    def compared(self, distances: Floats, allowed: Floats, right: Bools) -> None:
        """Counts numbers that are no further apart than is allowed; others are differences of their own. right: which
        of them are those of right answers."""
        fine = np.isfinite(distances) & (distances <= allowed)
        shares = np.divide(distances, allowed, out=np.zeros_like(distances), where=fine)
        self.used.add(shares[fine])
        self.used_by_right.add(shares[fine & right])


def chance(favour: int, against: int) -> float:
    """How probable it is that so many or more of all are in favour, each with one half."""
    from scipy.special import bdtr

    return float(bdtr(against, favour + against, 0.5)) if favour else 1.0


def leanings(tallies: Mapping[str, Tally], flips: int = 0) -> Iterator[str]:
    """What leans to the record's side, a phrase each; tallies: by job. flips: near ties that came out the other way."""
    whole = together(tallies)
    tested = {"": whole, **(tallies if len(tallies) > 1 else {})}
    tests = sum(len(tally.measures) for tally in tested.values())
    for name, tally in tested.items():
        for measure in tally.measures:
            if measure.leans(tests):
                turned = f"{measure.favour:,} answers turned in favour of the record, {measure.against:,} against it"
                yield f"{name}{': ' if name else ''}{turned}, more than noise turns"
    for name, tally in tallies.items():
        for what, used in (
            ("log-probabilities", tally.used),
            ("log-probabilities of right answers", tally.used_by_right),
        ):
            if used.share > MOST_USED:
                yield (
                    f"{name}: {what} are apart by {used.share:.0%} of what is allowed (root mean square of "
                    f"{used.numbers:,}), noise by less than {MOST_USED:.0%}"
                )
    if flips >= FEWEST_NUMBERS and flips > MOST_FLIPPED * whole.of:
        told = f"{flips:,} near ties of {whole.of:,} answers came out the other way"
        yield f"{told}: a replay tells nothing of such a model"


def together(tallies: Mapping[str, Tally]) -> Tally:
    """The answers of several jobs, in which no cluster stands in two of them."""
    whole = Tally()
    for tally in tallies.values():
        for name in ("of", "recorded", "replayed"):
            setattr(whole, name, getattr(whole, name) + getattr(tally, name))
        whole.measures += [Measure() for _ in range(len(tally.measures) - len(whole.measures))]
        for all_of_it, measure in zip(whole.measures, tally.measures, strict=False):
            all_of_it.favour += measure.favour
            all_of_it.against += measure.against
            start = len(all_of_it.clusters)
            all_of_it.clusters.update({start + place: net for place, net in enumerate(measure.clusters.values())})
    return whole


# ---- Right or wrong, as in harness.scoring.grading, of any rows


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
        target = np.arange(logprobs.shape[1]) == table["gold"].to_numpy()[:, None]
        best = np.where(target, -np.inf, logprobs).max(axis=1)
        most = (table["argmax"].to_numpy() == table["gold_token"].to_numpy()) & ~np.isnan(logprobs).all(axis=1)
        return np.stack([most, logprobs[target] > best], axis=1)
    if isinstance(job.task, ChoiceTask):
        target_values, lines = table["gold"].to_pylist(), table["logprobs"].to_pylist()
        first = [
            sum(one >= line[target] for one in line) == 1 for target, line in zip(target_values, lines, strict=True)
        ]
        return np.stack([np.array(first, dtype=bool), table["written"].to_numpy() == target_values], axis=1)
    task = cast(NumberTask | HistogramTask, job.task)
    limit, turns = job.prompting.max_new_tokens(task), job.prompting.turns
    said = list(zip(table["output"].to_pylist(), table["tokens"].to_pylist(), strict=True))
    target_values = [target for target in task.target(rows) for _ in range(turns)]
    same = [
        tokens >= 0 and task.read(*answer_part(task, output, tokens >= limit, job.prompting)).value == target
        for (output, tokens), target in zip(said, target_values, strict=True)
    ]
    return np.array(same, dtype=bool)[:, None]
