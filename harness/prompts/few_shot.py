"""Few-shot examples: drawn from the train side of a config, never from the evaluated rows."""

from functools import lru_cache

import numpy as np
import pyarrow as pa

from fflm_data.config import Config
from harness.errors import UserError
from harness.tasks.base import CompletionTask

TRAIN = "train"
# Blocks that are searched at most; for most configs a block is a whole split.
MAX_BLOCKS = 16


@lru_cache(maxsize=32)
def few_shot_examples(task: CompletionTask, config: Config, split: str, shots: int) -> pa.Table:
    """`shots` rows for a task and split, the same for every model. Raises UserError if there are fewer.

    They come from the same generator with a random stream of their own. Rows that share a leakage key (question or
    word) with any row of the split are skipped.
    """
    rows = config.table(split)
    taken = set(task.leakage_keys(rows))
    examples: list[pa.Table] = []
    for number in range(MAX_BLOCKS):
        block = config.block(TRAIN, number).select([name for name in rows.column_names if name != "id"])
        for index in np.flatnonzero(task.few_shot_eligible(block)).tolist():
            row = block.slice(index, 1)
            (key,) = task.leakage_keys(row)
            if key not in taken:
                taken.add(key)
                examples.append(row)
            if len(examples) == shots:
                return pa.concat_tables(examples)
        if config.blocks(split) == 1:
            break
    raise UserError(f"{task.name} has only {len(examples)} few-shot examples: use --shots {len(examples)} or fewer")
