"""From sources to the rows of the table: one row a model, a revision, a dtype and a way of asking.

Each cell comes from the record over most rows, the latest of those. Records that another one takes the place of, or
that were withdrawn or are of another version, do not count; they stay as history.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from leaderboard.attestations import FRESH, WITHDRAWN
from leaderboard.site.entries import Asking, Cell, Entry, Gap, Past, Place, Source

REPLACED = "other records have its results over as many rows or more, and are later"
YOURS = "yours"  # in the slug of a run that is no record
LONGEST_NAME = 100  # of a slug's part that is the model's id


class Table(NamedTuple):
    """entries: the rows in their order. gone: records that do not count any more, of models without a row."""

    entries: list[Entry]
    gone: list[Past]


def tabulate(sources: Sequence[Source]) -> Table:
    """The rows in the order of the table: whole ones first, best memory first."""
    ordered = sorted(sources, key=lambda source: (source.created, source.digest))
    past = _past(ordered)
    groups: dict[tuple[str, Asking, bool], list[tuple[Source, list[Cell]]]] = {}
    for source in ordered:
        if source.digest not in past:
            for asking, cells in _by_asking(source).items():
                key = _identity(source.run.facts["model"]), asking, source.place is None
                groups.setdefault(key, []).append((source, cells))
    found: list[Entry] = []
    taken: set[str] = set()
    for (identity, asking, yours), members in groups.items():
        chosen = _chosen(members)
        used = {cell.source.digest for cell in chosen.values()}
        shown = tuple(source for source, _ in members if source.digest in used)
        if not shown:
            continue
        model = shown[-1].run.facts["model"]
        history = [one for one in past.values() if _model_id(one.source) == model["id"] and not yours]
        history += [Past(source, REPLACED) for source, _ in members if source.digest not in used]
        slug = _slug(identity, model, asking, yours, taken)
        taken.add(slug)
        found.append(Entry(slug, model, asking, chosen, shown, tuple(history), _gaps(shown, chosen)))
    shown_ids = {entry.model["id"] for entry in found if not entry.yours}
    gone = [one for one in past.values() if _model_id(one.source) not in shown_ids]
    return Table(sorted(found, key=_order), gone)


def _chosen(members: Iterable[tuple[Source, list[Cell]]]) -> dict[Place, Cell]:
    """From the oldest source to the latest, of each place the cell over most rows."""
    chosen: dict[Place, Cell] = {}
    for _, cells in members:
        for cell in cells:
            place = cell.task, cell.split
            if place not in chosen or cell.rows >= chosen[place].rows:
                chosen[place] = cell
    return chosen


def _order(entry: Entry) -> tuple[Any, ...]:
    worst = entry.memory.value if entry.memory else -1.0
    return entry.partial, entry.whole_memory is None, -worst, entry.model["id"].casefold(), entry.slug


def _past(sources: Sequence[Source]) -> dict[str, Past]:
    """By digest, the records that do not count any more. A withdrawn record takes the place of nothing."""
    found = {source.digest: Past(source, f"of {source.outdated}") for source in sources if source.outdated}
    for source in sources:
        for one in source.attestations:
            if one.kind == WITHDRAWN:
                reason = f"withdrawn on {one.at[:10]} by {one.by}: {one.details.get('reason', '')}"
                found[source.digest] = Past(source, reason)
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


def _identity(model: dict[str, Any]) -> str:
    """What makes two models the same one, as JSON: how it is loaded counts, where it runs does not."""
    names = ("id", "revision", "dtype", "quantization", "adapter", "gguf_file")
    return json.dumps([model.get(name) for name in names], sort_keys=True)


def _by_asking(source: Source) -> dict[Asking, list[Cell]]:
    """The cells of a source by how its tasks were asked; those that are asked in one way only join the others."""
    ways = {}
    for name, asked in source.run.facts["data"]["tasks"].items():
        if prompting := asked.get("prompting"):
            ways[name] = Asking(prompting.get("shots", 0), prompting.get("system"), prompting.get("thinking", 0))
    distinct = set(ways.values())
    usual = distinct.pop() if len(distinct) == 1 else Asking()
    found: dict[Asking, list[Cell]] = {}
    for cell in _cells(source):
        found.setdefault(ways.get(cell.task, usual), []).append(cell)
    return found


def _cells(source: Source) -> Iterator[Cell]:
    result = source.findings.result
    scores: dict[tuple[str, str, str], dict[str, Any]] = {}
    guesses: dict[Place, dict[str, float]] = {}
    for score in result["scores"]:
        if score["group"] is None:
            scores[score["task"], score["split"], score["metric"]] = score
        elif score["metric"] == "baseline_accuracy":
            guesses.setdefault((score["task"], score["split"]), {})[score["group"]] = score["value"]
    for (task, split, metric), score in scores.items():
        if metric != "accuracy":
            continue
        asked = result["data"]["tasks"][task]["splits"][split]
        named = guesses.get((task, split), {})
        yield Cell(
            task, split, score["value"], score["low"], score["high"], score["errors"], score["n"], score["baseline"],
            max(named, key=lambda name: named[name], default=""),
            scores.get((task, split, "skill"), {}).get("value"), asked["rows"], asked["of"],
            scores.get((task, split, "not_a_number"), {}).get("errors", 0), source,
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


def _slug(identity: str, model: dict[str, Any], asking: Asking, yours: bool, taken: set[str]) -> str:
    """A name for the files of a row: lower case, portable, unlike all others."""
    name = model["id"].replace("/", "--")[:LONGEST_NAME]
    parts = [name, model["revision"][:12], model["dtype"][:20], YOURS * yours]
    slug = re.sub(r"[^a-z0-9._-]+", "-", "-".join(part for part in parts if part).lower()).lstrip("._-")
    plain = asking == Asking() and not any(model.get(key) for key in ("quantization", "adapter", "gguf_file"))
    if plain and slug not in taken:
        return slug
    digest = hashlib.sha256(f"{identity} {asking}".encode("utf-8", "replace")).hexdigest()
    return next(longer for digits in range(8, 65) if (longer := f"{slug}-{digest[:digits]}") not in taken)
