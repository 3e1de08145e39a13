"""Groups seeds: models of one owner that were trained by one recipe share a row, with median and range.

That a model was trained by a recipe is a statement of its submitter, which anybody can copy. So seeds are grouped only
within the models of one owner (for local models, of one contact), and a group hides nothing: a model that is disputed
or not deterministic, or whose seeds another model of the group has already, keeps a row of its own, and the page of the
group lists these and the records that no longer count.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from harness.models.model_name import is_local, path_name
from leaderboard.site.entries import Entry, Place, PromptingOptions, RetiredRecord
from leaderboard.site.rows import Rows
from leaderboard.site.seed_rows import TRAINED, SeedGroup, SpreadCell, owner_of
from leaderboard.site.sources import Source, Training

FEWEST_SEEDS = 2
_LONGEST_NAME = 60  # of the owner in a slug


class _Trained(NamedTuple):
    """An entry and its training."""

    entry: Entry
    training: Training


class _Key(NamedTuple):
    """What the seeds of a row have in common. contact: of local models, whose owner is unknown; else ""."""

    owner: str
    contact: str
    digest: str
    dtype: str
    variant: str
    prompting: PromptingOptions
    partial: bool
    model_class: str
    parameters: int


def seed_groups(rows: Rows) -> list[SeedGroup]:
    """Returns the groups of all entries, in no particular order."""
    alike: dict[_Key, list[_Trained]] = {}
    for entry in rows.entries:
        if (trained := _trained(entry)) is not None:
            alike.setdefault(_key(*trained), []).append(trained)
    retired = [each for entry in rows.entries for each in entry.history] + rows.retired
    groups: list[SeedGroup] = []
    taken = {entry.slug for entry in rows.entries}
    for key, members in alike.items():
        chosen = _seeds(members)
        if len(chosen) < FEWEST_SEEDS:
            continue
        training, seeds = chosen[0].training, tuple(member.entry for member in chosen)
        entries = [member.entry for member in members]
        counted = {seed.slug for seed in seeds}
        left_out = tuple(entry for entry in entries if entry.slug not in counted)
        slug = _slug(key, training.recipe, taken)
        taken.add(slug)
        groups.append(SeedGroup(slug, training, seeds, _spread(seeds), left_out, _retired(key, entries, retired)))
    return groups


def _trained(entry: Entry) -> _Trained | None:
    """Returns an entry with its training, None if it is never grouped."""
    training = entry.training
    if training is None or entry.is_local_run or entry.external or entry.division != TRAINED:
        return None
    return _Trained(entry, training)


def _key(entry: Entry, training: Training) -> _Key:
    contacts = {source.submission.contact for source in entry.sources if source.submission}
    return _Key(
        owner_of(entry.name), "; ".join(sorted(contacts)) if is_local(entry.name) else "", training.digest,
        entry.model["dtype"], entry.variant, entry.prompting, entry.partial, str(entry.model.get("class")),
        entry.model["parameters"],
    )  # fmt: skip


def _seeds(members: Iterable[_Trained]) -> list[_Trained]:
    """Returns one member for each pair of seeds, sorted by seeds: that with the highest verification level; among
    those, the latest. So a seed that is submitted twice does not count twice."""
    chosen: dict[tuple[int, int], _Trained] = {}
    for member in members:
        entry, seed = member.entry, member.training.seed
        if entry.verification.disputed or entry.model.get("deterministic") is False:
            continue
        if seed not in chosen or _priority(entry) > _priority(chosen[seed].entry):
            chosen[seed] = member
    return [chosen[seed] for seed in sorted(chosen)]


def _priority(entry: Entry) -> tuple[Any, ...]:
    return min(source.trust for source in entry.sources), entry.sources[-1].created, entry.slug


def _spread(seeds: Sequence[Entry]) -> dict[Place, SpreadCell]:
    """Returns the cells of a group. Results over fewer rows than those of another seed do not count."""
    places = dict.fromkeys(place for seed in seeds for place in seed.cells)
    cells = {place: [seed.cells[place] for seed in seeds if place in seed.cells] for place in places}
    most = {place: max(cell.rows for cell in cells[place]) for place in places}
    return {place: SpreadCell(tuple(cell for cell in cells[place] if cell.rows == most[place])) for place in places}


def _retired(key: _Key, entries: Sequence[Entry], retired: Iterable[RetiredRecord]) -> tuple[RetiredRecord, ...]:
    """Returns the records of a recipe that no longer count and whose model has no row."""
    shown = {entry.name for entry in entries}
    found = {
        each.source.digest: each
        for each in retired
        if each.source.run.facts["model"]["id"] not in shown and _is_of(key, each.source)
    }
    return tuple(found.values())


def _is_of(key: _Key, source: Source) -> bool:
    model, submission = source.run.facts["model"], source.submission
    training = model.get("training") or {}
    return (
        submission is not None
        and (owner_of(model["id"]), training.get("digest")) == (key.owner, key.digest)
        and key.contact in ("", submission.contact)
    )


def _slug(key: _Key, recipe: str, taken: Collection[str]) -> str:
    """Returns a unique, portable, lower-case file name."""
    parts = [f"{path_name(key.owner)[:_LONGEST_NAME]}--{recipe}", "seeds", key.digest, key.dtype[:20]]
    slug = re.sub(r"[^a-z0-9._-]+", "-", "-".join(parts).lower()).lstrip("._-")
    if slug not in taken:
        return slug
    digest = hashlib.sha256(json.dumps(key, default=repr).encode()).hexdigest()
    return next(longer for digits in range(8, 65) if (longer := f"{slug}-{digest[:digits]}") not in taken)
