"""Which rows are asked: a split of a config, or its first rows, generated chunk by chunk."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from fflm_data.config import Config
from harness.tasks import Task

CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Job:
    """One task on the first `rows` rows of one split."""

    task: Task
    config: Config
    split: str
    rows: int

    @property
    def name(self) -> str:
        """`task.split`, as the observation table is called."""
        return f"{self.task.name}.{self.split}"

    def chunks(self) -> Iterator[tuple[int, pa.Table]]:
        """Consecutive rows and the id of the first of them; memory stays at one chunk."""
        tables = self.config.tables(self.split, 0, self.rows)
        start = 0
        while batch := list(islice(tables, max(1, CHUNK_ROWS // self.config.block_rows(self.split)))):
            table = pa.concat_tables(batch)
            yield start, table
            start += table.num_rows
