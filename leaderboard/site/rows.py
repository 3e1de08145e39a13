"""Groups sources into the rows of the table: one row per model, revision, dtype, division and prompting.

Each cell comes from the record with most rows; among those, from the one with the highest verification level; among
those, from the latest. Superseded, withdrawn and outdated records do not count. They are listed as history.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from harness.models.model_name import identity, path_name
from harness.scoring.headline_score import headlines
from leaderboard.attestations import FRESH
from leaderboard.site.entries import Cell, Entry, Gap, Place, PromptingOptions, RetiredRecord
from leaderboard.site.sources import Source

REPLACED = "other records have more rows, a higher verification level, or a later date"
LOCAL_RUN = "yours"  # part of the slug of a local run
LONGEST_NAME = 100  # of the model id in a slug


class Rows(NamedTuple):
    """entries: the rows in table order. retired: records that no longer count and whose model has no row."""

    entries: list[Entry]
    retired: list[RetiredRecord]


class Key(NamedTuple):
    """Identity of a row: loaded model, division, prompting, and whether it is a local run."""

    identity: str
    division: str
    prompting: PromptingOptions
    is_local_run: bool


Members = list[tuple[Source, list[Cell]]]


def group_rows(sources: Sequence[Source]) -> Rows:
    """Returns the rows in table order: models with a whole memory first, best first."""
    ordered = sorted(sources, key=lambda source: (source.created, source.digest))
    retired = _retired(ordered)
    entries: list[Entry] = []
    taken: set[str] = set()
    for key, members in _groups([source for source in ordered if source.digest not in retired]).items():
        chosen = _chosen(members)
        used = {cell.source.digest for cell in chosen.values()}
        shown = tuple(source for source, _ in members if source.digest in used)
        if not shown:
            continue
        model = shown[-1].run.facts["model"]
        history = [each for each in retired.values() if _model_id(each.source) == model["id"] and not key.is_local_run]
        history += [RetiredRecord(source, _replaced(source)) for source, _ in members if source.digest not in used]
        slug = _slug(key, model, taken)
        taken.add(slug)
        gaps = _gaps(_same_model(ordered, key), chosen)
        entries.append(Entry(slug, model, key.prompting, chosen, shown, tuple(history), gaps))
    shown_ids = {entry.model["id"] for entry in entries if not entry.is_local_run}
    without_row = [each for each in retired.values() if _model_id(each.source) not in shown_ids]
    return Rows(sorted(entries, key=table_order), without_row)


def _groups(sources: Iterable[Source]) -> dict[Key, Members]:
    """Returns the sources of each row with their cells. Sources without prompting join the row of the same model with
    the plainest prompting."""
    groups: dict[Key, Members] = {}
    joining: Members = []
    for source in sources:
        for prompting, cells in _by_prompting(source).items():
            if prompting is None:
                joining.append((source, cells))
            else:
                groups.setdefault(_key(source, prompting), []).append((source, cells))
    for source, cells in joining:
        same_model = [
            key for key in groups if key._replace(prompting=PromptingOptions()) == _key(source, PromptingOptions())
        ]
        plainest = min(same_model, key=lambda key: _plainness(key.prompting), default=_key(source, PromptingOptions()))
        groups.setdefault(plainest, []).append((source, cells))
    for members in groups.values():
        members.sort(key=lambda member: (member[0].created, member[0].digest))
    return groups


def _key(source: Source, prompting: PromptingOptions) -> Key:
    return Key(identity(source.run.facts["model"]), source.division, prompting, source.place is None)


def _plainness(prompting: PromptingOptions) -> tuple[Any, ...]:
    return prompting.shots, prompting.system or "", prompting.thinking, not prompting.chat


def _same_model(sources: Iterable[Source], key: Key) -> list[Source]:
    """Returns all sources of a model that are not withdrawn: later records do not remove findings about the model."""
    return [
        source
        for source in sources
        if identity(source.run.facts["model"]) == key.identity
        and (source.place is None) == key.is_local_run
        and not source.withdrawn
    ]


def _chosen(members: Members) -> dict[Place, Cell]:
    """Returns the cell of each place: most rows, then highest verification level, then latest."""
    chosen: dict[Place, Cell] = {}
    for _, cells in members:
        for cell in cells:
            place = cell.task, cell.split
            if place not in chosen or _priority(cell) >= _priority(chosen[place]):
                chosen[place] = cell
    return chosen


def _priority(cell: Cell) -> tuple[int, int]:
    return cell.rows, cell.source.trust


def _replaced(source: Source) -> str:
    disputed = source.verification.disputed
    return f"{REPLACED}; disputed: {disputed}" if disputed else REPLACED


def table_order(row: Any) -> tuple[Any, ...]:
    """Returns the sort key of an entry, or of a row of several seeds: whole memories first, best first; then by
    name."""
    memory = row.whole_memory
    best = (-memory.value, -memory.interval[0]) if memory else (0.0, 0.0)
    return memory is None, best, row.partial, row.name.casefold(), row.slug


def _retired(sources: Sequence[Source]) -> dict[str, RetiredRecord]:
    """Returns the records that no longer count, by digest. A withdrawn record supersedes nothing."""
    retired = {source.digest: RetiredRecord(source, f"of {source.outdated}") for source in sources if source.outdated}
    for source in sources:
        if source.withdrawn:
            retired[source.digest] = RetiredRecord(source, source.withdrawn)
    successors = {
        (_model_id(source), digest): source
        for source in sources
        if source.submission is not None and source.digest not in retired
        for digest in source.submission.supersedes
        if digest != source.digest[:12]
    }
    for source in sources:
        successor = successors.get((_model_id(source), source.digest[:12]))
        if successor and successor.submission and source.place is not None and source.digest not in retired:
            reason = f"superseded by {successor.digest[:12]} on {successor.submission.submitted}"
            retired[source.digest] = RetiredRecord(source, reason)
    return retired


def _model_id(source: Source) -> str:
    return str(source.run.facts["model"]["id"])


def _by_prompting(source: Source) -> dict[PromptingOptions | None, list[Cell]]:
    """Returns the cells of a source by prompting; None if no task of the source has prompting."""
    by_task = {}
    for name, facts in source.run.facts["data"]["tasks"].items():
        if options := facts.get("prompting"):
            chat = options["template"] is not None
            by_task[name] = PromptingOptions(chat, options["shots"], options["system"], options["thinking"])
    distinct = sorted(set(by_task.values()), key=_plainness)
    default = distinct[0] if distinct else None
    cells: dict[PromptingOptions | None, list[Cell]] = {}
    for cell in _cells(source):
        cells.setdefault(by_task.get(cell.task, default), []).append(cell)
    return cells


def _cells(source: Source) -> Iterator[Cell]:
    for line in headlines(source.findings.result):
        yield Cell(
            line.task, line.split, line.accuracy, *line.interval, line.errors, line.n, line.baseline,
            line.baseline_name, line.skill, line.rows, line.of, line.nonfinite, source,
        )  # fmt: skip


def _gaps(sources: Sequence[Source], cells: dict[Place, Cell]) -> dict[Place, Gap]:
    """Returns the latest gap of each shown place."""
    gaps: dict[Place, Gap] = {}
    fresh = [attestation for source in sources for attestation in source.attestations if attestation.kind == FRESH]
    for attestation in sorted(fresh, key=lambda attestation: attestation.at):
        for gap in attestation.details.get("gaps", []):
            if (place := (gap["task"], gap["split"])) in cells:
                gaps[place] = Gap(*place, gap["gap"], gap["low"], gap["high"], attestation.at[:10])
    return gaps


def _slug(key: Key, model: dict[str, Any], taken: set[str]) -> str:
    """Returns a unique, portable, lower-case file name for a row."""
    name = path_name(model["id"])[:LONGEST_NAME]
    parts = [name, model["revision"][:12], model["dtype"][:20], LOCAL_RUN if key.is_local_run else ""]
    slug = re.sub(r"[^a-z0-9._-]+", "-", "-".join(part for part in parts if part).lower()).lstrip("._-")
    prompting = key.prompting
    chosen = [prompting.shots, prompting.system, prompting.thinking]
    plain = chosen == [0, None, 0] and not any(model.get(name) for name in ("quantization", "adapter", "gguf_file"))
    if plain and slug not in taken:
        return slug
    identity = json.dumps([key.identity, key.division, prompting.chat, *chosen])
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return next(longer for digits in range(8, 65) if (longer := f"{slug}-{digest[:digits]}") not in taken)
