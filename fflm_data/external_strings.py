"""Validates flip-flop strings that fflm did not generate and estimates their distribution."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fflm_data.config import ParameterError, require, require_integer
from fflm_data.flipflop import FIRST_SYMBOL, IGNORE, READ, WRITE, Ids, encode, faults, reads, validate
from fflm_data.hub import hub_errors
from fflm_data.terminal import Bar

BATCH = 4096
LOADERS = {".txt": "text", ".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet", ".arrow": "arrow"}
Z_95 = 1.959963984540054


@dataclass
class Estimate:
    """Counts over the legal strings of one split. `fault` describes the first illegal string, "" if all are legal.

    `instructions` counts w, r and i, without the first and last instruction of each string (always w and r).
    `gaps` is the sum of the distances of all reads.
    """

    name: str
    rows: int = 0
    legal: int = 0
    fault: str = ""
    lengths: Counter[int] = field(default_factory=Counter)
    symbols: Counter[int] = field(default_factory=Counter)
    instructions: Counter[int] = field(default_factory=Counter)
    reads: int = 0
    gaps: int = 0

    def probability(self, instruction: int) -> tuple[float, float, float]:
        """Returns the share of an instruction (WRITE, READ, IGNORE) and its 95% interval: share, low, high."""
        return wilson(self.instructions[instruction], sum(self.instructions.values()))

    def add(self, texts: Sequence[str]) -> None:
        """Adds the next strings of the split."""
        start, self.rows = self.rows, self.rows + len(texts)
        compact = ["".join(text.split()) for text in texts]
        by_length: dict[int, list[int]] = {}
        for number, text in enumerate(compact):
            by_length.setdefault(len(text), []).append(number)
        first_fault = len(texts)
        for numbers in by_length.values():
            legal, wrong = _encode_legal([compact[number] for number in numbers])
            for ids in legal:
                self._count(ids)
            first_fault = min([first_fault, *(numbers[index] for index in wrong)])
        if first_fault < len(texts) and not self.fault:
            try:
                validate([compact[first_fault]])
            except ValueError as error:
                self.fault = f"row {start + first_fault} " + str(error).removeprefix("row 0 ")

    def _count(self, ids: Ids) -> None:
        batch_reads = reads(ids)
        self.legal += len(ids)
        self.lengths[ids.shape[1]] += len(ids)
        for instruction, count in enumerate(np.bincount(ids[:, 2:-2:2].ravel(), minlength=3).tolist()):
            self.instructions[instruction] += count
        free = ids[:, 1::2][ids[:, 0::2] != READ]
        for symbol, count in enumerate(np.bincount(free - FIRST_SYMBOL).tolist()):
            self.symbols[symbol] += count
        self.reads += len(batch_reads.row)
        self.gaps += int(batch_reads.gap.sum())


def _encode_legal(texts: list[str]) -> tuple[list[Ids], list[int]]:
    """Encodes strings of equal length. Returns the legal ones as arrays of ids, and the indices of the others."""
    try:
        ids = encode(texts)
    except ValueError:
        # An invalid character, or symbols with several digits: encode one string at a time.
        if len(texts) == 1:
            return [], [0]
        parts = [_encode_legal([text])[0] for text in texts]
        return [part[0] for part in parts if part], [index for index, part in enumerate(parts) if not part]
    if ids.shape[1] < 4 or ids.shape[1] % 2:
        return [], list(range(len(texts)))
    wrong = np.any([fault.any(axis=1) for _, fault in faults(ids)], axis=0)
    legal = ids[~wrong]
    return [legal] if len(legal) else [], np.flatnonzero(wrong).tolist()


def wilson(count: int, total: int) -> tuple[float, float, float]:
    """Returns a proportion and its 95% score interval (Wilson 1927)."""
    if not total:
        return math.nan, 0.0, 1.0
    share, spread = count / total, Z_95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return share, max(0.0, centre - half), min(1.0, centre + half)


def estimate_splits(source: str, revision: str | None = None, limit: int | None = None) -> Iterator[Estimate]:
    """Reads every config and split of a folder, file or repository with a string column.

    Raises ParameterError if it cannot be loaded or has no such column.
    """
    from datasets import get_dataset_config_names, load_dataset

    if limit is not None:
        require_integer("limit", limit, 1)
    try:
        with hub_errors(source):
            if Path(source).is_file():
                loaded = {"": load_dataset(_loader_for(Path(source)), data_files=source, streaming=True)}
            else:
                names = get_dataset_config_names(source, revision=revision)
                loaded = {name: load_dataset(source, name, revision=revision, streaming=True) for name in names}
            for name, splits in loaded.items():
                for split, rows in splits.items():
                    label = "/".join(part for part in (name if name != "default" else "", split) if part)
                    yield _estimate(label, rows, limit)
    except ParameterError:
        raise
    except Exception as error:  # corrupt files raise any error in the readers of csv, parquet and YAML
        reason = " ".join(str(error).split())[:300]
        raise ParameterError(f"{source} cannot be loaded as a dataset: {reason}") from None


def _loader_for(path: Path) -> str:
    """Returns the name of the `datasets` builder for a file."""
    require(path.suffix in LOADERS, "file", path.name, f"a file that ends in {', '.join(LOADERS)}")
    return LOADERS[path.suffix]


def _estimate(label: str, rows: Any, limit: int | None) -> Estimate:
    column = _text_column(rows)
    estimate = Estimate(label)
    texts = (row[column] or "" for row in islice(iter(rows.select_columns([column])), limit))
    with Bar(desc=label, unit="row", unit_scale=True, disable=None) as progress:
        while batch := list(islice(texts, BATCH)):
            estimate.add(batch)
            progress.update(len(batch))
    return estimate


def _text_column(rows: Any) -> str:
    features = rows.features or rows._resolve_features().features
    strings = [name for name, kind in features.items() if getattr(kind, "dtype", None) in ("string", "large_string")]
    if "text" in strings:
        return "text"
    if len(strings) != 1:
        raise ParameterError(f"expected a column text or a single string column, got {', '.join(features)}")
    return strings[0]


def format_estimate(estimate: Estimate) -> str:
    """Formats the estimate of one split as several lines."""
    lines = [f"{estimate.name}: {estimate.legal:,} of {estimate.rows:,} strings are legal"]
    if estimate.fault:
        lines.append(f"  first error: {estimate.fault}")
    if not estimate.legal:
        return "\n".join(lines)
    lengths = sorted(estimate.lengths)
    spread = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    symbols = len(+estimate.symbols)
    lines.append(f"  length {spread}, {symbols} data symbol{'' if symbols == 1 else 's'}")
    free = estimate.instructions.total()  # 0 for strings of length 4
    for name, instruction in (("p_write", WRITE), ("p_read", READ), ("p_ignore", IGNORE)) if free else ():
        share, low, high = estimate.probability(instruction)
        lines.append(f"  {name} {share:.4f} (95% interval {low:.4f} to {high:.4f})")
    mean = estimate.gaps / estimate.reads
    lines.append(f"  {estimate.reads:,} reads, on average {mean:.1f} instructions after their write")
    return "\n".join(lines)
