"""Infinite streaming dataset for `datasets`: sharded by blocks, resumable by row number."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from datasets.iterable_dataset import ArrowExamplesIterable

from fflm_data.config import Config

Key = tuple[int, int]


class InfiniteExamplesIterable(ArrowExamplesIterable):
    """Yields the rows of an infinite split, block by block, in turn from each shard.

    Shard s of n has the blocks s, s + n, s + 2n, ... Workers and ranks get disjoint shards. A process
    with several shards takes one block of each in turn, so that a single process sees the rows in order.
    The state is the number of rows yielded: resuming generates one block, not all blocks before it.
    """

    def __init__(self, config: Config, split: str, shards: range, total_shards: int):
        super().__init__(self._blocks, {})
        self.config, self.split, self.shards, self.total_shards = config, split, shards, total_shards

    @property
    def num_shards(self) -> int:
        """Number of shards: at most this many workers or ranks get disjoint rows."""
        return len(self.shards)

    def _init_state_dict(self) -> dict[str, Any]:
        self._state_dict: dict[str, Any] = {"row": 0, "type": self.__class__.__name__}
        return self._state_dict

    def _blocks(self, index: int = 0) -> Iterator[tuple[Key, pa.Table]]:
        """Yields whole blocks, from the given index in the order of this process."""
        size = self.config.block_rows(self.split)
        while True:
            round_, shard = divmod(index, len(self.shards))
            number = round_ * self.total_shards + self.shards[shard]
            yield (number, 0), self.config.table(self.split, number * size, (number + 1) * size)
            index += 1

    def _tables(self) -> Iterator[tuple[Key, pa.Table]]:
        """Yields blocks from the row of the state on. The first one has only the rows not yielded yet."""
        row = int(self._state_dict["row"]) if self._state_dict else 0
        index, skip = divmod(row, self.config.block_rows(self.split))
        for key, table in self._blocks(index):
            yield key, table.slice(skip)
            skip = 0

    def __iter__(self) -> Iterator[tuple[Key, dict[str, Any]]]:
        # datasets before version 5 iterates over examples if no format is set; newer versions use `_iter_arrow`.
        for key, table in self._tables():
            for batch in table.to_batches(max_chunksize=64):
                for example in batch.to_pylist():
                    if self._state_dict:
                        self._state_dict["row"] += 1
                    yield key, example

    def _iter_arrow(self) -> Iterator[tuple[Key, pa.Table]]:
        for key, table in self._tables():
            if self._state_dict:
                self._state_dict["row"] += table.num_rows
            yield key, table

    def shuffle_data_sources(self, generator: Any) -> "InfiniteExamplesIterable":
        """Returns self: rows are independent, so shuffling would change nothing."""
        return self

    def shard_data_sources(self, num_shards: int, index: int, contiguous: bool = True) -> "InfiniteExamplesIterable":
        """Returns the stream of one of `num_shards` workers or ranks."""
        return InfiniteExamplesIterable(self.config, self.split, self.shards[index::num_shards], self.total_shards)

    def reshard_data_sources(self) -> "InfiniteExamplesIterable":
        """Returns self: the number of shards is a parameter of the config."""
        return self
