"""`harness verify`: verifies records or a pull request, and runs their models again.

Exit status 0: everything is accepted; 1: a record is refused or a replay disagrees. A pull request of a checkout is
verified with `harness verify HEAD --base BASE`. Nothing in either folder is executed.
"""

import json
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from fflm_data.terminal import echo
from harness.errors import UserError
from leaderboard.attestations import Attestation, write_attestation
from leaderboard.hub import repository
from leaderboard.records import Record, read_record
from leaderboard.replay.row_sampling import default_count
from leaderboard.verification.open_target import Target, open_target
from leaderboard.verification.refusal import Refused
from leaderboard.verification.sandbox import verify_in_sandbox
from leaderboard.verification.verify_record import Verdict

DEFAULT_COUNT = "usual"


@dataclass(frozen=True)
class ReplayOptions:
    """How models are run again. count: number of sequences to replay; None for all, 0 for none, DEFAULT_COUNT for the
    default of the model's dtype. fresh: whether to evaluate fresh rows; rows: their number per split. nonce: None for a
    random one. by: name of the person who runs it. model: the model's id or folder if the record names a local
    folder."""

    count: int | str | None = 0
    fresh: bool = False
    rows: int | None = None
    nonce: str | None = None
    by: str = "a maintainer"
    model: str | None = None

    @property
    def runs_model(self) -> bool:
        """Whether the model is run at all."""
        return self.fresh or self.count != 0


def command(
    path: str,
    *,
    base: Path | None,
    pull_request: int | None,
    attested: Sequence[str],
    own: Sequence[str],
    as_json: bool,
    options: ReplayOptions,
) -> int:
    """Verifies the records at `path`, runs their models again if requested, and returns the exit status.

    path: a record, a checkout, a folder of records, or ORG/NAME of the Hub. base: the checkout before the change.
    pull_request: number of a pull request of ORG/NAME. attested: file names of attestations that may be added. own:
    digests of earlier records of the same sender, in addition to those that the Hub knows. as_json: whether to print
    verdicts as JSON.
    """
    attestations: list[Attestation] = []
    try:
        with open_target(path, base, pull_request, attested, own) as target:
            verdicts = [_verify(folder, target) for folder in target.folders]
            if not as_json:
                for verdict in verdicts:
                    _print_verdict(verdict)
            if options.runs_model and all(verdict.accepted for verdict in verdicts):
                written = [result for folder in target.folders for result in _replay_model(folder, options)]
                attestations = [attestation for _, attestation in written]
                if target.fetched is not None:
                    echo(repository.push(target.fetched, [file for file, _ in written]), file=sys.stderr)
    except Refused as refusal:
        verdicts = [Verdict(path, (str(refusal),))]
        if not as_json:
            _print_verdict(verdicts[0])
    if as_json:
        echo(json.dumps([verdict.to_json() for verdict in verdicts], indent=1), lines=True)
    elif len(verdicts) > 1:
        accepted = sum(verdict.accepted for verdict in verdicts)
        echo(f"{accepted:,} of {len(verdicts):,} records accepted")
    agree = all(attestation.agrees is not False for attestation in attestations)
    return 0 if agree and all(verdict.accepted for verdict in verdicts) else 1


def _verify(folder: Path, target: Target) -> Verdict:
    """Returns the verdict on a record, including its attestations."""
    verdict = verify_in_sandbox(folder, target.records, new=target.new, own=target.own)
    if not verdict.accepted:
        return verdict
    try:
        record = read_record(folder)
    except UserError as error:
        return Verdict(verdict.path, (str(error),))
    attested = [f"attested on {each.at[:10]} by {each.by}: {each.kind}" for each in record.attestations]
    alone = [] if target.records else ["not compared with other records: it is not in a folder named records"]
    return replace(verdict, remarks=(*verdict.remarks, *attested, *alone))


def _print_verdict(verdict: Verdict) -> None:
    from harness.reporting import table

    if verdict.accepted and verdict.result is not None and verdict.submission is not None:
        table.show(verdict.result)
        echo(f"accepted: {verdict.place} ({verdict.submission['division']}); every score recomputed")
        for remark in verdict.remarks:
            echo(f"  note: {remark}")
        return
    echo(f"refused: {verdict.path}")
    for reason in verdict.reasons:
        echo(f"  {reason}")


def _replay_model(folder: Path, options: ReplayOptions) -> list[tuple[Path, Attestation]]:
    """Runs a record's model again and returns the attestations with their files."""
    from leaderboard.replay.file_check import SelectedRows, check_model_files
    from leaderboard.replay.fresh_rows import score_fresh_rows
    from leaderboard.replay.replay import replay

    record = read_record(folder)
    nonce = options.nonce or secrets.token_hex(16)
    count = cast(int | None, _default_count(record) if options.count == DEFAULT_COUNT else options.count)
    check_model_files(folder, SelectedRows(nonce, count, options.fresh, options.rows), options.model)
    written = []
    if count != 0:
        written.append(_write(record, replay(record, count, nonce, options.by, options.model)))
    if options.fresh:
        written.append(_write(record, score_fresh_rows(record, nonce, options.by, options.model, options.rows)))
    return written


def _default_count(record: Record) -> int:
    tables = sum(len(task_facts["splits"]) for task_facts in record.run.facts["data"]["tasks"].values())
    return default_count(record.run.facts["model"], tables)


def _write(record: Record, attestation: Attestation) -> tuple[Path, Attestation]:
    """Writes an attestation immediately, because a later step may fail."""
    path = write_attestation(record.folder, attestation)
    for line in [*_summary(attestation), path]:
        echo(line, file=sys.stderr)
    return path, attestation


def _summary(attestation: Attestation) -> Iterator[str]:
    details: dict[str, Any] = attestation.details
    if attestation.agrees is None:
        for gap in details["gaps"]:
            public, fresh = gap["public"]["value"], gap["fresh"]["value"]
            interval = f"{gap['gap']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})"
            yield f"{gap['task']}.{gap['split']}: public {public:.4f}, fresh {fresh:.4f}, gap {interval}"
        return
    result = "agrees" if attestation.agrees else "disagrees"
    here, recorded_device = details["environment"].get("device"), details.get("elsewhere")
    if recorded_device:
        result = f"differs on {here}, not counted as a dispute"
    yield (
        f"replay of {details['asked']:,} of {details['of']:,} sequences {result}: {details['compared']:,} numbers and "
        f"tokens compared, largest difference {details['largest']:.2g}, near ties changed {details['flips']:,}"
    )
    if right := details.get("right"):
        yield f"right answers: {right['recorded']:,} recorded, {right['replayed']:,} replayed, of {right['of']:,}"
    if recorded_device:
        yield (
            f"the record was made on {recorded_device}. In this dtype other kinds of devices round differently, and "
            "the differences do not favour the record. Replay it on the recorded kind of device."
        )
    yield from (f"  {difference}" for difference in details["differences"])
