"""`harness submit`: makes a record of a run, verifies it, and sends it as a pull request.

run -> staged record -> verdict -> checkout of a results repository, or pull request on the Hub
"""

import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import FileLock

from fflm_data.number_formats import percent
from fflm_data.terminal import echo
from harness.errors import UserError
from harness.models.model_name import LOCAL, is_local, local_id
from harness.reporting import table
from harness.runs import observations
from harness.runs.files import write_json
from harness.runs.run import Run, read_run
from harness.scoring.headline_score import headlines
from harness.scoring.scores import score_run
from leaderboard.hub import repository
from leaderboard.records import Record, digest_of, place_of, read_record, record_files, records_of
from leaderboard.submission_file import SUBMISSION_FILE, Submission
from leaderboard.verification.refusal import Refused
from leaderboard.verification.sandbox import verify_in_sandbox
from leaderboard.verification.text_safety import require_safe_texts, text_fault

TRAINING_LEFT_OUT = (
    "the record does not state how the model was trained, because the recipe has a path, a key or markup in its texts"
)
REDACTED = "for a reason that is kept out of the record"
# Options whose values are ids or paths, and beginnings of paths that reveal a location.
_PATHS = ("--model", "--adapter", "--out")
_LOCATION = re.compile(r"[/\\~]|[A-Za-z]:")


@dataclass(frozen=True)
class Prepared:
    """A verified and accepted record in a temporary folder."""

    record: Record
    result: dict[str, Any]
    remarks: tuple[str, ...]


def command(folder: Path, target: str | None, submission: Submission, dry_run: bool) -> None:
    """Makes a record of the run, verifies it, prints its scores and sends it.

    target: a checkout or ORG/NAME; None for a dry run without other records. Raises UserError with the reasons if the
    record is refused. Nothing is written then.
    """
    checkout, records = Path(target or ""), records_at(target)
    with prepared_record(folder, submission, records) as ready:
        _show(ready)
        if dry_run:
            send = "run the command without --dry-run"
            send = send if target else f"add --to ORG/NAME or --to CHECKOUT, and {send}"
            echo(f"the record would be accepted as {ready.record.place}. To send it, {send}.")
        elif records is not None:
            path = add_record(ready.record, records)
            _print_git_commands(path.relative_to(checkout), checkout, ready.record)
        else:
            echo(f"opened pull request {repository.propose(str(target), ready.record, _description(ready))}")


def require_places(folder: Path, target: str | None) -> None:
    """Raises UserError if the run or the checkout does not exist. Called before the terms are read."""
    read_run(folder)
    records_at(target)


def records_at(target: str | None) -> Path | None:
    """Returns the records folder of a checkout; None for a dataset of the Hub or no target. Raises UserError if the
    folder is not a checkout."""
    checkout = Path(target or "")
    return records_of(checkout) if target and (checkout.is_dir() or "/" not in target) else None


@contextmanager
def prepared_record(folder: Path, submission: Submission, records: Path | None = None) -> Iterator[Prepared]:
    """Yields the verified record of a run. Raises UserError with the reasons if it is refused."""
    run = read_run(folder)
    for job in run.jobs():
        run.require_table(job)
        if job.task.rendering != job.task.renderings[0]:
            raise UserError(
                f"{folder} has {job.task.name} in the {job.task.rendering} rendering, and the leaderboard compares the "
                f"{job.task.renderings[0]} rendering. Run harness eval without --set."
            )
    with tempfile.TemporaryDirectory() as temporary:
        staged = _stage(run, submission, Path(temporary).resolve())
        verdict = verify_in_sandbox(staged, records)
        if not verdict.accepted or verdict.result is None:
            raise UserError(f"{folder} is refused: {'; '.join(verdict.reasons)}")
        record = read_record(staged)
        dropped = "training" in run.facts["model"] and "training" not in record.run.facts["model"]
        yield Prepared(record, verdict.result, (*verdict.remarks, *([TRAINING_LEFT_OUT] if dropped else [])))


def add_record(record: Record, records: Path) -> Path:
    """Adds a record atomically and returns its folder. An interruption leaves all of it or nothing.

    Raises UserError if it already exists.
    """
    target = records / record.place
    name = sha256(str(records.resolve()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir(), f"fflm-records-{name}.lock")):
        if target.exists():
            raise UserError(f"{target} already exists: this run was submitted before. There is nothing to do.")
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(".*.partial"):  # from an interrupted call
            if left.is_symlink():
                left.unlink()
            else:
                shutil.rmtree(left)
        partial = target.with_name(f".{target.name}.partial")
        for path in record_files(record.run):
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(record.folder / path, partial / path)
        partial.rename(target)
    return target


