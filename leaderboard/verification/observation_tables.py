"""Reads observation tables of a submission within limits, and checks that a model can have produced them.

`harness.scoring.grading` compares their contents with the regenerated rows. This module has the additional checks for
untrusted tables.
"""

import io
import re
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.prompts.jobs import Job
from harness.runs import observations
from harness.runs.observations import ROUNDING
from harness.tasks import ChoiceTask, CompletionTask, ReadTask, Task
from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused

# The largest table of the default data has 0.35M reads. harness submit writes 4,096 rows per group.
MOST_ROWS = 1_000_000
MOST_GROUPS = 1_024
MOST_BYTES = 256 * 2**20
# Maximum number of characters per token: the longest tokens of known vocabularies are runs of 128 spaces or symbols.
TOKEN_CHARACTERS = 256
# Sums of probabilities from float32 logits, each rounded to ROUNDING, can exceed 1 by this much.
SLACK = 1e-3
# If this many reads have tied symbols, at most this share may be right: by chance 95% of 40 occur once in 10**9.
FEWEST_TIES, MOST_TIES = 40, 0.95
# Each continuation is scored in its own sequence, where 16-bit logits differ: 30 and 30.125 in one sequence are 30.125
# and 30 in another.
SLACK_16_BITS = 0.5
# Natural log-probabilities. Logits of 16 bits are within 65,504 of 0, and those of working models are far smaller.
LOWEST = -1e5
LOWEST_CONTINUED = -1e4
# Size limits of a footer by our writer: in all, and per column of a group.
FOOTER_BYTES, CHUNK_BYTES = 4_096, 512
MOST_SCHEMA_BYTES = 4_096
# Tolerances for tables by other versions of pyarrow or zstd: excess size of a column and of the footer. Versions 18 to
# 26 # differ by less than 2%, and older ones write smaller files.
MORE, MORE_BYTES, MORE_FOOTER_BYTES = 0.03, 256, 64
# With the same version only zstd may differ, on the same input.
MORE_ZSTD, MORE_ZSTD_BYTES = 0.02, 64
# Larger than any vocabulary. Used if run.json does not state one.
MOST_TOKENS = 2**22
_MAGIC = b"PAR1"
_RESUBMIT = "Create the record again with harness submit."
_WRITER = re.compile(r"parquet-cpp-arrow version [0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(-SNAPSHOT)?")


def read_table(path: Path, job: Job) -> pa.Table:
    """Returns the table of a job. Raises Refused if it is too large, damaged or has other columns, if possible before
    it is in memory."""
    schema = observations.schema_of(job.task, job.config)
    name = quote(path.name).strip("'")
    try:
        with pq.ParquetFile(path) as file:
            facts = file.metadata
            size = sum(
                facts.row_group(group).total_byte_size for group in range(min(facts.num_row_groups, MOST_GROUPS))
            )
            if facts.num_rows > MOST_ROWS or facts.num_row_groups > MOST_GROUPS or not 0 <= size <= MOST_BYTES:
                raise Refused(
                    f"{name} has {facts.num_rows:,} rows in {facts.num_row_groups:,} groups with {size:,} bytes. The "
                    f"limits are {MOST_ROWS:,}, {MOST_GROUPS:,} and {MOST_BYTES:,}."
                )
            if not file.schema_arrow.equals(schema, check_metadata=True):
                raise Refused(f"{name} has other columns than its task, or metadata on them. Evaluate the task again.")
            _require_nothing_else(path, facts, name)
            table = file.read()
        table.validate(full=True)
    except (OSError, ValueError, NotImplementedError, MemoryError) as error:  # ArrowInvalid is a ValueError
        raise Refused(f"{name} cannot be read ({quote(str(error))}). Create the record again.") from None
    if table.nbytes > MOST_BYTES or any(column.null_count for column in table.columns):
        raise Refused(f"{name} has nulls, or more than {MOST_BYTES:,} bytes")
    return table


