"""`harness leaderboard build`: records and runs to a folder of static files.

All is written to a folder beside it that takes its place at the end: an interrupted build leaves the old site.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from fflm_data import get_config
from fflm_data.terminal import say
from harness.errors import OtherVersion, UserError
from harness.runs.run import Run
from harness.runs.selection import for_each_run, require_complete
from harness.runs.version import HARNESS_VERSION
from leaderboard.attestations import REPLAY, WITHDRAWN, Attestation
from leaderboard.following import Followed, following, is_lifted
from leaderboard.hub.reported import read_reported
from leaderboard.records import RECORDS, Record, digest_of, find_records, record_files
from leaderboard.site.board import Board, assemble
from leaderboard.site.entries import Source
from leaderboard.site.feeds import feed, index, scores
from leaderboard.site.files import ASSETS, is_site, other_files
from leaderboard.site.pages import badge, pages
from leaderboard.site.table import tabulate
from leaderboard.site.verified import NO_FINDINGS, Findings, find
from leaderboard.submission import SUBMISSION_FILE
from leaderboard.verification_level import VerificationLevel, level_of

# It stands in markdown and in attributes: nothing in it may end either.
_PLAIN_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")


def command(out: Path, runs: list[Path], records: Path | None, base_url: str | None) -> None:
    """Writes the site to `out`, from all records (None: those of this repository) and the given run folders.

    base_url: where it will be published, for links of the feed and of badges. Of several runs those that cannot be
    shown (unfinished, over other data) are named and left out. Raises UserError, with `out` as it was, for a record
    whose scores its observations do not give, if no run is left, and for a folder of other files.
    """
    address = _address(base_url)
    out = out.resolve()
    _require_site_or_nothing(out)
    day = _day()
    records = RECORDS if records is None else records
    found = list(find_records(records))
    known = {record.folder.resolve() for record in found}
    given = for_each_run([folder for folder in runs if folder.resolve() not in known], _showable)
    reported = read_reported(records.parent / "reported")
    if not found and not given and not reported:
        raise UserError(f"there is no record in {records} and no run to show: name run folders with --run")
    sources = _sources(found, given, day)
    board = assemble(tabulate(sources), reported, day, address)
    with _in_place_of(out) as folder:
        write(board, sources, folder)
    rows, past = len(board.entries), len(found) - len({one.digest for entry in board.entries for one in entry.sources})
    told = f"{rows} row{'s' if rows != 1 else ''}, every score recomputed"
    say(f"{out / 'index.html'}: {told}" + (f"; {past} records that no longer count" if past > 0 else ""))


def write(board: Board, sources: Sequence[Source], folder: Path) -> None:
    """Writes the files of the site to an empty folder."""
    for path in sorted(ASSETS.iterdir()):
        shutil.copyfile(path, folder / path.name)
    for name, text in pages(board):
        _write(folder / name, text)
    for entry in board.entries:
        _write(folder / "badges" / f"{entry.slug}.svg", badge(entry))
        for (task, split), cell in entry.cells.items():
            wrong = cell.source.findings.wrong[f"{task}.{split}"]
            if wrong.count:
                _write(folder / "wrong" / f"{entry.slug}.{task}.{split}.csv", wrong.table)
    _write(folder / "index.json", json.dumps(index(board), separators=(",", ":")) + "\n")
    _write(folder / "scores.csv", scores(board))
    _write(folder / "feed.xml", feed(board))
    for source in sources:
        if source.place is not None:
            for file in record_files(source.run):
                target = folder / "records" / source.place / file
                target.parent.mkdir(parents=True, exist_ok=True)
                # No link: whoever edits a file of the site must not edit a record.
                shutil.copyfile(source.run.folder / file, target)


def _sources(found: Sequence[Record], given: Sequence[Run], day: str) -> list[Source]:
    """The records, and the given runs, each once, with what their observations give."""
    outdated = {one.digest: what for one in found if (what := _other_version(one.run))}
    runs = {one.digest: one.run for one in found if one.digest not in outdated}
    runs |= {_digest(run): run for run in given}
    for run in runs.values():
        _require_default_data(run)
    findings = dict(zip(runs, find([(run, digest) for digest, run in runs.items()], day), strict=True))
    findings |= dict.fromkeys(outdated, NO_FINDINGS)
    followed = following(found)
    recorded = [
        Source(
            one.run, findings[one.digest], one.digest,
            _level(one.attestations, findings[one.digest], followed.get(one.digest, ())),
            one.submission, one.place, one.attestations, outdated.get(one.digest, ""),
            _withdrawn(one, followed.get(one.digest, ())),
        )
        for one in found
    ]  # fmt: skip
    known = {one.digest for one in found}
    yours = [
        Source(run, findings[digest], digest, _level((), findings[digest]))
        for digest, run in runs.items()
        if digest not in known
    ]
    return recorded + yours


def _level(
    attestations: Sequence[Attestation], findings: Findings, followed: Sequence[Followed] = ()
) -> VerificationLevel:
    doubts = [one.attestation for one in followed if one.attestation.kind == REPLAY]
    return level_of(attestations, f"fflm {HARNESS_VERSION} on {findings.day}", doubts)


def _withdrawn(record: Record, followed: Sequence[Followed]) -> str:
    """Why a record no longer counts, "" if it does."""
    if one := record.withdrawn:
        return f"withdrawn on {one.at[:10]} by {one.by}: {one.details.get('reason', '')}"
    for other in followed:
        one = other.attestation
        if one.kind == WITHDRAWN and not is_lifted(one, record.attestations):
            return f"{other.told}: {one.details.get('reason', '')}"
    return ""


def _other_version(run: Run) -> str:
    """Of which version a record's data or task is, if this one cannot regenerate it; "" if it can."""
    try:
        run.jobs()
    except OtherVersion as error:
        return error.what
    return ""


