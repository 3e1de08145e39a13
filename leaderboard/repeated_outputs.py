"""Detects records that repeat the outputs of another record of the same model, by their answers.

Numbers and surrounding text can be edited at no cost, but right answers decide the score. Two runs of one model at one
revision agree in them, whatever else was edited. For other weights under the same name the criterion is stricter: the
same answers are wrong far beyond chance, or the numbers are more similar than those of any two models.

An honest run differs from a disputed record where the replay differed: it has the replayed outputs there, or at least
differs as often as the replay did.
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
from leaderboard.replay.parse_differences import Difference
from leaderboard.untrusted_text import quote_output
from leaderboard.verification.near_copies import find_similarity
from leaderboard.verification.similar_names import are_confusable

# Share of answers that are right in both or in neither run of a model; for other weights beyond chance (kappa).
_SAME_SHARE, _SAME_KAPPA = 0.99, 0.95
# Minimum number of wrong answers, which two models do not share by chance; rarer targets are pooled.
_FEWEST_WRONG, _FEWEST_OF_GOLD = 20, 5
# Probability of a false alarm: an honest run that differs from a disputed record less often than the replay.
_LEVEL = 1e-3


@dataclass(frozen=True)
class TablePair:
    """A table of two records of one model, cut to their common rows, the earlier record first. near: whether numbers or
    texts are more similar than those of any two models. same_weights: whether revision and prompting are the same."""

    job: Job
    tables: tuple[pa.Table, pa.Table]
    graded: tuple[Graded, Graded]
    near: bool
    same_weights: bool

    @property
    def is_repeated(self) -> bool:
        """Whether the outputs are the same, which those of other weights would not be."""
        return self.near or self._has_same_errors

    @property
    def has_same_answers(self) -> bool:
        """Whether nearly all answers are right in both or in neither."""
        earlier, later = (graded.right for graded in self.graded)
        return bool((earlier == later).mean() >= _SAME_SHARE)

    @cached_property
    def _has_same_errors(self) -> bool:
        earlier, later = (graded.right for graded in self.graded)
        if min((~earlier).sum(), (~later).sum()) < _FEWEST_WRONG:
            return False
        by_chance = 0.0
        for lines in self._by_gold():
            p, q = earlier[lines].mean(), later[lines].mean()
            by_chance += (p * q + (1 - p) * (1 - q)) * lines.mean()
        same = (earlier == later).mean()
        return bool(same - by_chance >= _SAME_KAPPA * (1 - by_chance) and by_chance < 1)

    def _by_gold(self) -> Iterator[Bools]:
        """Yields masks of answers by target, because models with a constant prediction agree given the target."""
        target_values = np.array([*map(str, self.graded[0].target)])  # type: ignore[attr-defined]
        values, which, counts = np.unique(target_values, return_inverse=True, return_counts=True)
        rare = counts[which] < _FEWEST_OF_GOLD
        groups = [which == value for value in range(len(values)) if counts[value] >= _FEWEST_OF_GOLD]
        yield from [*groups, *([rare] if rare.any() else [])]

    def share_changed(self, up: bool) -> float:
        """Returns the share of answers that are right in the later record only (up) or in the earlier one only."""
        was, now = (graded.right for graded in self.graded)
        return float((now & ~was if up else was & ~now).mean())

    def share_repeated(self, differences: Iterable[Difference]) -> float | None:
        """Returns the share of differences at which the later record still has the outputs of the earlier one; None if
        it has none of these rows. differences: of a replay of the earlier record."""
        repeated = [value for difference in differences if (value := self._repeats(difference)) is not None]
        return sum(repeated) / len(repeated) if repeated else None

    def _repeats(self, difference: Difference) -> bool | None:
        was, now = self.tables
        here = was["id"].to_numpy() == difference.row
        place = next((name for name in ("position", "turn") if name in was.column_names), None)
        if place and difference.place is not None:
            here &= was[place].to_numpy() == difference.place
        lines = np.flatnonzero(here).tolist()
        if not lines:
            return None
        column = self._column(difference, was, lines[0])
        if column is not None and np.isfinite(difference.shift):
            shift = now["logprobs"][lines[0]][column].as_py() - was["logprobs"][lines[0]][column].as_py()
            return not abs(shift - difference.shift) <= abs(difference.shift) / 2  # closer to the recorded value
        if difference.replayed is not None and "output" in was.column_names:
            texts = [[quote_output(table["output"][line].as_py()) for line in lines] for table in self.tables]
            if difference.replayed in texts[1] and difference.replayed not in texts[0]:
                return False
        predicted = [[graded.predicted[line] for line in lines] for graded in self.graded]  # type: ignore[attr-defined]
        return bool(predicted[0] == predicted[1])

    def _column(self, difference: Difference, table: pa.Table, line: int) -> int | None:
        """Returns the index of a difference among the log-probabilities of a line, None if it is about another
        value."""
        if difference.symbol is None or "logprobs" not in table.column_names:
            return None
        task = self.job.task
        names = [*map(str, task.symbols(self.job.config))] if isinstance(task, ReadTask) else None
        names = names or [*map(str, range(len(table["logprobs"][line])))]
        return names.index(difference.symbol) if difference.symbol in names else None


def has_same_model_name(origin: Record, record: Record) -> bool:
    """Returns whether the model names of two records are equal or confusable."""
    names = [str(each.run.facts["model"]["id"]) for each in (origin, record)]
    return names[0] == names[1] or are_confusable(names[0], names[1])


def pair_tables(origin: Record, record: Record, names: Iterable[str]) -> dict[str, TablePair]:
    """Returns the common tables of two records by name. Raises UserError, OSError, ValueError or KeyError if one cannot
    be graded."""
    jobs = [{job.name: job for job in each.run.jobs()} for each in (origin, record)]
    return {
        name: _pair(origin, record, (jobs[0][name], jobs[1][name]))
        for name in names
        if name in jobs[0] and name in jobs[1]
    }


def _pair(origin: Record, record: Record, jobs: tuple[Job, Job]) -> TablePair:
    paths = [each.run.table(job) for each, job in zip((origin, record), jobs, strict=True)]
    rows = min(job.rows for job in jobs)
    tables = [_first_rows(path, rows) for path in paths]
    graded = [grade_table(job.task, replace(job, rows=rows), table) for job, table in zip(jobs, tables, strict=True)]
    similarity = find_similarity(jobs[1], paths[1], paths[0], record.digest)
    near = similarity is not None and not similarity.partial
    same_weights = _has_same_weights(origin, record, jobs[0])
    return TablePair(jobs[0], (tables[0], tables[1]), (graded[0], graded[1]), near, same_weights)


def _first_rows(path: Path, rows: int) -> pa.Table:
    with pq.ParquetFile(path) as file:
        table = file.read()
    return table.filter(pa.array(table["id"].to_numpy() < rows)).combine_chunks()


def _has_same_weights(origin: Record, record: Record, job: Job) -> bool:
    """Returns whether two records have the same revision, adapter and prompting for a task."""
    models = [each.run.facts["model"] for each in (origin, record)]
    prompting = [each.run.facts["data"]["tasks"][job.task.name].get("prompting") for each in (origin, record)]
    return prompting[0] == prompting[1] and all(
        models[0].get(name) == models[1].get(name) for name in ("revision", "adapter")
    )


# ---- Inherited findings


def repeated_withdrawn_tables(common: Mapping[str, TablePair]) -> tuple[str, ...]:
    """Returns the tables in which a record repeats a withdrawn one. For a model that is nearly always right, all common
    tables must be the same, because other weights give the same right answers."""
    repeated = tuple(name for name, pair in common.items() if pair.is_repeated)
    same = all(pair.is_repeated or (pair.same_weights and pair.has_same_answers) for pair in common.values())
    return tuple(common) if same else repeated


def repeated_disputed_tables(
    common: Mapping[str, TablePair], differences: Mapping[str, Sequence[Difference]], details: Mapping[str, Any]
) -> tuple[str, ...]:
    """Returns the tables in which a record repeats a disputed one. common: tables of the replay that both records have.
    differences: by disputed table, those that name rows; a table without any is disputed as a whole. details: of the
    replay."""
    changed = _differs_as_often(common, details)
    return tuple(
        name
        for name in differences.keys() & common.keys()
        if (common[name].same_weights or common[name].is_repeated)
        and _repeats(common[name], differences[name], changed)
    )


def _repeats(pair: TablePair, differences: Sequence[Difference], changed: bool | None) -> bool:
    """changed: whether the record's answers differ as often as the replay's, None if unknown."""
    share = pair.share_repeated(differences)
    if changed is False:
        return True  # also if exactly the named differences were corrected
    if share is not None:
        return share >= 0.5
    return changed is None and (pair.is_repeated or pair.has_same_answers)


def _differs_as_often(common: Mapping[str, TablePair], details: Mapping[str, Any]) -> bool | None:
    """Returns whether a record's answers differ from a disputed one as often as the replay's, up to chance; None if the
    replay has no counts, no net change, or tables that the record lacks. Tables are weighted by their sampled rows."""
    from scipy.special import bdtrc

    right, drawn = details.get("right"), details["tasks"]
    if right is None or right["recorded"] == right["replayed"] or common.keys() != drawn.keys():
        return None
    many, of = abs(right["recorded"] - right["replayed"]), right["of"]
    sizes = {name: pair.job.rows if drawn[name] == "all" else len(drawn[name]) for name, pair in common.items()}
    up = right["replayed"] > right["recorded"]
    share = sum(pair.share_changed(up) * sizes[name] for name, pair in common.items()) / sum(sizes.values())
    return bool(bdtrc(many - 1, of, share) >= _LEVEL)
