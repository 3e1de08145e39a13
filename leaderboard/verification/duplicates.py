"""Compares a submission with the other records: confusable names, copied observations, superseded records."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import UserError
from harness.models.model_name import LOCAL
from harness.runs.run import Run
from harness.tasks import CompletionTask
from leaderboard.attestations import WITHDRAWN, attestation_paths, is_withdrawn
from leaderboard.inherited_status import inherited_from
from leaderboard.records import read_record, record_folders
from leaderboard.untrusted_text import quote
from leaderboard.verification.near_copies import Similarity, find_similarity
from leaderboard.verification.reading import read_json
from leaderboard.verification.refusal import Refused
from leaderboard.verification.similar_names import are_confusable

# Organisations with a meaning on the leaderboard.
RESERVED_NAMES = (LOCAL, "fflm/")


@dataclass(frozen=True)
class _OtherRecord:
    """Another record: its folder, and the model and tasks of its run.json."""

    folder: Path
    model: dict[str, Any]
    tasks: dict[str, Any]
    withdrawn: bool = False

    @property
    def name(self) -> str:
        """Model id."""
        return str(self.model["id"])

    @property
    def parts(self) -> dict[tuple[str, str], int]:
        """Number of rows by task and split."""
        return _parts(self.tasks)


def require_no_duplicates(
    run: Run, submission: dict[str, Any], place: PurePosixPath, records: Path, *, new: bool
) -> list[str]:
    """Returns remarks for the maintainers. Raises Refused if the model name is confusable with another one, the
    observations are another record's, or a superseded record does not exist or does not match.

    new: whether the record is submitted now. For an accepted record all findings are remarks, never refusals.
    """
    there = {folder.name for folder in record_folders(records)}
    if new and (missing := sorted(set(submission["supersedes"]) - there)):
        raise Refused(f"supersedes names {', '.join(missing)}, and no such record exists. Correct --supersedes.")
    remarks = _inherited(run, place, records)
    for other in _others(records, place, remarks):
        try:
            remarks += _compare_with(run, submission, other, place.name)
        except Refused as refusal:
            if new:
                raise
            remarks.append(str(refusal))
    if new:
        require_distinct_name(run.facts["model"]["id"], [*_reported(records), *RESERVED_NAMES])
    return remarks


def _inherited(run: Run, place: PurePosixPath, records: Path) -> list[str]:
    """Returns remarks on disputes and withdrawals of other records that also apply to this one."""
    remarks = []
    record = read_record(run.folder)
    for folder in record_folders(records):
        if PurePosixPath(folder.relative_to(records)) == place or not _has_findings(folder):
            continue
        with suppress(UserError):  # a damaged record gets its own remark
            for inherited in inherited_from(read_record(folder), record):
                if inherited.attestation.kind == WITHDRAWN:
                    consequence = "the record does not count until --replay all agrees"
                else:
                    consequence = "the record is disputed until a replay of as many sequences agrees"
                remarks.append(f"{inherited.description}: {consequence}")
    return remarks


def _has_findings(folder: Path) -> bool:
    """Returns whether a record may be disputed or withdrawn. Reads only two fields: full validation takes longer."""
    for path in attestation_paths(folder):
        with suppress(Refused):
            facts = read_json(path)
            if facts.get("kind") == WITHDRAWN or facts.get("agrees") is False:
                return True
    return False


def _compare_with(run: Run, submission: dict[str, Any], other: _OtherRecord, digest: str) -> list[str]:
    """Returns remarks on one other record. Raises Refused if the new record conflicts with it."""
    model, name = run.facts["model"], other.folder.name
    if other.withdrawn:
        return _compare_with_withdrawn(run, other, digest)
    require_distinct_name(model["id"], [other.name])
    superseded = name in submission["supersedes"]
    if superseded:
        _require_may_supersede(run, other)
    remarks = [f"the record supersedes {name}"] if superseded else []
    try:
        copy = _find_copy(run, other, digest)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        return [*remarks, f"the tables of {name} cannot be read ({type(error).__name__}), so they were not compared"]
    if copy is None:
        return remarks
    if other.name != model["id"]:
        finding = f"{copy.what} those of {quote(other.name)}"
        if copy.certain:
            raise Refused(_copy_of_another(model, other, finding))
        return [
            *remarks,
            f"{finding} ({name}): a copy, or the same weights in another form. Replay the record before merging it.",
        ]
    if not copy.certain:
        return remarks
    if not superseded and _is_covered(run, other) and _loading_options(model) == _loading_options(other.model):
        if _parts(run.facts["data"]["tasks"]) == other.parts:
            raise Refused(
                f"the record has the same outputs as {name}. To replace that record, add --supersedes {name}."
            )
        raise Refused(f"{name} already has all of these results. There is nothing to submit.")
    return [*remarks, f"{copy.what} those of {name}, an earlier record"]


def _compare_with_withdrawn(run: Run, other: _OtherRecord, digest: str) -> list[str]:
    """Returns remarks on a withdrawn record: its name is free again, its observations are still compared."""
    try:
        copy = _find_copy(run, other, digest)
    except (OSError, ValueError):
        return []
    return [f"{copy.what} those of {other.folder.name}, which was withdrawn"] if copy else []


def require_distinct_name(name: str, others: Iterable[str] = RESERVED_NAMES) -> None:
    """Raises Refused if a model name or its organisation is confusable with one of `others` (by default: reserved)."""
    own = name.partition("/")[0]
    for other in others:
        if name != other and are_confusable(name, other):
            raise Refused(f"{quote(name)} looks like {quote(other)}, which has a record. Use another model name.")
        theirs = other.partition("/")[0]
        if own != theirs and are_confusable(own, theirs):
            raise Refused(
                f"the organisation of {quote(name)} looks like {quote(theirs)}, which is on the leaderboard. "
                "Use another name."
            )


def attestation_authors(records: Path) -> Iterator[str]:
    """Yields the authors of all attestations."""
    for folder in record_folders(records):
        yield from _attestation_authors(folder)


def _attestation_authors(folder: Path) -> Iterator[str]:
    """Yields the authors of the attestations of one record."""
    for path in attestation_paths(folder):
        with suppress(Refused):
            by = read_json(path).get("by")
            if isinstance(by, str):
                yield by


def _reported(records: Path) -> Iterator[str]:
    """Yields the model names of reported scores."""
    for path in sorted((records.parent / "reported").glob("*.json")):
        with suppress(Refused):
            name = read_json(path).get("model")
            if isinstance(name, str):
                yield name


def _others(records: Path, place: PurePosixPath, remarks: list[str]) -> Iterator[_OtherRecord]:
    """Yields every other record. Adds a remark for each record with a damaged run.json."""
    for folder in record_folders(records):
        if PurePosixPath(folder.relative_to(records)) == place:
            continue
        try:
            facts = read_json(folder / "run.json")
            other = _OtherRecord(folder, facts["model"], facts["data"]["tasks"], is_withdrawn(folder))
            if isinstance(other.model["id"], str) and all(isinstance(rows, int) for rows in other.parts.values()):
                yield other
                continue
        except (Refused, KeyError, TypeError, AttributeError, OSError):
            pass
        remarks.append(f"the record {quote(folder.name)} is damaged and was not compared")


def _parts(tasks: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(task, split): part["rows"] for task, facts in tasks.items() for split, part in facts["splits"].items()}


def _require_may_supersede(run: Run, other: _OtherRecord) -> None:
    """Raises Refused unless a record may supersede another: same model, revision and dtype, at least as many rows. The
    sender is checked in `leaderboard.verification.senders`."""
    name, model = other.folder.name, run.facts["model"]
    for field in ("id", "revision", "dtype"):
        if other.model.get(field) != model[field]:
            raise Refused(
                f"the record cannot supersede {name}: the {field} of that record is {quote(other.model.get(field))}, "
                f"not {quote(model[field])}. Correct --supersedes."
            )
    mine = _parts(run.facts["data"]["tasks"])
    if lacking := sorted(part for part, rows in other.parts.items() if mine.get(part, 0) < rows):
        raise Refused(
            f"the record cannot supersede {name}: that record has more rows of {quote('.'.join(lacking[0]))}. "
            "Evaluate at least as many rows."
        )


def _copy_of_another(model: dict[str, Any], other: _OtherRecord, reason: str) -> str:
    tokenizers = [(each.get("tokenizer") or {}).get("sha256") for each in (model, other.model)]
    if tokenizers[0] == tokenizers[1] and model["parameters"] == other.model.get("parameters"):
        return f"{reason}. If the weights are the same, submit under that model id, or contact the maintainers."
    return f"{reason}. Submit outputs of this model only."


def _is_covered(run: Run, other: _OtherRecord) -> bool:
    """Returns whether another record has all rows of this one, with the same prompts."""
    mine = run.facts["data"]["tasks"]
    return all(rows <= other.parts.get(part, 0) for part, rows in _parts(mine).items()) and all(
        _prompts(task_facts) == _prompts(other.tasks[task]) for task, task_facts in mine.items()
    )


def _loading_options(model: dict[str, Any]) -> list[Any]:
    """Returns how a model was loaded. Other forms of the same weights give similar outputs."""
    return [model.get(name) for name in ("dtype", "quantization", "adapter", "gguf_file")]


def _prompts(task_facts: dict[str, Any]) -> tuple[Any, Any]:
    """Returns the prompting of a task and the kind of its answers."""
    return task_facts.get("prompting"), task_facts.get("rendering", {}).get("answers")


def _find_copy(run: Run, other: _OtherRecord, digest: str) -> Similarity | None:
    """Returns the first table that is a certain copy, else the first that is a possible one; None if there is none.

    Completions are not compared within one model: several forms of it may write the same texts, but not the same
    log-probabilities.
    """
    nearly = None
    same_model = other.name == run.facts["model"]["id"]
    for job in run.jobs():
        path = other.folder / "observations" / run.table(job).name
        if same_model and isinstance(job.task, CompletionTask):
            continue
        if (job.task.name, job.split) not in other.parts or not path.is_file():
            continue
        similarity = find_similarity(job, run.table(job), path, digest)
        if similarity and similarity.certain:
            return similarity
        nearly = nearly or similarity
    return nearly
