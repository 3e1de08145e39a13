"""The judge: whether the record in a folder is what it says, with all its scores recomputed.

    files -> form -> data and identity -> tables against regenerated rows -> scores -> other records

Nothing of a submission is executed, unpickled or used as a path before it has passed for a name, but for its chat
template, which is rendered in a sandbox (`frames`). A stranger's record is verified in a separate process (`apart`).
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import UserError
from harness.prompts.jobs import Job
from harness.runs.run import Run, tasks_of_older_versions
from harness.scoring.grading import grade_table
from harness.scoring.scores import Score, result_of, score
from leaderboard.records import digest_of, place_of, record_files
from leaderboard.submission import SUBMISSION_FILE
from leaderboard.verification.duplicates import attesting, require_own_name, require_unlike_others
from leaderboard.verification.reading import canonical, list_files, read_json, require_as_written, require_exactly
from leaderboard.verification.refusal import Refused, shown
from leaderboard.verification.schema import require_consistent, require_default_data, require_form, require_submitted
from leaderboard.verification.senders import require_own
from leaderboard.verification.tables import (
    SLACK,
    SLACK_16_BITS,
    read_table,
    require_canonical,
    require_possible,
    require_tokens,
)
from leaderboard.verification.template_frames import require_frames
from leaderboard.verification.terms import require_terms

VERDICT_SCHEMA = "fflm-verdict/1"


@dataclass(frozen=True)
class Verdict:
    """What is found about one record. reasons: why it is refused, none if it is accepted. remarks: what a maintainer
    should know of one that is. place: where it belongs below the records; result: its result.json; both None if it
    did not come so far. digest: 64 hex digits."""

    path: str
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    place: str | None = None
    digest: str | None = None
    submission: dict[str, Any] | None = None
    result: dict[str, Any] | None = None

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """As `harness verify --json` writes it: the scores of whole splits, and no others."""
        facts = {"schema": VERDICT_SCHEMA, "accepted": self.accepted, **asdict(self)}
        result = facts.pop("result")
        if result is not None:
            facts["model"] = result["model"]
            facts["scores"] = [one for one in result["scores"] if one["group"] is None]
        return facts


def verify_record(
    folder: Path, records: Path | None = None, *, new: bool = True, own: Collection[str] | None = None
) -> Verdict:
    """Judges the record in a folder, which lies below `records` (or will). records: None if there are no others. new:
    whether it comes to them, or was accepted before. own: digests of earlier records of the same sender, None where
    nobody has asked for them (`leaderboard.verification.senders`)."""
    try:
        return _judged(folder, records, new, own)
    except Refused as refusal:
        return Verdict(str(folder), (str(refusal),))
    except UserError as error:  # of the harness, which says where and what to type: here only what matters
        reason = str(error).replace(f"{folder}/", "").replace(str(folder), "the record")
        return Verdict(str(folder), (reason,))


def _judged(folder: Path, records: Path | None, new: bool, own: Collection[str] | None) -> Verdict:
    files = list_files(folder)
    facts, submission = read_json(folder / "run.json"), read_json(folder / SUBMISSION_FILE)
    require_form(facts, "run", new=new)
    require_form(submission, "submission", new=new)
    require_as_written(folder / "run.json", facts)
    require_as_written(folder / SUBMISSION_FILE, submission)
    require_default_data(facts)
    run = Run(folder, facts)
    expected = record_files(run)
    require_exactly(files, expected)
    require_consistent(run)
    require_submitted(submission, facts)
    if new:  # among others and alone
        require_terms(submission, attesting(records) if records else ())
    digest = digest_of(folder, expected)
    place = place_of(run, digest)
    if PurePosixPath(*folder.parts[-3:]) != place:
        raise Refused(f"the folder is called {shown('/'.join(folder.parts[-3:]))}, its contents say {place}")
    remarks = [*(require_own(submission, own) if new else []), *require_frames(run, new=new)]
    scores: list[Score] = []
    for job in run.jobs():
        scores += _scores(run, job)
    result, stored = result_of(run, scores), read_json(folder / "result.json")
    older = frozenset() if new else tasks_of_older_versions(run)
    _require_same(_without(older, stored), _without(older, result))
    require_as_written(folder / "result.json", stored)
    if records is not None:
        remarks += require_unlike_others(run, submission, place, records, new=new)
    elif new:
        require_own_name(facts["model"]["id"])
    return Verdict(str(folder), (), tuple(remarks), str(place), digest, submission, result)


def _scores(run: Run, job: Job) -> list[Score]:
    table = read_table(run.table(job), job)
    rendering = run.facts["data"]["tasks"][job.task.name].get("rendering")
    model = run.facts["model"]
    exact = model["dtype"] == "float32" and not model.get("quantization")
    require_possible(job.task, job, table, rendering and rendering["answers"], SLACK if exact else SLACK_16_BITS)
    require_tokens(job.task, job, table, run.facts)
    judged = grade_table(job.task, job, table)
    require_canonical(run.table(job), table)
    return score(judged)


def _without(tasks: Collection[str], result: dict[str, Any]) -> dict[str, Any]:
    """A result.json without the scores of some tasks: answers to an older version were read by its rules."""
    scores = result.get("scores")
    if not tasks or not isinstance(scores, list):
        return result
    return result | {"scores": [one for one in scores if not (isinstance(one, dict) and one.get("task") in tasks)]}


def _require_same(stored: dict[str, Any], result: dict[str, Any]) -> None:
    """Raises Refused, with the first difference, unless result.json is what the observations give."""
    if canonical(stored) == canonical(result):
        return
    for name, value in result.items():
        if name != "scores" and canonical(stored.get(name)) != canonical(value):
            raise Refused(f"result.json, {name}: it is not that of run.json")
    said = stored.get("scores")
    for one, other in zip(said if isinstance(said, list) else [], result["scores"], strict=False):
        if canonical(one) != canonical(other):
            part = f"{other['task']}.{other['split']}" + (f" ({other['group']})" if other["group"] else "")
            value = one.get("value") if isinstance(one, dict) else one
            raise Refused(
                f"result.json: {other['metric']} of {part} is {shown(value)} there, the "
                f"observations give {other['value']}, from {other['low']} to {other['high']}, n = {other['n']:,}"
            )
    raise Refused("result.json has other fields or more or fewer scores than its observations give")
