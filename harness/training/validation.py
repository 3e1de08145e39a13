"""Evaluation during training: errors on the three sets of flip-flop strings, or on counting sequences.

Its numbers are logged under names such as "val/errors" and "val/reads"; for a member of a stack, "3/val/errors".
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, from_numpy

from fflm_data import get_config
from fflm_data.arrays import Floats, Ints
from fflm_data.counting_ids import sample_counting
from fflm_data.flipflop import encode
from harness.evaluation.glitch_rates import SETS
from harness.models.classes.recurrent import RecurrentForCausalLM
from harness.models.classes.transformer import TransformerForCausalLM
from harness.training.curve import ACCURACY, ERROR, ERRORS, READS
from harness.training.data import IGNORED, FlipFlopRows
from harness.training.recipe import Recipe
from harness.training.recipe_parts import CountingData, FlipFlopData

COUNTING_ROWS, COUNTING_BATCH = 1_000, 100
Numbers = dict[str, float]


def validation(recipe: Recipe, rows: Any, limit: int) -> Callable[[Any], Numbers]:
    """A function from a model to its numbers on the validation rows, which are generated once.

    limit: number of first rows of each set.
    """
    if isinstance(recipe.data, CountingData):
        return _counting(recipe.data)
    return _flipflop(recipe.data, rows, limit)


def _flipflop(data: FlipFlopData, rows: FlipFlopRows, limit: int) -> Callable[[Any], Numbers]:
    config: Any = get_config("flipflop", length=data.length, symbols=data.symbols)
    reads_only = type(rows)(_deterministic(data), 0) if type(rows) is FlipFlopRows else rows
    sets = {}
    for name in SETS:
        strings = encode(config.table(name, 0, min(limit, config.rows(name)))["text"])
        arrays = reads_only.encode(strings)
        sets[name] = from_numpy(arrays["input_ids"]), from_numpy(arrays["labels"])

    def evaluate(model: Any) -> Numbers:
        numbers: Numbers = {}
        for name, (ids, labels) in sets.items():
            errors = reads = 0
            for start in range(0, len(ids), data.batch_size):
                batch = slice(start, start + data.batch_size)
                wrong = _wrong_reads(model, ids[batch], labels[batch])
                errors, reads = errors + int(wrong.sum()), reads + len(wrong)
            numbers |= {f"{name}/{ERRORS}": errors, f"{name}/{READS}": reads}
        return numbers

    return evaluate


def _deterministic(data: FlipFlopData) -> FlipFlopData:
    from dataclasses import replace

    return replace(data, mode="deterministic")


def _wrong_reads(model: Any, ids: Tensor, labels: Tensor) -> Tensor:
    """Bool, for each label: whether the most probable token before it is another one."""
    ids, labels = ids.to(model.device), labels.to(model.device)
    mask = torch.nn.functional.pad(labels[:, 1:] != IGNORED, (0, 1))
    if isinstance(model, TransformerForCausalLM | RecurrentForCausalLM):
        logits = model(ids, logits_to_keep=mask).logits
    else:
        logits = model(ids).logits[mask]
    return logits.argmax(-1) != labels[:, 1:][mask[:, :-1]]


def _counting(data: CountingData) -> Callable[[Any], Numbers]:
    rows = range(COUNTING_ROWS)
    ids, counts = sample_counting(data.task, data.vocabulary, data.expected_count, rows, split="test")

    def evaluate(model: Any) -> Numbers:
        predicted = np.rint(predicted_counts(model, ids))
        return {ACCURACY: float((predicted == counts).mean()), ERROR: float(np.abs(predicted - counts).mean())}

    return evaluate


def predicted_counts(model: Any, ids: Ints) -> Floats:
    """The counts that a counting model predicts for sequences, float32 (rows,). ids: int64 (rows, tokens)."""
    with torch.no_grad():
        parts = [
            model(from_numpy(ids[start : start + COUNTING_BATCH]).to(model.device)).logits.squeeze(-1).float().cpu()
            for start in range(0, len(ids), COUNTING_BATCH)
        ]
    return np.asarray(torch.cat(parts).numpy())


def in_evaluation_mode(evaluate: Callable[[Any], Numbers], model: Any) -> Numbers:
    """The numbers of a model, without gradients and dropout; its mode is restored."""
    was_training = model.training
    with torch.no_grad():
        numbers = evaluate(model.eval())
    model.train(was_training)
    return numbers


def summary(logs: Mapping[str, Any]) -> dict[str, str]:
    """Short texts for the progress bar: errors of reads by set over all members, or the mean accuracy."""
    texts = {}
    for name in SETS:
        errors, reads = (_sum(logs, f"{name}/{part}") for part in (ERRORS, READS))
        if reads:
            texts[name] = f"{errors:,.0f}/{reads:,.0f}"
    accuracies = [value for key, value in logs.items() if key.split("/")[-1] == ACCURACY]
    if accuracies:
        texts[ACCURACY] = f"{sum(accuracies) / len(accuracies):.3f}"
    return texts


def _sum(logs: Mapping[str, Any], name: str) -> float:
    return sum(value for key, value in logs.items() if key == name or key.endswith(f"/{name}"))