def _stage(run: Run, submission: Submission, folder: Path) -> Path:
    """Writes the record of a run below a temporary folder, at the path that its digest gives."""
    draft = folder / "draft"
    facts = public_facts(run.facts)
    staged = Run(draft, facts)
    for job in run.jobs():
        staged.table(job).parent.mkdir(parents=True, exist_ok=True)
        table = observations.read(run.table(job), observations.schema_of(job.task, job.config))
        # Other versions of pyarrow, or other programs, may have written other row groups.
        observations.write_whole(staged.table(job), table)
    write_json(draft / "run.json", facts)
    write_json(draft / SUBMISSION_FILE, submission.to_json())
    write_json(draft / "result.json", score_run(staged))
    place = folder / "records" / place_of(staged, digest_of(draft, record_files(staged)))
    place.parent.mkdir(parents=True)
    draft.rename(place)
    return place


def public_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Returns run.json for publication. Local paths are reduced to their last part, or to the name in the record if
    that differs (for a link or "."). Reasons that contain a path are redacted, and a training statement whose texts no
    record may have is left out."""
    left_out = {task: REDACTED if text_fault(str(why)) else why for task, why in facts.get("left_out", {}).items()}
    model = facts["model"]
    ids = {"--adapter": (model.get("adapter") or {}).get("id", "")} | (
        {} if model.get("gguf_file") else {"--model": model["id"]}
    )
    kept = {name: value for name, value in model.items() if name != "training" or _is_publishable(value)}
    return {**facts, "command": public_command(facts["command"], ids), "model": kept, "left_out": left_out}


def _is_publishable(training: Any) -> bool:
    try:
        require_safe_texts(training, "training")
    except Refused:
        return False
    return True


def public_command(command: str, ids: Mapping[str, str] = MappingProxyType({})) -> str:
    """Returns a command in which each path that reveals a location (absolute, in a home folder, on a drive or host, or
    upwards) is reduced to its last part. Ids of the Hub and other relative paths stay. ids: by option, the recorded id,
    which replaces a value from which `local/...` cannot be derived."""
    words = shlex.split(command)
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        flag = next((flag for flag in _PATHS if len(name) > 2 and flag.startswith(name)), None)
        if flag is None or (not equals and place + 1 == len(words)):
            continue
        public = _public_path(flag, value if equals else words[place + 1], ids.get(flag, ""))
        words[place if equals else place + 1] = f"{name}={public}" if equals else public
    return shlex.join(words)


def _public_path(flag: str, value: str, recorded: str) -> str:
    parts = [part for part in value.replace("\\", "/").split("/") if part not in ("", ".")]
    last = parts[-1].lstrip("~") if parts else ""
    if is_local(recorded) and local_id(last) != recorded:
        return recorded.removeprefix(LOCAL)
    if flag == "--out":
        return last.lstrip(".") or "prompts.jsonl"
    if not _LOCATION.match(value) and ".." not in parts:
        return value
    return last.lstrip(".").rpartition(":")[2] or "model"


def today() -> str:
    """Returns the date in UTC, YYYY-MM-DD."""
    return datetime.now(timezone.utc).date().isoformat()


def _show(ready: Prepared) -> None:
    submission = ready.record.submission
    table.show(ready.result)
    echo(f"division: {submission.division}; licence: {submission.licence}; contact: {submission.contact}")
    for remark in ready.remarks:
        echo(f"note: {remark}")


def _description(ready: Prepared) -> str:
    """Returns the text of the pull request: a line per task and split."""
    lines = [
        f"- {line.task}.{line.split}: accuracy {percent(line.accuracy)}% "
        f"({percent(line.interval.low)} to {percent(line.interval.high)}), {line.errors:,} errors / {line.n:,}"
        for line in headlines(ready.result)
    ]
    submission = ready.record.submission
    about = f"{submission.division}; observations {submission.licence}; contact {submission.contact}"
    return "\n".join([f"{ready.result['model']['id']} at {ready.result['model']['revision']}", about, "", *lines])


def _print_git_commands(place: Path, checkout: Path, record: Record) -> None:
    name = shlex.quote(f"Record {record.run.facts['model']['id']}")
    echo(f"wrote {checkout / place}. To send it as a pull request, run in {checkout}:")
    for line in (
        f"git checkout -b record-{place.name}",
        f"git add {shlex.quote(place.as_posix())}",
        f"git commit -m {name}",
        "git push -u origin HEAD",
    ):
        echo(f"  {line}")
