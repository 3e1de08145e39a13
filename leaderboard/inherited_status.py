"""Inherited disputes and withdrawals: a finding about a record also applies to records that repeat its outputs.

Outputs decide, not the name or sender of the record. A record of another model inherits a finding if it has the same
log-probabilities, or, if the two have none in common, the same texts. Right answers of two models are always the same,
so texts count only if enough of them are wrong. For the same model, equal answers are enough, however numbers and texts
were edited (`repeated_outputs`). A later replay ends the inheritance: of as many sequences as were disputed, or of all
sequences after a withdrawal.
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
from leaderboard.repeated_outputs import (
    has_same_model_name,
    pair_tables,
    repeated_disputed_tables,
    repeated_withdrawn_tables,
)
from leaderboard.replay.parse_differences import Difference, parse_difference
from leaderboard.verification.reading import read_json
from leaderboard.verification.refusal import Refused
from leaderboard.verification_level import dispute_of

# Share of equal lines in two tables, and the tolerance for log-probabilities: a copy may have been edited slightly.
_SAME_SHARE, _SAME_WITHIN = 0.99, 1e-3
_LINE = ("id", "position", "turn")
# Two models do not share this many wrong answers by chance.
_FEWEST_WRONG = 20


@dataclass(frozen=True)
class Inherited:
    """A finding that a record inherits: an attestation of another record, and the repeated tables."""

    attestation: Attestation
    tables: tuple[str, ...]

    @property
    def description(self) -> str:
        """One clause for pages and remarks."""
        origin = self.attestation
        status = "withdrawn" if origin.kind == WITHDRAWN else "disputed"
        tables = ", ".join(self.tables[:3])
        return f"same outputs in {tables} as record {origin.record[:12]}, {status} on {origin.at[:10]} by {origin.by}"


def inherited_findings(records: Sequence[Record]) -> dict[str, tuple[Inherited, ...]]:
    """Returns the inherited findings of each record by digest. Records without any are omitted."""
    findings: dict[str, list[Inherited]] = {}
    for origin in records:
        for record in records if any(_open_findings(origin)) else ():
            if record.digest != origin.digest:
                findings.setdefault(record.digest, []).extend(inherited_from(origin, record))
    return {digest: tuple(inherited) for digest, inherited in findings.items() if inherited}


def inherited_from(origin: Record, record: Record) -> Iterator[Inherited]:
    """Yields the findings that a record inherits from another record."""
    for finding in _open_findings(origin):
        if tables := _repeated_tables(origin, finding, record):
            yield Inherited(finding, tables)


def is_lifted(withdrawal: Attestation, attestations: Iterable[Attestation]) -> bool:
    """Returns whether a replay of all sequences agreed after the withdrawal."""
    return any(
        each.kind == REPLAY and each.agrees and each.details["asked"] == each.details["of"] and each.at > withdrawal.at
        for each in attestations
    )


def _open_findings(origin: Record) -> Iterator[Attestation]:
    if origin.withdrawn:
        yield origin.withdrawn
    elif dispute := dispute_of(origin.attestations):
        yield dispute


def _repeated_tables(origin: Record, finding: Attestation, record: Record) -> tuple[str, ...]:
    """Returns the tables in which a record repeats outputs that a finding is about."""
    try:
        if has_same_model_name(origin, record):
            with suppress(UserError):  # records of another version cannot be graded
                return _repeated_by_answers(origin, finding, record)
        if finding.kind == WITHDRAWN:
            return _equal_tables(origin, record)
        disputed = [name for name in _disputed_tables(finding) if _is_there(name, origin, record)]
        return tuple(name for name in disputed if _is_same(origin, record, name))
    except (OSError, ValueError, KeyError, Refused):  # unreadable records are refused elsewhere
        return ()


def _repeated_by_answers(origin: Record, finding: Attestation, record: Record) -> tuple[str, ...]:
    """Returns the repeated tables of a record of the same model, by its answers."""
    names = [path.stem for path in sorted((origin.folder / "observations").glob("*.parquet"))]
    names = [name for name in names if _is_there(name, record)]
    if finding.kind == WITHDRAWN:
        return repeated_withdrawn_tables(pair_tables(origin, record, names))
    replayed = pair_tables(origin, record, [name for name in names if name in finding.details["tasks"]])
    return repeated_disputed_tables(replayed, _disputed_tables(finding), finding.details)


def _is_there(name: str, *records: Record) -> bool:
    return all(_table(record, name).is_file() for record in records)


def _table(record: Record, name: str) -> Path:
    return record.folder / "observations" / f"{name}.parquet"


def _equal_tables(origin: Record, record: Record) -> tuple[str, ...]:
    """Returns the equal tables of two records. Tables with log-probabilities decide alone if there are any."""
    names = sorted(path.stem for path in (origin.folder / "observations").glob("*.parquet"))
    names = [name for name in names if _is_there(name, record)]
    numbers = [name for name in names if _has_numbers(record, name)]
    same = tuple(name for name in numbers or names if _is_same(origin, record, name))
    return same if numbers or len(same) == len(names) else ()


def _has_numbers(record: Record, name: str) -> bool:
    return "logprobs" in pq.read_schema(_table(record, name)).names


def _is_same(origin: Record, record: Record, name: str) -> bool:
    """Returns whether a table is equal in two records, beyond what two models have in common."""
    if _same_share(*_both(origin, record, name)) < _SAME_SHARE:
        return False
    return _is_of_one_model(origin, record) or _has_numbers(record, name) or _wrong(record, name) >= _FEWEST_WRONG


def _is_of_one_model(origin: Record, record: Record) -> bool:
    first, second = (each.run.facts["model"] for each in (origin, record))
    return bool(first["id"] == second["id"] and first["revision"] == second["revision"])


def _wrong(record: Record, name: str) -> int:
    """Returns the number of wrong answers of a table, from result.json."""
    result = read_json(record.folder / "result.json")
    task, _, split = name.partition(".")
    place = {"task": task, "split": split, "metric": "accuracy", "group": None}
    errors = [score["errors"] for score in result["scores"] if place.items() <= score.items()]
    return int(errors[0] or 0) if errors else 0


def _disputed_tables(replay: Attestation) -> Mapping[str, list[Difference]]:
    """Returns the tables that a replay disputes, with their differences by row; empty lists if no row is named."""
    disputed: dict[str, list[Difference]] = {}
    for text in replay.details["differences"]:
        names = [name for name in replay.details["tasks"] if text.startswith((f"{name} ", f"{name}:"))]
        difference = parse_difference(text, names[0]) if names else None
        for name in names or replay.details["tasks"]:
            disputed.setdefault(name, []).extend([difference] if difference else [])
    return disputed


def _both(origin: Record, record: Record, name: str) -> tuple[pa.Table, pa.Table]:
    """Returns a table of two records, cut to their common rows."""
    tables = []
    for each in (origin, record):
        with pq.ParquetFile(_table(each, name)) as file:
            tables.append(file.read())
    first = min(int(table["id"].to_numpy().max(initial=-1)) for table in tables)
    cut = [table.filter(pa.array(table["id"].to_numpy() <= first)).combine_chunks() for table in tables]
    return cut[0], cut[1]


def _same_share(first: pa.Table, second: pa.Table) -> float:
    """Returns the share of equal lines of two tables, 0 if they have different rows."""
    if len(first) != len(second) or first.column_names != second.column_names or not len(first):
        return 0.0
    if any(not first[name].equals(second[name]) for name in _LINE if name in first.column_names):
        return 0.0
    same = np.ones(len(first), dtype=bool)
    for name in first.column_names:
        mine, theirs = (table[name].combine_chunks() for table in (first, second))
        same &= _same_lists(mine, theirs) if name == "logprobs" else _same_values(mine, theirs)
    return float(same.mean())


def _same_values(mine: pa.Array, theirs: pa.Array) -> Bools:
    return np.array([a == b for a, b in zip(mine.to_pylist(), theirs.to_pylist(), strict=True)], dtype=bool)


def _same_lists(mine: pa.Array, theirs: pa.Array) -> Bools:
    lengths = [lists.value_lengths().to_numpy() for lists in (mine, theirs)]
    if (lengths[0] != lengths[1]).any():
        return np.zeros(len(mine), dtype=bool)
    first, second = (lists.flatten().to_numpy().astype(np.float64) for lists in (mine, theirs))
    apart = np.abs(first - second) > _SAME_WITHIN
    line = np.repeat(np.arange(len(mine)), lengths[0])
    return np.asarray(np.bincount(line, apart, len(mine)) == 0, dtype=bool)
