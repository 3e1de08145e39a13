"""`harness leaderboard build`: builds the static site from records and runs.

The site is written to a temporary folder that replaces the old one at the end, so an interrupted build changes nothing.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from fflm_data import get_config
from fflm_data.terminal import echo
from harness.errors import OtherVersion, UserError
from harness.runs.run import Run
from harness.runs.several_runs import for_each_run, require_complete
from harness.runs.version import HARNESS_VERSION
from leaderboard.attestations import REPLAY, WITHDRAWN, Attestation
from leaderboard.hub.reported import read_reported
from leaderboard.inherited_status import Inherited, inherited_findings, is_lifted
from leaderboard.records import RECORDS, Record, digest_of, find_records, record_files
from leaderboard.site.feeds import feed, index, scores
from leaderboard.site.files import ASSETS, is_site, other_files
from leaderboard.site.findings import NO_FINDINGS, Findings, find
from leaderboard.site.pages import badge, pages
from leaderboard.site.rows import group_rows
from leaderboard.site.site_data import SiteData, assemble
from leaderboard.site.sources import Source
from leaderboard.submission_file import SUBMISSION_FILE
from leaderboard.verification_level import VerificationLevel, level_of

# Records are part of a clone only: they would make a wheel larger than package indexes accept.
NO_RECORDS = "this installation of fflm has no records, which are in a clone"
ADD_RECORDS = "Name a clone, or ORG/NAME of the Hub, with --records"
# The address is used in markdown and in attributes, so it may not contain characters that end them.
_PLAIN_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")


def command(out: Path, runs: list[Path], records: Path | None, base_url: str | None) -> None:
    """Writes the site to `out` from all records (None: those of this clone) and the given run folders.

    base_url: address of the published site, for links in the feed and badges. Runs that cannot be shown (unfinished, or
    over other data) are reported and skipped. Raises UserError, with `out` unchanged, for a record whose scores do not
    match its observations, if there is nothing to show, and if `out` has other files.
    """
    address = _address(base_url)
    out = out.resolve()
    _require_site_or_nothing(out)
    day = _day()
    without_records = records is None and not RECORDS.is_dir()
    records = RECORDS if records is None else records
    recorded = list(find_records(records))
    known = {record.folder.resolve() for record in recorded}
    given = for_each_run([folder for folder in runs if folder.resolve() not in known], _showable)
    reported = read_reported(records.parent / "reported")
    if not recorded and not given and not reported:
        if without_records:
            raise UserError(f"{NO_RECORDS}. {ADD_RECORDS}, or name run folders with --run.")
        raise UserError(f"{records} has no records, and there is no run to show. Name run folders with --run.")
    sources = _sources(recorded, given, day)
    site = assemble(group_rows(sources), reported, day, address)
    with _replacing(out) as folder:
        write(site, sources, folder)
    rows = len(site.rows)
    retired = len({record.digest for record in recorded} - _digests(site))
    message = f"{out / 'index.html'}: {rows} row{'s' if rows != 1 else ''}, every score recomputed"
    counts = "record that no longer counts" if retired == 1 else "records that no longer count"
    echo(message + (f"; {retired} {counts}" if retired else ""))
    if without_records:
        echo(f"note: {NO_RECORDS}, so the site shows your runs only. {ADD_RECORDS}.", file=sys.stderr)


def write(site: SiteData, sources: Sequence[Source], folder: Path) -> None:
    """Writes the files of the site into an empty folder."""
    for path in sorted(ASSETS.iterdir()):
        shutil.copyfile(path, folder / path.name)
    for name, text in pages(site):
        _write(folder / name, text)
    for entry in site.entries:
        _write(folder / "badges" / f"{entry.slug}.svg", badge(entry))
        for (task, split), cell in entry.cells.items():
            wrong = cell.source.findings.wrong[f"{task}.{split}"]
            if wrong.count:
                _write(folder / "wrong" / f"{entry.slug}.{task}.{split}.csv", wrong.table)
    _write(folder / "index.json", json.dumps(index(site), separators=(",", ":")) + "\n")
    _write(folder / "scores.csv", scores(site))
    _write(folder / "feed.xml", feed(site))
    for source in sources:
        if source.place is not None:
            for file in record_files(source.run):
                target = folder / "records" / source.place / file
                target.parent.mkdir(parents=True, exist_ok=True)
                # Copied, not linked: editing a file of the site must not edit a record.
                shutil.copyfile(source.run.folder / file, target)


def _digests(site: SiteData) -> set[str]:
    """Returns the digests of the records and runs that the rows show."""
    return {source.digest for entry in site.entries for source in entry.sources}


def _sources(records: Sequence[Record], given: Sequence[Run], day: str) -> list[Source]:
    """Returns records and given runs, each once, with their findings."""
    outdated = {record.digest: version for record in records if (version := _other_version(record.run))}
    runs = {record.digest: record.run for record in records if record.digest not in outdated}
    runs |= {_digest(run): run for run in given}
    for run in runs.values():
        _require_default_data(run)
    findings = dict(zip(runs, find([(run, digest) for digest, run in runs.items()], day), strict=True))
    findings |= dict.fromkeys(outdated, NO_FINDINGS)
    inherited = inherited_findings(records)
    recorded = [
        Source(
            record.run, findings[record.digest], record.digest,
            _level(record.attestations, findings[record.digest], inherited.get(record.digest, ())),
            record.submission, record.place, record.attestations, outdated.get(record.digest, ""),
            _withdrawn(record, inherited.get(record.digest, ())),
        )
        for record in records
    ]  # fmt: skip
    known = {record.digest for record in records}
    local_runs = [
        Source(run, findings[digest], digest, _level((), findings[digest]))
        for digest, run in runs.items()
        if digest not in known
    ]
    return recorded + local_runs


def _level(
    attestations: Sequence[Attestation], findings: Findings, inherited: Sequence[Inherited] = ()
) -> VerificationLevel:
    disputes = [finding.attestation for finding in inherited if finding.attestation.kind == REPLAY]
    return level_of(attestations, f"fflm {HARNESS_VERSION} on {findings.day}", disputes)


def _withdrawn(record: Record, inherited: Sequence[Inherited]) -> str:
    """Returns why a record is withdrawn, "" if it is not."""
    if withdrawal := record.withdrawn:
        return f"withdrawn on {withdrawal.at[:10]} by {withdrawal.by}: {withdrawal.details.get('reason', '')}"
    for finding in inherited:
        withdrawal = finding.attestation
        if withdrawal.kind == WITHDRAWN and not is_lifted(withdrawal, record.attestations):
            return f"{finding.description}: {withdrawal.details.get('reason', '')}"
    return ""


def _other_version(run: Run) -> str:
    """Returns the data or task version of a record if this version cannot regenerate it; else ""."""
    try:
        run.jobs()
    except OtherVersion as error:
        return error.what
    return ""


def _digest(run: Run) -> str:
    """Returns the digest of a local run. Raises UserError if it is not finished."""
    files = [path for path in record_files(run) if path.name != SUBMISSION_FILE]
    try:
        return digest_of(run.folder, files)
    except OSError as error:
        raise UserError(f"{run.folder} is not finished (it lacks {error.filename}). Run harness eval again.") from None


def _showable(run: Run) -> Run:
    """Returns the run. Raises UserError unless it is finished and over the default data."""
    require_complete(run)
    _digest(run)
    _require_default_data(run)
    return run


def _require_default_data(run: Run) -> None:
    for job in run.jobs():
        default = get_config(job.task.config, **job.task.parameters).parameters()
        changed = {key: value for key, value in job.config.parameters().items() if value != default[key]}
        changed |= {"rendering": job.task.rendering} if job.task.rendering != job.task.renderings[0] else {}
        if changed:
            settings = ", ".join(f"{key}={value}" for key, value in changed.items())
            raise UserError(
                f"{run.folder} does not use the default data ({job.task.name} with {settings}). Run harness "
                "eval without --set."
            )


def _day() -> str:
    """Returns the date in UTC, or that of SOURCE_DATE_EPOCH."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        now = datetime.now(timezone.utc) if given is None else datetime.fromtimestamp(int(given), timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise UserError(
            f"SOURCE_DATE_EPOCH={given!r} is not a time. Set it to seconds since 1970, or unset it."
        ) from None
    return now.strftime("%Y-%m-%d")


