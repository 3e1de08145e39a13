"""How far a result can be trusted, in one word and in a sentence: what has been shown, and when.

reported      a number that somebody stated; nothing of it can be recomputed
rescored      every score was recomputed from what the model is recorded to have said
spot-checked  some sequences, chosen by a nonce given after submission, were asked again and said the same
re-run        all of them were
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leaderboard.attestations import REPLAY, Attestation

REPORTED, RESCORED, SPOT_CHECKED, RE_RUN = "reported", "rescored", "spot-checked", "re-run"
LEVELS = (REPORTED, RESCORED, SPOT_CHECKED, RE_RUN)


@dataclass(frozen=True)
class VerificationLevel:
    """word: one of LEVELS. how: a sentence on how and when it was reached. disputed: a replay said something else,
    and no later one over as many sequences has agreed; a sentence, "" if not."""

    word: str
    how: str
    disputed: str = ""


def dispute_of(attestations: Iterable[Attestation]) -> Attestation | None:
    """The replay that said something else, if no later one over as many sequences has agreed; attestations in any
    order, of a record or of what it repeats."""
    dispute: Attestation | None = None
    for one in sorted((one for one in attestations if one.kind == REPLAY), key=lambda one: one.at):
        if not one.agrees:
            dispute = dispute if one.details.get("elsewhere") else one
        elif dispute and one.details["asked"] >= dispute.details["asked"]:
            dispute = None  # fewer sequences than were doubted say nothing of those
    return dispute


def level_of(
    attestations: Sequence[Attestation], rescored_by: str, followed: Sequence[Attestation] = ()
) -> VerificationLevel:
    """The verification level of a record. rescored_by: what recomputed its scores and when, such as "fflm 0.5.0 on
    2026-11-21". followed: replays of other records that said something else than they and this one."""
    how = rescored = f"every score recomputed from the recorded outputs by {rescored_by}"
    word = RESCORED
    for one in attestations:
        if one.kind != REPLAY or not one.agrees:
            continue
        if one.details["asked"] == one.details["of"]:
            word, how = RE_RUN, f"{rescored}; {_told(one, 'all ')}"
        elif word != RE_RUN:
            word, how = SPOT_CHECKED, f"{rescored}; {_told(one)}, and said the same"
    for one in attestations:
        if one.kind == REPLAY and (device := one.details.get("elsewhere")):
            how += (
                f"; {_told(one)}, and not all said the same, which is no dispute: it was recorded on {device}, which "
                f"rounds otherwise than {one.details['environment'].get('device')}"
            )
    dispute = dispute_of([*attestations, *followed])
    if dispute is None:
        return VerificationLevel(word, how)
    found = len(dispute.details["differences"])
    disputed = f"{_told(dispute)}, and not all said the same ({found or 'more'} differences named)"
    of_another = f"of {dispute.record[:12]}, which said the same, " * any(dispute is one for one in followed)
    return VerificationLevel(word, how, f"{of_another}{disputed}")


def _told(replay: Attestation, all_of: str = "") -> str:
    asked, of = replay.details["asked"], replay.details["of"]
    counted = f"{all_of}{of:,}" if all_of else f"{asked:,} of {of:,}"
    return f"{counted} sequences asked again on {replay.at[:10]} by {replay.by}"
