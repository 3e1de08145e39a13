"""What `datasets` iterates over when a config has no end: blocks dealt to shards, resumed by row number."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from datasets.iterable_dataset import ArrowExamplesIterable

from fflm_data.config import Config

Key = tuple[int, int]


class EndlessExamplesIterable(ArrowExamplesIterable):
    """The rows of an endless split, block by block, round its shards.

    Shard s of n holds the blocks s, s + n, s + 2n, ... Workers and ranks get disjoint shards; whoever
    has several takes a block of each in turn, so that one process alone sees the rows in order. The
    state is the number of rows given: going on from it draws one block, not all those before.
    """

    def __init__(self, config: Config, split: str, shards: range, of: int):
        super().__init__(self._blocks, {})
        self.config, self.split, self.shards, self.of = config, split, shards, of

    @property
    def num_shards(self) -> int:
        """How many workers or ranks can have different rows."""
        return len(self.shards)

    def _init_state_dict(self) -> dict[str, Any]:
        self._state_dict: dict[str, Any] = {"row": 0, "type": self.__class__.__name__}
        return self._state_dict

    def _blocks(self, turn: int = 0) -> Iterator[tuple[Key, pa.Table]]:
        """Whole blocks, from the one that comes at this turn on."""
        size = self.config.block_rows(self.split)
        while True:
            round_, place = divmod(turn, len(self.shards))
            number = round_ * self.of + self.shards[place]
            yield (number, 0), self.config.table(self.split, number * size, (number + 1) * size)
            turn += 1

    def _tables(self) -> Iterator[tuple[Key, pa.Table]]:
        """The blocks from the state's row on, the first one cut to the rows not given yet."""
        given = int(self._state_dict["row"]) if self._state_dict else 0
        turn, given = divmod(given, self.config.block_rows(self.split))
        for key, table in self._blocks(turn):
            yield key, table.slice(given)
            given = 0

    def __iter__(self) -> Iterator[tuple[Key, dict[str, Any]]]:
        # Newer versions of datasets take the tables; those before 5 ask for examples where no format is set.
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

    def shuffle_data_sources(self, generator: Any) -> "EndlessExamplesIterable":
        """The same: rows are drawn independently, another order is no more random."""
        return self

    def shard_data_sources(self, num_shards: int, index: int, contiguous: bool = True) -> "EndlessExamplesIterable":
        """The shards of one of `num_shards` workers or ranks."""
        return EndlessExamplesIterable(self.config, self.split, self.shards[index::num_shards], self.of)

    def reshard_data_sources(self) -> "EndlessExamplesIterable":
        """The same: the number of shards is a parameter of the config."""
        return self
