"""Training batches: fresh rows of an endless stream, drawn ahead of the step.

Row i of the stream is a pure function of the data seed and i, so that batches do not depend on the number of processes
and a resumed training continues with the next row.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, from_numpy
from torch.utils.data import Dataset

from fflm_data.counting_ids import block_rows, sample_counting
from fflm_data.flipflop import Ids, reads, sample
from fflm_data.flipflop.training import IGNORED_LABEL as IGNORED
from harness.training.recipe_parts import GENERATIVE, CountingData, FlipFlopData

Arrays = dict[str, Any]


class TrainingRows(Dataset[Any], ABC):
    """Rows 0, 1, ... of a stream. It draws blocks of rows and keeps the latest one.

    rows: number of rows of the training. block: number of rows that are drawn together.
    """

    def __init__(self, rows: int, block: int):
        self.rows, self.block = rows, block
        self._number = -1
        self._drawn: Arrays = {}

    @abstractmethod
    def draw(self, start: int, stop: int) -> Arrays:
        """The arrays of rows start..stop-1, by name of the model's argument."""

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> Arrays:
        number, place = divmod(index, self.block)
        if number != self._number:
            self._drawn = self.draw(number * self.block, (number + 1) * self.block)
            self._number = number
        return {name: values[place] for name, values in self._drawn.items()}


class FlipFlopRows(TrainingRows):
    """Flip-flop strings: input_ids and labels, int64 (length,); labels are -100 where nothing is to be predicted."""

    def __init__(self, data: FlipFlopData, rows: int):
        super().__init__(rows, data.distribution.block_rows)
        self.data = data

    def draw(self, start: int, stop: int) -> Arrays:
        return self.encode(sample(self.data.distribution, stop - start, seed=self.data.seed, start=start))

    def encode(self, ids: Ids) -> Arrays:
        """The arrays of flip-flop strings, ids (rows, length) of the vocabulary w, r, i, symbols."""
        labels = ids.astype(np.int64) if self.data.mode == GENERATIVE else read_labels(ids)
        return {"input_ids": ids.astype(np.int64), "labels": labels}


class CountingRows(TrainingRows):
    """Counting sequences: input_ids, int64 (length,), and labels, a float32 count."""

    def __init__(self, data: CountingData, rows: int):
        super().__init__(rows, block_rows(data.vocabulary, data.expected_count))
        self.data = data

    def draw(self, start: int, stop: int) -> Arrays:
        data = self.data
        ids, counts = sample_counting(
            data.task, data.vocabulary, data.expected_count, range(start, stop), seed=data.seed
        )
        return {"input_ids": ids, "labels": counts.astype(np.float32)}


@dataclass(frozen=True)
class Built:
    """A model in training mode, its rows, and its tokenizer; None for one that is written by `write_tokenizer`."""

    model: Any
    rows: TrainingRows
    tokenizer: Any = None


class StackedRows(Dataset[Any]):
    """The rows of several streams side by side: every array has a first dimension of streams."""

    def __init__(self, streams: Sequence[TrainingRows]):
        self.streams = streams

    def __len__(self) -> int:
        return len(self.streams[0])

    def __getitem__(self, index: int) -> Arrays:
        rows = [stream[index] for stream in self.streams]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def collate(rows: Sequence[Arrays]) -> dict[str, Tensor]:
    """A batch of rows as tensors. Rows of different blocks of a tokenizer may differ in length; they are padded."""
    return {name: from_numpy(np.stack(_same_length([row[name] for row in rows], name))) for name in rows[0]}


def _same_length(arrays: Sequence[Any], name: str) -> Sequence[Any]:
    lengths = {np.shape(array)[-1] for array in arrays if np.ndim(array)}
    if len(lengths) <= 1:
        return arrays
    padding = IGNORED if name == "labels" else 0
    return [np.pad(array, (0, max(lengths) - len(array)), constant_values=padding) for array in arrays]


def read_labels(ids: Ids) -> Any:
    """int64 labels of the shape of `ids`: the id at the answer of each read, -100 (ignored) elsewhere."""
    targets = reads(ids)
    labels = np.full(ids.shape, IGNORED, dtype=np.int64)
    labels[targets.row, targets.position] = ids[targets.row, targets.position]
    return labels
