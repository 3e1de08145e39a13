"""From sources to the rows of the table: one row a model, a revision, a dtype, a division and a way of prompting.

Each cell comes from the record over most rows, of those the one of which most has been shown, of those the
latest. Records that another one takes the place of, or
that were withdrawn or are of another version, do not count; they stay as history.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from harness.models.model_name import identity, path_name
from harness.scoring.headline import headlines
from leaderboard.attestations import FRESH
from leaderboard.site.entries import Cell, Entry, Gap, Past, Place, PromptingOptions, Source

REPLACED = "other records have its results over more rows, or more has been shown of them, or they are later"
YOURS = "yours"  # in the slug of a run that is no record
LONGEST_NAME = 100  # of a slug's part that is the model's id


class Table(NamedTuple):
    """entries: the rows in their order. gone: records that do not count any more, of models without a row."""

    entries: list[Entry]
    gone: list[Past]


class Key(NamedTuple):
    """What makes a row: the model as it was loaded, its division, how it was asked, and whether it is a run of one's
    own."""

    identity: str
    division: str
    prompting: PromptingOptions
    yours: bool


Members = list[tuple[Source, list[Cell]]]


def tabulate(sources: Sequence[Source]) -> Table:
    """The rows in the order of the table: whole memories first, the best of them first."""
    ordered = sorted(sources, key=lambda source: (source.created, source.digest))
    past = _past(ordered)
    found: list[Entry] = []
    taken: set[str] = set()
    for key, members in _groups([source for source in ordered if source.digest not in past]).items():
        chosen = _chosen(members)
        used = {cell.source.digest for cell in chosen.values()}
        shown = tuple(source for source, _ in members if source.digest in used)
        if not shown:
            continue
        model = shown[-1].run.facts["model"]
        history = [one for one in past.values() if _model_id(one.source) == model["id"] and not key.yours]
        history += [Past(source, _replaced(source)) for source, _ in members if source.digest not in used]
        slug = _slug(key, model, taken)
        taken.add(slug)
        gaps = _gaps(_same_model(ordered, key), chosen)
        found.append(Entry(slug, model, key.prompting, chosen, shown, tuple(history), gaps))
    shown_ids = {entry.model["id"] for entry in found if not entry.yours}
    gone = [one for one in past.values() if _model_id(one.source) not in shown_ids]
    return Table(sorted(found, key=_order), gone)


def _groups(sources: Iterable[Source]) -> dict[Key, Members]:
    """The sources of each row, with their cells. What is asked in one way only joins a row of the same model, the one
    that is asked most plainly."""
    groups: dict[Key, Members] = {}
    joining: Members = []
    for source in sources:
        for prompting, cells in _by_prompting(source).items():
            if prompting is None:
                joining.append((source, cells))
            else:
                groups.setdefault(_key(source, prompting), []).append((source, cells))
    for source, cells in joining:
        alike = [
            key for key in groups if key._replace(prompting=PromptingOptions()) == _key(source, PromptingOptions())
        ]
        plainest = min(alike, key=lambda key: _plainness(key.prompting), default=_key(source, PromptingOptions()))
        groups.setdefault(plainest, []).append((source, cells))
    for members in groups.values():
        members.sort(key=lambda member: (member[0].created, member[0].digest))
    return groups


def _key(source: Source, prompting: PromptingOptions) -> Key:
    return Key(identity(source.run.facts["model"]), source.division, prompting, source.place is None)


def _plainness(prompting: PromptingOptions) -> tuple[Any, ...]:
    return prompting.shots, prompting.system or "", prompting.thinking, not prompting.chat


def _same_model(sources: Iterable[Source], key: Key) -> list[Source]:
    """All that was ever sent of a model and not withdrawn: what was found out about it stays, whatever came later."""
    return [
        source
        for source in sources
        if identity(source.run.facts["model"]) == key.identity
        and (source.place is None) == key.yours
        and not source.withdrawn
    ]


def _chosen(members: Members) -> dict[Place, Cell]:
    """Of each place the cell over most rows, of those the one of which most has been shown, of those the latest."""
    chosen: dict[Place, Cell] = {}
    for _, cells in members:
        for cell in cells:
            place = cell.task, cell.split
            if place not in chosen or _worth(cell) >= _worth(chosen[place]):
                chosen[place] = cell
    return chosen


def _worth(cell: Cell) -> tuple[int, int]:
    return cell.rows, cell.source.trust


def _replaced(source: Source) -> str:
    disputed = source.verification.disputed
    return f"{REPLACED}; disputed: {disputed}" if disputed else REPLACED


def _order(entry: Entry) -> tuple[Any, ...]:
    memory = entry.whole_memory
    best = (-memory.value, -memory.low) if memory else (0.0, 0.0)
    return memory is None, best, entry.partial, entry.model["id"].casefold(), entry.slug


def _past(sources: Sequence[Source]) -> dict[str, Past]:
    """By digest, the records that do not count any more. A withdrawn record takes the place of nothing."""
    found = {source.digest: Past(source, f"of {source.outdated}") for source in sources if source.outdated}
    for source in sources:
        if source.withdrawn:
            found[source.digest] = Past(source, source.withdrawn)
    heirs = {
        (_model_id(source), digest): source
        for source in sources
        if source.submission is not None and source.digest not in found
        for digest in source.submission.supersedes
        if digest != source.digest[:12]
    }
    for source in sources:
        heir = heirs.get((_model_id(source), source.digest[:12]))
        if heir and heir.submission and source.place is not None and source.digest not in found:
            reason = f"superseded by {heir.digest[:12]} on {heir.submission.submitted}"
            found[source.digest] = Past(source, reason)
    return found


def _model_id(source: Source) -> str:
    return str(source.run.facts["model"]["id"])


def _by_prompting(source: Source) -> dict[PromptingOptions | None, list[Cell]]:
    """The cells of a source by how its tasks were asked; None for those of a source that is asked in one way only."""
    ways = {}
    for name, asked in source.run.facts["data"]["tasks"].items():
        if put := asked.get("prompting"):
            ways[name] = PromptingOptions(put["template"] is not None, put["shots"], put["system"], put["thinking"])
    distinct = sorted(set(ways.values()), key=_plainness)
    usual = distinct[0] if distinct else None
    found: dict[PromptingOptions | None, list[Cell]] = {}
    for cell in _cells(source):
        found.setdefault(ways.get(cell.task, usual), []).append(cell)
    return found


def _cells(source: Source) -> Iterator[Cell]:
    for line in headlines(source.findings.result):
        yield Cell(
            line.task, line.split, line.accuracy, *line.interval, line.errors, line.n, line.baseline,
            line.baseline_name, line.skill, line.rows, line.of, line.nonfinite, source,
        )  # fmt: skip


def _gaps(sources: Sequence[Source], cells: dict[Place, Cell]) -> dict[Place, Gap]:
    """Of the sources' comparisons with fresh rows the latest at each place that is shown."""
    found: dict[Place, Gap] = {}
    fresh = [one for source in sources for one in source.attestations if one.kind == FRESH]
    for one in sorted(fresh, key=lambda one: one.at):
        for gap in one.details.get("gaps", []):
            if (place := (gap["task"], gap["split"])) in cells:
                found[place] = Gap(*place, gap["gap"], gap["low"], gap["high"], one.at[:10])
    return found


def _slug(key: Key, model: dict[str, Any], taken: set[str]) -> str:
    """A name for the files of a row: lower case, portable, unlike all others."""
    name = path_name(model["id"])[:LONGEST_NAME]
    parts = [name, model["revision"][:12], model["dtype"][:20], YOURS * key.yours]
    slug = re.sub(r"[^a-z0-9._-]+", "-", "-".join(part for part in parts if part).lower()).lstrip("._-")
    prompting = key.prompting
    chosen = [prompting.shots, prompting.system, prompting.thinking]
    plain = chosen == [0, None, 0] and not any(model.get(name) for name in ("quantization", "adapter", "gguf_file"))
    if plain and slug not in taken:
        return slug
    told = json.dumps([key.identity, key.division, prompting.chat, *chosen])
    digest = hashlib.sha256(told.encode()).hexdigest()
    return next(longer for digits in range(8, 65) if (longer := f"{slug}-{digest[:digits]}") not in taken)
