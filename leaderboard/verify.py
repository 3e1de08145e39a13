"""`harness verify`: judges a record, all records of a checkout, or what a pull request adds; asks models again.

Status 0: all is accepted; 1: something is refused, with the reason. The way of a pull request of a checkout:
`harness verify HEAD --base BASE`, two folders, of which nothing is executed.
"""

import json
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError
from leaderboard.attestations import Attestation, write_attestation
from leaderboard.hub import repository
from leaderboard.judging.apart import judge_apart
from leaderboard.judging.changes import added_records, contents
from leaderboard.judging.judge import Verdict
from leaderboard.judging.refusal import Refused
from leaderboard.records import PLACES, read_record, record_folders


@dataclass(frozen=True)
class Again:
    """How models are asked again. replay: how many sequences, None for all of them, 0 for none. fresh: whether rows of
    a new seed are asked, and of each split how many. nonce: None for one that is drawn now. by: who does it.
    model: an id or a folder, where the record's id is that of a folder."""

    replay: int | None = 0
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
    path: str, *, base: Path | None, pull_request: int | None, attested: bool, as_json: bool, again: Again
) -> int:
    """Judges what is at `path`, and asks its model again if that is wanted; returns the exit status.

    path: a record, a checkout, a folder of records, or ORG/NAME of the Hub. base: the checkout as it was before.
    pull_request: of ORG/NAME. attested: whether attestations may be added. as_json: verdicts for machines.
    """
    found: list[Attestation] = []
    try:
        with _opened(path, base, pull_request, attested) as (root, folders, records):
            verdicts = [_verdict(folder, records) for folder in folders]
            if not as_json:
                for verdict in verdicts:
                    _tell(verdict)
            if again.wanted and all(verdict.accepted for verdict in verdicts):
                written = [one for folder in folders for one in _ask_again(folder, again)]
                found = [one for _, one in written]
                if root is not None:
                    print(repository.push(path, pull_request, root, [file for file, _ in written]), file=sys.stderr)
    except Refused as refusal:
        verdicts = [Verdict(path, (str(refusal),))]
        if not as_json:
            _tell(verdicts[0])
    if as_json:
        print(json.dumps([verdict.to_json() for verdict in verdicts], indent=1))
    elif len(verdicts) > 1:
        accepted = sum(verdict.accepted for verdict in verdicts)
        print(f"{accepted:,} of {len(verdicts):,} records accepted")
    right = all(verdict.accepted for verdict in verdicts) and all(one.agrees is not False for one in found)
    return 0 if right else 1


def _verdict(folder: Path, records: Path | None) -> Verdict:
    """The judge's, of a record and of what is attested of it."""
    verdict = judge_apart(folder, records)
    if verdict.accepted:
        try:
            read_record(folder)
        except UserError as error:
            return Verdict(verdict.path, (str(error),))
    return verdict


Opened = tuple[Path | None, list[Path], Path | None]


@contextmanager
def _opened(path: str, base: Path | None, pull_request: int | None, attested: bool) -> Iterator[Opened]:
    """Where the files of a fetched repository lie (None for what is here), the folders to be judged, and the records
    they are among. Raises Refused if what is there is refused as a whole."""
    place = Path(path)
    if pull_request is not None or (not place.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", path, re.ASCII)):
        if base is not None:
            raise UserError("--base is for folders, and a repository of the Hub was named: leave it out")
        with repository.fetched(path, pull_request, attested) as (root, added):
            yield root, [root / one for one in added], root / repository.RECORDS
        return
    if not place.is_dir():
        raise UserError(f"there is no folder {place}: name a record, a checkout, or ORG/NAME with --pull-request")
    place = place.resolve()
    if (place / "run.json").exists():
        if base is not None:
            raise UserError("--base is compared with a checkout, and a record was named: name the checkout it is in")
        yield None, [place], place.parents[2] if place.parents[2].name == "records" else None
        return
    records = next((place / one for one in PLACES if (place / one).is_dir()), place)
    if base is None:
        folders = record_folders(records)
    else:
        folders = [place / one for one in added_records(contents(base), contents(place), attested)]
    if not folders:
        raise UserError(f"there is no {'new ' if base else ''}record in {place}: name a record, or a folder of them")
    yield None, folders, records


def _tell(verdict: Verdict) -> None:
    from harness import table

    if verdict.accepted and verdict.result is not None and verdict.submission is not None:
        table.show(verdict.result)
        print(f"accepted: {verdict.place} ({verdict.submission['division']}); every score recomputed")
        for remark in verdict.remarks:
            print(f"  note: {remark}")
        return
    print(f"refused: {verdict.path}")
    for reason in verdict.reasons:
        print(f"  {reason}")


def _ask_again(folder: Path, again: Again) -> list[tuple[Path, Attestation]]:
    """The attestations of a record, each written beside it."""
    from leaderboard.replaying.fresh import fresh
    from leaderboard.replaying.replay import replay

    record = read_record(folder)
    nonce = again.nonce or secrets.token_hex(16)
    found = []
    if again.replay != 0:
        found.append(replay(record, again.replay, nonce, again.by, again.model))
    if again.fresh:
        found.append(fresh(record, nonce, again.by, again.model, again.rows))
    written = [(write_attestation(record.folder, one), one) for one in found]
    for path, one in written:
        for line in [*_lines(one), path]:
            print(line, file=sys.stderr)
    return written


def _lines(one: Attestation) -> Iterator[str]:
    details: dict[str, Any] = one.details
    if one.agrees is None:
        for gap in details["gaps"]:
            public, fresh = gap["public"]["value"], gap["fresh"]["value"]
            between = f"{gap['gap']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})"
            yield f"{gap['task']}.{gap['split']}: public {public:.4f}, fresh {fresh:.4f}, gap {between}"
        return
    said = "said the same" if one.agrees else "did not say the same"
    yield (
        f"{details['asked']:,} of {details['of']:,} sequences asked again {said}: {details['compared']:,} numbers and "
        f"tokens compared, largest difference {details['largest']:.2g}, near ties turned {details['flips']:,}"
    )
    yield from (f"  {difference}" for difference in details["differences"])
