"""Observation tables of a submission: read within limits, and asked whether a model can have said that.

What they hold is compared with the regenerated rows in `harness.scoring.grading`; here is what only strangers' tables
need.
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
from leaderboard.verification.refusal import Refused, shown

# The largest table of the default data has 0.35M reads, our writer puts 4,096 rows of data into a group.
MOST_ROWS = 1_000_000
MOST_GROUPS = 1_024
MOST_BYTES = 256 * 2**20
# Characters that a token can stand for: the longest of known vocabularies are runs of 128 spaces or signs.
TOKEN_CHARACTERS = 256
# Probabilities of float32 logits, each rounded to ROUNDING, add up to 1 only about.
SLACK = 1e-3
# Of so many reads whose symbols tie, at most this share can be right: chance makes it 95% of 40 once in 10**9.
FEWEST_TIES, MOST_TIES = 40, 0.95
# Of continuations each is read off a sequence of its own, where 16-bit logits come out anew: 30 and 30.125 in the
# one are 30.125 and 30 in the other.
SLACK_16_BITS = 0.5
# Natural log-probabilities: logits of 16 bits are at most 65,504 apart from 0, and no working model's are near that.
LOWEST = -1e5
LOWEST_CONTINUED = -1e4
# What a footer of our writer has at most, and for each column of a group.
FOOTER_BYTES, CHUNK_BYTES = 4_096, 512
MOST_SCHEMA_BYTES = 4_096
# Where other versions of pyarrow or zstd wrote a table: by how much a column and a footer may be larger than as it is
# written here. Versions 18 to 26 are within 2% of each other, and smaller the older they are.
MORE, MORE_BYTES, MORE_FOOTER_BYTES = 0.03, 256, 64
# Of one version only zstd may differ, and what it is given is the same.
MORE_ZSTD, MORE_ZSTD_BYTES = 0.02, 64
# No vocabulary is near that; what stands for those of which run.json says nothing.
MOST_TOKENS = 2**22
_MAGIC = b"PAR1"
_WRITER = re.compile(r"parquet-cpp-arrow version [0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(-SNAPSHOT)?")


def read_table(path: Path, job: Job) -> pa.Table:
    """The table of a job. Raises Refused if it is too large, damaged, or has other columns, before all is in memory
    where its own description says so."""
    schema = observations.schema_of(job.task, job.config)
    name = shown(path.name).strip("'")
    try:
        with pq.ParquetFile(path) as file:
            facts = file.metadata
            size = sum(
                facts.row_group(group).total_byte_size for group in range(min(facts.num_row_groups, MOST_GROUPS))
            )
            if facts.num_rows > MOST_ROWS or facts.num_row_groups > MOST_GROUPS or not 0 <= size <= MOST_BYTES:
                raise Refused(
                    f"{name} has {facts.num_rows:,} rows in {facts.num_row_groups:,} groups of {size:,} bytes in all: "
                    f"at most {MOST_ROWS:,}, {MOST_GROUPS:,} and {MOST_BYTES:,} are read"
                )
            if not file.schema_arrow.equals(schema, check_metadata=True):
                raise Refused(f"{name} has other columns than the observations of its task, or notes on them")
            _require_nothing_else(path, facts, name)
            table = file.read()
        table.validate(full=True)
    except (OSError, ValueError, NotImplementedError, MemoryError) as error:  # ArrowInvalid is a ValueError
        raise Refused(f"{name} cannot be read ({shown(str(error))})") from None
    if table.nbytes > MOST_BYTES or any(column.null_count for column in table.columns):
        raise Refused(f"{name} has gaps in it, or more than {MOST_BYTES:,} bytes")
    return table


def _require_nothing_else(path: Path, facts: pq.FileMetaData, name: str) -> None:
    """Raises Refused for a file with bytes that are no part of its columns, or a footer that says more of itself."""
    with path.open("rb") as file:
        end = file.seek(-8, 2)
        footer = int.from_bytes(file.read(4), "little")
    notes = facts.metadata or {}
    chunks = [facts.row_group(g).column(c) for g in range(facts.num_row_groups) for c in range(facts.num_columns)]
    if set(notes) - {b"ARROW:schema"} or sum(map(len, notes.values())) > MOST_SCHEMA_BYTES:
        raise Refused(f"{name} has notes beside its columns")
    if footer > FOOTER_BYTES + CHUNK_BYTES * len(chunks) or not _WRITER.fullmatch(facts.created_by or ""):
        raise Refused(f"{name} has a footer of {footer:,} bytes that says more than what pyarrow writes")
    # Of a column without values neither says anything.
    starts = [min((at for at in (one.dictionary_page_offset, one.data_page_offset) if at), default=4) for one in chunks]
    covered = 4
    for start, size in sorted(zip(starts, (one.total_compressed_size for one in chunks), strict=True)):
        if start != covered or size < 0:
            raise Refused(f"{name} has bytes that are in no column, from {min(start, covered):,} on")
        covered += size
    if covered != end - footer:
        raise Refused(f"{name} has bytes that are in no column, from {min(end, covered):,} on")


def require_canonical(path: Path, table: pa.Table) -> None:
    """Raises Refused unless a file is what `harness.runs.observations` writes of its table, whose ids are known to
    be right.

    Byte for byte where the same libraries wrote it. Others compress a little differently: then every column and the
    footer are as large as they are here, or nearly, which leaves room for nothing that no reader of the table sees.
    """
    name = shown(path.name).strip("'")
    sink = io.BytesIO()
    observations.write_whole(sink, table)
    ours, theirs = sink.getvalue(), path.read_bytes()
    if theirs == ours:
        return
    if theirs[:4] != _MAGIC:
        raise Refused(f"{name} does not begin as a parquet file does")
    mine, its = (pq.ParquetFile(io.BytesIO(content)).metadata for content in (ours, theirs))
    same = its.created_by == mine.created_by
    if (fault := _fault_of_layout(its, mine)) or (fault := _fault_of_sizes(its, mine, same)):
        raise Refused(f"{name} is not written as harness submit writes it: {fault}")
    footers = [int.from_bytes(content[-8:-4], "little") for content in (theirs, ours)]
    chunks = mine.num_row_groups * mine.num_columns
    if footers[0] > footers[1] + (0 if same else MORE_FOOTER_BYTES * (1 + chunks)):
        raise Refused(f"{name} is not written as harness submit writes it: its footer has {footers[0]:,} bytes")


def _fault_of_layout(its: pq.FileMetaData, mine: pq.FileMetaData) -> str:
    """What is wrong with the pieces that a table was written in; "" if nothing."""
    rows = [[facts.row_group(group).num_rows for group in range(facts.num_row_groups)] for facts in (its, mine)]
    if rows[0] != rows[1]:
        return f"its rows lie in {len(rows[0]):,} groups of other sizes, not in {len(rows[1]):,}"
    # The one note is the schema of Arrow: nobody reads what else is in it.
    return "" if its.metadata == mine.metadata else "its schema has notes"


def _fault_of_sizes(its: pq.FileMetaData, mine: pq.FileMetaData, same: bool) -> str:
    """Which column is larger than what is in it; "" if none. same: whether the same pyarrow wrote both."""
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
                    f"its column {shown(ours.path_in_schema)} takes {packed:,} bytes, {plain:,} unpacked, and "
                    f"{ours.total_compressed_size:,} and {ours.total_uncompressed_size:,} are enough"
                )
    return ""


def require_tokens(task: Task, job: Job, table: pa.Table, facts: dict[str, Any]) -> None:
    """Raises Refused for token ids that the vocabulary of a model does not have; facts: run.json. Where it does not
    state one, no vocabulary has more tokens than the model has weights."""
    rendering = facts["data"]["tasks"][job.task.name].get("rendering")
    if rendering is None:
        return
    model = facts["model"]
    size = model.get("vocabulary") or min(model["parameters"], MOST_TOKENS)
    ids = [*rendering["first_tokens"]]
    if isinstance(task, ReadTask) and rendering["answers"] == "tokens":
        ids += [int(table[name].to_numpy().max(initial=0)) for name in ("gold_token", "argmax")]
    if max(ids) >= size:
        raise Refused(f"{job.name} has the token {max(ids):,}, and the vocabulary has {size:,}")


@singledispatch
def require_possible(task: Task, job: Job, table: pa.Table, answers: str | None, slack: float) -> None:
    """Raises Refused for observations that no model gives. answers: of what they are made, as run.json says; None for
    outputs from elsewhere. slack: by how much probabilities of continuations may add up to more than 1."""
    raise TypeError(f"nothing is known of {type(task).__name__}")


@require_possible.register
def _reads(task: ReadTask, job: Job, table: pa.Table, answers: str | None, slack: float) -> None:
    symbols = len(task.symbols(job.config))
    logprobs = table["logprobs"].combine_chunks().values.to_numpy().reshape(-1, symbols).astype(np.float64)
    argmax, target, right = (table[name].to_numpy() for name in ("argmax", "gold", "gold_token"))
    continuations = answers == "continuations"
    _require_numbers(job, logprobs, LOWEST_CONTINUED if continuations else LOWEST)
    if ((target < 0) | (target >= symbols) | (right < 0)).any() or (argmax < (-1 if continuations else 0)).any():
        raise Refused(f"{job.name} has an answer or a token that is none")
    if continuations:
        _require_continued(job, logprobs, argmax, slack)
        if (right != target).any() or (argmax >= symbols).any():
            raise Refused(f"{job.name} has tokens where continuations were scored")
        return
    probability = np.exp(logprobs)
    total, most = probability.sum(axis=1), probability.max(axis=1)
    if (total > 1 + SLACK).any():
        read = int(np.argmax(total))
        raise Refused(f"{job.name}, read {read:,}: the probabilities of its symbols add up to {total[read]:.4f}")
    # Which token stands for which symbol is said where the symbol is right; a token of no symbol has what they leave.
    token = np.full(symbols, -1, dtype=np.int64)
    token[target] = right
    said = (argmax[:, None] == token) & (token >= 0)
    known = said.any(axis=1)
    own = np.where(
        known, logprobs[np.arange(len(target)), said.argmax(axis=1)], np.log(np.maximum(1 - total, 0) + SLACK)
    )
    likeliest = logprobs.max(axis=1)
    odd = np.where(known, own < likeliest - 2 * ROUNDING, np.exp(own) < most - SLACK)
    if odd.any():
        read = int(np.argmax(odd))
        raise Refused(f"{job.name}, read {read:,}: its most probable token is less probable than one of its symbols")
    # Which of two equals comes out on top is chance, or always the same one: never always the right one.
    tied = known & ((np.abs(logprobs - likeliest[:, None]) <= ROUNDING).sum(axis=1) > 1)
    right_there, which = argmax[tied] == right[tied], target[tied]
    if tied.sum() >= FEWEST_TIES and right_there.mean() > MOST_TIES and len(np.unique(which[right_there])) > 1:
        raise Refused(
            f"{job.name}: of {int(tied.sum()):,} reads whose symbols are equally probable nearly all are right"
        )


def _require_continued(job: Job, logprobs: np.ndarray, written: np.ndarray, slack: float) -> None:
    """Raises Refused unless the continuations of a read, none of which begins another, can have these probabilities.

    One that is more probable than not has only tokens that are, and so is what greedy decoding writes. Below that
    nothing follows: greedy decoding may pass the likeliest by.
    """
    probability = np.exp(logprobs)
    total = probability.sum(axis=1)
    if (total > 1 + slack).any():
        raise Refused(f"{job.name}, read {int(np.argmax(total)):,}: its probabilities add up to {total.max():.4f}")
    odd = (probability.max(axis=1) > 0.5 * (1 + slack)) & (probability.argmax(axis=1) != written)
    if odd.any():
        raise Refused(f"{job.name}, read {int(np.argmax(odd)):,}: what is most probable by far is not what is written")


@require_possible.register
def _choices(task: ChoiceTask, job: Job, table: pa.Table, answers: str | None, slack: float) -> None:
    lists = table["logprobs"].combine_chunks()
    logprobs = lists.values.to_numpy().astype(np.float64)
    _require_numbers(job, logprobs, LOWEST_CONTINUED)
    counts = lists.value_lengths().to_numpy()
    row = np.repeat(np.arange(len(counts)), counts)
    total = np.bincount(row, np.exp(logprobs), len(counts))
    if (total > 1 + slack).any():
        raise Refused(f"{job.name}, row {int(np.argmax(total)):,}: the probabilities add up to {total.max():.4f}")
    written, target = table["written"].to_numpy(), table["gold"].to_numpy()
    if ((written < -1) | (written >= counts) | (target < 0) | (target >= counts)).any():
        raise Refused(f"{job.name} has an answer that is none of its candidates")
    texts = [candidates for _, chunk in job.chunks() for candidates in task.candidates(chunk)]
    if counts.tolist() != list(map(len, texts)):
        return  # other rows, which is told elsewhere
    for place, (candidates, line) in enumerate(zip(texts, np.split(logprobs, np.cumsum(counts)[:-1]), strict=True)):
        said, likeliest = int(written[place]), int(line.argmax())
        # What is more probable than not is written, or goes on to a candidate that begins with it.
        if np.exp(line[likeliest]) > 0.5 * (1 + slack) and not (
            said >= 0 and candidates[said].startswith(candidates[likeliest])
        ):
            raise Refused(f"{job.name}, row {place:,}: what is most probable by far is not what is written")


@require_possible.register
def _completions(task: CompletionTask, job: Job, table: pa.Table, answers: str | None, slack: float) -> None:
    limit = job.prompting.max_new_tokens(task)
    tokens = table["tokens"].to_numpy()
    if ((tokens < 0) | (tokens > limit)).any():
        raise Refused(
            f"{job.name} has an answer of {int(tokens.min())} to {int(tokens.max())} tokens, the limit is {limit}"
        )
    lengths = np.array([len(text) for text in table["output"].to_pylist()])
    if answers is not None and ((tokens == 0) & (lengths > 0)).any():  # of those from elsewhere nobody counts tokens
        raise Refused(f"{job.name} has an answer that was written with no token at all")
    longest = int(lengths.max(initial=0))
    if longest > TOKEN_CHARACTERS * limit:
        raise Refused(f"{job.name} has an answer of {longest:,} characters, which {limit} tokens cannot write")


def _require_numbers(job: Job, logprobs: np.ndarray, lowest: float) -> None:
    if np.isnan(logprobs).any():
        raise Refused(
            f"{job.name} has log-probabilities that are no numbers: a record answers everything, try --dtype float32"
        )
    if np.isinf(logprobs).any() or (logprobs > 0).any():
        raise Refused(f"{job.name} has log-probabilities that are infinite or above 0")
    if (logprobs < lowest).any():
        raise Refused(f"{job.name} has log-probabilities below {lowest:,.0f}, which no working model gives")
    if (np.fmod(logprobs, ROUNDING) != 0).any():
        raise Refused(f"{job.name} has log-probabilities that are not rounded to multiples of 2**-16, as all are")
