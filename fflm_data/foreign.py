"""A flip-flop set that others made: are its strings legal, and from which distribution do they seem to come?"""

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
KINDS = {".txt": "text", ".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet", ".arrow": "arrow"}
Z_95 = 1.959963984540054


@dataclass
class Estimate:
    """What the legal strings of one split say. `fault` names the first string that is not legal, "" if all are.

    `instructions` counts w, r and i, the first and last of each string left out, which are w and r always.
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
        """The share of an instruction (WRITE, READ, IGNORE), with the ends of its 95% interval."""
        return wilson(self.instructions[instruction], sum(self.instructions.values()))

    def add(self, texts: Sequence[str]) -> None:
        """Takes in the next strings."""
        start, self.rows = self.rows, self.rows + len(texts)
        compact = ["".join(text.split()) for text in texts]
        by_length: dict[int, list[int]] = {}
        for number, text in enumerate(compact):
            by_length.setdefault(len(text), []).append(number)
        first_fault = len(texts)
        for numbers in by_length.values():
            legal, wrong = _legal([compact[number] for number in numbers])
            for ids in legal:
                self._count(ids)
            first_fault = min([first_fault, *(numbers[place] for place in wrong)])
        if first_fault < len(texts) and not self.fault:
            try:
                validate([compact[first_fault]])
            except ValueError as error:
                self.fault = f"row {start + first_fault} " + str(error).removeprefix("row 0 ")

    def _count(self, ids: Ids) -> None:
        found = reads(ids)
        self.legal += len(ids)
        self.lengths[ids.shape[1]] += len(ids)
        for instruction, count in enumerate(np.bincount(ids[:, 2:-2:2].ravel(), minlength=3).tolist()):
            self.instructions[instruction] += count
        free = ids[:, 1::2][ids[:, 0::2] != READ]
        for symbol, count in enumerate(np.bincount(free - FIRST_SYMBOL).tolist()):
            self.symbols[symbol] += count
        self.reads += len(found.row)
        self.gaps += int(found.gap.sum())


def _legal(texts: list[str]) -> tuple[list[Ids], list[int]]:
    """The legal strings of several of one length, as arrays of ids, and the places of the others."""
    try:
        ids = encode(texts)
    except ValueError:
        # A foreign character, or symbols of several digits: one string at a time.
        if len(texts) == 1:
            return [], [0]
        parts = [_legal([text])[0] for text in texts]
        return [part[0] for part in parts if part], [place for place, part in enumerate(parts) if not part]
    if ids.shape[1] < 4 or ids.shape[1] % 2:
        return [], list(range(len(texts)))
    wrong = np.any([fault.any(axis=1) for _, fault in faults(ids)], axis=0)
    right = ids[~wrong]
    return [right] if len(right) else [], np.flatnonzero(wrong).tolist()


def wilson(count: int, total: int) -> tuple[float, float, float]:
    """A proportion and its 95% score interval (Wilson 1927)."""
    if not total:
        return math.nan, 0.0, 1.0
    share, spread = count / total, Z_95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return share, max(0.0, centre - half), min(1.0, centre + half)


def examine(source: str, revision: str | None = None, limit: int | None = None) -> Iterator[Estimate]:
    """Reads every config and split of a folder, file or repository that has a column of strings.

    Raises ParameterError if nothing there loads or has such a column.
    """
    from datasets import get_dataset_config_names, load_dataset

    if limit is not None:
        require_integer("limit", limit, 1)
    try:
        with hub_errors(source):
            if Path(source).is_file():
                loaded = {"": load_dataset(_kind(Path(source)), data_files=source, streaming=True)}
            else:
                names = get_dataset_config_names(source, revision=revision)
                loaded = {name: load_dataset(source, name, revision=revision, streaming=True) for name in names}
            for name, splits in loaded.items():
                for split, rows in splits.items():
                    label = "/".join(part for part in (name if name != "default" else "", split) if part)
                    yield _estimate(label, rows, limit)
    except ParameterError:
        raise
    except Exception as error:  # whatever the readers of csv, parquet, YAML and the like make of a file
        reason = " ".join(str(error).split())[:300]
        raise ParameterError(f"{source} does not load as a data set: {reason}") from None


def _kind(path: Path) -> str:
    """By which builder of `datasets` a file is read."""
    require(path.suffix in KINDS, "file", path.name, f"one that ends in {', '.join(KINDS)}")
    return KINDS[path.suffix]


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
        raise ParameterError(f"a column of strings was expected: found {', '.join(features)}")
    return strings[0]


def describe(estimate: Estimate) -> str:
    """The report on one split, several lines."""
    lines = [f"{estimate.name}: {estimate.legal:,} of {estimate.rows:,} strings are legal"]
    if estimate.fault:
        lines.append(f"  first fault: {estimate.fault}")
    if not estimate.legal:
        return "\n".join(lines)
    lengths = sorted(estimate.lengths)
    spread = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    symbols = len(+estimate.symbols)
    lines.append(f"  length {spread}, {symbols} data symbol{'' if symbols == 1 else 's'}")
    free = estimate.instructions.total()  # none in strings of length 4
    for name, instruction in (("p_write", WRITE), ("p_read", READ), ("p_ignore", IGNORE)) if free else ():
        share, low, high = estimate.probability(instruction)
        lines.append(f"  {name} {share:.4f} (95% interval {low:.4f} to {high:.4f})")
    mean = estimate.gaps / estimate.reads
    lines.append(f"  {estimate.reads:,} reads, on average {mean:.1f} instructions after their write")
    return "\n".join(lines)
