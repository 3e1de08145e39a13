"""Whether two tables of observations are of one model: what is left of a copy whose numbers or texts were moved.

What is hard for one model is hard for others, so that two of them are alike to a degree. Measured on flip-flop tables
of LSTMs of one recipe with other seeds and data, and of SmolLM2-135M: log-probabilities correlate by 0.15 to 0.995,
those of wrong reads by at most 0.85, and the closest third is at least 0.03 times as far apart as by chance. A copy is
beyond all of that:

- As many numbers lie closer to each other than those of two models do, though others, or all, were moved a little.
- Numbers correlate, or those of the reads that one of both gets wrong do, by which noise is outlived.
- One number in fifty is the same to the last bit, beyond chance (of those LSTMs at most one in a thousand), or one in
  four of the right symbols that both are sure of.
- One wrong symbol in twenty is nearly so, though others were moved far.
- Wrong answers are the same, whatever is written around them, or those that the one gives are mostly the other's, too.

Two models may truly be alike: the same weights in other numbers, under another name, or trained a little further. Only
what is the same to a thousandth of a nat, or to the letter, is certain.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fflm_data.arrays import Floats
from harness.prompts.jobs import Job
from harness.runs.observations import ROUNDING
from harness.tasks import CompletionTask, HistogramTask, NumberTask, ReadTask

# Groups of rows that are compared, drawn for each record: whoever makes one cannot know which ones.
_GROUPS = 2
# What two good models are both sure of says nothing: a number counts where one of them is below this (nats).
_SURE = -0.01
_FEWEST, _FEWEST_WRONG = 16, 30
# So many of the numbers within so many nats, and three times as many as by chance: the same model, or a copy.
_SAME_SHARE, _SAME_WITHIN = 0.3, 1e-3
# Of a copy with noise of 0.01 nats: how close the closest of them are, as a part of what chance gives (0.013), and how
# they correlate (0.9998); with noise of 0.05 nats the margins of wrong reads still do (0.98).
_CLOSE, _CORRELATED, _CORRELATED_WRONG = 0.02, 0.998, 0.95
# The same of the closest twentieth of wrong symbols, which is left in a copy of which most was moved far. Of the LSTMs
# it is at least 0.1 times as far apart as by chance.
_KEPT_SHARE = 0.05
# So many numbers that are the same to the last bit, and so many of all beyond chance.
_FEWEST_EQUAL, _EQUAL_SHARE = 16, 0.02
# Log-probabilities of symbols that models are sure of lie in few bits: what is next to 0 says nothing, and more of the
# others must be equal.
_SATURATED, _EQUAL_SHARE_OF_SURE = -8 * ROUNDING, 0.25
# The same wrong answers, beyond those that chance gives, as Cohen's kappa.
_AGREE, _FEWEST_TEXTS, _FEWEST_SURE = 0.9, 20, 50
# The same of what one of both gets wrong alone, where the other may have other wrong answers beside it.
_AGREE_ONE_WAY = 0.75
_MOST_BY_CHANCE = 0.9
# Fewer answers than that to what has one right answer are taken together with others.
_FEWEST_OF_GOLD = 5


@dataclass(frozen=True)
class Likeness:
    """what: of a table that is alike, in words. sure: whether no two models are as alike as that. partly: whether what
    the one says beside it is its own, as of a model that was trained further."""

    what: str
    sure: bool
    partly: bool = False


def likeness(job: Job, mine: Path, theirs: Path, digest: str) -> Likeness | None:
    """How alike two tables of a job are, in the rows that both have; None if no more than two models are.

    digest: of the record that is judged, which decides what is compared. Raises OSError or ValueError for a file that
    cannot be read.
    """
    if isinstance(job.task, CompletionTask):
        return _texts(job, *(_whole(path, ["id", "turn", "output"]) for path in (mine, theirs)))
    found = [_numbers(job, one, other) for one, other in _groups(job, mine, theirs, digest)]
    return next((one for one in found if one and one.sure), next((one for one in found if one), None))


# ---- Numbers


def _groups(job: Job, mine: Path, theirs: Path, digest: str) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Groups of rows that both tables have, cut to what both have of them."""
    columns = ["id", "gold", "logprobs", *(["position"] if isinstance(job.task, ReadTask) else [])]
    with pq.ParquetFile(mine) as one, pq.ParquetFile(theirs) as other:
        count = min(one.num_row_groups, other.num_row_groups)
        drawn = np.random.default_rng(int(digest[:16], 16)).permutation(count)[:_GROUPS]
        for group in sorted(drawn.tolist()):
            tables = [file.read_row_group(group, columns=columns) for file in (one, other)]
            rows = min(map(len, tables))
            cut = tables[0].slice(0, rows), tables[1].slice(0, rows)
            if all(cut[0][name].equals(cut[1][name]) for name in columns if name != "logprobs"):
                yield cut


