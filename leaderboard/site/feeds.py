"""Machine-readable files: index.json (see index.schema.json), scores.csv, and the Atom feed of records."""

import csv
import io
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from fflm_data import GENERATOR_VERSION
from fflm_data.number_formats import percent
from harness.reporting.csv_cells import csv_cell
from harness.runs.version import HARNESS_VERSION
from leaderboard.site.entries import Cell, Entry, RetiredRecord
from leaderboard.site.files import INDEX_SCHEMA
from leaderboard.site.formatting import clean, interval
from leaderboard.site.pages import environment
from leaderboard.site.ranks import Rank
from leaderboard.site.seed_rows import SeedGroup, SpreadCell
from leaderboard.site.site_data import SiteData, size_of
from leaderboard.site.sources import Source, Training

SCHEMA_FILE = "index.schema.json"
SCORE_COLUMNS = (
    "slug", "model", "revision", "dtype", "variant", "prompting", "division", "verification", "disputed", "external",
    "task", "split", "accuracy", "low", "high", "errors", "n", "baseline", "skill", "rows", "split_rows",
    "best_rank", "worst_rank", "ranked_models", "record",
    "recipe", "recipe_digest", "data_seed", "weight_seed", "seed_group",
)  # fmt: skip


def index(site: SiteData) -> dict[str, Any]:
    """Returns the table as JSON."""
    return {
        "$schema": SCHEMA_FILE,
        "schema": INDEX_SCHEMA,
        "harness": HARNESS_VERSION,
        "generator": GENERATOR_VERSION,
        "built": site.day,
        "columns": [asdict(column) for column in site.columns],
        "models": [_model(site, entry) for entry in site.entries],
        "seed_groups": [_seed_group(site, group) for group in site.seed_groups],
        "reported": [
            {"model": clean(reported.model), **{name: clean(value) for name, value in asdict(score).items()}}
            for reported in site.reported
            for score in reported.scores
        ],
    }


def _model(site: SiteData, entry: Entry) -> dict[str, Any]:
    memory, gap, verification, prompting = entry.whole_memory, entry.largest_gap, entry.verification, entry.prompting
    return {
        "slug": entry.slug,
        "page": f"models/{entry.slug}.html",
        "id": entry.model["id"],
        "revision": entry.model["revision"],
        "dtype": entry.model["dtype"],
        "variant": clean(entry.variant),
        "prompting": {
            "chat": prompting.chat, "shots": prompting.shots, "system": clean(prompting.system),
            "thinking": prompting.thinking,
        },
        "parameters": entry.model["parameters"],
        "size": size_of(entry.model),
        "family": clean(entry.family),
        "division": clean(entry.division),
        "local_run": entry.is_local_run,
        "external": entry.external,
        "verification": {
            "level": verification.level, "evidence": clean(verification.evidence),
            "disputed": clean(verification.disputed),
        },
        "memory": memory and {
            "split": memory.split, "value": memory.value, "low": memory.low, "high": memory.high,
            "rank": _rank(site.ranks.memory.get(entry.slug)),
        },
        "fresh_gap": gap and {name: clean(value) for name, value in asdict(gap).items()},
        "training": _training(entry.training),
        "seed_group": group.slug if (group := site.group_of(entry)) else None,
        "records": [_record(source) for source in entry.sources if source.place is not None],
        "cells": [_cell(site, entry, cell) for cell in entry.cells.values()],
    }  # fmt: skip


def _training(training: Training | None) -> dict[str, Any] | None:
    return None if training is None else {"description": training.description, **asdict(training)}


def _seed_group(site: SiteData, group: SeedGroup) -> dict[str, Any]:
    training, memory, verification = group.training, group.whole_memory, group.verification
    return {
        "slug": group.slug,
        "page": group.page,
        "label": site.labels[group.slug],
        "owner": group.owner,
        "recipe": training.recipe,
        "changes": training.changes,
        "digest": training.digest,
        "dtype": group.model["dtype"],
        "division": group.division,
        "verification": {"level": verification.level, "evidence": clean(verification.evidence), "disputed": ""},
        "seeds": [seed.slug for seed in group.seeds],
        "not_counted": group.not_counted,
        "memory": memory and {
            "split": memory.split, "median": memory.value, "minimum": memory.low, "maximum": memory.high,
            "rank": _rank(site.ranks.memory.get(group.slug)),
        },
        "cells": [_spread(site, group, cell) for cell in group.cells.values()],
    }  # fmt: skip


