"""Records: accepted runs, kept as they came.

    records/<org>--<model>/<revision, 12 hex>/<digest, 12 hex>/
        run.json  result.json  submission.json  observations/<task>.<split>.parquet

The digest is that of the contents, so that a record cannot be edited, only followed by another. What
becomes known of it later stands beside it (`leaderboard.attestations`).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fflm_data.checksums import file_sha256
from harness.errors import UserError
from harness.models.model_name import path_name
from harness.runs.run import Run, read_run
from leaderboard.attestations import WITHDRAWN, Attestation, read_attestations
from leaderboard.submission import SUBMISSION_FILE, Submission, read_submission

RECORDS = Path(__file__).parent / "records"
# Where records lie in a clone of this repository, and in one of a results repository.
PLACES = (Path("leaderboard", "records"), Path("records"))
_NAME = re.compile(r"[a-z][a-z0-9-]*\.[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Record:
    """A record as it lies in its folder. digest: 64 hex digits."""

    run: Run
    submission: Submission
    digest: str
    attestations: tuple[Attestation, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.run.folder

    @property
    def place(self) -> PurePosixPath:
        """Where it belongs, relative to the records."""
        return place_of(self.run, self.digest)

    @property
    def withdrawn(self) -> Attestation | None:
        """Why it no longer counts, if so."""
        return next((one for one in self.attestations if one.kind == WITHDRAWN), None)


def record_files(run: Run) -> list[PurePosixPath]:
    """The files that make the record of a run, relative to its folder, in order.

    Named by run.json alone, so that a record of an older version is still known by its digest. Raises UserError if it
    has no tasks and splits, or their names are none.
    """
    try:
        tasks = run.facts["data"]["tasks"]
        names = [f"{task}.{split}" for task, asked in tasks.items() for split in asked["splits"]]
    except (KeyError, TypeError, AttributeError):
        names = []
    if not names or not all(_NAME.fullmatch(name) for name in names):
        raise UserError(f"{run.folder}/run.json does not say which tasks and splits it has: restore it, or delete it")
    tables = [PurePosixPath("observations", f"{name}.parquet") for name in names]
    return [*map(PurePosixPath, ("run.json", "result.json", SUBMISSION_FILE)), *sorted(tables)]


def digest_of(folder: Path, files: Iterable[PurePosixPath]) -> str:
    """SHA-256 over the names and contents of some files of a folder, 64 hex digits."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.as_posix()} {file_sha256(folder / path)}\n".encode())
    return digest.hexdigest()


def place_of(run: Run, digest: str) -> PurePosixPath:
    """Where a record belongs, relative to the records."""
    model = run.facts["model"]
    return PurePosixPath(path_name(model["id"]), model["revision"][:12], digest[:12])


def read_record(folder: Path) -> Record:
    """The record in a folder, with what is attested of it. Raises UserError if it is none."""
    run = read_run(folder)
    submission = read_submission(folder)
    try:
        digest = digest_of(folder, record_files(run))
    except OSError as error:
        raise UserError(f"{folder} lacks a file ({error.filename}): restore it from git") from None
    return Record(run, submission, digest, read_attestations(folder, digest))


def record_folders(records: Path = RECORDS) -> list[Path]:
    """The folders of all records, in the order of their paths."""
    # What an interrupted submission leaves has a name with a dot before it.
    return sorted(path.parent for path in records.glob("*/*/[!.]*/run.json"))


def find_records(records: Path = RECORDS) -> Iterator[Record]:
    """All records, in the order of their paths. Raises UserError for one whose contents are not those of its digest."""
    for folder in record_folders(records):
        record = read_record(folder)
        if record.place != PurePosixPath(folder.relative_to(records)):
            raise UserError(f"{folder} was changed after it was recorded: restore it from git")
        yield record


def records_of(checkout: Path) -> Path:
    """The records of a checkout: of one without any, where the first goes, which whoever writes it makes. Raises
    UserError for a folder that is no git checkout and has none, or for two folders of them."""
    found = [checkout / place for place in PLACES if (checkout / place).is_dir()]
    if len(found) == 1:
        return found[0]
    both = " and ".join(place.as_posix() for place in PLACES)
    if found:
        raise UserError(f"{checkout} has {both}: records lie in one of them, take the other out")
    if (checkout / ".git").exists():  # a folder, or a file in a worktree
        return checkout / PLACES[1]
    raise UserError(
        f"{checkout} is no checkout of fflm or of a results repository (it has none of {both}): name one, or the "
        "ORG/NAME of a data set of the Hub"
    )
