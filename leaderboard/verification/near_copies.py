"""Detects copies among observation tables, also if their numbers or texts were edited.

Rows that are hard for one model are hard for others, so tables of different models are similar to some degree. Measured
on flip-flop tables of LSTMs of one recipe with other seeds and data, of Transformers of one recipe with other seeds, of
SmolLM2-135M, and of the small models on the leaderboard: log-probabilities correlate by 0.15 to 0.995, those of wrong
reads by at most 0.86, and the closest third is at least 0.27 times as far apart as by chance. A table is a suspected
copy if it exceeds these bounds:

- As many numbers are closer to each other than those of two models, although others, or all, were changed a little.
- Numbers correlate, or those of the reads that one of both gets wrong. Correlation survives noise.
- One number in fifty is equal to the last bit, beyond chance (among those LSTMs at most one in a thousand), or one in
  four of the target symbols that both predict with confidence.
- One wrong symbol in twenty is close, although others were changed by much.
- Wrong answers are the same, whatever text surrounds them, or most wrong answers of one table are also the other's.

Two models can really be similar: the same weights in another dtype, under another name, or trained a little further.
Only a match to a thousandth of a nat, or of the exact text, is certain.
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

# Groups of rows to compare, and reads of a group, sampled per record, so that a submitter cannot know them. A group of
# the densest table has 0.35M reads.
_GROUPS, _MOST_READS = 2, 2**15
# Two good models agree where both are confident: a number counts if one of the two is below this value (nats).
_SURE = -0.01
_FEWEST, _FEWEST_WRONG = 16, 30
# Share of numbers within this distance (nats), and three times the share by chance: the same model, or a copy.
_SAME_SHARE, _SAME_WITHIN = 0.3, 1e-3
# For a copy with noise of 0.01 nats: distance of the closest numbers as a share of the distance by chance (0.013), and
# the correlation (0.9998). With noise of 0.05 nats the margins of wrong reads still correlate (0.98).
_CLOSE, _CORRELATED, _CORRELATED_WRONG = 0.02, 0.998, 0.95
# The same if chance is measured among target symbols and among others: of different models at least 0.27.
_CLOSE_AMONG_KINDS = 0.1
# The same for the closest twentieth of wrong symbols, which survives in a copy whose other numbers were changed by
# much. Among the LSTMs it is at least 0.1 times as far apart as by chance.
_KEPT_SHARE = 0.05
# Minimum number of values that are equal to the last bit, and their share beyond chance.
_FEWEST_EQUAL, _EQUAL_SHARE = 16, 0.02
# Log-probabilities of confident symbols have few distinct bits. Values next to 0 do not count, and a larger share of
# the # others must be equal.
_SATURATED, _EQUAL_SHARE_OF_SURE = -8 * ROUNDING, 0.25
# Agreement of wrong answers beyond chance, as Cohen's kappa.
_AGREE, _FEWEST_TEXTS, _FEWEST_SURE = 0.9, 20, 50
# The same for the wrong answers of one table alone; the other may have more wrong answers.
_AGREE_ONE_WAY = 0.75
_MOST_BY_CHANCE = 0.9
# Rarer targets are pooled.
_FEWEST_OF_GOLD = 5


@dataclass(frozen=True)
class Similarity:
    """what: describes the similar table. certain: whether no two models are that similar. partial: whether only part of
    the table is similar, as for a model that was trained further."""

    what: str
    certain: bool
    partial: bool = False


def find_similarity(job: Job, mine: Path, theirs: Path, digest: str) -> Similarity | None:
    """Returns how similar two tables of a job are in their common rows; None if no more than those of two models.

    digest: of the submitted record, which selects the compared rows. Raises OSError or ValueError for an unreadable
    file.
    """
    if isinstance(job.task, CompletionTask):
        return _texts(job, *(_whole(path, ["id", "turn", "output"]) for path in (mine, theirs)))
    results = [_numbers(job, first, second, digest) for first, second in _groups(job, mine, theirs, digest)]
    found = [result for result in results if result]
    return next((result for result in found if result.certain), found[0] if found else None)


# ---- Log-probabilities


def _groups(job: Job, mine: Path, theirs: Path, digest: str) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yields row groups that both tables have, cut to their common rows."""
    columns = ["id", "gold", "logprobs", *(["position"] if isinstance(job.task, ReadTask) else [])]
    with pq.ParquetFile(mine) as first, pq.ParquetFile(theirs) as second:
        count = min(first.num_row_groups, second.num_row_groups)
        drawn = np.random.default_rng(int(digest[:16], 16)).permutation(count)[:_GROUPS]
        for group in sorted(drawn.tolist()):
            tables = [file.read_row_group(group, columns=columns) for file in (first, second)]
            rows = min(map(len, tables))
            cut = tables[0].slice(0, rows), tables[1].slice(0, rows)
            if all(cut[0][name].equals(cut[1][name]) for name in columns if name != "logprobs"):
                yield cut


