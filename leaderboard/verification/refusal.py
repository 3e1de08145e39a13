"""Why a submission is refused: one sentence, fit for a terminal and for a comment on a pull request."""

MOST_SHOWN = 80


class Refused(Exception):
    """What is wrong with a submission. What is quoted of it goes through `shown` first."""


def shown(value: object) -> str:
    """A part of a submission as it may be quoted: ASCII, quoted if it is text, and not long."""
    text = ascii(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
