"""How a replay words what differs, and how that is read again: where it is, and what the model said there."""

import re
from dataclasses import dataclass

# What a model says, or whoever made a record, is quoted on pages: no markup, no path, no secret is as short as this.
QUOTED = 15
_PLACE = re.compile(r" row ([0-9]{1,7})(?:, (?:position|turn) ([0-9]{1,7}))?(?:\b|$)")
_NUMBER = re.compile(r"log-probability of (?:candidate )?(\S+) recorded (\S+), replayed (\S+)$")
_TEXT = re.compile(r" recorded, (.+) replayed, and it was no near tie$")


@dataclass(frozen=True)
class Difference:
    """row: its id. place: the position of a read or the turn of a dialogue, None where all of the row is meant. symbol:
    whose log-probability, a symbol or the number of a candidate, None for another difference; shift: by how much it is
    higher as replayed. replayed: what was said instead, as it is quoted; None where the difference quotes nothing."""

    row: int
    place: int | None = None
    symbol: str | None = None
    shift: float = float("nan")
    replayed: str | None = None


def read_difference(text: str, table: str) -> Difference | None:
    """A difference of a table as a replay words it; None for one that names no row."""
    found = _PLACE.match(text, len(table))
    if found is None:
        return None
    row, place = int(found[1]), int(found[2]) if found[2] else None
    number, said = _NUMBER.search(text, found.end()), _TEXT.search(text, found.end())
    if number:
        return Difference(row, place, number[1], _shift(number[2], number[3]))
    return Difference(row, place, replayed=said[1] if said else None)


def _shift(recorded: str, replayed: str) -> float:
    try:
        return float(replayed) - float(recorded)
    except ValueError:
        return float("nan")


def quoted(text: str) -> str:
    """How a text begins, with the signs that cannot do anything."""
    return re.sub(r"[^\w .,+='\"\\-]|_", "?", ascii(text[:QUOTED]))
