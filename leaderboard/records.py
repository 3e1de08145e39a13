"""Records: accepted runs.

    records/<org>--<model>/<revision, 12 hex>/<digest, 12 hex>/
        run.json  result.json  submission.json  observations/<task>.<split>.parquet

The digest is a hash of the contents, so a record cannot be edited, only superseded. Later findings are stored beside it
(`leaderboard.attestations`).
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
from leaderboard.submission_file import SUBMISSION_FILE, Submission, read_submission

RECORDS = Path(__file__).parent / "records"
# The records folder in a clone of this repository, and in one of a results repository.
PLACES = (Path("leaderboard", "records"), Path("records"))
_NAME = re.compile(r"[a-z][a-z0-9-]*\.[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Record:
    """A record in its folder. digest: 64 hex digits."""

    run: Run
    submission: Submission
    digest: str
    attestations: tuple[Attestation, ...] = ()

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.run.folder

    @property
    def place(self) -> PurePosixPath:
        """Its path relative to the records folder."""
        return place_of(self.run, self.digest)

    @property
    def withdrawn(self) -> Attestation | None:
        """Its withdrawal, None if it counts."""
        return next((each for each in self.attestations if each.kind == WITHDRAWN), None)


def record_files(run: Run) -> list[PurePosixPath]:
    """Returns the files of a run's record, relative to its folder, in order.

    They follow from run.json alone, so that the digest of an older record can still be computed. Raises UserError if
    run.json has no tasks and splits, or invalid names.
    """
    try:
        tasks = run.facts["data"]["tasks"]
        names = [f"{task}.{split}" for task, facts in tasks.items() for split in facts["splits"]]
    except (KeyError, TypeError, AttributeError):
        names = []
    if not names or not all(_NAME.fullmatch(name) for name in names):
        raise UserError(f"{run.folder}/run.json has no valid tasks and splits. Restore the file, or delete the folder.")
    tables = [PurePosixPath("observations", f"{name}.parquet") for name in names]
    return [*map(PurePosixPath, ("run.json", "result.json", SUBMISSION_FILE)), *sorted(tables)]


def digest_of(folder: Path, files: Iterable[PurePosixPath]) -> str:
    """Returns the SHA-256 over names and contents of files in a folder, 64 hex digits."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.as_posix()} {file_sha256(folder / path)}\n".encode())
    return digest.hexdigest()


def place_of(run: Run, digest: str) -> PurePosixPath:
    """Returns the path of a record relative to the records folder."""
    model = run.facts["model"]
    return PurePosixPath(path_name(model["id"]), model["revision"][:12], digest[:12])


def read_record(folder: Path) -> Record:
    """Returns the record in a folder with its attestations. Raises UserError if there is none."""
    run = read_run(folder)
    submission = read_submission(folder)
    try:
        digest = digest_of(folder, record_files(run))
    except OSError as error:
        raise UserError(f"{folder} lacks the file {error.filename}. Restore it from git.") from None
    return Record(run, submission, digest, read_attestations(folder, digest))


def record_folders(records: Path = RECORDS) -> list[Path]:
    """Returns the folders of all records, sorted by path."""
    # An interrupted submission leaves a folder whose name begins with a dot.
    return sorted(path.parent for path in records.glob("*/*/[!.]*/run.json"))


def find_records(records: Path = RECORDS) -> Iterator[Record]:
    """Yields all records, sorted by path. Raises UserError for a record that does not match its digest."""
    for folder in record_folders(records):
        record = read_record(folder)
        if record.place != PurePosixPath(folder.relative_to(records)):
            raise UserError(f"{folder} was changed after submission. Restore it from git.")
        yield record


def records_of(checkout: Path) -> Path:
    """Returns the records folder of a checkout, which may not exist yet. Raises UserError for a folder that is neither
    a git checkout nor has records, or that has two records folders."""
    folders = [checkout / place for place in PLACES if (checkout / place).is_dir()]
    if len(folders) == 1:
        return folders[0]
    names = [place.as_posix() for place in PLACES]
    if folders:
        raise UserError(f"{checkout} has both {' and '.join(names)}. Remove one of them.")
    if (checkout / ".git").exists():  # a folder, or a file in a worktree
        return checkout / PLACES[1]
    raise UserError(
        f"{checkout} is not a checkout of fflm or of a results repository (no {' or '.join(names)}). Name "
        "a checkout, or a dataset of the Hub as ORG/NAME."
    )
