"""Which rows are asked: a split of a config, or its first rows, generated chunk by chunk."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import pyarrow as pa

from fflm_data.config import Config
from harness.prompts.prompting import Prompting
from harness.tasks import Task

CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Job:
    """One task on the first `rows` rows of one split; prompting: how its questions are put, if it has any. asked: the
    version of the task that asked them, None for that of today."""

    task: Task
    config: Config
    split: str
    rows: int
    prompting: Prompting = field(default_factory=Prompting)
    asked: int | None = None

    @property
    def version(self) -> int:
        """The version of the task that asked the questions."""
        return self.task.version if self.asked is None else self.asked

    @property
    def name(self) -> str:
        """`task.split`, as the observation table is called."""
        return f"{self.task.name}.{self.split}"

    def window(self, first: int, last: int) -> pa.Table:
        """The rows of some chunks; the last ones asked for are kept, since items of one follow each other."""
        return _window(self.config, self.split, first * CHUNK_ROWS, min(self.rows, (last + 1) * CHUNK_ROWS))

    def chunks(self) -> Iterator[tuple[int, pa.Table]]:
        """Consecutive rows and the id of the first of them; memory stays at one chunk."""
        tables = self.config.tables(self.split, 0, self.rows)
        start = 0
        while batch := list(islice(tables, max(1, CHUNK_ROWS // self.config.block_rows(self.split)))):
            table = pa.concat_tables(batch)
            yield start, table
            start += table.num_rows


@lru_cache(maxsize=2)
def _window(config: Config, split: str, start: int, stop: int) -> pa.Table:
    return config.table(split, start, stop)
