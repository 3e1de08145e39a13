"""Solved questions to put before a question: from the train side of a config, never from the rows that are asked."""

from functools import lru_cache

import numpy as np
import pyarrow as pa

from fflm_data.config import Config
from harness.errors import UserError
from harness.tasks.base import CompletionTask

TRAIN = "train"
# So many blocks are looked through at most; one of them is a whole split for most configs.
MOST_BLOCKS = 16


@lru_cache(maxsize=32)
def demonstrations(task: CompletionTask, config: Config, split: str, shots: int) -> pa.Table:
    """`shots` rows for one task and split, the same for every model. Raises UserError if there are not so many.

    They are drawn as the split's rows are, by a stream of their own; one that shares its question or its word with
    a row of the split, of any number, is passed over.
    """
    rows = config.table(split)
    taken = set(task.leakage_keys(rows))
    found: list[pa.Table] = []
    for number in range(MOST_BLOCKS):
        block = config.block(TRAIN, number).select([name for name in rows.column_names if name != "id"])
        for place in np.flatnonzero(task.few_shot_eligible(block)).tolist():
            one = block.slice(place, 1)
            (key,) = task.leakage_keys(one)
            if key not in taken:
                taken.add(key)
                found.append(one)
            if len(found) == shots:
                return pa.concat_tables(found)
        if config.blocks(split) == 1:
            break
    raise UserError(f"{task.name} has only {len(found)} demonstrations: ask for no more with --shots")