def _numbers(job: Job, mine: pa.Table, theirs: pa.Table) -> Likeness | None:
    lists = [table["logprobs"].combine_chunks() for table in (mine, theirs)]
    if not lists[0].value_lengths().equals(lists[1].value_lengths()):
        return None
    one, other = (values.flatten().to_numpy().astype(np.float64) for values in lists)
    found = compared(one, other, job.name)
    if found is None and isinstance(job.task, ReadTask):
        found = _reads(one, other, mine["gold"].to_numpy(), job.name)
    return found


def _reads(one: Floats, other: Floats, target: npt.NDArray[Any], name: str) -> Likeness | None:
    """How alike log-probabilities of reads are of which one symbol is right, gold by read."""
    right = (np.arange(len(one) // len(target)) == target[:, None]).ravel()
    least = np.minimum(one, other)
    error_examples, unsure = right & (least < _SATURATED), ~right & (least < _SURE)
    if have_equal_bits(one[error_examples], other[error_examples], _EQUAL_SHARE_OF_SURE):
        return Likeness(f"many of its log-probabilities of {name} are to the last bit", False)
    if _are_kept(one[unsure], other[unsure]):
        return Likeness(f"some of its log-probabilities of {name} are nearly", False)
    margins = [_margins(values.reshape(len(target), -1), target) for values in (one, other)]
    wrong = (margins[0] < 0) | (margins[1] < 0)
    if wrong.sum() >= _FEWEST_WRONG and _correlation(*(margin[wrong] for margin in margins)) >= _CORRELATED_WRONG:
        return Likeness(f"its wrong reads of {name} are nearly", False)
    return None


def compared(one: Floats, other: Floats, name: str) -> Likeness | None:
    """How alike log-probabilities of the same things are."""
    unsure = np.minimum(one, other) < _SURE
    one, other = one[unsure], other[unsure]
    if len(one) < _FEWEST or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None  # a constant says nothing
    shuffled = other[np.random.default_rng(0).permutation(len(other))]
    apart, by_chance = np.abs(one - other), np.abs(one - shuffled)
    share, chance = ((distances <= _SAME_WITHIN).mean() for distances in (apart, by_chance))
    if share > max(_SAME_SHARE, 3 * chance):
        return Likeness(f"its log-probabilities of {name} are", True)
    closest, usual = (np.quantile(distances, _SAME_SHARE) for distances in (apart, by_chance))
    if closest < _CLOSE * usual or _correlation(one, other) >= _CORRELATED:
        return Likeness(f"its log-probabilities of {name} are nearly", False)
    if have_equal_bits(one, other, _EQUAL_SHARE):
        return Likeness(f"many of its log-probabilities of {name} are to the last bit", False)
    return None


def _are_kept(one: Floats, other: Floats) -> bool:
    """Whether some of the wrong symbols of two tables are closer than those of two models are, whatever others are."""
    if len(one) < _FEWEST_WRONG:
        return False
    shuffled = other[np.random.default_rng(0).permutation(len(other))]
    closest, usual = (float(np.quantile(np.abs(one - each), _KEPT_SHARE)) for each in (other, shuffled))
    return closest < _CLOSE * usual


def have_equal_bits(one: Floats, other: Floats, share: float) -> bool:
    """Whether so many numbers of the same things are equal to the last bit beyond those that chance makes."""
    if len(one) == 0:
        return False
    values, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    times = [np.bincount(places[half], minlength=len(values)) for half in (slice(len(one)), slice(len(one), None))]
    by_chance = float((times[0] / len(one) * (times[1] / len(other))).sum())
    same = one == other
    if same.sum() < _FEWEST_EQUAL or by_chance > _MOST_BY_CHANCE:
        return False
    return bool(same.mean() - by_chance >= share * (1 - by_chance) and same.mean() > 3 * by_chance)


def _margins(logprobs: Floats, target: npt.NDArray[Any]) -> Floats:
    """By how much the right symbol of each read is ahead of the best other one."""
    right = np.arange(logprobs.shape[1]) == target[:, None]
    return np.where(right, logprobs, -np.inf).max(axis=1) - np.where(right, -np.inf, logprobs).max(axis=1)


def _correlation(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if np.ptp(one) and np.ptp(other) else 0.0


# ---- Texts


def _whole(path: Path, columns: list[str]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(columns=columns)


def _texts(job: Job, mine: pa.Table, theirs: pa.Table) -> Likeness | None:
    target_values = _target_values(job)
    said = [
        {
            (row, turn): text
            for row, turn, text in zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        }
        for table in (mine, theirs)
    ]
    places = [place for place in said[0] if place in said[1] and place[0] < len(target_values)]
    lines = [(target_values[place[0]], said[0][place], said[1][place]) for place in places]
    wrong = [[line for line in lines if sorted(gist(line[which])) != list(line[0])] for which in (1, 2)]
    error_examples = [line for line in lines if any(sorted(gist(text)) != list(line[0]) for text in line[1:])]
    if len(error_examples) < _FEWEST_TEXTS:
        return None
    if len(error_examples) >= _FEWEST_SURE and _kappa(error_examples, str) == 1:
        return Likeness(f"its answers to {job.name} are", True)
    if _kappa(error_examples, gist) >= _AGREE:
        return Likeness(f"its wrong answers to {job.name} are nearly", False)
    if any(len(said) >= _FEWEST_TEXTS and _kappa(said, gist) >= _AGREE_ONE_WAY for said in wrong):
        return Likeness(f"most of its wrong answers to {job.name} are nearly", False, partly=True)
    return None


def gist(text: str) -> tuple[str, ...]:
    """What is left of an answer whatever stands around it: its numbers in their order, or else its words."""
    return tuple(re.findall(r"[0-9]+", text)) or tuple(re.findall(r"\w+", text.casefold()))


def _target_values(job: Job) -> list[tuple[str, ...]]:
    """What is right, by row, as the gist of an answer of nothing else: its numbers in order of their signs."""
    target_values: list[tuple[str, ...]] = []
    for _, rows in job.chunks():
        for target in cast(NumberTask | HistogramTask, job.task).target(rows):
            numbers = target.values() if isinstance(target, dict) else [target]
            target_values.append(tuple(sorted(str(one) for one in numbers)))
    return target_values


def _kappa(lines: Sequence[tuple[tuple[str, ...], str, str]], read: Any) -> float:
    """How much more often than by chance two say the same, 1 for always; 0 where chance alone makes it so.

    By chance: as often as what the one says somewhere is what the other one says elsewhere, of the same right answer.
    """
    counts = Counter(target for target, _, _ in lines)
    by_gold = defaultdict(list)
    for target, one, other in lines:
        by_gold[target if counts[target] >= _FEWEST_OF_GOLD else None].append((read(one), read(other)))
    same = sum(one == other for pairs in by_gold.values() for one, other in pairs) / len(lines)
    chance = 0.0
    for pairs in by_gold.values():
        times = [Counter(pair[which] for pair in pairs) for which in (0, 1)]
        chance += sum(count * times[1][said] for said, count in times[0].items()) / len(pairs)
    chance /= len(lines)
    return 0.0 if chance > _MOST_BY_CHANCE else (same - chance) / (1 - chance)
