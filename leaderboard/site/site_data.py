"""The data of all pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.models.model_name import label
from leaderboard.site.columns import Column, columns
from leaderboard.site.entries import Entry, Place, RetiredRecord
from leaderboard.site.plots import Series, all_series, spread_series
from leaderboard.site.ranks import Rank, Ranks, ranks
from leaderboard.site.rows import Rows, table_order
from leaderboard.site.seed_groups import seed_groups
from leaderboard.site.seed_rows import Row, SeedGroup

if TYPE_CHECKING:
    from leaderboard.hub.reported import Reported

# Size classes of models: name and exclusive upper bound of the parameters.
SIZES = (("under 10M", 10**7), ("10M to 100M", 10**8), ("100M to 1B", 10**9), ("1B to 10B", 10**10))
LARGEST, NO_SIZE = "10B or more", "unknown"


@dataclass(frozen=True)
class SiteData:
    """entries: one for each model and prompting, including seeds. rows: the table, in which several seeds of a recipe
    are one row. labels: unique name of each entry and row by slug. retired: records that no longer count and whose
    model has no row. reported: stated scores, not recomputed. series: plots of each entry and row by slug and place.
    day: build date, YYYY-MM-DD. address: of the site, ending in a slash, or ""."""

    entries: list[Entry]
    rows: list[Row]
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

    @property
    def seed_groups(self) -> list[SeedGroup]:
        """The rows of several seeds, in table order."""
        return [row for row in self.rows if isinstance(row, SeedGroup)]

    def rank(self, row: Row, place: Place) -> Rank | None:
        """Returns the rank of a cell, None if it is not ranked."""
        return self.ranks.cells.get((row.slug, place))

    def group_of(self, entry: Entry) -> SeedGroup | None:
        """Returns the row of several seeds that an entry is part of, None if it has a row of its own."""
        return next((group for group in self.seed_groups if entry.slug in {seed.slug for seed in group.seeds}), None)


def assemble(rows: Rows, reported: "Sequence[Reported]", day: str, address: str) -> SiteData:
    """Returns the data of a site with the given rows."""
    entries, groups = rows.entries, seed_groups(rows)
    grouped = {seed.slug for group in groups for seed in group.seeds}
    table: list[Row] = [*(entry for entry in entries if entry.slug not in grouped), *groups]
    table.sort(key=table_order)
    series = {entry.slug: _series(entry) for entry in entries}
    series |= {group.slug: spread_series([series[seed.slug] for seed in group.seeds]) for group in groups}
    names = labels(entries) | group_labels(groups)
    return SiteData(
        entries, table, names, rows.retired, reported, columns(entries), ranks(table), series, day, address
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


def group_labels(groups: Sequence[SeedGroup]) -> dict[str, str]:
    """Returns a unique name of each row of several seeds by slug: recipe, changes, number of seeds, and the differences
    between rows of the same name."""
    by_name: dict[str, list[SeedGroup]] = {}
    for group in groups:
        by_name.setdefault(group.name, []).append(group)
    names = {}
    for name, rows in by_name.items():
        details = [
            (group.owner, *_details(group)[:3], group.training.digest, "first rows" if group.partial else "")
            for group in rows
        ]
        differ = [len(set(texts)) > 1 for texts in zip(*details, strict=True)]
        for number, (group, own) in enumerate(zip(rows, details, strict=True), start=1):
            parts = [text for text, differs in zip(own, differ, strict=True) if differs and text]
            parts += [str(number)] if len(rows) > 1 and details.count(own) > 1 else []
            names[group.slug] = f"{name} ({', '.join(parts)})" if parts else name
    return names


def _details(entry: Row) -> tuple[str, ...]:
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
