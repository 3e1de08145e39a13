"""What a record's observations give, found once: its result, its error examples, its wrong rows.

A record never changes, so that what was found is kept in a folder of the user's own cache, by the digest of the
record and the code that graded it. A file of the cache that cannot be read is made again.
"""

import csv
import hashlib
import io
import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import fflm_data
import harness
from fflm_data.terminal import Bar
from harness.errors import UserError
from harness.reporting.csv_cells import csv_cell
from harness.reporting.error_examples import ErrorExample, error_examples
from harness.runs.run import Run, tasks_of_older_versions
from harness.runs.version import HARNESS_VERSION
from harness.scoring.comparison import item_texts
from harness.scoring.grading import Graded, GradedCompletions, grade
from harness.scoring.scores import result_of, score

CACHE_SCHEMA = "fflm-findings/3"
MOST_ROWS = 1_000
COLUMNS = ("id", "place", "target", "predicted", "output")
# Fewer bytes of observations are graded sooner than other processes have started.
WORTH_PROCESSES = 8_000_000


@dataclass(frozen=True)
class WrongRows:
    """The wrong rows of a job. count: of them all. table: the first `MOST_ROWS` as CSV with `COLUMNS`: id of the row,
    place in it (position of a read, turn of a dialogue), the target, the prediction, and the raw text of a
    completion as a string of JSON, which no spreadsheet takes for a formula."""

    count: int
    table: str


@dataclass(frozen=True)
class Findings:
    """result: as in result.json. error_examples: as in a report. wrong: by "task.split". day: YYYY-MM-DD, when that
    was."""

    result: dict[str, Any]
    error_examples: tuple[ErrorExample, ...]
    wrong: dict[str, WrongRows]
    day: str


NO_FINDINGS = Findings({"scores": []}, (), {}, "")  # of a record that this version cannot regenerate


@cache
def _code() -> str:
    """A hash of the code that judges and of that which makes the rows: what was found by other code is found again."""
    digest = hashlib.sha256()
    for package in (fflm_data, harness):
        folder = Path(package.__file__ or "").parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder).as_posix()} ".encode() + path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where findings are kept: FFLM_CACHE, or a folder of this user."""
    return Path(os.environ.get("FFLM_CACHE") or Path.home() / ".cache" / "fflm" / "leaderboard")


def find(sources: Sequence[tuple[Run, str]], day: str) -> list[Findings]:
    """The findings of runs, each with the digest of its contents; those not in the cache are graded, on all cores.

    day: today, or the day that a build that can be made again says it is.

    Raises UserError for a run whose result.json does not say the same, or whose observations are of other rows.
    """
    cache = cache_folder()
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    found = [_cached(_file(cache, digest)) for _, digest in sources]
    if "SOURCE_DATE_EPOCH" in os.environ:
        found = [findings and replace(findings, day=day) for findings in found]
    missing = [place for place, findings in enumerate(found) if findings is None]
    runs = [sources[place][0] for place in missing]
    with Bar(total=len(sources), initial=len(sources) - len(missing), desc="rescoring", unit="run") as bar:
        for place, findings in zip(missing, _graded(runs, day), strict=True):
            found[place] = findings
            _keep(_file(cache, sources[place][1]), findings)
            bar.update()
    return [findings for findings in found if findings is not None]


def _graded(runs: Sequence[Run], day: str) -> Iterator[Findings]:
    """The findings of runs in their order, as they come."""
    size = sum(path.stat().st_size for run in runs for path in (run.folder / "observations").glob("*.parquet"))
    processes = min(os.cpu_count() or 1, len(runs))
    if processes < 2 or size + 20_000 * len(runs) < WORTH_PROCESSES:
        yield from (find_one(run, day) for run in runs)
        return
    # Not forked: this process may have threads.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            size = max(1, min(8, len(runs) // (4 * processes)))
            yield from pool.map(partial(find_one, day=day), runs, chunksize=size)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def find_one(run: Run, day: str) -> Findings:
    """The findings of one run. Raises UserError as `find` does."""
    graded = [grade(run, job) for job in run.jobs()]
    result = result_of(run, [one for job in graded for one in score(job)])
    try:
        stored = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stored = None
    # Of an older version the scores may be other ones, or more: what is shown is what this one finds.
    is_older = run.facts["environment"].get("fflm") != HARNESS_VERSION or tasks_of_older_versions(run)
    if stored != result and not is_older:
        raise UserError(
            f"{run.folder}/result.json is not what its observations give: take the record out, or of a run of your own "
            f"type harness score {run.folder}"
        )
    return Findings(result, tuple(error_examples(graded)), {one.job.name: _wrong_rows(one) for one in graded}, day)


def _wrong_rows(graded: Graded) -> WrongRows:
    items = np.flatnonzero(~graded.right & graded.counted)
    shown = items[:MOST_ROWS]
    places, targets, answers = item_texts(graded, shown)
    completed = isinstance(graded, GradedCompletions)
    outputs = [json.dumps(graded.output[item]) if completed else None for item in shown.tolist()]  # type: ignore[attr-defined]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        zip(
            graded.row[shown].tolist(),
            places,
            map(csv_cell, targets),
            map(csv_cell, answers),
            outputs,
            strict=True,
        )
    )
    return WrongRows(len(items), text.getvalue())


def _file(cache: Path, digest: str) -> Path:
    key = json.dumps([CACHE_SCHEMA, digest, _code()])
    return cache / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _cached(path: Path) -> Findings | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["schema"] != CACHE_SCHEMA or hashlib.sha256(_told(kept).encode()).hexdigest() != kept["sha256"]:
            return None
        wrong = {name: WrongRows(**rows) for name, rows in kept["wrong"].items()}
        return Findings(
            kept["result"], tuple(ErrorExample(**one) for one in kept["error_examples"]), wrong, kept["day"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _told(kept: dict[str, Any]) -> str:
    """What a file of the cache says, for its checksum."""
    return json.dumps({name: value for name, value in kept.items() if name != "sha256"}, sort_keys=True)


def _keep(path: Path, findings: Findings) -> None:
    """Writes a file of the cache at once; a cache that cannot be written only costs time."""
    with suppress(OSError):
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, suffix=".partial", delete=False, encoding="utf-8", newline="\n"
        ) as file:
            kept = {"schema": CACHE_SCHEMA, **asdict(findings)}
            json.dump({**kept, "sha256": hashlib.sha256(_told(kept).encode()).hexdigest()}, file)
        Path(file.name).replace(path)
