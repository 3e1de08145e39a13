"""Jobs: a task on the first rows of one split, generated chunk by chunk."""

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
    """One task on the first `rows` rows of one split.

    prompting: how its questions are prompted, if it has any. recorded_version: the task version of a recorded run, None
    for the current version.
    """

    task: Task
    config: Config
    split: str
    rows: int
    prompting: Prompting = field(default_factory=Prompting)
    recorded_version: int | None = None

    @property
    def version(self) -> int:
        """The task version of the prompts."""
        return self.task.version if self.recorded_version is None else self.recorded_version

    @property
    def name(self) -> str:
        """`task.split`, the name of the observation table."""
        return f"{self.task.name}.{self.split}"

    def window(self, first: int, last: int) -> pa.Table:
        """The rows of chunks `first` to `last`, cached because consecutive work items share a chunk."""
        return _window(self.config, self.split, first * CHUNK_ROWS, min(self.rows, (last + 1) * CHUNK_ROWS))

    def chunks(self) -> Iterator[tuple[int, pa.Table]]:
        """Chunks of rows, each with the id of its first row; memory is bounded by one chunk."""
        tables = self.config.tables(self.split, 0, self.rows)
        start = 0
        while batch := list(islice(tables, max(1, CHUNK_ROWS // self.config.block_rows(self.split)))):
            table = pa.concat_tables(batch)
            yield start, table
            start += table.num_rows


@lru_cache(maxsize=2)
def _window(config: Config, split: str, start: int, stop: int) -> pa.Table:
    return config.table(split, start, stop)