def _require_nothing_else(path: Path, facts: pq.FileMetaData, name: str) -> None:
    """Raises Refused for bytes outside the columns, or for extra content in the footer."""
    with path.open("rb") as file:
        end = file.seek(-8, 2)
        footer = int.from_bytes(file.read(4), "little")
    notes = facts.metadata or {}
    chunks = [facts.row_group(g).column(c) for g in range(facts.num_row_groups) for c in range(facts.num_columns)]
    if set(notes) - {b"ARROW:schema"} or sum(map(len, notes.values())) > MOST_SCHEMA_BYTES:
        raise Refused(f"{name} has metadata beside its columns. {_RESUBMIT}")
    if footer > FOOTER_BYTES + CHUNK_BYTES * len(chunks) or not _WRITER.fullmatch(facts.created_by or ""):
        raise Refused(f"{name} has a footer of {footer:,} bytes, more than pyarrow writes. {_RESUBMIT}")
    # A column without values has no offsets.
    starts = [
        min((at for at in (chunk.dictionary_page_offset, chunk.data_page_offset) if at), default=4) for chunk in chunks
    ]
    covered = 4
    for start, size in sorted(zip(starts, (chunk.total_compressed_size for chunk in chunks), strict=True)):
        if start != covered or size < 0:
            raise Refused(f"{name} has bytes outside its columns, from byte {min(start, covered):,}. {_RESUBMIT}")
        covered += size
    if covered != end - footer:
        raise Refused(f"{name} has bytes outside its columns, from byte {min(end, covered):,}. {_RESUBMIT}")


def require_canonical(path: Path, table: pa.Table) -> None:
    """Raises Refused unless a file is what `harness.runs.observations` writes for its table, whose ids are already
    verified.

    The bytes must be equal if the same libraries wrote it. Other versions compress differently: then the size of every
    column and of the footer is bounded, which leaves no room for hidden content.
    """
    name = quote(path.name).strip("'")
    sink = io.BytesIO()
    observations.write_whole(sink, table)
    ours, theirs = sink.getvalue(), path.read_bytes()
    if theirs == ours:
        return
    if theirs[:4] != _MAGIC:
        raise Refused(f"{name} is not a parquet file. {_RESUBMIT}")
    mine, its = (pq.ParquetFile(io.BytesIO(content)).metadata for content in (ours, theirs))
    same = its.created_by == mine.created_by
    if (fault := _fault_of_layout(its, mine)) or (fault := _fault_of_sizes(its, mine, same)):
        raise Refused(f"{name} is not written as harness submit writes it: {fault}. {_RESUBMIT}")
    footers = [int.from_bytes(content[-8:-4], "little") for content in (theirs, ours)]
    chunks = mine.num_row_groups * mine.num_columns
    if footers[0] > footers[1] + (0 if same else MORE_FOOTER_BYTES * (1 + chunks)):
        raise Refused(
            f"{name} is not written as harness submit writes it: its footer has {footers[0]:,} bytes. {_RESUBMIT}"
        )


def _fault_of_layout(its: pq.FileMetaData, mine: pq.FileMetaData) -> str:
    """Returns what is wrong with the row groups or metadata; "" if nothing."""
    rows = [[facts.row_group(group).num_rows for group in range(facts.num_row_groups)] for facts in (its, mine)]
    if rows[0] != rows[1]:
        return f"it has {len(rows[0]):,} row groups, not {len(rows[1]):,} of the default size"
    # The one metadata entry is the Arrow schema, whose content no reader checks.
    return "" if its.metadata == mine.metadata else "its schema has extra metadata"


def _fault_of_sizes(its: pq.FileMetaData, mine: pq.FileMetaData, same: bool) -> str:
    """Returns which column is larger than its values need; "" if none. same: whether the pyarrow versions are equal."""
    for group in range(mine.num_row_groups):
        for column in range(mine.num_columns):
            theirs, ours = (facts.row_group(group).column(column) for facts in (its, mine))
            plain, packed = theirs.total_uncompressed_size, theirs.total_compressed_size
            most_plain, most_packed = ours.total_uncompressed_size, ours.total_compressed_size
            if not same:
                most_plain += int(MORE * most_plain) + MORE_BYTES
                most_packed += int(MORE * most_packed) + MORE_BYTES
            else:
                most_packed += int(MORE_ZSTD * most_packed) + MORE_ZSTD_BYTES
            if theirs.compression != ours.compression or plain > most_plain or packed > most_packed:
                return (
                    f"its column {quote(ours.path_in_schema)} has {packed:,} bytes ({plain:,} uncompressed), expected "
                    f"{ours.total_compressed_size:,} ({ours.total_uncompressed_size:,})"
                )
    return ""


