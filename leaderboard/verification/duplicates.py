"""A submission among the records that are there: names that pass for another's, and observations that are another's."""

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
from leaderboard.following import follows_from
from leaderboard.records import read_record, record_folders
from leaderboard.verification.names import pass_for_each_other
from leaderboard.verification.near_copies import Likeness, likeness
from leaderboard.verification.reading import read_json
from leaderboard.verification.refusal import Refused, shown

# Organisations that stand for something here.
OURS = (LOCAL, "fflm/")


@dataclass(frozen=True)
class _Other:
    """Another record: its folder, and of its run.json the model and what was asked, by task."""

    folder: Path
    model: dict[str, Any]
    tasks: dict[str, Any]
    withdrawn: bool = False

    @property
    def name(self) -> str:
        """The id of its model."""
        return str(self.model["id"])

    @property
    def parts(self) -> dict[tuple[str, str], int]:
        """By task and split, how many rows it has."""
        return _parts(self.tasks)


def require_unlike_others(
    run: Run, submission: dict[str, Any], place: PurePosixPath, records: Path, *, new: bool
) -> list[str]:
    """Raises Refused for a name that passes for another's, for observations of another record, and for superseding
    what is not there or not one's own; returns what else a maintainer should know.

    new: whether it comes to the others. What has been accepted stays so, whatever came later: all that is then a
    remark.
    """
    there = {folder.name for folder in record_folders(records)}
    if new and (missing := sorted(set(submission["supersedes"]) - there)):
        raise Refused(f"it would supersede {', '.join(missing)}, and there is no such record")
    remarks = _followed(run, place, records)
    for other in _others(records, place, remarks):
        try:
            remarks += _unlike(run, submission, other, place.name)
        except Refused as refusal:
            if new:
                raise
            remarks.append(str(refusal))
    if new:
        require_own_name(run.facts["model"]["id"], [*_reported(records), *OURS])
    return remarks


def _followed(run: Run, place: PurePosixPath, records: Path) -> list[str]:
    """What was found out of other records and follows into this one."""
    remarks = []
    record = read_record(run.folder)
    for folder in record_folders(records):
        if PurePosixPath(folder.relative_to(records)) == place or not _is_in_trouble(folder):
            continue
        with suppress(UserError):  # a damaged record is told of elsewhere
            for one in follows_from(read_record(folder), record):
                if one.attestation.kind == WITHDRAWN:
                    what = "it counts nowhere until all of it is asked again and said the same (--replay all)"
                else:
                    what = "it stays disputed until as many sequences are asked again and say the same"
                remarks.append(f"{one.told}: {what}")
    return remarks


def _is_in_trouble(folder: Path) -> bool:
    """Whether anything speaks against a record, before its attestations are checked, which takes longer."""
    for path in attestation_paths(folder):
        with suppress(Refused):
            facts = read_json(path)
            if facts.get("kind") == WITHDRAWN or facts.get("agrees") is False:
                return True
    return False


def _unlike(run: Run, submission: dict[str, Any], other: _Other, digest: str) -> list[str]:
    """What is to be said of one other record. Raises Refused if that speaks against this one."""
    model, name = run.facts["model"], other.folder.name
    if other.withdrawn:
        return _of_withdrawn(run, other, digest)
    require_own_name(model["id"], [other.name])
    superseded = name in submission["supersedes"]
    if superseded:
        _require_may_supersede(run, other)
    remarks = [f"it supersedes {name}"] * superseded
    try:
        copied = _copied(run, other, digest)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        return [*remarks, f"the tables of {name} cannot be read ({type(error).__name__})"]
    if copied is None:
        return remarks
    if other.name != model["id"]:
        told = f"{copied.what} those of {shown(other.name)}"
        if copied.sure:
            raise Refused(_copy_of_another(model, other, told))
        return [
            *remarks,
            f"{told} ({name}): a copy, or the same weights in another form; replay it before it is merged",
        ]
    if not copied.sure:
        return remarks
    if not superseded and _covered(run, other) and _form(model) == _form(other.model):
        if _parts(run.facts["data"]["tasks"]) == other.parts:
            raise Refused(f"it says what {name} says: name that with --supersedes")
        raise Refused(f"{name} has all of this already: there is nothing to send")
    return [*remarks, f"{copied.what} those of {name}, an earlier record"]


def _of_withdrawn(run: Run, other: _Other, digest: str) -> list[str]:
    """What is to be said of a record that no longer counts: its name stands for nothing, what it says is known."""
    try:
        copied = _copied(run, other, digest)
    except (OSError, ValueError):
        return []
    return [f"{copied.what} those of {other.folder.name}, which was withdrawn"] if copied else []


