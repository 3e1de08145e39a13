"""`harness verify`: judges a record, all records of a checkout, or what a pull request adds; asks models again.

Status 0: all is accepted; 1: something is refused, with the reason. The way of a pull request of a checkout:
`harness verify HEAD --base BASE`, two folders, of which nothing is executed.
"""

import json
import re
import secrets
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

from fflm_data.terminal import say
from harness.errors import UserError
from leaderboard.attestations import Attestation, write_attestation
from leaderboard.hub import repository
from leaderboard.records import PLACES, Record, read_record, record_folders, records_of
from leaderboard.replay.row_sampling import usual_count
from leaderboard.verification.diff import added_records, contents
from leaderboard.verification.refusal import Refused
from leaderboard.verification.sandbox import verify_in_sandbox
from leaderboard.verification.verify_record import Verdict

USUAL = "usual"


@dataclass(frozen=True)
class Again:
    """How models are asked again. replay: how many sequences, None for all of them, 0 for none, USUAL for as many as
    the numbers of each model ask for. fresh: whether rows of a new seed are asked, and of each split how many. nonce:
    None for one that is drawn now. by: who does it. model: an id or a folder, where the record's id is that of a
    folder."""

    replay: int | str | None = 0
    fresh: bool = False
    rows: int | None = None
    nonce: str | None = None
    by: str = "a maintainer"
    model: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether anything is asked at all."""
        return self.fresh or self.replay != 0


def command(
    path: str,
    *,
    base: Path | None,
    pull_request: int | None,
    attested: Sequence[str],
    own: Sequence[str],
    as_json: bool,
    again: Again,
) -> int:
    """Judges what is at `path`, and asks its model again if that is wanted; returns the exit status.

    path: a record, a checkout, a folder of records, or ORG/NAME of the Hub. base: the checkout as it was before.
    pull_request: of ORG/NAME. attested: names of attestations that may be added. own: digests of earlier records that
    whoever sends this has sent, beside those that the Hub tells. as_json: verdicts for machines.
    """
    found: list[Attestation] = []
    try:
        with _opened(path, base, pull_request, attested, own) as opened:
            verdicts = [_verdict(folder, opened) for folder in opened.folders]
            if not as_json:
                for verdict in verdicts:
                    _tell(verdict)
            if again.wanted and all(verdict.accepted for verdict in verdicts):
                written = [one for folder in opened.folders for one in _ask_again(folder, again)]
                found = [one for _, one in written]
                if opened.fetched is not None:
                    say(repository.push(opened.fetched, [file for file, _ in written]), file=sys.stderr)
    except Refused as refusal:
        verdicts = [Verdict(path, (str(refusal),))]
        if not as_json:
            _tell(verdicts[0])
    if as_json:
        say(json.dumps([verdict.to_json() for verdict in verdicts], indent=1), lines=True)
    elif len(verdicts) > 1:
        accepted = sum(verdict.accepted for verdict in verdicts)
        say(f"{accepted:,} of {len(verdicts):,} records accepted")
    right = all(verdict.accepted for verdict in verdicts) and all(one.agrees is not False for one in found)
    return 0 if right else 1


def _verdict(folder: Path, opened: "Opened") -> Verdict:
    """The judge's, of a record and of what is attested of it."""
    verdict = verify_in_sandbox(folder, opened.records, new=opened.new, own=opened.own)
    if not verdict.accepted:
        return verdict
    try:
        record = read_record(folder)
    except UserError as error:
        return Verdict(verdict.path, (str(error),))
    told = [f"attested on {one.at[:10]} by {one.by}: {one.kind}" for one in record.attestations]
    alone = [] if opened.records else ["it was judged alone: it lies in no folder records with others"]
    return replace(verdict, remarks=(*verdict.remarks, *told, *alone))


@dataclass(frozen=True)
class Opened:
    """The folders to be judged, the records they are among, whether they come to those or were accepted before, where
    they were fetched from, if they were, and the earlier records of whoever sends them, if the host was asked."""

    folders: list[Path]
    records: Path | None
    new: bool
    fetched: repository.Fetched | None = None
    own: Collection[str] | None = None


