"""Whether an attestation can be one of the record beside it: what its nonce draws, what it counts, when it was made."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from leaderboard.replay.row_sampling import draw, seed_of
from leaderboard.verification.refusal import Refused, shown

# In the place of the ids of a table: all of them.
ALL = "all"
# By how much the clock of whoever attested may be ahead of this one.
CLOCKS = timedelta(minutes=10)
# Of a gap that is the difference of two rounded numbers.
ROUNDED = 1e-6


def require_time(at: str, run: Mapping[str, Any]) -> None:
    """Raises Refused for a time that is none, is to come, or was before the run."""
    try:
        when = datetime.fromisoformat(at.replace("Z", "+00:00"))
    except ValueError:
        raise Refused(f"there is no time {shown(at)}") from None
    if when > datetime.now(timezone.utc) + CLOCKS:
        raise Refused(f"{at} is to come")
    try:
        created = datetime.fromisoformat(run["created"].replace("Z", "+00:00"))
        if when < created:
            raise Refused(f"{at} was before the run")
    except (ValueError, TypeError):
        raise Refused("run.json does not say when the run was made") from None


def require_replay(run: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises Refused unless a replay says of which rows of a run it is, that its nonce drew them, what it compared, and
    was no laxer than replays are."""
    from leaderboard.replay.agreement import tolerance_of

    details = facts["details"]
    rows = _rows(run)
    of = sum(rows.values())
    named = {name: rows.get(name, 0) if ids == ALL else len(ids) for name, ids in details["tasks"].items()}
    if not named.keys() <= rows.keys() or any(
        max(ids) >= rows[name] for name, ids in details["tasks"].items() if ids != ALL
    ):
        raise Refused("it names rows that the record does not have")
    if (details["asked"], details["of"]) != (sum(named.values()), of):
        raise Refused(f"it says {details['asked']:,} of {details['of']:,}, and names {sum(named.values()):,} of {of:,}")
    if details["asked"] < of and not _is_drawn(facts, rows):
        raise Refused("its rows are not those that its nonce draws")
    if details["compared"] < details["asked"]:
        raise Refused(f"it compared {details['compared']:,} numbers and tokens of {details['asked']:,} sequences")
    if facts["agrees"] != (not details["differences"]):
        said = "agrees" if facts["agrees"] else "does not agree"
        raise Refused(f"it {said}, and names {len(details['differences'])} differences")
    if "right" in details and max(details["right"].values()) > details["right"]["of"]:
        raise Refused("it says that more answers were right than there are")
    if "elsewhere" in details:
        _require_elsewhere(run, facts)
    if any(details["tolerance"][name] > most for name, most in asdict(tolerance_of(run["model"])).items()):
        raise Refused("it allowed numbers to be further apart than a replay of this model does")


def _require_elsewhere(run: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises Refused unless a record was made on another kind of device than it was asked again on."""
    from leaderboard.replay.devices import rounds_otherwise

    recorded, here = run["environment"]["device"], facts["details"]["environment"].get("device")
    told = facts["details"]["elsewhere"]
    if facts["agrees"] or told != recorded or not rounds_otherwise(run["model"], recorded, here):
        raise Refused(f"it lays its differences to {shown(told)}, and that is no reason")


def require_fresh(run: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises Refused unless the seed of fresh rows is that of the nonce, and each gap is one of the record's splits,
    within its bounds."""
    details = facts["details"]
    if details["seed"] != seed_of(run["model"]["revision"], facts["nonce"], run["data"]["generator"]):
        raise Refused("its seed is not that of its nonce")
    seen: set[str] = set()
    for gap in details["gaps"]:
        name = f"{gap['task']}.{gap['split']}"
        if name in seen or name not in _rows(run) or gap["task"] in details.get("left_out", {}):
            raise Refused(f"it has {name} twice, or the record does not have it")
        seen.add(name)
        for low, value, high in _bounds(gap):
            if not low <= value <= high:
                raise Refused(f"of {name} it has {value:.4f} between {low:.4f} and {high:.4f}")
        if abs(gap["gap"] - (gap["public"]["value"] - gap["fresh"]["value"])) > ROUNDED:
            raise Refused(f"of {name} its gap is not the difference of its scores")


def _bounds(gap: Mapping[str, Any]) -> Iterator[tuple[float, float, float]]:
    for score, value in ((gap["public"], "value"), (gap["fresh"], "value"), (gap, "gap")):
        yield score["low"], score[value], score["high"]


def _rows(run: Mapping[str, Any]) -> dict[str, int]:
    """By task and split, how many rows a run has."""
    tasks = run["data"]["tasks"].items()
    return {f"{task}.{split}": part["rows"] for task, asked in tasks for split, part in asked["splits"].items()}


def _is_drawn(facts: Mapping[str, Any], rows: Mapping[str, int]) -> bool:
    """Whether the rows that a replay names are those that digest and nonce draw."""
    details = facts["details"]
    drawn = _drawn(facts["record"], facts["nonce"], tuple(rows.items()), details["asked"])
    named = {name: list(range(rows[name])) if ids == ALL else sorted(ids) for name, ids in details["tasks"].items()}
    return drawn == named


@lru_cache(maxsize=64)
def _drawn(digest: str, nonce: str, rows: tuple[tuple[str, int], ...], count: int) -> dict[str, list[int]]:
    """A record is read several times, and a lot is drawn for each of its rows."""
    return draw(digest, nonce, dict(rows), count)
