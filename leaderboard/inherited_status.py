"""What was found out follows the observations: a record that says again what was disputed or withdrawn is so, too.

By what is recorded, whatever the record is called and whoever sends it. Into a record of another model either follows
with the same log-probabilities, or, where the two have none in common, the same texts. Right answers of two models are
the same: texts say something only where enough of them are wrong. Of the same model less is enough: what answers give,
however numbers and words were edited (`repeated_outputs`). A later replay lifts either: of as many sequences as were
doubted, or of all of what was withdrawn.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fflm_data.arrays import Bools
from harness.errors import UserError
from leaderboard.attestations import REPLAY, WITHDRAWN, Attestation
from leaderboard.records import Record
from leaderboard.repeated_outputs import is_of_same_name, pairs, repeats_disputed, repeats_withdrawn
from leaderboard.replay.differences import Difference, read_difference
from leaderboard.verification.reading import read_json
from leaderboard.verification.refusal import Refused
from leaderboard.verification_level import dispute_of

# Of the lines of two tables that are the same, and how close their log-probabilities are: a copy may have been moved.
_SAME_SHARE, _SAME_WITHIN = 0.99, 1e-3
_LINE = ("id", "position", "turn")
# So many wrong answers of two models are not the same by chance.
_FEWEST_WRONG = 20


@dataclass(frozen=True)
class Followed:
    """What follows into a record: an attestation of an earlier one, by its digest, and the tables that it repeats."""

    attestation: Attestation
    tables: tuple[str, ...]

    @property
    def told(self) -> str:
        """In words."""
        one = self.attestation
        what = "withdrawn" if one.kind == WITHDRAWN else "disputed"
        of = ", ".join(self.tables[:3])
        return f"it says again what {one.record[:12]} says of {of}, {what} on {one.at[:10]} by {one.by}"


def following(records: Sequence[Record]) -> dict[str, tuple[Followed, ...]]:
    """By digest, what follows into each record from the others; records without any are left out."""
    found: dict[str, list[Followed]] = {}
    for origin in records:
        for record in records if any(_troubles(origin)) else ():
            if record.digest != origin.digest:
                found.setdefault(record.digest, []).extend(follows_from(origin, record))
    return {digest: tuple(followed) for digest, followed in found.items() if followed}


def follows_from(origin: Record, record: Record) -> Iterator[Followed]:
    """What follows into a record from another one."""
    for one in _troubles(origin):
        if tables := _repeated(origin, one, record):
            yield Followed(one, tables)


def is_lifted(withdrawal: Attestation, attestations: Iterable[Attestation]) -> bool:
    """Whether all sequences of a record were asked again, and said the same, after what it repeats was withdrawn."""
    return any(
        one.kind == REPLAY and one.agrees and one.details["asked"] == one.details["of"] and one.at > withdrawal.at
        for one in attestations
    )


def _troubles(origin: Record) -> Iterator[Attestation]:
    if origin.withdrawn:
        yield origin.withdrawn
    elif dispute := dispute_of(origin.attestations):
        yield dispute


def _repeated(origin: Record, one: Attestation, record: Record) -> tuple[str, ...]:
    """The tables in which a record says again what is attested of another one."""
    try:
        if is_of_same_name(origin, record):
            with suppress(UserError):  # of another version, whose answers are not graded
                return _repeated_by_answers(origin, one, record)
        if one.kind == WITHDRAWN:
            return _tables(origin, record)
        named = [name for name in _doubted(one) if _is_there(name, origin, record)]
        return tuple(name for name in named if _is_same(origin, record, name))
    except (OSError, ValueError, KeyError, Refused):  # what cannot be read is refused elsewhere
        return ()


def _repeated_by_answers(origin: Record, one: Attestation, record: Record) -> tuple[str, ...]:
    """The same of a record of the same model, by what its answers say."""
    names = [path.stem for path in sorted((origin.folder / "observations").glob("*.parquet"))]
    names = [name for name in names if _is_there(name, record)]
    if one.kind == WITHDRAWN:
        return repeats_withdrawn(pairs(origin, record, names))
    asked = pairs(origin, record, [name for name in names if name in one.details["tasks"]])
    return repeats_disputed(asked, _doubted(one), one.details)


def _is_there(name: str, *records: Record) -> bool:
    return all(_table(record, name).is_file() for record in records)


def _table(record: Record, name: str) -> Path:
    return record.folder / "observations" / f"{name}.parquet"


def _tables(origin: Record, record: Record) -> tuple[str, ...]:
    """The tables that two records have in common, if these are the same."""
    names = sorted(path.stem for path in (origin.folder / "observations").glob("*.parquet"))
    names = [name for name in names if _is_there(name, record)]
    numbers = [name for name in names if _has_numbers(record, name)]
    same = tuple(name for name in numbers or names if _is_same(origin, record, name))
    return same if numbers or len(same) == len(names) else ()


def _has_numbers(record: Record, name: str) -> bool:
    return "logprobs" in pq.read_schema(_table(record, name)).names


def _is_same(origin: Record, record: Record, name: str) -> bool:
    """Whether a table is the same in two records, and no two models have the same one."""
    if _same_share(*_both(origin, record, name)) < _SAME_SHARE:
        return False
    return _is_of_one_model(origin, record) or _has_numbers(record, name) or _wrong(record, name) >= _FEWEST_WRONG


def _is_of_one_model(origin: Record, record: Record) -> bool:
    one, other = (each.run.facts["model"] for each in (origin, record))
    return bool(one["id"] == other["id"] and one["revision"] == other["revision"])


def _wrong(record: Record, name: str) -> int:
    """How many answers of a table are wrong, as its record says."""
    result = read_json(record.folder / "result.json")
    task, _, split = name.partition(".")
    place = {"task": task, "split": split, "metric": "accuracy", "group": None}
    found = [one["errors"] for one in result["scores"] if place.items() <= one.items()]
    return int(found[0] or 0) if found else 0


def _doubted(replay: Attestation) -> Mapping[str, list[Difference]]:
    """By table that a replay doubts, what it names of its rows; nothing of a table that differs as a whole."""
    found: dict[str, list[Difference]] = {}
    for difference in replay.details["differences"]:
        names = [name for name in replay.details["tasks"] if difference.startswith((f"{name} ", f"{name}:"))]
        row = read_difference(difference, names[0]) if names else None
        for name in names or replay.details["tasks"]:
            found.setdefault(name, []).extend([row] if row else [])
    return found


def _both(origin: Record, record: Record, name: str) -> tuple[pa.Table, pa.Table]:
    """A table of two records, cut to the rows that both have."""
    tables = []
    for one in (origin, record):
        with pq.ParquetFile(_table(one, name)) as file:
            tables.append(file.read())
    first = min(int(table["id"].to_numpy().max(initial=-1)) for table in tables)
    cut = [table.filter(pa.array(table["id"].to_numpy() <= first)).combine_chunks() for table in tables]
    return cut[0], cut[1]


def _same_share(one: pa.Table, other: pa.Table) -> float:
    """Which part of the lines of two tables is the same, 0 if they are of other things."""
    if len(one) != len(other) or one.column_names != other.column_names or not len(one):
        return 0.0
    if any(not one[name].equals(other[name]) for name in _LINE if name in one.column_names):
        return 0.0
    same = np.ones(len(one), dtype=bool)
    for name in one.column_names:
        mine, theirs = (table[name].combine_chunks() for table in (one, other))
        same &= _same_lists(mine, theirs) if name == "logprobs" else _same_values(mine, theirs)
    return float(same.mean())


def _same_values(mine: pa.Array, theirs: pa.Array) -> Bools:
    return np.array([one == other for one, other in zip(mine.to_pylist(), theirs.to_pylist(), strict=True)], dtype=bool)


def _same_lists(mine: pa.Array, theirs: pa.Array) -> Bools:
    lengths = [one.value_lengths().to_numpy() for one in (mine, theirs)]
    if (lengths[0] != lengths[1]).any():
        return np.zeros(len(mine), dtype=bool)
    one, other = (lists.flatten().to_numpy().astype(np.float64) for lists in (mine, theirs))
    apart = np.abs(one - other) > _SAME_WITHIN
    line = np.repeat(np.arange(len(mine)), lengths[0])
    return np.asarray(np.bincount(line, apart, len(mine)) == 0, dtype=bool)