def _address(base_url: str | None) -> str:
    if not base_url:
        return ""
    if not _PLAIN_ADDRESS.fullmatch(base_url):
        raise UserError(f"--url {base_url!r} is not a web address. Begin with https://.")
    return base_url.rstrip("/") + "/"


def _require_site_or_nothing(out: Path) -> None:
    """Raises UserError if replacing the folder would delete other files."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_site(out):
        raise UserError(f"{out} is not a site of fflm. Name a new or empty folder with --out.")
    if others := other_files(out):
        raise UserError(
            f"{out} has files that are not part of the site ({others[0]}). Move them, or name a new folder."
        )


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `out` on success and is deleted on failure."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise UserError(
            f"the folder of {out} is not writable ({error.strerror}). Name another folder with --out."
        ) from None
    try:
        new, old = scratch / "new", scratch / "old"
        new.mkdir()
        yield new
        _swap(new, out, old)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swap(new: Path, out: Path, old: Path) -> None:
    """Replaces `out` by `new` and moves it to `old`. Restores it on failure."""
    try:
        if out.exists():
            out.rename(old)
        new.rename(out)
    except BaseException as error:
        if old.exists():
            old.rename(out)
        if isinstance(error, OSError):
            reason = f"{out} cannot be replaced ({error.strerror})"
            raise UserError(f"{reason}. Close programs that use it, or name another folder with --out.") from None
        raise


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
