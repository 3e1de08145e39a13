"""Batches: how sequences are grouped and padded."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fflm_data.arrays import Ints


@dataclass(frozen=True)
class Budget:
    """Maximum size of a batch: tokens (with padding), and points, each of which has a row of logits."""

    tokens: int
    points: int


def cut(lengths: Ints, points: Ints, budget: Budget, max_rows: int | None, same_length: bool) -> list[Ints]:
    """Indices of the rows, longest first, in batches within the budget; a single row may exceed it."""
    order = np.argsort(-lengths, kind="stable")
    batches: list[Ints] = []
    start, held = 0, 0
    for position, row in enumerate(order.tolist()):
        held += int(points[row])
        rows, longest = position - start + 1, int(lengths[order[start]])
        full = rows * longest > budget.tokens or held > budget.points or (max_rows is not None and rows > max_rows)
        if position > start and (full or (same_length and lengths[row] != longest)):
            batches.append(order[start:position])
            start, held = position, int(points[row])
    return [*batches, order[start:]] if len(order) else []


def pad(rows: list[Ints], padding: int, left: bool) -> Tensor:
    """Pads rows to int64 ids, (rows, longest)."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), padding, dtype=torch.int64)
    for line, row in enumerate(rows):
        ids[line, slice(width - len(row), width) if left else slice(0, len(row))] = torch.from_numpy(row)
    return ids