@contextmanager
def _opened(
    path: str, base: Path | None, pull_request: int | None, attested: Sequence[str], own: Sequence[str]
) -> Iterator[Opened]:
    """Raises Refused if what is at a place is refused as a whole."""
    if not path:
        raise UserError("no path is named: name a record, a checkout, or ORG/NAME with --pull-request")
    place = Path(path)
    if pull_request is not None or (not place.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", path, re.ASCII)):
        if base is not None:
            raise UserError("--base is for folders, and a repository of the Hub was named: leave it out")
        with repository.fetched(path, pull_request, attested) as fetched:
            if pull_request is not None:
                say(f"{path} at {fetched.revision} (pull request {pull_request})", file=sys.stderr)
            yield Opened(
                [fetched.root / one for one in fetched.added],
                fetched.root / repository.RECORDS,
                pull_request is not None,
                fetched,
                None if pull_request is None else {*fetched.own, *own},
            )
        return
    if not place.is_dir():
        raise UserError(f"there is no folder {place}: name a record, a checkout, or ORG/NAME with --pull-request")
    place = place.resolve()
    if (place / "run.json").exists():
        if base is not None:
            raise UserError("--base is compared with a checkout, and a record was named: name the checkout it is in")
        above = place.parents[2] if len(place.parents) > 2 else place
        yield Opened([place], above if above.name == "records" else None, new=False)
        return
    is_checkout = any((place / one).is_dir() for one in PLACES)
    if base is not None:
        yield replace(_opened_against(base, place, attested), own=own)
        return
    records = records_of(place) if is_checkout else place
    if not (folders := record_folders(records)):
        raise UserError(f"there is no record in {place}: name a record, or a folder of them")
    yield Opened(folders, records, new=False)


def _opened_against(base: Path, head: Path, attested: Sequence[str]) -> Opened:
    """What is new in a checkout. Where records lie is for the checkout as it was to say."""
    if not base.is_dir():
        raise UserError(f"there is no folder {base}: name the checkout as it was with --base")
    base = base.resolve()
    had = any((base / one).is_dir() for one in PLACES)
    place = records_of(base).relative_to(base) if had else records_of(head).relative_to(head)
    added = added_records(contents(base), contents(head), PurePosixPath(place), attested)
    if not added:
        raise UserError(f"there is no new record in {head}: add one below {place.as_posix()}")
    return Opened([head / one for one in added], head / place, new=True)


def _tell(verdict: Verdict) -> None:
    from harness.reporting import table

    if verdict.accepted and verdict.result is not None and verdict.submission is not None:
        table.show(verdict.result)
        say(f"accepted: {verdict.place} ({verdict.submission['division']}); every score recomputed")
        for remark in verdict.remarks:
            say(f"  note: {remark}")
        return
    say(f"refused: {verdict.path}")
    for reason in verdict.reasons:
        say(f"  {reason}")


def _ask_again(folder: Path, again: Again) -> list[tuple[Path, Attestation]]:
    """The attestations of a record, each written beside it."""
    from leaderboard.replay.file_check import Questions, examine
    from leaderboard.replay.fresh import fresh
    from leaderboard.replay.replay import replay

    record = read_record(folder)
    nonce = again.nonce or secrets.token_hex(16)
    count = cast(int | None, _usual(record) if again.replay == USUAL else again.replay)
    examine(folder, Questions(nonce, count, again.fresh, again.rows), again.model)
    written = []
    if count != 0:
        written.append(_written(record, replay(record, count, nonce, again.by, again.model)))
    if again.fresh:
        written.append(_written(record, fresh(record, nonce, again.by, again.model, again.rows)))
    return written


def _usual(record: Record) -> int:
    tables = sum(len(asked["splits"]) for asked in record.run.facts["data"]["tasks"].values())
    return usual_count(record.run.facts["model"], tables)


def _written(record: Record, one: Attestation) -> tuple[Path, Attestation]:
    """At once: what comes after it may fail."""
    path = write_attestation(record.folder, one)
    for line in [*_lines(one), path]:
        say(line, file=sys.stderr)
    return path, one


def _lines(one: Attestation) -> Iterator[str]:
    details: dict[str, Any] = one.details
    if one.agrees is None:
        for gap in details["gaps"]:
            public, fresh = gap["public"]["value"], gap["fresh"]["value"]
            between = f"{gap['gap']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})"
            yield f"{gap['task']}.{gap['split']}: public {public:.4f}, fresh {fresh:.4f}, gap {between}"
        return
    said = "said the same" if one.agrees else "did not say the same"
    here, elsewhere = details["environment"].get("device"), details.get("elsewhere")
    if elsewhere:
        said = f"did not say the same on {here}, which is no dispute"
    yield (
        f"{details['asked']:,} of {details['of']:,} sequences asked again {said}: {details['compared']:,} numbers and "
        f"tokens compared, largest difference {details['largest']:.2g}, near ties turned {details['flips']:,}"
    )
    if right := details.get("right"):
        yield f"right: {right['recorded']:,} as recorded, {right['replayed']:,} as replayed, of {right['of']:,}"
    if elsewhere:
        yield (
            f"recorded on {elsewhere}: in such numbers another kind of device rounds otherwise, and the differences do "
            "not lean to the record's side; ask again on the recorded kind"
        )
    yield from (f"  {difference}" for difference in details["differences"])
