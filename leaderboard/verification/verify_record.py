"""Verifies the record in a folder and recomputes all of its scores.

    files -> form -> data and identity -> tables against regenerated rows -> scores -> other records

Nothing of a submission is executed or unpickled, and no text is used as a path before it was validated. The one
exception is the chat template, which is rendered in a sandbox (`template_frames`). An untrusted record is verified in a
separate process (`sandbox`).
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
from leaderboard.submission_file import SUBMISSION_FILE
from leaderboard.untrusted_text import quote
from leaderboard.verification.duplicates import attestation_authors, require_distinct_name, require_no_duplicates
from leaderboard.verification.observation_tables import (
    SLACK,
    SLACK_16_BITS,
    read_table,
    require_canonical,
    require_possible,
    require_tokens,
)
from leaderboard.verification.reading import (
    canonical,
    list_files,
    read_json,
    require_canonical_json,
    require_exact_files,
)
from leaderboard.verification.refusal import Refused
from leaderboard.verification.schema import (
    require_consistent,
    require_default_data,
    require_schema,
    require_submission_date,
)
from leaderboard.verification.senders import require_same_sender
from leaderboard.verification.template_check import require_framing_template
from leaderboard.verification.terms import require_terms

VERDICT_SCHEMA = "fflm-verdict/1"


@dataclass(frozen=True)
class Verdict:
    """The result of verifying one record. reasons: why it is refused; empty if it is accepted. remarks: notes for the
    maintainers on an accepted record. place: its path below the records; result: its result.json; both None if
    verification ended earlier. digest: 64 hex digits."""

    path: str
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    place: str | None = None
    digest: str | None = None
    submission: dict[str, Any] | None = None
    result: dict[str, Any] | None = None

    @property
    def accepted(self) -> bool:
        """Whether there is no reason to refuse it."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """Returns what `harness verify --json` prints; scores of whole splits only."""
        facts = {"schema": VERDICT_SCHEMA, "accepted": self.accepted, **asdict(self)}
        result = facts.pop("result")
        if result is not None:
            facts["model"] = result["model"]
            facts["scores"] = [each for each in result["scores"] if each["group"] is None]
        return facts


def verify_record(
    folder: Path, records: Path | None = None, *, new: bool = True, own: Collection[str] | None = None
) -> Verdict:
    """Verifies the record in a folder below `records` (None: without other records). new: whether it is submitted now
    or was accepted before. own: digests of earlier records of the same sender, None if the host was not queried
    (`leaderboard.verification.senders`)."""
    try:
        return _verify(folder, records, new, own)
    except Refused as refusal:
        return Verdict(str(folder), (str(refusal),))
    except UserError as error:  # its path is a temporary one
        reason = str(error).replace(f"{folder}/", "").replace(str(folder), "the record")
        return Verdict(str(folder), (reason,))


def _verify(folder: Path, records: Path | None, new: bool, own: Collection[str] | None) -> Verdict:
    files = list_files(folder)
    facts, submission = read_json(folder / "run.json"), read_json(folder / SUBMISSION_FILE)
    require_schema(facts, "run", new=new)
    require_schema(submission, "submission", new=new)
    require_canonical_json(folder / "run.json", facts)
    require_canonical_json(folder / SUBMISSION_FILE, submission)
    require_default_data(facts)
    run = Run(folder, facts)
    expected = record_files(run)
    require_exact_files(files, expected)
    require_consistent(run)
    require_submission_date(submission, facts)
    if new:  # with and without other records
        require_terms(submission, attestation_authors(records) if records else ())
    digest = digest_of(folder, expected)
    place = place_of(run, digest)
    if PurePosixPath(*folder.parts[-3:]) != place:
        raise Refused(
            f"the folder is {quote('/'.join(folder.parts[-3:]))}, and its contents give {place}. Files were changed "
            "after harness submit, or the folder was renamed."
        )
    remarks = [*(require_same_sender(submission, own) if new else []), *require_framing_template(run, new=new)]
    scores: list[Score] = []
    for job in run.jobs():
        scores += _scores(run, job)
    result, stored = result_of(run, scores), read_json(folder / "result.json")
    older = frozenset() if new else tasks_of_older_versions(run)
    _require_same(_without(older, stored), _without(older, result))
    require_canonical_json(folder / "result.json", stored)
    if records is not None:
        remarks += require_no_duplicates(run, submission, place, records, new=new)
    elif new:
        require_distinct_name(facts["model"]["id"])
    return Verdict(str(folder), (), tuple(remarks), str(place), digest, submission, result)


def _scores(run: Run, job: Job) -> list[Score]:
    table = read_table(run.table(job), job)
    rendering = run.facts["data"]["tasks"][job.task.name].get("rendering")
    model = run.facts["model"]
    exact = model["dtype"] == "float32" and not model.get("quantization")
    require_possible(job.task, job, table, rendering and rendering["answers"], SLACK if exact else SLACK_16_BITS)
    require_tokens(job.task, job, table, run.facts)
    graded = grade_table(job.task, job, table)
    require_canonical(run.table(job), table)
    return score(graded)


def _without(tasks: Collection[str], result: dict[str, Any]) -> dict[str, Any]:
    """Returns result.json without the scores of tasks whose answers were parsed by the rules of an older version."""
    scores = result.get("scores")
    if not tasks or not isinstance(scores, list):
        return result
    kept = [each for each in scores if not (isinstance(each, dict) and each.get("task") in tasks)]
    return result | {"scores": kept}


def _require_same(stored: dict[str, Any], result: dict[str, Any]) -> None:
    """Raises Refused, with the first difference, unless result.json matches the observations."""
    if canonical(stored) == canonical(result):
        return
    for name, value in result.items():
        if name != "scores" and canonical(stored.get(name)) != canonical(value):
            raise Refused(f"result.json, {name}: it differs from run.json. Run harness score and submit again.")
    scores = stored.get("scores")
    for recorded, computed in zip(scores if isinstance(scores, list) else [], result["scores"], strict=False):
        if canonical(recorded) != canonical(computed):
            part = f"{computed['task']}.{computed['split']}" + (f" ({computed['group']})" if computed["group"] else "")
            value = recorded.get("value") if isinstance(recorded, dict) else recorded
            raise Refused(
                f"result.json: {computed['metric']} of {part} is {quote(value)}, and the observations give "
                f"{computed['value']} ({computed['low']} to {computed['high']}, n = {computed['n']:,})"
            )
    raise Refused("result.json has unknown fields, or its number of scores differs from that of the observations")
