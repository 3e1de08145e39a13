"""Checks the counts of a replay against the observation tables: how much it compared, and whether it can agree.

The tables determine how many numbers and tokens a replay of given rows compares. If a replay agrees, answers can only
have changed at near ties: no more than there were ties, at most the allowed share, and without a bias.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaderboard.verification.refusal import Refused

# Upper bound on the tokens of a candidate.
MOST_TOKENS = 256
# Rounding error of log-probabilities in float32.
_ROUNDING_ERROR = 1e-6
# Upper bound on the measures per table, each of which is tested for bias.
_MOST_MEASURES = 3


@dataclass(frozen=True)
class TableCounts:
    """What a replay compares of some rows of a table. answers: number of lines. choices: lines that are ranked among
    candidates, for which no near ties are counted. compared: numbers and tokens. ties: upper bound on near ties. turns:
    answers of a row that one tie can change. lowest: lowest log-probability, 0 if there is none. tokens: upper bound on
    the tokens that a log-probability is the sum of."""

    answers: int
    choices: int
    compared: int
    ties: int
    turns: int
    lowest: float
    tokens: int


def require_counts(folder: Path, run: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises Refused unless the counts of a replay match the tables of the record. facts: the attestation, whose rows
    are already verified."""
    details = facts["details"]
    try:
        tables = [_count_table(folder, run, name, ids) for name, ids in details["tasks"].items()]
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise Refused(f"the tables of its record cannot be read ({type(error).__name__})") from None
    compared, answers = sum(table.compared for table in tables), sum(table.answers for table in tables)
    if details["compared"] != compared:
        raise Refused(f"it compared {details['compared']:,} numbers and tokens, and its rows have {compared:,}")
    if details["flips"] > (ties := sum(table.ties for table in tables)):
        raise Refused(f"it counts {details['flips']:,} near ties of {ties:,} answers and tokens")
    if "right" in details and details["right"]["of"] != answers:
        raise Refused(f"it graded {details['right']['of']:,} answers, and its rows have {answers:,}")
    if facts["agrees"] and (fault := next(_faults(details, tables), "")):
        raise Refused(f"it agrees, although {fault}")


def _faults(details: Mapping[str, Any], tables: Sequence[TableCounts]) -> Iterator[str]:
    """Yields what contradicts an agreement."""
    from leaderboard.replay.bias_test import FEWEST_NUMBERS, LEVEL_OF_ANSWERS, MOST_FLIPPED, sign_test

    most = max(_allowed(details["tolerance"], table) for table in tables)
    if details["largest"] > most + _ROUNDING_ERROR:
        yield f"a number differs by {details['largest']:.4g}, more than the {most:.4g} allowed"
    answers, flips = sum(table.answers for table in tables), details["flips"]
    if flips >= FEWEST_NUMBERS and flips > MOST_FLIPPED * answers:
        yield f"{flips:,} near ties of {answers:,} answers changed"
    if (right := details.get("right")) is None:
        return
    recorded, replayed = right["recorded"], right["replayed"]
    counts = f"{recorded:,} answers were right as recorded and {replayed:,} as replayed"
    changed = flips * max(table.turns for table in tables) + sum(table.choices for table in tables)
    if abs(recorded - replayed) > changed:
        yield f"{counts}, with {flips:,} near ties"
    # Assume as many changes against the record as possible, which weakens the evidence of a bias most.
    against = max(min(answers - recorded, replayed, (changed - recorded + replayed) // 2), 0)
    tests = _MOST_MEASURES * (1 + len(tables))
    if recorded > replayed and sign_test(recorded - replayed + against, against) < LEVEL_OF_ANSWERS / tests:
        yield f"{counts}, a larger change than noise causes"


def _allowed(tolerance: Mapping[str, float], table: TableCounts) -> float:
    """Returns the largest allowed difference of a log-probability. It is relative to the replayed value, which may
    differ from the recorded one by the same amount."""
    if table.tokens == 0:
        return 0.0
    return (tolerance["absolute"] * table.tokens + tolerance["relative"] * -table.lowest) / (1 - tolerance["relative"])


def _count_table(folder: Path, run: Mapping[str, Any], name: str, ids: str | Sequence[int]) -> TableCounts:
    with pq.ParquetFile(folder / "observations" / f"{name}.parquet") as file:
        columns = [column for column in ("id", "logprobs", "tokens") if column in file.schema_arrow.names]
        is_read = "argmax" in file.schema_arrow.names
        table = file.read(columns=columns)
    if not isinstance(ids, str):
        table = table.filter(pa.array(np.isin(table["id"].to_numpy(), ids)))
    lines = len(table)
    if "tokens" in columns:
        compared = lines + int(np.maximum(table["tokens"].to_numpy(), 0).sum())
        turns = int(np.unique(table["id"].to_numpy(), return_counts=True)[1].max(initial=1))
        return TableCounts(lines, 0, compared, compared, turns, 0.0, 0)
    values = table["logprobs"].combine_chunks().flatten().to_numpy()
    rendering = run["data"]["tasks"][name.partition(".")[0]].get("rendering") or {}
    tokens = 1 if is_read and rendering.get("answers") == "tokens" else MOST_TOKENS
    lowest = float(values[np.isfinite(values)].min(initial=0))
    return TableCounts(lines, 0 if is_read else lines, len(values) + lines, lines, 1, lowest, tokens)
