"""Glitch rates of any function from token ids to logits, such as a PyTorch module, also during training."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fflm_data import get_config
from fflm_data.arrays import Bools, Ints
from fflm_data.config import require_integer
from fflm_data.flipflop import FIRST_SYMBOL, Ids, encode, reads
from harness.errors import UserError
from harness.scoring.statistics import error_interval

SETS = ("val", "val_sparse", "val_dense")


@dataclass(frozen=True)
class GlitchRate:
    """The share of reads whose most probable token is wrong, and its 95% interval, clustered by sequence.

    errors, reads: numerator and denominator. not_a_number: reads with NaN or infinite logits, which are excluded; if
    all are, rate, low and high are NaN.
    """

    rate: float
    low: float
    high: float
    errors: int
    reads: int
    not_a_number: int = 0


def glitch_rates(
    logits_of: Callable[[Any], Any],
    sets: Sequence[str] = SETS,
    limit: int | None = None,
    batch_size: int = 64,
    **parameters: Any,
) -> dict[str, GlitchRate]:
    """The glitch rate on each set of flip-flop strings (arXiv 2306.00946, section 4), one forward pass per sequence.

        harness.glitch_rates(model)["val_sparse"].rate

    logits_of: takes token ids, an int64 tensor (batch, length) on the CPU, and returns logits (batch, length, 3 +
    symbols), those at position t for the token at t + 1; the vocabulary is w 0, r 1, i 2, then the symbols. An
    `nn.Module` gets the ids on its own device and is put into evaluation mode; an output with `.logits` is accepted.
    sets: splits of the config `flipflop`. limit: number of first rows of each. parameters: of that config, such as
    length=256.

    Raises UserError if the logits have another shape or depend on later ids, ParameterError for a parameter out of
    range.
    """
    require_integer("batch_size", batch_size, 1)
    if limit is not None:
        require_integer("limit", limit, 1)
    config: Any = get_config("flipflop", **parameters)
    vocabulary = FIRST_SYMBOL + config.symbols
    rates = {}
    with _numpy_function(logits_of) as call:
        for name in sets:
            rows = min(config.rows(name), limit or config.rows(name))
            parts = []
            for start, ids in _batches(config, name, rows, batch_size):
                if not start:
                    _require_causal(call, ids, vocabulary)
                parts.append(_read(call, ids, vocabulary, start))
            rates[name] = _rate(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    return rates


@contextmanager
def _numpy_function(logits_of: Callable[[Any], Any]) -> Iterator[Callable[[Ids], Any]]:
    """The function on numpy arrays, with float32 logits."""
    import torch

    module = logits_of if isinstance(logits_of, torch.nn.Module) else None
    first = next(module.parameters(), None) if module is not None else None

    def call(ids: Ids) -> Any:
        tensor = torch.from_numpy(ids.astype(np.int64))
        output = logits_of(tensor if first is None else tensor.to(first.device))
        logits = getattr(output, "logits", output)
        return logits.detach().float().cpu().numpy() if isinstance(logits, torch.Tensor) else np.asarray(logits)

    was_training = module is not None and module.training
    with torch.no_grad():
        if module is not None and was_training:
            module.eval()
        try:
            yield call
        finally:
            if module is not None and was_training:
                module.train()


def _batches(config: Any, split: str, rows: int, size: int) -> Iterator[tuple[int, Ids]]:
    """Batches of token ids of the first rows, each with the index of its first row."""
    start = 0
    for table in config.tables(split, 0, rows):
        ids = encode(table["text"])
        for first in range(0, len(ids), size):
            yield start + first, ids[first : first + size]
        start += len(ids)


def _logits(call: Callable[[Ids], Any], ids: Ids, vocabulary: int) -> Any:
    logits = call(ids)
    if logits.shape != (*ids.shape, vocabulary):
        raise UserError(
            f"logits have shape {logits.shape} for ids of shape {ids.shape}. Return (batch, length, {vocabulary}), the "
            "logits at each position for the next token."
        )
    return logits


def _require_causal(call: Callable[[Ids], Any], ids: Ids, vocabulary: int) -> None:
    """Raises UserError if the logits of the first half of strings depend on the second half."""
    ids, half = ids[:2], ids.shape[1] // 2
    changed = ids.copy()
    changed[:, half:] = ids[:, half:][:, ::-1]
    before, after = (_logits(call, batch, vocabulary)[:, :half] for batch in (ids, changed))
    if not np.allclose(before, after, rtol=0.02, atol=0.05, equal_nan=True):
        raise UserError(
            "the logits of a position depend on later ids, or differ between calls. Pass a causal function without "
            "dropout."
        )


def _read(call: Callable[[Ids], Any], ids: Ids, vocabulary: int, start: int) -> tuple[Bools, Bools, Ints]:
    """For each read of some rows: whether the most probable token is wrong, whether its logits are finite, its row."""
    targets = reads(ids)
    logits = _logits(call, ids, vocabulary)[targets.row, targets.position - 1]
    finite = np.isfinite(logits).all(axis=1)
    return logits.argmax(axis=1) != targets.answer_id, finite, targets.row.astype(np.int64) + start


def _rate(wrong: Bools, finite: Bools, row: Ints) -> GlitchRate:
    nonfinite = int((~finite).sum())
    wrong, row = wrong[finite], row[finite]
    if not len(wrong):
        return GlitchRate(np.nan, np.nan, np.nan, 0, 0, nonfinite)
    low, high = error_interval(wrong, row)
    return GlitchRate(float(wrong.mean()), low, high, int(wrong.sum()), len(wrong), nonfinite)