def require_own_name(name: str, others: Iterable[str] = OURS) -> None:
    """Raises Refused for a name, or an organisation of one, that passes for another on the board, or for ours."""
    own = name.partition("/")[0]
    for other in others:
        if name != other and pass_for_each_other(name, other):
            raise Refused(f"{shown(name)} passes for {shown(other)}, which has a record")
        theirs = other.partition("/")[0]
        if own != theirs and pass_for_each_other(own, theirs):
            raise Refused(f"{shown(name)} passes for a model of {shown(theirs)}, which is on the board")


def attesting(records: Path) -> Iterator[str]:
    """Who attested something of any record."""
    for folder in record_folders(records):
        yield from _attesting(folder)


def _attesting(folder: Path) -> Iterator[str]:
    """Who attested something of a record."""
    for path in attestation_paths(folder):
        with suppress(Refused):
            by = read_json(path).get("by")
            if isinstance(by, str):
                yield by


def _reported(records: Path) -> Iterator[str]:
    """The names of models whose numbers are only reported."""
    for path in sorted((records.parent / "reported").glob("*.json")):
        with suppress(Refused):
            name = read_json(path).get("model")
            if isinstance(name, str):
                yield name


def _others(records: Path, place: PurePosixPath, remarks: list[str]) -> Iterator[_Other]:
    """Every other record; of one whose run.json is damaged a remark."""
    for folder in record_folders(records):
        if PurePosixPath(folder.relative_to(records)) == place:
            continue
        try:
            facts = read_json(folder / "run.json")
            other = _Other(folder, facts["model"], facts["data"]["tasks"], is_withdrawn(folder))
            if isinstance(other.model["id"], str) and all(isinstance(rows, int) for rows in other.parts.values()):
                yield other
                continue
        except (Refused, KeyError, TypeError, AttributeError, OSError):
            pass
        remarks.append(f"the record {shown(folder.name)} is damaged, and was compared with nothing")


def _parts(tasks: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(task, split): part["rows"] for task, asked in tasks.items() for split, part in asked["splits"].items()}


def _require_may_supersede(run: Run, other: _Other) -> None:
    """Raises Refused unless a record may take the place of another: the same model's, and as much. By whom it was sent
    is another question (`leaderboard.verification.senders`)."""
    name, model = other.folder.name, run.facts["model"]
    for what in ("id", "revision", "dtype"):
        if other.model.get(what) != model[what]:
            raise Refused(f"it would supersede {name}, which is of {shown(other.model.get(what))}: another {what}")
    mine = _parts(run.facts["data"]["tasks"])
    if lacking := sorted(part for part, rows in other.parts.items() if mine.get(part, 0) < rows):
        raise Refused(f"it would supersede {name}, which has more of {shown('.'.join(lacking[0]))}")


def _copy_of_another(model: dict[str, Any], other: _Other, reason: str) -> str:
    tokenizers = [(one.get("tokenizer") or {}).get("sha256") for one in (model, other.model)]
    if tokenizers[0] == tokenizers[1] and model["parameters"] == other.model.get("parameters"):
        return f"{reason}; if it has the same weights, name it by that id, or ask the maintainers"
    return reason


def _covered(run: Run, other: _Other) -> bool:
    """Whether another record has all that this one asks, put in the same way."""
    mine = run.facts["data"]["tasks"]
    return all(rows <= other.parts.get(part, 0) for part, rows in _parts(mine).items()) and all(
        _put(asked) == _put(other.tasks[task]) for task, asked in mine.items()
    )


def _form(model: dict[str, Any]) -> list[Any]:
    """In what form a model was loaded: others of it may say nearly the same."""
    return [model.get(name) for name in ("dtype", "quantization", "adapter", "gguf_file")]


def _put(asked: dict[str, Any]) -> tuple[Any, Any]:
    """How a task is asked: its questions, and of what its answers are made."""
    return asked.get("prompting"), asked.get("rendering", {}).get("answers")


def _copied(run: Run, other: _Other, digest: str) -> Likeness | None:
    """The first table that another record has, too, or else the first that is nearly so; None if there is none.

    What is written in several forms of one model may well be the same; its log-probabilities are not.
    """
    nearly = None
    same_model = other.name == run.facts["model"]["id"]
    for job in run.jobs():
        path = other.folder / "observations" / run.table(job).name
        if same_model and isinstance(job.task, CompletionTask):
            continue
        if (job.task.name, job.split) not in other.parts or not path.is_file():
            continue
        found = likeness(job, run.table(job), path, digest)
        if found and found.sure:
            return found
        nearly = nearly or found
    return nearly
