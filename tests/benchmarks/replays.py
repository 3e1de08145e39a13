"""Power of a replay of K sequences against records whose wrong answers were raised within the tolerance.

    python -m tests.benchmarks.replays FOLDER ...     runs or records; default: the record of SmolLM2-135M

A record is made from their log-probabilities: for a share of the wrong reads whose right symbol is within the tolerance
of the best one, both are moved towards each other until the right one is ahead. The replay gives the model's
log-probabilities with noise. Both records, also the honest one, are compared by the code that compares replays.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from fflm_data.arrays import Floats, Ints
from leaderboard.records import RECORDS
from leaderboard.replay.bias_test import Tally, find_bias
from leaderboard.replay.tolerances import QUANTIZED, TOLERANCES, Tolerance, exceeds

COUNTS = (32, 64, 96, 128, 192, 256, 512)
# Of what is allowed, as a root mean square: what SmolLM2-135M uses in other batches (leaderboard.replay.bias_test).
NOISE = {"float32": 0.001, "float16": 0.11, "bfloat16": 0.11, "quantized": 0.11}
ALLOWED = {**TOLERANCES, "quantized": QUANTIZED}


@dataclass(frozen=True)
class Reads:
    """A table of reads. logprobs: (reads, symbols). gold: (reads,). rows: the reads of each sequence."""

    logprobs: Floats
    target: Ints
    rows: list[Ints]


def tables_of(folder: Path) -> list[Reads]:
    """The tables of reads below a folder."""
    found = []
    for path in sorted(folder.rglob("*.parquet")):
        with pq.ParquetFile(path) as file:
            if "argmax" not in file.schema_arrow.names:
                continue
            table = file.read()
        ids, values = table["id"].to_numpy(), table["logprobs"].combine_chunks().flatten().to_numpy()
        rows = [np.flatnonzero(ids == one) for one in np.unique(ids)]
        found.append(Reads(values.reshape(len(ids), -1).astype(np.float64), table["gold"].to_numpy(), rows))
    return found


def raised(logprobs: Floats, target: Ints, tolerance: Tolerance, drawn: Floats) -> Floats:
    """The log-probabilities with right symbols moved ahead at near ties; drawn: (reads,), 1 for changed reads."""
    reads, right = np.arange(len(target)), np.arange(logprobs.shape[1]) == target[:, None]
    others = np.where(right, -np.inf, logprobs)
    best, own = others.max(axis=1), logprobs[reads, target]
    step = (best - own) / 2 + 1e-4
    most = 0.8 * np.minimum(tolerance.allowed(own), tolerance.allowed(best))
    step = np.where((best > own) & (step < most), step, 0) * drawn
    made = logprobs.copy()
    made[reads, target] += step
    made[reads, others.argmax(axis=1)] -= step
    return made


def is_found(tables: list[Reads], dtype: str, count: int, others: int, share: float, seed: int) -> bool:
    """Whether a replay of the sequences disagrees. others: number of further tables, without raised answers, in the
    sample. share: share of possible reads that are raised; 0 for an honest record."""
    rng = np.random.default_rng([seed, count, others])
    tolerance, parts = ALLOWED[dtype], len(tables) + others
    counts = np.full(parts, count // parts)
    counts[rng.permutation(parts)[: count % parts]] += 1
    tallies: dict[str, Tally] = {f"t{place}.test": Tally() for place in range(parts)}
    flips, different = 0, False
    for (name, tally), rows_sampled in zip(tallies.items(), counts.tolist(), strict=True):
        place = int(name[1:].partition(".")[0])
        if place >= len(tables):
            right = np.ones((rows_sampled, 2), dtype=bool)
            tally.add_answers(np.arange(rows_sampled), right, right)
            continue
        table = tables[place]
        chosen = [table.rows[row] for row in rng.integers(0, len(table.rows), rows_sampled)]
        if not chosen:
            continue
        reads = np.concatenate(chosen)
        recorded, target = table.logprobs[reads], table.target[reads]
        # Both were computed somewhere, with noise.
        noisy = [
            recorded + rng.normal(0, NOISE[dtype] / np.sqrt(2), recorded.shape) * tolerance.allowed(recorded)
            for _ in range(2)
        ]
        record = raised(noisy[0], target, tolerance, (rng.random(len(target)) < share).astype(np.float64))
        allowed, right = tolerance.allowed(noisy[1]), np.arange(recorded.shape[1]) == target[:, None]
        different |= bool(exceeds(record, noisy[1], allowed).any())
        tally.add_differences(np.abs(record - noisy[1]).ravel(), allowed.ravel(), right.ravel())
        best = [np.argmax(values, axis=1) for values in (record, noisy[1])]
        flips += int((best[0] != best[1]).sum())
        clusters = np.repeat(np.arange(rows_sampled), [len(row) for row in chosen])
        tally.add_answers(clusters, *(np.stack([one == target] * 2, axis=1) for one in best))
    return different or any(find_bias(tallies, flips))


def chance(tables: list[Reads], dtype: str, count: int, others: int, share: float, times: int = 40) -> float:
    """The share of replays that disagree."""
    return float(np.mean([is_found(tables, dtype, count, others, share, seed) for seed in range(times)]))


def main(folders: list[Path]) -> None:
    """Prints a line for each folder, dtype and kind of record: by K, the share of replays that disagree."""
    for folder in folders:
        tables = tables_of(folder)
        for dtype in NOISE:
            for others in (0, 8):
                for share in (1.0, 0.5, 0.25, 0.0):
                    found = [f"{count}: {chance(tables, dtype, count, others, share):.2f}" for count in COUNTS]
                    label = f"{folder.name[:24]}, {dtype}, {len(tables)} + {others} tables, {share:.0%} raised"
                    print(f"{label}: {', '.join(found)}", flush=True)


if __name__ == "__main__":
    main([Path(one) for one in sys.argv[1:]] or [next(RECORDS.glob("local--SmolLM2*"))])
