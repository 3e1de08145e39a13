"""Observation tables: model outputs in parquet files that `load_dataset("parquet")` reads.

reads        id, position, gap, gold, logprobs, gold_token, argmax
choices      id, gold, logprobs, written
completions  id, turn, output, tokens

A dialogue is a completion with several turns. Choices have a log-probability for each candidate of the row, and the
candidate that greedy decoding gives (-1: another text). Where logits are NaN or infinite, logprobs are NaN and argmax
or written is -1; for completions, tokens is -1.
Log-probabilities are rounded to multiples of 2**-16. The error is below 1e-5, less than the differences of float32
between machines. With the encodings, this keeps a full flip-flop run under 5 MB.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fflm_data.config import Config
from harness.errors import UserError
from harness.prompts.jobs import CHUNK_ROWS
from harness.tasks import ChoiceTask, ReadTask, Task

ROUNDING = 2.0**-16

COMPLETIONS = pa.schema([("id", pa.int64()), ("turn", pa.int32()), ("output", pa.string()), ("tokens", pa.int32())])

CHOICES = pa.schema(
    [
        ("id", pa.int64()),
        ("gold", pa.int32()),
        ("logprobs", pa.list_(pa.field("element", pa.float32(), nullable=False))),
        ("written", pa.int32()),
    ]
)


def reads_schema(symbols: int) -> pa.Schema:
    """The schema of reads with a log-probability for each symbol."""
    return pa.schema(
        [
            ("id", pa.int64()),
            ("position", pa.int32()),
            ("gap", pa.int32()),
            ("gold", pa.int32()),
            ("logprobs", pa.list_(pa.field("element", pa.float32(), nullable=False), symbols)),
            ("gold_token", pa.int32()),
            ("argmax", pa.int32()),
        ]
    )


def schema_of(task: Task, config: Config) -> pa.Schema:
    """The schema of the table of a task with the data of a config."""
    if isinstance(task, ReadTask):
        return reads_schema(len(task.symbols(config)))
    return CHOICES if isinstance(task, ChoiceTask) else COMPLETIONS


def rounded(logprobs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rounds log-probabilities to multiples of ROUNDING."""
    # In float32 the log-probability of a near-certain answer can be slightly above 0.
    return np.minimum(np.round(logprobs.astype(np.float64) / ROUNDING) * ROUNDING, 0).astype(np.float32)


def logprobs_column(logprobs: npt.NDArray[np.float32]) -> pa.Array:
    """Converts float32 (reads, symbols) to a rounded fixed-size list column."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(rounded(logprobs).ravel()), type=reads_schema(logprobs.shape[1]).field("logprobs").type
    )


@contextmanager
def writing(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Opens a writer of tables to `path`. The file gets its name when it is complete."""
    partial = path.with_name(path.name + ".partial")
    with writer_of(partial, schema) as writer:
        yield writer
    partial.replace(path)


def writer_of(sink: Path | BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of tables to a file, with the encodings of all observation tables."""
    encodings: dict[str, Any] = {"use_dictionary": True}
    if "logprobs" in schema.names:
        counters = {name: "DELTA_BINARY_PACKED" for name in ("id", "position", "gap") if name in schema.names}
        encodings = {
            "use_dictionary": [name for name in ("gold", "gold_token", "argmax", "written") if name in schema.names],
            "column_encoding": counters | {"logprobs.list.element": "BYTE_STREAM_SPLIT"},
        }
    return pq.ParquetWriter(sink, schema, compression="zstd", compression_level=9, write_statistics=False, **encodings)


def write_whole(sink: Path | BinaryIO, table: pa.Table) -> None:
    """Writes a table with ascending ids as `harness.evaluation.merge_shards` does: a row group per window of rows."""
    ids = table["id"].to_numpy()
    windows = range(0, int(ids.max(initial=0)) + 1, CHUNK_ROWS)
    with writer_of(sink, table.schema) as writer:
        for window in windows:
            first, end = np.searchsorted(ids, [window, window + CHUNK_ROWS]).tolist()
            writer.write_table(table.slice(first, end - first).combine_chunks())


def read(path: Path, schema: pa.Schema) -> pa.Table:
    """Reads the observation table at `path`. Raises UserError if it is missing or has another schema."""
    try:
        # As a file: pq.read_table adds columns for folders named name=value.
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowInvalid) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read {path} ({reason}). Delete it and run harness eval again.") from None
    if not table.schema.equals(schema) or any(column.null_count for column in table.columns):
        raise UserError(
            f"{path} does not have the columns of the observations of its task. Delete it and run harness eval again."
        )
    return table
