"""Findings from a record's observations: result, error examples, wrong rows. Cached.

Records never change, so findings are cached in a folder of the user, by the digest of the record and of the code that
computed them. An unreadable cache file is ignored and written again.
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
from pathlib import Path, PurePosixPath
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
from leaderboard.records import digest_of

CACHE_SCHEMA = "fflm-findings/3"
MOST_ROWS = 1_000
COLUMNS = ("id", "place", "target", "predicted", "output")
# Below this many bytes of observations, starting processes takes longer than grading.
WORTH_PROCESSES = 8_000_000


@dataclass(frozen=True)
class WrongRows:
    """The wrong rows of a job. count: their number. table: the first `MOST_ROWS` as CSV with `COLUMNS`: row id, place
    (position of a read, turn of a dialogue), target, prediction, and the output of a completion as a JSON string, which
    no spreadsheet evaluates as a formula."""

    count: int
    table: str


@dataclass(frozen=True)
class Findings:
    """result: as in result.json. error_examples: as in a report. wrong: by "task.split". day: YYYY-MM-DD, date of the
    computation."""

    result: dict[str, Any]
    error_examples: tuple[ErrorExample, ...]
    wrong: dict[str, WrongRows]
    day: str


NO_FINDINGS = Findings({"scores": []}, (), {}, "")  # for a record that this version cannot regenerate


@cache
def _code() -> str:
    """Returns a hash of the code that generates rows and grades, so that findings of other code are not reused."""
    folders = [Path(package.__file__ or "").parent for package in (fflm_data, harness)]
    files = [[PurePosixPath(path.relative_to(folder)) for path in sorted(folder.rglob("*.py"))] for folder in folders]
    return " ".join(digest_of(folder, paths) for folder, paths in zip(folders, files, strict=True))


def cache_folder() -> Path:
    """Returns the cache folder: FFLM_CACHE, or a folder of the user."""
    return Path(os.environ.get("FFLM_CACHE") or Path.home() / ".cache" / "fflm" / "leaderboard")


def find(sources: Sequence[tuple[Run, str]], day: str) -> list[Findings]:
    """Returns the findings of runs. Those not in the cache are computed, on all cores.

    sources: runs with the digest of their contents. day: today, or the date of a reproducible build. Raises UserError
    for a run whose result.json or rows do not match its observations.
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
    """Yields the findings of runs, in order."""
    size = sum(path.stat().st_size for run in runs for path in (run.folder / "observations").glob("*.parquet"))
    processes = min(os.cpu_count() or 1, len(runs))
    if processes < 2 or size + 20_000 * len(runs) < WORTH_PROCESSES:
        yield from (find_one(run, day) for run in runs)
        return
    # Spawned, because this process may have threads.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            size = max(1, min(8, len(runs) // (4 * processes)))
            yield from pool.map(partial(find_one, day=day), runs, chunksize=size)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def find_one(run: Run, day: str) -> Findings:
    """Returns the findings of one run. Raises UserError as `find` does."""
    graded = [grade(run, job) for job in run.jobs()]
    result = result_of(run, [value for job in graded for value in score(job)])
    try:
        stored = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stored = None
    # An older version may have had other scores. The site shows those of this version.
    is_older = run.facts["environment"].get("fflm") != HARNESS_VERSION or tasks_of_older_versions(run)
    if stored != result and not is_older:
        raise UserError(
            f"{run.folder}/result.json does not match its observations. Remove the record, or for a local run type "
            f"harness score {run.folder}"
        )
    return Findings(result, tuple(error_examples(graded)), {job.job.name: _wrong_rows(job) for job in graded}, day)


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
        if kept["schema"] != CACHE_SCHEMA or hashlib.sha256(_content(kept).encode()).hexdigest() != kept["sha256"]:
            return None
        wrong = {name: WrongRows(**rows) for name, rows in kept["wrong"].items()}
        return Findings(
            kept["result"], tuple(ErrorExample(**example) for example in kept["error_examples"]), wrong, kept["day"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _content(kept: dict[str, Any]) -> str:
    """Returns the content of a cache file for its checksum."""
    return json.dumps({name: value for name, value in kept.items() if name != "sha256"}, sort_keys=True)


def _keep(path: Path, findings: Findings) -> None:
    """Writes a cache file atomically. A cache that is not writable is ignored."""
    with suppress(OSError):
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, suffix=".partial", delete=False, encoding="utf-8", newline="\n"
        ) as file:
            kept = {"schema": CACHE_SCHEMA, **asdict(findings)}
            json.dump({**kept, "sha256": hashlib.sha256(_content(kept).encode()).hexdigest()}, file)
        Path(file.name).replace(path)
