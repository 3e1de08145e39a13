"""Fuzz test of the verification: damaged records must be accepted or refused with a reason, without a crash.

    python tests/benchmarks/fuzz_verification.py --minutes 10

Each case takes an honest record, changes bytes of a file, values of its JSON (drawn by hypothesis) or of a table,
updates id, scores and name if possible, and verifies it in this process, or sometimes in a separate one. Cases that
crash are kept in the folder that is printed.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies
from hypothesis.errors import NonInteractiveExampleWarning

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `tests`

from harness.cli import main as harness
from harness.errors import UserError
from leaderboard.verification.sandbox import verify_in_sandbox
from leaderboard.verification.verify_record import Verdict, verify_record
from tests.leaderboard.record_edits import (
    edit,
    make_consistent,
    make_record,
    only_run,
    resign_if_possible,
    rewrite,
    with_id,
)
from tests.support import models

JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(strategies.text(), inner, max_size=4),
    max_leaves=8,
)
APART = 50  # of so many cases one is verified in a process of its own


def change_bytes(record: Path, draw: random.Random) -> None:
    """Flips, cuts, repeats or inserts bytes of any file."""
    path = draw.choice([path for path in sorted(record.rglob("*")) if path.is_file()])
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 1, 1, 3, 20])):
        start = draw.randrange(len(content) + 1)
        how = draw.randrange(5)
        if how == 0:
            content[start : start + 1] = bytes([draw.randrange(256)])
        elif how == 1:
            del content[start : start + draw.choice([1, 10, 1000])]
        elif how == 2:
            content[start:start] = content[start : start + draw.choice([1, 10, 1000])]
        elif how == 3:
            content[start:start] = draw.randbytes(draw.choice([1, 4, 100]))
        else:  # where parquet keeps what it says of itself
            start = max(0, len(content) - draw.randrange(1, 2000))
            content[start : start + 1] = bytes([draw.randrange(256)])
    path.write_bytes(bytes(content))


def change_json(record: Path, draw: random.Random) -> None:
    """Another value, or another key, somewhere in a JSON file."""

    def change(value: Any) -> Any:
        if isinstance(value, dict | list) and value and draw.random() < 0.8:
            key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
            if isinstance(value, dict) and draw.random() < 0.1:
                value[example(strategies.text())] = value.pop(key)
            elif draw.random() < 0.05:
                value.pop(key)
            else:
                value[key] = change(value[key])
            return value
        return example(JSON)

    edit(record / draw.choice(["run.json", "submission.json", "result.json"]), change)


def change_table(record: Path, draw: random.Random) -> None:
    """Values, rows or columns of a table."""
    path = draw.choice(sorted((record / "observations").iterdir()))

    def change(table: pa.Table) -> pa.Table:
        how = draw.randrange(4)
        if how == 0:
            return table.take(
                pa.array([draw.randrange(len(table)) for _ in range(draw.randrange(2 * len(table)))], pa.int64())
            )
        if how == 1:
            return table.select(draw.sample(table.column_names, draw.randrange(len(table.column_names) + 1)))
        place = draw.randrange(table.num_columns)
        field, values = table.schema.field(place), table.column(place).to_pylist()
        for _ in range(draw.choice([1, 5])):
            values[draw.randrange(len(values))] = draw.choice([*values[:5], 0, -1, 2**31 - 1, -(2**31), None])
        return table.set_column(place, field, pa.array(values, field.type))

    rewrite(path, change)


def example(strategy: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonInteractiveExampleWarning)
        return strategy.example()


CHANGES: list[Callable[[Path, random.Random], None]] = [change_bytes, change_json, change_table]


def case(honest: Path, records: Path, draw: random.Random) -> Path:
    """A damaged record, with id, scores and name updated if possible."""
    folder = records / "draft"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(honest, folder)
    try:
        draw.choice(CHANGES)(folder, draw)
        if draw.random() < 0.5:
            edit(folder / "run.json", with_id)
        if draw.random() < 0.3:
            make_consistent(folder)
    except (UserError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException, RecursionError, OSError):
        pass  # too damaged for that: it is verified all the same
    try:
        return resign_if_possible(folder, records)
    except (KeyError, TypeError, AttributeError, ValueError):
        return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else time.time_ns()
    draw = random.Random(seed)
    work = Path(tempfile.mkdtemp(prefix="fflm-fuzz-"))
    print(f"seed {seed}, in {work}", flush=True)
    model = models.save_tiny(work / "tiny", models.gpt2_like())
    tasks = [
        word
        for name in ("flipflop", "capitals", "letters", "letters-histogram", "strawberry")
        for word in ("--task", name)
    ]
    assert (
        harness(
            ["eval", "--model", str(model), *tasks, "--limit", "3", "--challenges", "1", "--output", str(work / "runs")]
        )
        == 0
    )
    run = only_run(work / "runs").folder
    edit(run / "run.json", lambda facts: facts | {"command": facts["command"].replace(str(model), "tiny")})
    make_consistent(run)
    honest = make_record(run, work / "honest")
    assert verify_record(honest).accepted
    ends: Counter[str] = Counter()
    end, number = time.monotonic() + 60 * given.minutes, 0
    while time.monotonic() < end:
        records = work / "records"
        shutil.rmtree(records, ignore_errors=True)
        records.mkdir()
        folder = case(honest, records, draw)
        number += 1
        try:
            verdict = verify_in_sandbox(folder, records) if number % APART == 0 else verify_record(folder, records)
            assert isinstance(verdict, Verdict) and json.dumps(verdict.to_json())
            ended = any("verification process ended" in reason for reason in verdict.reasons)
            ends["process ended" if ended else "accepted" if verdict.accepted else "refused"] += 1
            assert verdict.accepted or all(reason.isprintable() and reason for reason in verdict.reasons)
        except Exception:
            ends["crashed"] += 1
            kept = work / f"crash-{number}"
            shutil.copytree(records, kept, symlinks=True)
            print(f"crash kept in {kept}\n{traceback.format_exc()}", flush=True)
    print(f"{number:,} records in {given.minutes:g} minutes: {dict(ends)}")
    raise SystemExit(ends["crashed"] > 0)


if __name__ == "__main__":
    main()
