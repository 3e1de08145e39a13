"""`harness submit`: a run becomes a record in a checkout, ready to be sent as a pull request."""

import shlex
import shutil
from pathlib import Path

from harness.errors import UserError
from harness.run import read_run
from leaderboard.records import record_files, record_folder, rescore


def command(folder: Path, checkout: Path) -> None:
    """Checks the run, writes its record below `checkout` and prints what to type to send it.

    Raises UserError if the run is incomplete, does not score as it says, or is recorded already.
    """
    records = checkout / "leaderboard" / "records"
    if not records.is_dir():
        raise UserError(f"{checkout} is no checkout of fflm (it has no leaderboard/records): name one with --to")
    run = read_run(folder)
    rescore(run)
    record = records / record_folder(run)
    if record.exists():
        raise UserError(f"{record} is there already: this run has been recorded")
    partial = record.with_name(record.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for path in record_files(run):
        (partial / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.folder / path, partial / path)
    partial.rename(record)
    name = shlex.quote(f"Record {run.facts['model']['id']}")
    place = shlex.quote(record.relative_to(checkout).as_posix())
    print(f"{record} is written. To send it as a pull request, in {checkout}:")
    print(
        f"  git checkout -b record-{record.name}\n  git add {place}\n  git commit -m {name}\n  git push -u origin HEAD"
    )
