"""Fine-tuning of pretrained models: the model, and flip-flop strings as its tokenizer writes them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from fflm_data.flipflop import FlipFlop, Ids, decode, sample
from harness.errors import UserError
from harness.models.loading import load
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.models.source import ModelSource
from harness.models.weights import fetch_weights
from harness.planning.plans import plan_reads
from harness.tasks.flipflop import FlipFlopTask
from harness.training.data import IGNORED, Arrays, Built, TrainingRows
from harness.training.recipe import Recipe, read_recipe
from harness.training.recipe_parts import FlipFlopData, PretrainedModel


class PretrainedRows(TrainingRows):
    """Flip-flop strings as a tokenizer writes them, with single spaces between symbols, as `harness eval` renders them.

    input_ids, labels and attention_mask, int64 (length,), padded on the right within a block; labels are -100 except at
    the tokens of answers to reads.
    """

    def __init__(self, data: FlipFlopData, rows: int, tokenizer: Any):
        super().__init__(rows, data.distribution.block_rows)
        self.data, self.tokenizer = data, tokenizer

    def draw(self, start: int, stop: int) -> Arrays:
        return self.encode(sample(self.data.distribution, stop - start, seed=self.data.seed, start=start))

    def encode(self, ids: Ids) -> Arrays:
        """The arrays of flip-flop strings. Raises UserError if an answer is not exactly one token."""
        task: FlipFlopTask[FlipFlop] = FlipFlopTask()
        config = FlipFlop(length=self.data.length, symbols=self.data.symbols)
        table = pa.table({"text": decode(ids)})
        targets = task.targets(table)
        plan = plan_reads(task.texts(table), targets, task.symbols(config), self.tokenizer)
        answers = plan.candidates[targets.target]
        # The sequences of a plan end before the last answer, which is a label here.
        shape = len(ids), max(map(len, plan.sequences)) + 1
        arrays = {"input_ids": np.zeros(shape, np.int64), "labels": np.full(shape, IGNORED, np.int64)}
        arrays["attention_mask"] = np.zeros(shape, np.int64)
        for row, sequence in enumerate(plan.sequences):
            arrays["input_ids"][row, : len(sequence)] = sequence
            arrays["attention_mask"][row, : len(sequence) + 1] = 1
        for name in ("input_ids", "labels"):
            arrays[name][plan.sequence, plan.at] = answers
        return arrays


def load_pretrained(recipe: Recipe, rows: int) -> Built:
    """A pretrained model in float32, its tokenizer, and the rows of the recipe.

    Raises UserError if it cannot be loaded, or if the strings are longer than its context.
    """
    if not (isinstance(recipe.model, PretrainedModel) and isinstance(recipe.data, FlipFlopData)):
        raise TypeError(f"{recipe.name} does not start from a pretrained model")
    source = pinned(recipe.model)
    stream = PretrainedRows(recipe.data, rows, source.tokenizer)
    longest = stream.encode(sample(recipe.data.distribution, 16, seed=recipe.data.seed))["input_ids"].shape[1]
    if source.context is not None and longest > source.context:
        raise UserError(
            f"strings of {longest:,} tokens do not fit the context of {source.name} ({source.context:,} tokens): use a "
            f"smaller length, such as --set data.length={recipe.data.length * source.context // longest // 2 * 2}"
        )
    fetch_weights(source)
    torch.manual_seed(recipe.model.seed)
    return Built(load(source).train(), stream, source.tokenizer)


def pinned(model: PretrainedModel) -> ModelSource:
    """The model at one revision, without its weights."""
    return resolve(ModelRequest(model=model.source, revision=model.revision, dtype="float32"))


def pin(recipe: Recipe, recorded: Path) -> Recipe:
    """The recipe with the revision of its pretrained Hub model, 40 hex digits; other recipes are unchanged.

    recorded: recipe.json of a training that is resumed. It goes on with the revision with which it started.
    """
    model = recipe.model
    if not isinstance(model, PretrainedModel):
        return recipe
    if model.revision is None and recorded.is_file():
        revision = read_recipe(recorded).model
        if isinstance(revision, PretrainedModel) and revision.source == model.source:
            return replace(recipe, model=replace(model, revision=revision.revision))
    source = pinned(model)
    if Path(source.location).is_dir():
        return recipe
    return replace(recipe, model=replace(model, revision=source.revision))
