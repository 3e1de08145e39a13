"""Checks who may supersede a record: only its sender, as the host of the repository knows them. The contact in
submission.json proves nothing: anybody can write any text."""

from collections.abc import Collection
from typing import Any

from leaderboard.verification.refusal import Refused


def require_same_sender(submission: dict[str, Any], own: Collection[str] | None) -> list[str]:
    """Returns remarks for the maintainers. Raises Refused if the superseded record is not known to have the same
    sender.

    own: digests (12 hex digits) of records from the same account according to the host; None if the host was not
    queried, because nothing is merged.
    """
    if own is None:
        return [f"the host decides whether {name} has the same sender" for name in submission["supersedes"]]
    if strange := [name for name in submission["supersedes"] if name not in own]:
        raise Refused(
            f"the record supersedes {strange[0]}, which was not sent from the same account. Submit it from that "
            "account, or remove --supersedes and open a dispute."
        )
    return []
