"""Opens what `harness verify` is given: a record, a checkout, a folder of records, or a repository of the Hub."""

import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fflm_data.terminal import echo
from harness.errors import UserError
from leaderboard.hub import repository
from leaderboard.records import PLACES, record_folders, records_of
from leaderboard.verification.pull_request_diff import added_records, contents


@dataclass(frozen=True)
class Target:
    """Records to verify. folders: their folders. records: all records that they are compared with, None if there are
    none. new: whether they are submitted now. fetched: the repository that they were downloaded from. own: digests of
    earlier records of the same sender, None if the host was not queried."""

    folders: list[Path]
    records: Path | None
    new: bool
    fetched: repository.Fetched | None = None
    own: Collection[str] | None = None


@contextmanager
def open_target(
    path: str, base: Path | None, pull_request: int | None, attested: Sequence[str], own: Sequence[str]
) -> Iterator[Target]:
    """Yields the records at a path. Parameters as of `verify.command`.

    Raises Refused if the pull request as a whole is refused, and UserError for a path without records.
    """
    if not path:
        raise UserError("the path is empty. Name a record, a checkout, or ORG/NAME with --pull-request.")
    place = Path(path)
    if pull_request is not None or (not place.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", path, re.ASCII)):
        if base is not None:
            raise UserError("--base needs a local checkout, and PATH is a repository of the Hub. Remove --base.")
        with repository.fetched(path, pull_request, attested) as fetched:
            if pull_request is not None:
                echo(f"{path} at {fetched.revision} (pull request {pull_request})", file=sys.stderr)
            yield Target(
                [fetched.root / added for added in fetched.added],
                fetched.root / repository.RECORDS,
                pull_request is not None,
                fetched,
                None if pull_request is None else {*fetched.own, *own},
            )
        return
    if not place.is_dir():
        raise UserError(f"{place} is not a folder. Name a record, a checkout, or ORG/NAME with --pull-request.")
    place = place.resolve()
    if (place / "run.json").exists():
        if base is not None:
            raise UserError("--base needs a checkout, and PATH is a record. Name the checkout that contains it.")
        above = place.parents[2] if len(place.parents) > 2 else place
        yield Target([place], above if above.name == "records" else None, new=False)
        return
    if base is not None:
        yield replace(_compare_checkouts(base, place, attested), own=own)
        return
    records = records_of(place) if _has_records(place) else place
    if not (folders := record_folders(records)):
        raise UserError(f"{place} has no records. Name a record or a folder of records.")
    yield Target(folders, records, new=False)


def _has_records(checkout: Path) -> bool:
    return any((checkout / place).is_dir() for place in PLACES)


def _compare_checkouts(base: Path, head: Path, attested: Sequence[str]) -> Target:
    """Returns the new records of a checkout. The base checkout decides where the records folder is."""
    if not base.is_dir():
        raise UserError(f"{base} is not a folder. Name the checkout before the change with --base.")
    base = base.resolve()
    place = records_of(base).relative_to(base) if _has_records(base) else records_of(head).relative_to(head)
    added = added_records(contents(base), contents(head), PurePosixPath(place), attested)
    if not added:
        raise UserError(f"{head} has no new record. Add one below {place.as_posix()}.")
    return Target([head / folder for folder in added], head / place, new=True)
