"""The data of all pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.models.model_name import label
from leaderboard.site.columns import Column, columns
from leaderboard.site.entries import Entry, Place, RetiredRecord
from leaderboard.site.plots import Series, all_series
from leaderboard.site.ranks import Rank, Ranks, ranks
from leaderboard.site.rows import Rows

if TYPE_CHECKING:
    from leaderboard.hub.reported import Reported

# Size classes of models: name and exclusive upper bound of the parameters.
SIZES = (("under 10M", 10**7), ("10M to 100M", 10**8), ("100M to 1B", 10**9), ("1B to 10B", 10**10))
LARGEST, NO_SIZE = "10B or more", "unknown"


@dataclass(frozen=True)
class SiteData:
    """labels: unique name of each row by slug. retired: records that no longer count and whose model has no row.
    reported: stated scores, not recomputed. series: plots of each row by slug and place. day: build date, YYYY-MM-DD.
    address: of the site, ending in a slash, or ""."""

    entries: list[Entry]
    labels: Mapping[str, str]
    retired: list[RetiredRecord]
    reported: "Sequence[Reported]"
    columns: list[Column]
    ranks: Ranks
    series: Mapping[str, Mapping[Place, list[Series]]]
    day: str
    address: str

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The groups of columns with their number of columns."""
        names = [column.group for column in self.columns]
        return [(name, names.count(name)) for name in dict.fromkeys(names)]

    @property
    def tasks(self) -> list[str]:
        """The tasks with a column."""
        return list(dict.fromkeys(column.task for column in self.columns))

    def rank(self, entry: Entry, place: Place) -> Rank | None:
        """Returns the rank of a cell, None if it is not ranked."""
        return self.ranks.cells.get((entry.slug, place))


def assemble(rows: Rows, reported: "Sequence[Reported]", day: str, address: str) -> SiteData:
    """Returns the data of a site with the given rows."""
    series = {entry.slug: _series(entry) for entry in rows.entries}
    entries = rows.entries
    return SiteData(
        entries, labels(entries), rows.retired, reported, columns(entries), ranks(entries), series, day, address
    )  # fmt: skip


def labels(entries: Sequence[Entry]) -> dict[str, str]:
    """Returns a unique name of each row by slug: the model id, its variant, and the differences between its rows."""
    by_id: dict[str, list[Entry]] = {}
    for entry in entries:
        by_id.setdefault(str(entry.model["id"]), []).append(entry)
    names = {}
    for name, rows in by_id.items():
        details = [_details(entry) for entry in rows]
        differ = [len(set(texts)) > 1 for texts in zip(*details, strict=True)]
        for entry, own in zip(rows, details, strict=True):
            # An adapter or quantization makes another model, so it is always shown.
            always = entry.variant if label(entry.model) != name else None
            parts = [text or "plain" for text, differs in zip(own, differ, strict=True) if differs or text == always]
            names[entry.slug] = f"{name} ({', '.join(parts)})" if parts else name
    return names


def _details(entry: Entry) -> tuple[str, ...]:
    model = entry.model
    return model["dtype"], entry.variant, entry.prompting.description, model["revision"][:7], entry.division


def _series(entry: Entry) -> dict[Place, list[Series]]:
    """Returns the plots of a row's cells, each from the source of its cell."""
    by_source = {source.digest: all_series(source.findings.result) for source in entry.sources}
    plots = {place: by_source[cell.source.digest].get(place, []) for place, cell in entry.cells.items()}
    return {place: series for place, series in plots.items() if series}


def size_of(model: Mapping[str, Any]) -> str:
    """Returns the size class of a model."""
    parameters = model["parameters"]
    if not parameters:
        return NO_SIZE
    return next((name for name, bound in SIZES if parameters < bound), LARGEST)
