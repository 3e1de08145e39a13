"""Checks an attestation against run.json of its record: rows of its nonce, counts, tolerance, dates."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from leaderboard.replay.row_sampling import draw, fresh_seed
from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused

# In place of the ids of a table: all rows.
ALL = "all"
# Allowed difference between the clocks of two machines.
CLOCK_SKEW = timedelta(minutes=10)
# Rounding error of a difference of two scores.
ROUNDING_ERROR = 1e-6


def require_time(at: str, run: Mapping[str, Any]) -> None:
    """Raises Refused if a time is invalid, in the future, or before the run."""
    try:
        when = datetime.fromisoformat(at.replace("Z", "+00:00"))
    except ValueError:
        raise Refused(f"{quote(at)} is not a time in ISO 8601") from None
    if when > datetime.now(timezone.utc) + CLOCK_SKEW:
        raise Refused(f"its time {at} is in the future")
    try:
        created = datetime.fromisoformat(run["created"].replace("Z", "+00:00"))
        if when < created:
            raise Refused(f"its time {at} is before the run")
    except (ValueError, TypeError):
        raise Refused("run.json has no valid creation time") from None


def require_replay(run: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises Refused unless a replay names rows of the run, all of them sampled by its nonce, and compared them with a
    tolerance no larger than the default of the model."""
    from leaderboard.replay.tolerances import tolerance_of

    details = facts["details"]
    rows = _rows(run)
    of = sum(rows.values())
    named = {name: rows.get(name, 0) if ids == ALL else len(ids) for name, ids in details["tasks"].items()}
    if not named.keys() <= rows.keys() or any(
        max(ids) >= rows[name] for name, ids in details["tasks"].items() if ids != ALL
    ):
        raise Refused("it names rows that the record does not have")
    if (details["asked"], details["of"]) != (sum(named.values()), of):
        raise Refused(
            f"it counts {details['asked']:,} of {details['of']:,} rows, and names {sum(named.values()):,} of {of:,}"
        )
    if details["asked"] < of and not _is_drawn(facts, rows):
        raise Refused("its rows are not those that its nonce selects")
    if details["compared"] < details["asked"]:
        raise Refused(f"it compared {details['compared']:,} numbers and tokens of {details['asked']:,} sequences")
    if facts["agrees"] != (not details["differences"]):
        verdict = "agrees" if facts["agrees"] else "disagrees"
        raise Refused(f"it {verdict}, and names {len(details['differences'])} differences")
    if "right" in details and max(details["right"].values()) > details["right"]["of"]:
        raise Refused("it counts more right answers than answers")
    if "elsewhere" in details:
        _require_other_device(run, facts)
    if any(details["tolerance"][name] > most for name, most in asdict(tolerance_of(run["model"])).items()):
        raise Refused("its tolerance is larger than the tolerance of this model's dtype")


def _require_other_device(run: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises Refused unless the record was made on another kind of device than the replay."""
    from leaderboard.replay.devices import rounds_differently

    recorded, here = run["environment"]["device"], facts["details"]["environment"].get("device")
    stated = facts["details"]["elsewhere"]
    if facts["agrees"] or stated != recorded or not rounds_differently(run["model"], recorded, here):
        raise Refused(f"it attributes its differences to the device {quote(stated)}, which does not explain them")


def require_fresh(run: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises Refused unless the seed of the fresh rows follows from the nonce, and every gap is of a split of the
    record and within its interval."""
    details = facts["details"]
    if details["seed"] != fresh_seed(run["model"]["revision"], facts["nonce"], run["data"]["generator"]):
        raise Refused("its seed is not the seed of its nonce")
    seen: set[str] = set()
    for gap in details["gaps"]:
        name = f"{gap['task']}.{gap['split']}"
        if name in seen or name not in _rows(run) or gap["task"] in details.get("left_out", {}):
            raise Refused(f"it has {name} twice, or the record does not have it")
        seen.add(name)
        for low, value, high in _intervals(gap):
            if not low <= value <= high:
                raise Refused(f"{name}: {value:.4f} is not between {low:.4f} and {high:.4f}")
        if abs(gap["gap"] - (gap["public"]["value"] - gap["fresh"]["value"])) > ROUNDING_ERROR:
            raise Refused(f"{name}: its gap is not the difference of its scores")


def _intervals(gap: Mapping[str, Any]) -> Iterator[tuple[float, float, float]]:
    for score, value in ((gap["public"], "value"), (gap["fresh"], "value"), (gap, "gap")):
        yield score["low"], score[value], score["high"]


def _rows(run: Mapping[str, Any]) -> dict[str, int]:
    """Returns the number of rows of a run by task and split."""
    tasks = run["data"]["tasks"].items()
    return {f"{task}.{split}": part["rows"] for task, facts in tasks for split, part in facts["splits"].items()}


def _is_drawn(facts: Mapping[str, Any], rows: Mapping[str, int]) -> bool:
    """Returns whether the rows of a replay are those that digest and nonce select."""
    details = facts["details"]
    drawn = _drawn(facts["record"], facts["nonce"], tuple(rows.items()), details["asked"])
    named = {name: list(range(rows[name])) if ids == ALL else sorted(ids) for name, ids in details["tasks"].items()}
    return drawn == named


@lru_cache(maxsize=64)
def _drawn(digest: str, nonce: str, rows: tuple[tuple[str, int], ...], count: int) -> dict[str, list[int]]:
    """Cached, because a record is read several times and every row is hashed."""
    return draw(digest, nonce, dict(rows), count)