def _numbers(job: Job, mine: pa.Table, theirs: pa.Table, digest: str) -> Similarity | None:
    lists = [table["logprobs"].combine_chunks() for table in (mine, theirs)]
    if not lists[0].value_lengths().equals(lists[1].value_lengths()):
        return None
    first, second = (values.flatten().to_numpy().astype(np.float64) for values in lists)
    if not isinstance(job.task, ReadTask):
        return compare_logprobs(first, second, job.name)
    target = mine["gold"].to_numpy()
    first, second = (values.reshape(len(target), -1) for values in (first, second))
    sample: Any = slice(None)
    if len(target) > _MOST_READS:
        chance = np.random.default_rng([int(digest[:16], 16), len(target)])
        sample = np.sort(chance.choice(len(target), _MOST_READS, replace=False))
    right = (np.arange(first.shape[1]) == target[:, None])[sample].ravel()
    found = compare_logprobs(first[sample].ravel(), second[sample].ravel(), job.name, right)
    found = found or _reads(first[sample], second[sample], target[sample], job.name)
    return found or _wrong_reads(first, second, target, job.name)


def _reads(first: Floats, second: Floats, target: npt.NDArray[Any], name: str) -> Similarity | None:
    """Compares log-probabilities, both (reads, symbols). target: (reads,), the index of the target symbol."""
    right = np.arange(first.shape[1]) == target[:, None]
    least = np.minimum(first, second)
    saturated, unsure = right & (least < _SATURATED), ~right & (least < _SURE)
    if have_equal_bits(first[saturated], second[saturated], _EQUAL_SHARE_OF_SURE):
        return Similarity(f"many of its log-probabilities of {name} are to the last bit", False)
    if _are_kept(first[unsure], second[unsure]):
        return Similarity(f"some of its log-probabilities of {name} are nearly", False)
    return None


def _wrong_reads(first: Floats, second: Floats, target: npt.NDArray[Any], name: str) -> Similarity | None:
    """The same for the reads that one of both gets wrong. They may be few, so none is left out."""
    margins = [_margins(values, target) for values in (first, second)]
    wrong = (margins[0] < 0) | (margins[1] < 0)
    if wrong.sum() >= _FEWEST_WRONG and _correlation(*(margin[wrong] for margin in margins)) >= _CORRELATED_WRONG:
        return Similarity(f"its wrong reads of {name} are nearly", False)
    return None


def compare_logprobs(
    first: Floats, second: Floats, name: str, right: npt.NDArray[Any] | None = None
) -> Similarity | None:
    """Compares log-probabilities of the same items, both (values,). right: whether each is that of a target symbol.

    Chance is measured among target symbols and among others: that both models know the target is no similarity.
    """
    unsure = np.minimum(first, second) < _SURE
    bound = _CLOSE if right is None else _CLOSE_AMONG_KINDS
    right = np.zeros(len(first), bool) if right is None else right
    first, second, right = first[unsure], second[unsure], right[unsure]
    if len(first) < _FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None  # a constant carries no information
    chance_order, shuffled = np.random.default_rng(0), second.copy()
    for kind in (right, ~right):
        shuffled[kind] = chance_order.permutation(second[kind])
    apart, by_chance = np.abs(first - second), np.abs(first - shuffled)
    share, chance = ((distances <= _SAME_WITHIN).mean() for distances in (apart, by_chance))
    if share > max(_SAME_SHARE, 3 * chance):
        return Similarity(f"its log-probabilities of {name} are", True)
    closest, usual = (np.quantile(distances, _SAME_SHARE) for distances in (apart, by_chance))
    if closest < bound * usual or _correlation(first, second) >= _CORRELATED:
        return Similarity(f"its log-probabilities of {name} are nearly", False)
    if have_equal_bits(first, second, _EQUAL_SHARE):
        return Similarity(f"many of its log-probabilities of {name} are to the last bit", False)
    return None


def _are_kept(first: Floats, second: Floats) -> bool:
    """Returns whether some wrong symbols of two tables are closer than those of two models."""
    if len(first) < _FEWEST_WRONG:
        return False
    shuffled = second[np.random.default_rng(0).permutation(len(second))]
    closest, usual = (float(np.quantile(np.abs(first - each), _KEPT_SHARE)) for each in (second, shuffled))
    return closest < _CLOSE * usual


