"""All that the pages are made of, put together once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.models.model_name import label
from leaderboard.site.columns import Column, columns
from leaderboard.site.entries import Entry, Past, Place
from leaderboard.site.plots import Series, all_series
from leaderboard.site.ranks import Rank, Ranks, ranks
from leaderboard.site.table import Table

if TYPE_CHECKING:
    from leaderboard.hub.reported import Reported

# Size classes of models: name and the least number of parameters above the class.
SIZES = (("under 10M", 10**7), ("10M to 100M", 10**8), ("100M to 1B", 10**9), ("1B to 10B", 10**10))
LARGEST, NO_SIZE = "10B or more", "unknown"


@dataclass(frozen=True)
class Board:
    """labels: by slug, what a row is called where other rows of its model stand beside it. reported: numbers that
    nobody has recomputed. series: by slug, the plots of a row by place. day: YYYY-MM-DD, when it was built. address: of
    the site, ending in a slash, or ""."""

    entries: list[Entry]
    labels: Mapping[str, str]
    gone: list[Past]
    reported: "Sequence[Reported]"
    columns: list[Column]
    ranks: Ranks
    series: Mapping[str, Mapping[Place, list[Series]]]
    day: str
    address: str

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The groups of columns, and how many columns each has."""
        names = [column.group for column in self.columns]
        return [(name, names.count(name)) for name in dict.fromkeys(names)]

    @property
    def tasks(self) -> list[str]:
        """The tasks that have a column."""
        return list(dict.fromkeys(column.task for column in self.columns))

    def rank(self, entry: Entry, place: Place) -> Rank | None:
        """The place of one cell."""
        return self.ranks.cells.get((entry.slug, place))


def assemble(table: Table, reported: "Sequence[Reported]", day: str, address: str) -> Board:
    """The board of a table."""
    series = {entry.slug: _series(entry) for entry in table.entries}
    entries = table.entries
    return Board(
        entries, labels(entries), table.gone, reported, columns(entries), ranks(entries), series, day, address
    )  # fmt: skip


def labels(entries: Sequence[Entry]) -> dict[str, str]:
    """By slug, the model's id with its quantization and adapter, and what tells its rows apart if it has several."""
    by_id: dict[str, list[Entry]] = {}
    for entry in entries:
        by_id.setdefault(str(entry.model["id"]), []).append(entry)
    found = {}
    for name, alike in by_id.items():
        details = [_details(entry) for entry in alike]
        differ = [len(set(texts)) > 1 for texts in zip(*details, strict=True)]
        for entry, own in zip(alike, details, strict=True):
            # An adapter or quantization is told in any case: it is another model.
            always = entry.variant if label(entry.model) != name else None
            told = [text or "plain" for text, differs in zip(own, differ, strict=True) if differs or text == always]
            found[entry.slug] = f"{name} ({', '.join(told)})" if told else name
    return found


def _details(entry: Entry) -> tuple[str, ...]:
    model = entry.model
    return model["dtype"], entry.variant, entry.prompting.description, model["revision"][:7], entry.division


def _series(entry: Entry) -> dict[Place, list[Series]]:
    """The plots of the cells that are shown, each from the source of its cell."""
    by_source = {source.digest: all_series(source.findings.result) for source in entry.sources}
    found = {place: by_source[cell.source.digest].get(place, []) for place, cell in entry.cells.items()}
    return {place: series for place, series in found.items() if series}


def size_of(model: Mapping[str, Any]) -> str:
    """The size class of a model."""
    parameters = model["parameters"]
    if not parameters:
        return NO_SIZE
    return next((name for name, least in SIZES if parameters < least), LARGEST)
