"""How far a result can be trusted, in one word and in a sentence: what has been shown, and when.

reported      a number that somebody stated; nothing of it can be recomputed
rescored      every score was recomputed from what the model is recorded to have said
spot-checked  some sequences, chosen by a nonce given after submission, were asked again and said the same
re-run        all of them were
"""

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.attestations import REPLAY, Attestation

REPORTED, RESCORED, SPOT_CHECKED, RE_RUN = "reported", "rescored", "spot-checked", "re-run"
STANDINGS = (REPORTED, RESCORED, SPOT_CHECKED, RE_RUN)


@dataclass(frozen=True)
class Standing:
    """word: one of STANDINGS. how: a sentence on how and when it was reached. disputed: a replay said something else,
    and no later one over as many sequences has agreed; a sentence, "" if not."""

    word: str
    how: str
    disputed: str = ""


def standing_of(attestations: Sequence[Attestation], rescored_by: str) -> Standing:
    """The standing of a record. rescored_by: what recomputed its scores and when, such as "fflm 0.4.0 on
    2026-11-21"."""
    how = rescored = f"every score recomputed from the recorded outputs by {rescored_by}"
    word, disputed, doubted = RESCORED, "", 0
    for one in attestations:
        if one.kind != REPLAY:
            continue
        asked, of = one.details["asked"], one.details["of"]
        told = f"{asked:,} of {of:,} sequences asked again on {one.at[:10]} by {one.by}"
        if not one.agrees:
            found = len(one.details["differences"])
            disputed, doubted = f"{told}, and not all said the same ({found or 'more'} differences named)", asked
            continue
        if asked >= doubted:  # fewer sequences than were doubted say nothing of those
            disputed, doubted = "", 0
        if asked == of:
            word, how = RE_RUN, f"{rescored}; all {of:,} sequences asked again on {one.at[:10]} by {one.by}"
        elif word != RE_RUN:
            word, how = SPOT_CHECKED, f"{rescored}; {told}, and said the same"
    return Standing(word, how, disputed)