def require_tokens(task: Task, job: Job, table: pa.Table, facts: dict[str, Any]) -> None:
    """Raises Refused for token ids outside the vocabulary. facts: run.json. If it does not state the vocabulary, the
    number of parameters is the limit."""
    rendering = facts["data"]["tasks"][job.task.name].get("rendering")
    if rendering is None:
        return
    model = facts["model"]
    size = model.get("vocabulary") or min(model["parameters"], MOST_TOKENS)
    ids = [*rendering["first_tokens"]]
    if isinstance(task, ReadTask) and rendering["answers"] == "tokens":
        ids += [int(table[name].to_numpy().max(initial=0)) for name in ("gold_token", "argmax")]
    if max(ids) >= size:
        raise Refused(f"{job.name} has the token id {max(ids):,}, and the vocabulary has {size:,} tokens")


@singledispatch
def require_possible(task: Task, job: Job, table: pa.Table, answers: str | None, slack: float) -> None:
    """Raises Refused for observations that no model can produce. answers: kind of answers in run.json, None for
    external outputs. slack: excess over 1 that a sum of probabilities of continuations may have."""
    raise TypeError(f"there are no checks for {type(task).__name__}")


@require_possible.register
def _reads(task: ReadTask, job: Job, table: pa.Table, answers: str | None, slack: float) -> None:
    symbols = len(task.symbols(job.config))
    logprobs = table["logprobs"].combine_chunks().values.to_numpy().reshape(-1, symbols).astype(np.float64)
    argmax, target, right = (table[name].to_numpy() for name in ("argmax", "gold", "gold_token"))
    continuations = answers == "continuations"
    _require_numbers(job, logprobs, LOWEST_CONTINUED if continuations else LOWEST)
    if ((target < 0) | (target >= symbols) | (right < 0)).any() or (argmax < (-1 if continuations else 0)).any():
        raise Refused(f"{job.name} has a target or token outside its range")
    if continuations:
        _require_continued(job, logprobs, argmax, slack)
        if (right != target).any() or (argmax >= symbols).any():
            raise Refused(f"{job.name} has token ids, and its answers were scored as continuations")
        return
    probability = np.exp(logprobs)
    total, most = probability.sum(axis=1), probability.max(axis=1)
    if (total > 1 + SLACK).any():
        read = int(np.argmax(total))
        raise Refused(f"{job.name}, read {read:,}: the probabilities of its symbols sum to {total[read]:.4f}, above 1")
    # The token of a symbol is known from the reads whose target it is. Any other token has the remaining probability.
    token = np.full(symbols, -1, dtype=np.int64)
    token[target] = right
    is_symbol = (argmax[:, None] == token) & (token >= 0)
    known = is_symbol.any(axis=1)
    own = np.where(
        known, logprobs[np.arange(len(target)), is_symbol.argmax(axis=1)], np.log(np.maximum(1 - total, 0) + SLACK)
    )
    likeliest = logprobs.max(axis=1)
    odd = np.where(known, own < likeliest - 2 * ROUNDING, np.exp(own) < most - SLACK)
    if odd.any():
        read = int(np.argmax(odd))
        raise Refused(f"{job.name}, read {read:,}: argmax is less probable than one of the symbols")
    # A tie is broken by chance or always for the same symbol, never always for the target.
    tied = known & ((np.abs(logprobs - likeliest[:, None]) <= ROUNDING).sum(axis=1) > 1)
    right_there, which = argmax[tied] == right[tied], target[tied]
    if tied.sum() >= FEWEST_TIES and right_there.mean() > MOST_TIES and len(np.unique(which[right_there])) > 1:
        raise Refused(
            f"{job.name}: of {int(tied.sum()):,} reads whose symbols are equally probable, nearly all are right. "
            "No model breaks ties that way."
        )


