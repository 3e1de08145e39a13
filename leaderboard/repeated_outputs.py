"""Whether a record of the same model says again what another one says: by its answers, which outlive small edits.

Numbers can be moved and words set around an answer at no cost; which answers are right decides the score. Two runs of
one model at one revision agree in them, whatever else was changed. Of other weights under the same name more is asked:
the same answers wrong far beyond chance, or numbers as alike as those of two models never are.

An honest run differs from a disputed record where the model was found to say something else. It says there what the
replay says, or at least differs as often as the replay did.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fflm_data.arrays import Bools
from harness.prompts.jobs import Job
from harness.scoring.grading import Graded, grade_table
from harness.tasks import ReadTask
from leaderboard.records import Record
from leaderboard.replay.differences import Difference, quoted
from leaderboard.verification.near_copies import likeness
from leaderboard.verification.similar_names import pass_for_each_other

# Of two runs of one model: how many answers are right in both or in neither, of other weights beyond chance (kappa).
_SAME_SHARE, _SAME_KAPPA = 0.99, 0.95
# So many wrong answers of two models are not the same by chance, where fewer answers than that to what has one right
# answer are taken together with others.
_FEWEST_WRONG, _FEWEST_OF_GOLD = 20, 5
# How often an honest run may differ from a disputed record so much less than the replay did.
_LEVEL = 1e-3


@dataclass(frozen=True)
class Pair:
    """A table of two records of one model, the earlier one first, cut to the rows that both have. near: whether its
    numbers or texts are as alike as those of two models never are. same_weights: whether it is the same revision, asked
    in the same way."""

    job: Job
    tables: tuple[pa.Table, pa.Table]
    graded: tuple[Graded, Graded]
    near: bool
    same_weights: bool

    @property
    def is_alike(self) -> bool:
        """Whether the one says again what the other says, and other weights would say something else."""
        return self.near or self._is_wrong_alike

    @property
    def has_same_answers(self) -> bool:
        """Whether nearly all answers are right in both or in neither."""
        one, other = (graded.right for graded in self.graded)
        return bool((one == other).mean() >= _SAME_SHARE)

    @cached_property
    def _is_wrong_alike(self) -> bool:
        one, other = (graded.right for graded in self.graded)
        if min((~one).sum(), (~other).sum()) < _FEWEST_WRONG:
            return False
        by_chance = 0.0
        for lines in self._by_gold():
            p, q = one[lines].mean(), other[lines].mean()
            by_chance += (p * q + (1 - p) * (1 - q)) * lines.mean()
        same = (one == other).mean()
        return bool(same - by_chance >= _SAME_KAPPA * (1 - by_chance) and by_chance < 1)

    def _by_gold(self) -> Iterator[Bools]:
        """The answers by what is right there: a model that always says the same is right where others like it are."""
        target_values = np.array([*map(str, self.graded[0].target)])  # type: ignore[attr-defined]
        values, which, counts = np.unique(target_values, return_inverse=True, return_counts=True)
        rare = counts[which] < _FEWEST_OF_GOLD
        groups = [which == value for value in range(len(values)) if counts[value] >= _FEWEST_OF_GOLD]
        yield from [*groups, *([rare] if rare.any() else [])]

    def share_turned(self, up: bool) -> float:
        """How many answers are right in the later record and wrong in the earlier one; up: or the other way round."""
        was, now = (graded.right for graded in self.graded)
        return float((now & ~was if up else was & ~now).mean())

    def says_again(self, differences: Iterable[Difference]) -> float | None:
        """Of what a replay found to differ from the earlier record, which part the later one says again; None if it
        has none of these rows."""
        found = [again for one in differences if (again := self._says_again(one)) is not None]
        return sum(found) / len(found) if found else None

    def _says_again(self, one: Difference) -> bool | None:
        was, now = self.tables
        here = was["id"].to_numpy() == one.row
        place = next((name for name in ("position", "turn") if name in was.column_names), None)
        if place and one.place is not None:
            here &= was[place].to_numpy() == one.place
        lines = np.flatnonzero(here).tolist()
        if not lines:
            return None
        column = self._column(one, was, lines[0])
        if column is not None and np.isfinite(one.shift):
            moved = now["logprobs"][lines[0]][column].as_py() - was["logprobs"][lines[0]][column].as_py()
            return not abs(moved - one.shift) <= abs(one.shift) / 2  # nearer to what was recorded, or beside both
        if one.replayed is not None and "output" in was.column_names:
            texts = [[quoted(table["output"][line].as_py()) for line in lines] for table in self.tables]
            if one.replayed in texts[1] and one.replayed not in texts[0]:
                return False
        said = [[graded.predicted[line] for line in lines] for graded in self.graded]  # type: ignore[attr-defined]
        return bool(said[0] == said[1])

    def _column(self, one: Difference, table: pa.Table, line: int) -> int | None:
        """Which of the log-probabilities of a line a difference is of."""
        if one.symbol is None or "logprobs" not in table.column_names:
            return None
        task = self.job.task
        names = [*map(str, task.symbols(self.job.config))] if isinstance(task, ReadTask) else None
        names = names or [*map(str, range(len(table["logprobs"][line])))]
        return names.index(one.symbol) if one.symbol in names else None


def is_of_same_name(origin: Record, record: Record) -> bool:
    """Whether two records are of one model, or the name of the one passes for that of the other."""
    one, other = (str(each.run.facts["model"]["id"]) for each in (origin, record))
    return one == other or pass_for_each_other(one, other)


def pairs(origin: Record, record: Record, names: Iterable[str]) -> dict[str, Pair]:
    """By name, tables that two records have. Raises UserError, OSError, ValueError or KeyError where one cannot be
    graded."""
    jobs = [{job.name: job for job in each.run.jobs()} for each in (origin, record)]
    return {
        name: _pair(origin, record, (jobs[0][name], jobs[1][name]))
        for name in names
        if name in jobs[0] and name in jobs[1]
    }


def _pair(origin: Record, record: Record, jobs: tuple[Job, Job]) -> Pair:
    paths = [each.run.table(job) for each, job in zip((origin, record), jobs, strict=True)]
    rows = min(job.rows for job in jobs)
    tables = [_first_rows(path, rows) for path in paths]
    graded = [grade_table(job.task, replace(job, rows=rows), one) for job, one in zip(jobs, tables, strict=True)]
    found = likeness(jobs[1], paths[1], paths[0], record.digest)
    near = found is not None and not found.partly
    same_weights = _is_asked_alike(origin, record, jobs[0])
    return Pair(jobs[0], (tables[0], tables[1]), (graded[0], graded[1]), near, same_weights)


def _first_rows(path: Path, rows: int) -> pa.Table:
    with pq.ParquetFile(path) as file:
        table = file.read()
    return table.filter(pa.array(table["id"].to_numpy() < rows)).combine_chunks()


def _is_asked_alike(origin: Record, record: Record, job: Job) -> bool:
    """Whether a task was put to the same weights in the same way."""
    models = [each.run.facts["model"] for each in (origin, record)]
    put = [each.run.facts["data"]["tasks"][job.task.name].get("prompting") for each in (origin, record)]
    return put[0] == put[1] and all(models[0].get(name) == models[1].get(name) for name in ("revision", "adapter"))


# ---- What follows


def repeats_withdrawn(found: Mapping[str, Pair]) -> tuple[str, ...]:
    """The tables in which a record says again what was withdrawn, of those that it has in common with it: of a model
    that is nearly always right every one, since other weights are right, too."""
    alike = tuple(name for name, pair in found.items() if pair.is_alike)
    same = all(pair.is_alike or (pair.same_weights and pair.has_same_answers) for pair in found.values())
    return tuple(found) if same else alike


def repeats_disputed(
    found: Mapping[str, Pair], differences: Mapping[str, Sequence[Difference]], details: Mapping[str, Any]
) -> tuple[str, ...]:
    """The tables in which a record says again what a replay doubts. found: all that the replay asked and both have.
    differences: by table that is doubted, those that name rows; without any it is doubted as a whole. details: of the
    replay."""
    turned = _is_turned_as_often(found, details)
    return tuple(
        name
        for name in differences.keys() & found.keys()
        if (found[name].same_weights or found[name].is_alike) and _repeats(found[name], differences[name], turned)
    )


def _repeats(pair: Pair, differences: Sequence[Difference], turned: bool | None) -> bool:
    """turned: whether so many answers of the record turned as of the replay, None if it does not say."""
    again = pair.says_again(differences)
    if turned is False:
        return True  # also of one that mends what was named, and nothing else
    if again is not None:
        return again >= 0.5
    return turned is None and (pair.is_alike or pair.has_same_answers)


def _is_turned_as_often(found: Mapping[str, Pair], details: Mapping[str, Any]) -> bool | None:
    """Whether answers of a record, against a disputed one, turned as often as those of the replay, or chance may have
    made it less; None if the replay does not say, none turned, or it asked tables that the record does not have. Of
    tables as they were drawn, which is not by size."""
    from scipy.special import bdtrc

    right, drawn = details.get("right"), details["tasks"]
    if right is None or right["recorded"] == right["replayed"] or found.keys() != drawn.keys():
        return None
    many, of = abs(right["recorded"] - right["replayed"]), right["of"]
    sizes = {name: pair.job.rows if drawn[name] == "all" else len(drawn[name]) for name, pair in found.items()}
    up = right["replayed"] > right["recorded"]
    share = sum(pair.share_turned(up) * sizes[name] for name, pair in found.items()) / sum(sizes.values())
    return bool(bdtrc(many - 1, of, share) >= _LEVEL)