def _digest(run: Run) -> str:
    """Of the contents of a run that is no record. Raises UserError if it is not finished."""
    files = [path for path in record_files(run) if path.name != SUBMISSION_FILE]
    try:
        return digest_of(run.folder, files)
    except OSError as error:
        raise UserError(f"{run.folder} is not finished (it lacks {error.filename}): run harness eval again") from None


def _showable(run: Run) -> Run:
    """The run itself. Raises UserError unless it is finished and has a place in the table."""
    require_complete(run)
    _digest(run)
    _require_default_data(run)
    return run


def _require_default_data(run: Run) -> None:
    for job in run.jobs():
        usual = get_config(job.task.config, **job.task.parameters).parameters()
        changed = {key: value for key, value in job.config.parameters().items() if value != usual[key]}
        changed |= {"rendering": job.task.rendering} if job.task.rendering != job.task.renderings[0] else {}
        if changed:
            settings = ", ".join(f"{key}={value}" for key, value in changed.items())
            raise UserError(
                f"{run.folder} is over other data ({job.task.name} with {settings}) than the columns: "
                "run harness eval without --set"
            )


def _day() -> str:
    """Today in UTC, or the day that SOURCE_DATE_EPOCH says."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        now = datetime.now(timezone.utc) if given is None else datetime.fromtimestamp(int(given), timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise UserError(f"SOURCE_DATE_EPOCH={given!r} is no time: give seconds since 1970, or unset it") from None
    return now.strftime("%Y-%m-%d")


def _address(base_url: str | None) -> str:
    if not base_url:
        return ""
    if not _PLAIN_ADDRESS.fullmatch(base_url):
        raise UserError(f"--url {base_url!r} is no address of a site: write it with https://")
    return base_url.rstrip("/") + "/"


def _require_site_or_nothing(out: Path) -> None:
    """Raises UserError unless nothing is lost if the folder is replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_site(out):
        raise UserError(f"{out} is no site of ours: name a new or an empty folder with --out")
    if others := other_files(out):
        raise UserError(f"{out} has other files than a site of ours ({others[0]}): move them, or name a new folder")


@contextmanager
def _in_place_of(out: Path) -> Iterator[Path]:
    """An empty folder that becomes `out` if all goes well, and is gone if not."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise UserError(f"nothing can be written beside {out} ({error.strerror}): name another folder") from None
    try:
        new, old = scratch / "new", scratch / "old"
        new.mkdir()
        yield new
        _swap(new, out, old)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swap(new: Path, out: Path, old: Path) -> None:
    """Puts a folder in the place of another, which goes to `old`; or leaves all as it was."""
    try:
        if out.exists():
            out.rename(old)
        new.rename(out)
    except BaseException as error:
        if old.exists():
            old.rename(out)
        if isinstance(error, OSError):
            reason = f"{out} cannot be replaced ({error.strerror})"
            raise UserError(f"{reason}: close what has it open, or name another folder with --out") from None
        raise


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
