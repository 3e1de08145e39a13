"""Who may supersede a record: whoever sent it, as the host of the repository knows them. What submission.json says of a
contact is a text that anybody can write."""

from collections.abc import Collection
from typing import Any

from leaderboard.verification.refusal import Refused


def require_own(submission: dict[str, Any], own: Collection[str] | None) -> list[str]:
    """Raises Refused for superseding a record that is not known to be of the same sender; returns what a maintainer
    should know.

    own: digests (12 hex digits) of records that the host says the same account sent; None where nobody has asked it,
    since nothing is taken in here.
    """
    if own is None:
        return [f"that {name} was sent by the same is for the host to say" for name in submission["supersedes"]]
    if strange := [name for name in submission["supersedes"] if name not in own]:
        raise Refused(
            f"it would supersede {strange[0]}, and is not known to come from the account that sent that: send it from "
            "there, or leave out --supersedes and open a dispute"
        )
    return []
