"""Parses the differences of a replay from their text in an attestation: row, position, and the replayed output."""

import re
from dataclasses import dataclass

_PLACE = re.compile(r" row ([0-9]{1,7})(?:, (?:position|turn) ([0-9]{1,7}))?(?:\b|$)")
_NUMBER = re.compile(r"log-probability of (?:candidate )?(\S+) recorded (\S+), replayed (\S+)$")
_TEXT = re.compile(r" recorded, (.+) replayed, and it was no near tie$")


@dataclass(frozen=True)
class Difference:
    """row: row id. place: position of a read or turn of a dialogue, None for the whole row. symbol: the symbol or
    candidate number whose log-probability differs, None for another difference; shift: replayed minus recorded
    log-probability. replayed: quote of the replayed output, None if there is no quote."""

    row: int
    place: int | None = None
    symbol: str | None = None
    shift: float = float("nan")
    replayed: str | None = None


def parse_difference(text: str, table: str) -> Difference | None:
    """Returns a difference from its text; None if the text names no row. table: name of its table."""
    place_match = _PLACE.match(text, len(table))
    if place_match is None:
        return None
    row, place = int(place_match[1]), int(place_match[2]) if place_match[2] else None
    number, output = _NUMBER.search(text, place_match.end()), _TEXT.search(text, place_match.end())
    if number:
        return Difference(row, place, number[1], _shift(number[2], number[3]))
    return Difference(row, place, replayed=output[1] if output else None)


def _shift(recorded: str, replayed: str) -> float:
    try:
        return float(replayed) - float(recorded)
    except ValueError:
        return float("nan")
