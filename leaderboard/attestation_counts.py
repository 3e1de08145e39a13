"""Whether what a replay counted can be so: as many numbers and tokens as its rows have, and an agreement that agrees.

A replay counts what it compares, which the tables say beforehand. What came out otherwise may do so at near ties only:
where it agrees, no more answers turned than there were ties, none by more than is allowed, and they lean to no side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaderboard.verification.refusal import Refused

# Of one candidate: no tokenizer cuts a shorter text into more.
MOST_TOKENS = 256
# Of log-probabilities in float32, written with all their digits.
_ROUNDED = 1e-6
# Measures of answers in a table, each of which is a test of whether they lean.
_MOST_MEASURES = 3


@dataclass(frozen=True)
class Counted:
    """What a replay compares of some rows of a table. answers: its lines; choices: those that are ranked among their
    candidates, which no near tie is counted for. compared: numbers and tokens. ties: how many answers or tokens may
    have come out otherwise. turns: answers of a row that one tie may turn. lowest: of the log-probabilities, 0 without
    any. tokens: of which one of them is the sum, at most."""

    answers: int
    choices: int
    compared: int
    ties: int
    turns: int
    lowest: float
    tokens: int


def require_counts(folder: Path, run: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises Refused unless a replay counted what the tables of a record have in its rows, and what it says of them is
    possible. facts: its attestation, whose rows are known to be those of the run."""
    details = facts["details"]
    try:
        counted = [_counted(folder, run, name, ids) for name, ids in details["tasks"].items()]
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise Refused(f"the tables of its record cannot be read ({type(error).__name__})") from None
    compared, answers = sum(one.compared for one in counted), sum(one.answers for one in counted)
    if details["compared"] != compared:
        raise Refused(f"it compared {details['compared']:,} numbers and tokens, and its rows have {compared:,}")
    if details["flips"] > (ties := sum(one.ties for one in counted)):
        raise Refused(f"it counts {details['flips']:,} near ties of {ties:,} answers and tokens")
    if "right" in details and details["right"]["of"] != answers:
        raise Refused(f"it says what {details['right']['of']:,} answers are, and its rows have {answers:,}")
    if facts["agrees"] and (fault := next(_faults(details, counted), "")):
        raise Refused(f"it agrees, and {fault}")


def _faults(details: Mapping[str, Any], counted: Sequence[Counted]) -> Iterator[str]:
    """What does not go with an agreement."""
    from leaderboard.replay.bias_test import FEWEST_NUMBERS, LEVEL_OF_ANSWERS, MOST_FLIPPED, chance

    most = max(_allowed(details["tolerance"], one) for one in counted)
    if details["largest"] > most + _ROUNDED:
        yield f"a number is apart by {details['largest']:.4g}, where at most {most:.4g} is allowed"
    answers, flips = sum(one.answers for one in counted), details["flips"]
    if flips >= FEWEST_NUMBERS and flips > MOST_FLIPPED * answers:
        yield f"{flips:,} near ties of {answers:,} answers came out the other way"
    if (right := details.get("right")) is None:
        return
    recorded, replayed = right["recorded"], right["replayed"]
    told = f"{recorded:,} answers were right as recorded, {replayed:,} as replayed"
    turned = flips * max(one.turns for one in counted) + sum(one.choices for one in counted)
    if abs(recorded - replayed) > turned:
        yield f"{told}, with {flips:,} near ties"
    # As many turned against the record as there can be, which makes a lean the least clear.
    against = max(min(answers - recorded, replayed, (turned - recorded + replayed) // 2), 0)
    tests = _MOST_MEASURES * (1 + len(counted))
    if recorded > replayed and chance(recorded - replayed + against, against) < LEVEL_OF_ANSWERS / tests:
        yield f"{told}, more than noise turns"


def _allowed(tolerance: Mapping[str, float], one: Counted) -> float:
    """By how much a log-probability of a table may be apart: relative to what was replayed, which is apart itself."""
    if one.tokens == 0:
        return 0.0
    return (tolerance["absolute"] * one.tokens + tolerance["relative"] * -one.lowest) / (1 - tolerance["relative"])


def _counted(folder: Path, run: Mapping[str, Any], name: str, ids: str | Sequence[int]) -> Counted:
    with pq.ParquetFile(folder / "observations" / f"{name}.parquet") as file:
        kept = [one for one in ("id", "logprobs", "tokens") if one in file.schema_arrow.names]
        is_read = "argmax" in file.schema_arrow.names
        table = file.read(columns=kept)
    if not isinstance(ids, str):
        table = table.filter(pa.array(np.isin(table["id"].to_numpy(), ids)))
    lines = len(table)
    if "tokens" in kept:
        compared = lines + int(np.maximum(table["tokens"].to_numpy(), 0).sum())
        turns = int(np.unique(table["id"].to_numpy(), return_counts=True)[1].max(initial=1))
        return Counted(lines, 0, compared, compared, turns, 0.0, 0)
    values = table["logprobs"].combine_chunks().flatten().to_numpy()
    rendering = run["data"]["tasks"][name.partition(".")[0]].get("rendering") or {}
    tokens = 1 if is_read and rendering.get("answers") == "tokens" else MOST_TOKENS
    lowest = float(values[np.isfinite(values)].min(initial=0))
    return Counted(lines, 0 if is_read else lines, len(values) + lines, lines, 1, lowest, tokens)