def _spread(site: SiteData, group: SeedGroup, cell: SpreadCell) -> dict[str, Any]:
    return {
        "task": cell.task, "split": cell.split, "seeds": len(cell.cells), "median": cell.value, "minimum": cell.low,
        "maximum": cell.high, "fewest_errors": cell.errors[0], "most_errors": cell.errors[1], "n": cell.n,
        "baseline": cell.baseline, "baseline_name": cell.baseline_name, "rows": cell.rows,
        "split_rows": cell.split_rows, "non_finite": cell.non_finite,
        "rank": _rank(site.rank(group, (cell.task, cell.split))),
    }  # fmt: skip


def _rank(rank: Rank | None) -> dict[str, int] | None:
    return None if rank is None else rank._asdict()


def _record(source: Source) -> dict[str, Any]:
    return {
        "digest": source.digest,
        "folder": f"records/{source.place}",
        "created": _utc(source.created),
        "verification": source.verification.level,
    }


def _cell(site: SiteData, entry: Entry, cell: Cell) -> dict[str, Any]:
    names = (
        "task",
        "split",
        "value",
        "low",
        "high",
        "errors",
        "n",
        "baseline",
        "baseline_name",
        "skill",
        "rows",
        "split_rows",
        "non_finite",
    )
    rank = _rank(site.rank(entry, (cell.task, cell.split)))
    texts = {"percent": percent(cell.value), "percent_interval": interval(cell.low, cell.high)}
    return {name: getattr(cell, name) for name in names} | texts | {"rank": rank, "record": cell.source.digest}


def scores(site: SiteData) -> str:
    """Returns the cells as CSV, one per line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCORE_COLUMNS)
    for entry in site.entries:
        model = entry.model
        verification = entry.verification
        fields = [
            entry.slug, model["id"], model["revision"], model["dtype"], entry.variant, entry.prompting.description,
            entry.division, verification.level, "disputed" if verification.disputed else "",
            "external" if entry.external else "",
        ]  # fmt: skip
        training, group = entry.training, site.group_of(entry)
        trained = [training.description, training.digest, *map(str, training.seed)] if training else [""] * 4
        for cell in entry.cells.values():
            rank = site.rank(entry, (cell.task, cell.split)) or ("", "", "")
            numbers = (cell.value, cell.low, cell.high, cell.errors, cell.n, cell.baseline, cell.skill)
            line = [*map(csv_cell, fields), cell.task, cell.split, *numbers, cell.rows, cell.split_rows, *rank]
            writer.writerow([*line, cell.source.digest[:12], *map(csv_cell, trained), group.slug if group else ""])
    return text.getvalue()


def feed(site: SiteData) -> str:
    """Returns the Atom feed with an item per record, newest first."""
    items = sorted(_items(site), key=lambda item: (item["updated"], item["id"]), reverse=True)
    return str(
        environment()
        .get_template("feed.xml")
        .render(
            site=site,
            items=items,
            feed_id=f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, site.address or 'fflm-leaderboard')}",
            updated=items[0]["updated"] if items else f"{site.day}T00:00:00Z",
        )
    )


def _items(site: SiteData) -> Iterator[dict[str, str]]:
    seen: set[str] = set()
    for entry in site.entries:
        for source in entry.sources:
            if source.submission is not None and source.digest not in seen:
                seen.add(source.digest)
                yield _item(source, entry.slug, _level_text(source), _summary(entry, source))
    for slug, retired in _retired(site):
        if retired.source.digest not in seen:
            seen.add(retired.source.digest)
            yield _item(retired.source, slug, "no longer counts", retired.reason)


def _retired(site: SiteData) -> Iterator[tuple[str, RetiredRecord]]:
    """Yields records that no longer count, with the slug of their row, "" if there is none."""
    yield from ((entry.slug, retired) for entry in site.entries for retired in entry.history)
    yield from (("", retired) for retired in site.retired)


def _level_text(source: Source) -> str:
    verification = source.verification
    return f"{verification.level}, disputed" if verification.disputed else verification.level


def _summary(entry: Entry, source: Source) -> str:
    """Returns the accuracies of a row that come from a record."""
    cells = [cell for cell in entry.cells.values() if cell.source is source]
    return ", ".join(
        f"{cell.task} {cell.split} {percent(cell.value)}%" + (f" (first {cell.rows:,} rows)" if cell.partial else "")
        for cell in cells
    )


def _item(source: Source, slug: str, status: str, summary: str) -> dict[str, str]:
    changes = [_utc(source.created), *(attestation.at for attestation in source.attestations)]
    return {
        "id": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, source.digest)}",
        "title": f"{source.run.facts['model']['id']}, {status}",
        "updated": max(changes),
        "author": source.submission.contact if source.submission else "unknown",
        "page": f"models/{slug}.html" if slug else "index.html",
        "summary": summary,
    }


def _utc(when: datetime) -> str:
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