def have_equal_bits(first: Floats, second: Floats, share: float) -> bool:
    """Returns whether a share of the values is equal to the last bit, beyond chance."""
    same = first == second
    # Chance is not needed to see that the values of most pairs of models are not equal.
    if same.sum() < _FEWEST_EQUAL or same.mean() < share:
        return False
    (values, times), (others, other_times) = (np.unique(each, return_counts=True) for each in (first, second))
    _, mine, theirs = np.intersect1d(values, others, assume_unique=True, return_indices=True)
    by_chance = float((times[mine] / len(first) * (other_times[theirs] / len(second))).sum())
    if by_chance > _MOST_BY_CHANCE:
        return False
    return bool(same.mean() - by_chance >= share * (1 - by_chance) and same.mean() > 3 * by_chance)


def _margins(logprobs: Floats, target: npt.NDArray[Any]) -> Floats:
    """Returns log P(target) minus log P(best other symbol), by read."""
    # By symbol and read, because NumPy reduces the other axis of a few symbols slowly.
    symbols = np.ascontiguousarray(logprobs.T)
    right = np.arange(len(symbols))[:, None] == target
    return np.where(right, symbols, -np.inf).max(axis=0) - np.where(right, -np.inf, symbols).max(axis=0)


def _correlation(first: Floats, second: Floats) -> float:
    return float(np.corrcoef(first, second)[0, 1]) if np.ptp(first) and np.ptp(second) else 0.0


# ---- Texts


def _whole(path: Path, columns: list[str]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(columns=columns)


def _texts(job: Job, mine: pa.Table, theirs: pa.Table) -> Similarity | None:
    target_values = _target_values(job)
    outputs = [
        {
            (row, turn): text
            for row, turn, text in zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        }
        for table in (mine, theirs)
    ]
    places = [place for place in outputs[0] if place in outputs[1] and place[0] < len(target_values)]
    lines = [(target_values[place[0]], outputs[0][place], outputs[1][place]) for place in places]
    wrong = [[line for line in lines if sorted(normalized_answer(line[which])) != list(line[0])] for which in (1, 2)]
    wrong_lines = [line for line in lines if any(sorted(normalized_answer(text)) != list(line[0]) for text in line[1:])]
    if len(wrong_lines) < _FEWEST_TEXTS:
        return None
    if len(wrong_lines) >= _FEWEST_SURE and _kappa(wrong_lines, str) == 1:
        return Similarity(f"its answers to {job.name} are", True)
    if _kappa(wrong_lines, normalized_answer) >= _AGREE:
        return Similarity(f"its wrong answers to {job.name} are nearly", False)
    if any(len(side) >= _FEWEST_TEXTS and _kappa(side, normalized_answer) >= _AGREE_ONE_WAY for side in wrong):
        return Similarity(f"most of its wrong answers to {job.name} are nearly", False, partial=True)
    return None


def normalized_answer(text: str) -> tuple[str, ...]:
    """Returns the numbers of an answer in order, or its words if it has no number."""
    return tuple(re.findall(r"[0-9]+", text)) or tuple(re.findall(r"\w+", text.casefold()))


def _target_values(job: Job) -> list[tuple[str, ...]]:
    """Returns the target of each row in the form of `normalized_answer`: its numbers, sorted as strings."""
    target_values: list[tuple[str, ...]] = []
    for _, rows in job.chunks():
        for target in cast(NumberTask | HistogramTask, job.task).target(rows):
            numbers = target.values() if isinstance(target, dict) else [target]
            target_values.append(tuple(sorted(str(number) for number in numbers)))
    return target_values


def _kappa(lines: Sequence[tuple[tuple[str, ...], str, str]], read: Any) -> float:
    """Returns Cohen's kappa of two tables' answers: 1 if they always agree; 0 if chance explains the agreement.

    Chance agreement is computed per target from the answers that each table gives to other rows with that target.
    """
    counts = Counter(target for target, _, _ in lines)
    by_gold = defaultdict(list)
    for target, first, second in lines:
        by_gold[target if counts[target] >= _FEWEST_OF_GOLD else None].append((read(first), read(second)))
    same = sum(first == second for pairs in by_gold.values() for first, second in pairs) / len(lines)
    chance = 0.0
    for pairs in by_gold.values():
        times = [Counter(pair[which] for pair in pairs) for which in (0, 1)]
        chance += sum(count * times[1][answer] for answer, count in times[0].items()) / len(pairs)
    chance /= len(lines)
    return 0.0 if chance > _MOST_BY_CHANCE else (same - chance) / (1 - chance)
