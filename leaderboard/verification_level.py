"""The verification level of a result, with a sentence on how and when it was reached.

reported      a number that somebody stated; it cannot be recomputed
rescored      every score was recomputed from the recorded outputs
spot-checked  a replay of some sequences, chosen by a nonce given after submission, agreed
re-run        a replay of all sequences agreed
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leaderboard.attestations import REPLAY, Attestation

REPORTED, RESCORED, SPOT_CHECKED, RE_RUN = "reported", "rescored", "spot-checked", "re-run"
LEVELS = (REPORTED, RESCORED, SPOT_CHECKED, RE_RUN)


@dataclass(frozen=True)
class VerificationLevel:
    """level: one of LEVELS. evidence: a sentence on how and when it was reached. disputed: a sentence if a replay
    disagreed and no later one of at least as many sequences agreed; else ""."""

    level: str
    evidence: str
    disputed: str = ""


def dispute_of(attestations: Iterable[Attestation]) -> Attestation | None:
    """Returns the replay that disputes a record, None if there is none. attestations: in any order, of the record or of
    one that it repeats."""
    dispute: Attestation | None = None
    replays = [attestation for attestation in attestations if attestation.kind == REPLAY]
    for replay in sorted(replays, key=lambda replay: replay.at):
        if not replay.agrees:
            dispute = dispute if replay.details.get("elsewhere") else replay
        elif dispute and replay.details["asked"] >= dispute.details["asked"]:
            dispute = None  # a replay of fewer sequences does not resolve the dispute
    return dispute


def level_of(
    attestations: Sequence[Attestation], rescored_by: str, inherited: Sequence[Attestation] = ()
) -> VerificationLevel:
    """Returns the verification level of a record. rescored_by: version and date of the recomputation, such as "fflm
    0.5.0 on 2026-11-21". inherited: disputing replays of records whose outputs this one repeats."""
    evidence = rescored = f"every score recomputed from the recorded outputs by {rescored_by}"
    level = RESCORED
    replays = [attestation for attestation in attestations if attestation.kind == REPLAY]
    for replay in (replay for replay in replays if replay.agrees):
        if replay.details["asked"] == replay.details["of"]:
            level, evidence = RE_RUN, f"{rescored}; {_describe(replay)}, and agreed"
        elif level != RE_RUN:
            level, evidence = SPOT_CHECKED, f"{rescored}; {_describe(replay)}, and agreed"
    for replay in replays:
        if device := replay.details.get("elsewhere"):
            evidence += (
                f"; {_describe(replay)}, and differed, not counted as a dispute: the record was made on {device}, "
                f"which rounds differently from {replay.details['environment'].get('device')}"
            )
    dispute = dispute_of([*attestations, *inherited])
    if dispute is None:
        return VerificationLevel(level, evidence)
    count = len(dispute.details["differences"])
    disputed = f"{_describe(dispute)}, and differed ({count or 'unnamed'} differences)"
    if any(dispute is replay for replay in inherited):
        disputed = f"record {dispute.record[:12]} has the same outputs: {disputed}"
    return VerificationLevel(level, evidence, disputed)


def _describe(replay: Attestation) -> str:
    asked, of = replay.details["asked"], replay.details["of"]
    count = f"all {of:,}" if asked == of else f"{asked:,} of {of:,}"
    return f"{count} sequences replayed on {replay.at[:10]} by {replay.by}"
