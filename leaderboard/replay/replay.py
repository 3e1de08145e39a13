"""Replay: some or all sequences of a record are put to the model again, and compared with what it is recorded to
have said.

The details of its attestation: {"asked": sequences, "of": sequences, "compared": numbers and tokens, "largest": of the
differences of log-probabilities, "tolerance": {"absolute": nats, "relative": share}, "flips": near ties that came out
the other way, "right": {"recorded": answers, "replayed": answers, "of": answers}, "tasks": {"task.split": [ids] or
"all"}, "differences": [texts, the first 20], "environment": {...}}. Where these are no accusation, since the record
was made on another kind of device in numbers that it rounds otherwise, "elsewhere" names that device.
"""

from dataclasses import asdict

import pyarrow as pa

from fflm_data.terminal import Bar
from harness.prompts.jobs import Job
from harness.runs import observations
from harness.runs.environment import environment
from harness.runs.run import Run
from leaderboard.attestation_rules import ALL
from leaderboard.attestations import REPLAY, Attestation, require_writable
from leaderboard.records import Record
from leaderboard.replay.agreement import tolerance_of
from leaderboard.replay.bias_test import leanings, together
from leaderboard.replay.compare import MOST_DIFFERENCES, Recheck
from leaderboard.replay.devices import accuses, rounds_otherwise
from leaderboard.replay.rerun import ask_again, now, recorded_model
from leaderboard.replay.row_choice import draw


def replay(record: Record, count: int | None, nonce: str, by: str, model: str | None = None) -> Attestation:
    """Asks `count` sequences of a record again, all if None; a dialogue is one.

    nonce: what decides which ones, given after submission. by: who asks. model: a folder in the place of the recorded
    id. Raises UserError where the recorded model cannot be had, or is another one by now, and for a nonce or a name
    that no attestation takes.
    """
    require_writable(by, nonce)
    run, jobs = record.run, record.run.jobs()
    sizes = {job.name: job.rows for job in jobs}
    of = sum(sizes.values())
    chosen = draw(record.digest, nonce, sizes, of if count is None else count)
    tables = {job.name: _table(run, job) for job in jobs if job.name in chosen}
    again = recorded_model(run, jobs, model)
    recheck = Recheck(again, tolerance_of(run.facts["model"]))
    asked = sum(map(len, chosen.values()))
    with Bar(total=asked, desc="replay", unit="row") as bar:
        for said in ask_again(again, jobs, chosen):
            recheck.check(said, tables[said.job.name])
            bar.update(len(said.ids))
    findings, answers = recheck.findings, together(recheck.tallies)
    differences = [*leanings(recheck.tallies, findings.flips), *findings.differences]
    details = {
        "asked": asked,
        "of": of,
        "compared": findings.compared,
        "largest": findings.largest,
        "tolerance": asdict(recheck.tolerance),
        "flips": findings.flips,
        "right": {"recorded": answers.recorded, "replayed": answers.replayed, "of": answers.of},
        "tasks": {name: ids if len(ids) < sizes[name] else ALL for name, ids in chosen.items()},
        "differences": differences[:MOST_DIFFERENCES],
        "environment": environment(again.device),
    }
    recorded, here = run.facts["environment"].get("device"), environment(again.device)["device"]
    if differences and rounds_otherwise(run.facts["model"], recorded, here) and not accuses(recheck.tallies):
        details["elsewhere"] = recorded
    return Attestation(record.digest, REPLAY, now(), by, nonce, not differences, details)


def _table(run: Run, job: Job) -> pa.Table:
    return observations.read(run.require_table(job), observations.schema_of(job.task, job.config))