def _require_continued(job: Job, logprobs: np.ndarray, written: np.ndarray, slack: float) -> None:
    """Raises Refused unless these can be the probabilities of a read's continuations, none of which is a prefix of
    another.

    If a continuation has a probability above 0.5, so have all of its tokens, and greedy decoding writes it. Below 0.5
    greedy decoding may write another one.
    """
    probability = np.exp(logprobs)
    total = probability.sum(axis=1)
    if (total > 1 + slack).any():
        raise Refused(
            f"{job.name}, read {int(np.argmax(total)):,}: its probabilities sum to {total.max():.4f}, above 1"
        )
    odd = (probability.max(axis=1) > 0.5 * (1 + slack)) & (probability.argmax(axis=1) != written)
    if odd.any():
        read = int(np.argmax(odd))
        raise Refused(f"{job.name}, read {read:,}: a continuation with probability above 0.5 is not the written one")


@require_possible.register
def _choices(task: ChoiceTask, job: Job, table: pa.Table, answers: str | None, slack: float) -> None:
    lists = table["logprobs"].combine_chunks()
    logprobs = lists.values.to_numpy().astype(np.float64)
    _require_numbers(job, logprobs, LOWEST_CONTINUED)
    counts = lists.value_lengths().to_numpy()
    row = np.repeat(np.arange(len(counts)), counts)
    total = np.bincount(row, np.exp(logprobs), len(counts))
    if (total > 1 + slack).any():
        raise Refused(f"{job.name}, row {int(np.argmax(total)):,}: its probabilities sum to {total.max():.4f}, above 1")
    written, target = table["written"].to_numpy(), table["gold"].to_numpy()
    if ((written < -1) | (written >= counts) | (target < 0) | (target >= counts)).any():
        raise Refused(f"{job.name} has an answer that is not one of its candidates")
    texts = [candidates for _, chunk in job.chunks() for candidates in task.candidates(chunk)]
    if counts.tolist() != list(map(len, texts)):
        return  # other rows: grading refuses them
    for place, (candidates, line) in enumerate(zip(texts, np.split(logprobs, np.cumsum(counts)[:-1]), strict=True)):
        answer, likeliest = int(written[place]), int(line.argmax())
        # A candidate with probability above 0.5 is written, or a candidate that begins with it.
        if np.exp(line[likeliest]) > 0.5 * (1 + slack) and not (
            answer >= 0 and candidates[answer].startswith(candidates[likeliest])
        ):
            raise Refused(f"{job.name}, row {place:,}: a candidate with probability above 0.5 is not the written one")


@require_possible.register
def _completions(task: CompletionTask, job: Job, table: pa.Table, answers: str | None, slack: float) -> None:
    limit = job.prompting.max_new_tokens(task)
    tokens = table["tokens"].to_numpy()
    if ((tokens < 0) | (tokens > limit)).any():
        raise Refused(
            f"{job.name} has answers of {int(tokens.min())} to {int(tokens.max())} tokens, the limit is {limit}"
        )
    lengths = np.array([len(text) for text in table["output"].to_pylist()])
    if answers is not None and ((tokens == 0) & (lengths > 0)).any():  # external outputs have no token counts
        raise Refused(f"{job.name} has an answer with text and 0 tokens")
    longest = int(lengths.max(initial=0))
    if longest > TOKEN_CHARACTERS * limit:
        raise Refused(f"{job.name} has an answer of {longest:,} characters, more than {limit} tokens can encode")


def _require_numbers(job: Job, logprobs: np.ndarray, lowest: float) -> None:
    if np.isnan(logprobs).any():
        raise Refused(f"{job.name} has NaN log-probabilities. A record needs every answer. Try --dtype float32.")
    if np.isinf(logprobs).any() or (logprobs > 0).any():
        raise Refused(f"{job.name} has log-probabilities that are infinite or above 0")
    if (logprobs < lowest).any():
        raise Refused(f"{job.name} has log-probabilities below {lowest:,.0f}, lower than those of any working model")
    if (np.fmod(logprobs, ROUNDING) != 0).any():
        raise Refused(f"{job.name} has log-probabilities that are not multiples of 2**-16. Evaluate the task again.")
