"""What programs read: index.json (as index.schema.json says), scores.csv, and the Atom feed of records."""

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
from leaderboard.site.board import Board, size_of
from leaderboard.site.entries import Cell, Entry, Past, Source
from leaderboard.site.files import INDEX_SCHEMA
from leaderboard.site.pages import environment
from leaderboard.site.ranks import Rank
from leaderboard.site.texts import clean, interval

SCHEMA_FILE = "index.schema.json"
SCORE_COLUMNS = (
    "slug", "model", "revision", "dtype", "variant", "prompting", "division", "verification", "disputed", "supplied",
    "task", "split", "accuracy", "low", "high", "errors", "n", "baseline", "skill", "rows", "of",
    "best_rank", "worst_rank", "ranked", "record",
)  # fmt: skip


def index(board: Board) -> dict[str, Any]:
    """The whole table as JSON."""
    return {
        "$schema": SCHEMA_FILE,
        "schema": INDEX_SCHEMA,
        "harness": HARNESS_VERSION,
        "generator": GENERATOR_VERSION,
        "built": board.day,
        "columns": [asdict(column) for column in board.columns],
        "models": [_model(board, entry) for entry in board.entries],
        "reported": [
            {"model": clean(one.model), **{name: clean(value) for name, value in asdict(score).items()}}
            for one in board.reported
            for score in one.scores
        ],
    }


def _model(board: Board, entry: Entry) -> dict[str, Any]:
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
        "yours": entry.yours,
        "supplied": entry.external,
        "verification": {
            "word": verification.word, "how": clean(verification.how), "disputed": clean(verification.disputed),
        },
        "memory": memory and {
            "split": memory.split, "value": memory.value, "low": memory.low, "high": memory.high,
            "rank": _rank(board.ranks.memory.get(entry.slug)),
        },
        "fresh_gap": gap and {name: clean(value) for name, value in asdict(gap).items()},
        "records": [_record(source) for source in entry.sources if source.place is not None],
        "cells": [_cell(board, entry, cell) for cell in entry.cells.values()],
    }  # fmt: skip


def _rank(rank: Rank | None) -> dict[str, int] | None:
    return None if rank is None else rank._asdict()


def _record(source: Source) -> dict[str, Any]:
    return {
        "digest": source.digest,
        "folder": f"records/{source.place}",
        "created": _utc(source.created),
        "verification": source.verification.word,
    }


def _cell(board: Board, entry: Entry, cell: Cell) -> dict[str, Any]:
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
        "of",
        "lost",
    )
    rank = _rank(board.rank(entry, (cell.task, cell.split)))
    shown = {"shown": percent(cell.value), "shown_interval": interval(cell.low, cell.high)}
    return {name: getattr(cell, name) for name in names} | shown | {"rank": rank, "record": cell.source.digest}


def scores(board: Board) -> str:
    """A line for each cell, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCORE_COLUMNS)
    for entry in board.entries:
        model = entry.model
        verification = entry.verification
        told = [
            entry.slug, model["id"], model["revision"], model["dtype"], entry.variant, entry.prompting.description,
            entry.division, verification.word, "disputed" * bool(verification.disputed), "supplied" * entry.external,
        ]  # fmt: skip
        for cell in entry.cells.values():
            rank = board.rank(entry, (cell.task, cell.split)) or ("", "", "")
            shown = (cell.value, cell.low, cell.high, cell.errors, cell.n, cell.baseline, cell.skill)
            line = [*map(csv_cell, told), cell.task, cell.split, *shown, cell.rows, cell.of, *rank]
            writer.writerow([*line, cell.source.digest[:12]])
    return text.getvalue()


def feed(board: Board) -> str:
    """The Atom feed: an entry a record, the newest first."""
    items = sorted(_items(board), key=lambda item: (item["updated"], item["id"]), reverse=True)
    return str(
        environment()
        .get_template("feed.xml")
        .render(
            board=board,
            items=items,
            feed_id=f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, board.address or 'fflm-leaderboard')}",
            updated=items[0]["updated"] if items else f"{board.day}T00:00:00Z",
        )
    )


def _items(board: Board) -> Iterator[dict[str, str]]:
    seen: set[str] = set()
    for entry in board.entries:
        for source in entry.sources:
            if source.submission is not None and source.digest not in seen:
                seen.add(source.digest)
                yield _item(source, entry.slug, _level_text(source), _told(entry, source))
    for slug, past in _gone(board):
        if past.source.digest not in seen:
            seen.add(past.source.digest)
            yield _item(past.source, slug, "no longer counts", past.reason)


def _gone(board: Board) -> Iterator[tuple[str, Past]]:
    """Records that do not count any more, with the row that names them, "" if none does."""
    yield from ((entry.slug, past) for entry in board.entries for past in entry.history)
    yield from (("", past) for past in board.gone)


def _level_text(source: Source) -> str:
    return f"{source.verification.word}, disputed" if source.verification.disputed else source.verification.word


def _told(entry: Entry, source: Source) -> str:
    """The cells of a row that come from a record, and over how many rows."""
    cells = [cell for cell in entry.cells.values() if cell.source is source]
    return ", ".join(
        f"{cell.task} {cell.split} {percent(cell.value)}%" + (f" (first {cell.rows:,} rows)" if cell.partial else "")
        for cell in cells
    )


def _item(source: Source, slug: str, word: str, summary: str) -> dict[str, str]:
    changes = [_utc(source.created), *(one.at for one in source.attestations)]
    return {
        "id": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, source.digest)}",
        "title": f"{source.run.facts['model']['id']}, {word}",
        "updated": max(changes),
        "author": source.submission.contact if source.submission else "unknown",
        "page": f"models/{slug}.html" if slug else "index.html",
        "summary": summary,
    }


def _utc(when: datetime) -> str:
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
