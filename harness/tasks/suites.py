"""Suites: which tasks are asked together, and how many rows of each.

Rows of a suite are the first of each split, so that a quick run's rows are among those of a full one. With the
binary controls of counting and the strata of letters they are as balanced as the whole.
"""

from dataclasses import dataclass

from fflm_data.names import did_you_mean
from harness.errors import UserError
from harness.tasks import all_tasks


@dataclass(frozen=True)
class Suite:
    """rows: by task, how many rows of each split at most, None for all. challenges: how often dialogues challenge an
    answer, None for as often as their tasks say."""

    about: str
    rows: dict[str, int | None]
    challenges: int | None = None


def suites() -> dict[str, Suite]:
    """The suites by name. full has every task, those of other files too."""
    return {
        "quick": Suite(
            "every task on a few rows: minutes on a laptop's CPU",
            {
                "flipflop": 6,
                "flipflop-piecewise": 4,
                "flipflop-prose": 25,
                "query-count": 14,
                "most-frequent": 14,
                "letters": 60,
                "letters-spelled": 60,
                "letters-histogram": 20,
                "strawberry": 10,
                "arithmetic": 42,
                "capitals": 12,
            },
            challenges=12,
        ),
        "paper": Suite(
            "what the papers scored, at their sizes",
            dict.fromkeys(
                (
                    "flipflop", "flipflop-prose", "query-count", "most-frequent", "letters", "letters-histogram",
                    "arithmetic", "capitals",
                )
            ),
        ),
        "full": Suite("every task on all rows", dict.fromkeys(all_tasks())),
    }  # fmt: skip


def get_suite(name: str) -> Suite:
    """The suite of that name. Raises UserError, listing the names, if there is none."""
    known = suites()
    if name not in known:
        raise UserError(f"there is no suite {name!r}: the suites are {', '.join(known)}{did_you_mean(name, known)}")
    return known[name]
