"""Bias test: whether the differences of a replay favour the record, although each is within the tolerance.

Noise does not know the targets. It changes about as many right answers as wrong ones, and is mostly far below the
tolerance. A record that was improved within the tolerance is detected by:

- More answers that are right as recorded and wrong as replayed than the other way round: an exact one-sided sign test
  over sequences, dialogues and facts, whose answers may change together, and a stricter one over answers.
- Log-probabilities, of all answers or of targets, whose differences have a root mean square near the tolerance.
- So many near ties that the answers cannot be verified.

The first two are tested per table, the first and the last over all tables.
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

# Probability of a false alarm. It is smaller for answers, because those of one sequence are not independent.
LEVEL, LEVEL_OF_ANSWERS = 1e-3, 1e-6
# Root mean square of the differences as a share of the tolerance. With other batches SmolLM2-135M has 0.11 in bfloat16,
# much smaller models at most 0.006, and 0.001 in float32.
MOST_USED = 1 / 3
FEWEST_NUMBERS = 30
# Share of changed near ties among all answers. Above it, a replay cannot verify which tokens the model writes.
MOST_FLIPPED = 0.1


@dataclass
class Measure:
    """Changed answers of one measure, in favour of the record and against it. clusters: net changes in favour, by
    sequence, dialogue or fact."""

    favour: int = 0
    against: int = 0
    clusters: Counter[int] = field(default_factory=Counter)

    def is_biased(self, tests: int) -> bool:
        """Returns whether more answers changed in favour than by chance. tests: number of tests (Bonferroni)."""
        signs = Counter(np.sign([*self.clusters.values()]).tolist())
        by_cluster = sign_test(signs[1], signs[-1])
        return by_cluster < LEVEL / tests or sign_test(self.favour, self.against) < LEVEL_OF_ANSWERS / tests


@dataclass
class ToleranceUse:
    """Differences as shares of the tolerance. squares: sum of the squared shares. numbers: how many."""

    squares: float = 0.0
    numbers: int = 0

    def add(self, shares: Floats) -> None:
        """Adds shares, (values,)."""
        self.squares += float(shares @ shares)
        self.numbers += len(shares)

    @property
    def share(self) -> float:
        """The root mean square; 0 for too few numbers."""
        return float(np.sqrt(self.squares / self.numbers)) if self.numbers >= FEWEST_NUMBERS else 0.0


@dataclass
class Tally:
    """Counts of one table. of: answers; recorded, replayed: how many are right. measures: changed answers by measure,
    so that one cannot compensate another. used: over all log-probabilities; used_by_right: over those of targets, which
    would have little weight among many candidates."""

    of: int = 0
    recorded: int = 0
    replayed: int = 0
    measures: list[Measure] = field(default_factory=list)
    used: ToleranceUse = field(default_factory=ToleranceUse)
    used_by_right: ToleranceUse = field(default_factory=ToleranceUse)

    def add_answers(self, clusters: Ints, recorded: Bools, replayed: Bools) -> None:
        """Counts answers. clusters: (answers,). recorded, replayed: whether they are right, (answers, measures); the
        first measure is the accuracy."""
        self.of += len(clusters)
        self.recorded += int(recorded[:, 0].sum())
        self.replayed += int(replayed[:, 0].sum())
        self.measures += [Measure() for _ in range(recorded.shape[1] - len(self.measures))]
        for measure, was, now in zip(self.measures, recorded.T, replayed.T, strict=True):
            changed = was.astype(np.int64) - now
            measure.favour += int((changed > 0).sum())
            measure.against += int((changed < 0).sum())
            for answer in np.flatnonzero(changed).tolist():
                measure.clusters[int(clusters[answer])] += int(changed[answer])

    def add_differences(self, distances: Floats, allowed: Floats, right: Bools) -> None:
        """Counts differences within the tolerance; larger ones are reported one by one. right: which log-probabilities
        are those of targets."""
        fine = np.isfinite(distances) & (distances <= allowed)
        shares = np.divide(distances, allowed, out=np.zeros_like(distances), where=fine)
        self.used.add(shares[fine])
        self.used_by_right.add(shares[fine & right])


def sign_test(favour: int, against: int) -> float:
    """Returns the one-sided p-value of a sign test: the probability of `favour` or more of all, each with 1/2."""
    from scipy.special import bdtr

    return float(bdtr(against, favour + against, 0.5)) if favour else 1.0


def find_bias(tallies: Mapping[str, Tally], flips: int = 0) -> Iterator[str]:
    """Yields a clause for each bias in favour of the record. tallies: by job. flips: changed near ties."""
    total = merge(tallies)
    tested = {"": total, **(tallies if len(tallies) > 1 else {})}
    tests = sum(len(tally.measures) for tally in tested.values())
    for name, tally in tested.items():
        for measure in tally.measures:
            if measure.is_biased(tests):
                changed = f"{measure.favour:,} answers changed in favour of the record, {measure.against:,} against it"
                yield f"{name}{': ' if name else ''}{changed}, more than noise changes"
    for name, tally in tallies.items():
        for values, used in (
            ("log-probabilities", tally.used),
            ("log-probabilities of right answers", tally.used_by_right),
        ):
            if used.share > MOST_USED:
                yield (
                    f"{name}: {values} differ by {used.share:.0%} of the tolerance (root mean square of "
                    f"{used.numbers:,}), noise by less than {MOST_USED:.0%}"
                )
    if flips >= FEWEST_NUMBERS and flips > MOST_FLIPPED * total.of:
        yield f"{flips:,} near ties of {total.of:,} answers changed: a replay cannot verify this model"


def merge(tallies: Mapping[str, Tally]) -> Tally:
    """Returns the counts of several jobs in one. Clusters of different jobs stay separate."""
    total = Tally()
    for tally in tallies.values():
        for name in ("of", "recorded", "replayed"):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        total.measures += [Measure() for _ in range(len(tally.measures) - len(total.measures))]
        for merged, measure in zip(total.measures, tally.measures, strict=False):
            merged.favour += measure.favour
            merged.against += measure.against
            start = len(merged.clusters)
            merged.clusters.update({start + place: net for place, net in enumerate(measure.clusters.values())})
    return total


# ---- Grading of selected rows, as in harness.scoring.grading


def clusters(job: Job, table: pa.Table) -> Ints:
    """Returns the cluster of each answer in a table of observations: its fact for choices, else its row."""
    ids = table["id"].to_numpy()
    return _facts(job)[ids] if isinstance(job.task, ChoiceTask) else ids


@lru_cache(maxsize=4)
def _facts(job: Job) -> Ints:
    """Returns the fact number of each row. Computed over all rows, so that the numbers do not depend on the
    selection."""
    return cast(ChoiceTask, job.task).facts(pa.concat_tables(chunk for _, chunk in job.chunks()))


def correct(job: Job, rows: pa.Table, table: pa.Table) -> Bools:
    """Returns whether the answers in a table of observations are right, (answers, measures): accuracy first, then the
    other scores. rows: the rows of the task."""
    if isinstance(job.task, ReadTask):
        logprobs = table["logprobs"].combine_chunks().values.to_numpy().reshape(len(table), -1)
        target = np.arange(logprobs.shape[1]) == table["gold"].to_numpy()[:, None]
        best = np.where(target, -np.inf, logprobs).max(axis=1)
        most = (table["argmax"].to_numpy() == table["gold_token"].to_numpy()) & ~np.isnan(logprobs).all(axis=1)
        return np.stack([most, logprobs[target] > best], axis=1)
    if isinstance(job.task, ChoiceTask):
        target_values, lines = table["gold"].to_pylist(), table["logprobs"].to_pylist()
        first = [
            sum(logprob >= line[target] for logprob in line) == 1
            for target, line in zip(target_values, lines, strict=True)
        ]
        return np.stack([np.array(first, dtype=bool), table["written"].to_numpy() == target_values], axis=1)
    task = cast(NumberTask | HistogramTask, job.task)
    limit, turns = job.prompting.max_new_tokens(task), job.prompting.turns
    outputs = list(zip(table["output"].to_pylist(), table["tokens"].to_pylist(), strict=True))
    target_values = [target for target in task.target(rows) for _ in range(turns)]
    matches = [
        tokens >= 0 and task.read(*answer_part(task, output, tokens >= limit, job.prompting)).value == target
        for (output, tokens), target in zip(outputs, target_values, strict=True)
    ]
    return np.array(matches, dtype=bool)[:, None]
