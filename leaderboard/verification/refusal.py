"""Why a submission is refused: one sentence, fit for a terminal and for a comment on a pull request."""

from leaderboard.verification.secrets import masked

MOST_SHOWN = 80
# So much of a text is looked through for secrets: nothing that is shown lies beyond it.
_MOST_READ = 4_000


class Refused(Exception):
    """What is wrong with a submission. What is quoted of it goes through `shown` first."""


def shown(value: object) -> str:
    """A part of a submission as it may be quoted: ASCII, quoted if it is text, not long, and without the keys and
    passwords in it: a refusal is told in public."""
    text = ascii(masked(value[:_MOST_READ])) if isinstance(value, str) else masked(ascii(value)[:_MOST_READ])
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
