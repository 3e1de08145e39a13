"""Replay: runs some or all sequences of a record again and compares the outputs with the recorded ones.

Details of the attestation: {"asked": sequences, "of": sequences, "compared": numbers and tokens, "largest": largest
difference of log-probabilities, "tolerance": {"absolute": nats, "relative": share}, "flips": changed near ties,
"right": {"recorded": answers, "replayed": answers, "of": answers}, "tasks": {"task.split": [ids] or "all"},
"differences": [texts, the first 20], "environment": {...}}. "elsewhere" is the device of the record if the differences
are explained by it and are no dispute.
"""

from dataclasses import asdict

import pyarrow as pa

from fflm_data.terminal import Bar
from harness.prompts.jobs import Job
from harness.runs import observations
from harness.runs.environment import environment
from harness.runs.run import Run
from leaderboard.attestation_rules import ALL
from leaderboard.attestations import REPLAY, Attestation, require_valid_author
from leaderboard.records import Record
from leaderboard.replay.bias_test import find_bias, merge
from leaderboard.replay.compare import MOST_DIFFERENCES, ReplayComparison
from leaderboard.replay.devices import favours_record, rounds_differently
from leaderboard.replay.rerun import load_recorded_model, replay_rows, utc_now
from leaderboard.replay.row_sampling import draw
from leaderboard.replay.tolerances import tolerance_of


def replay(record: Record, count: int | None, nonce: str, by: str, model: str | None = None) -> Attestation:
    """Runs `count` sequences of a record again, all if None. A dialogue is one sequence.

    nonce: determines the sequences, given after submission. by: author. model: a folder to use instead of the recorded
    id. Raises UserError if the recorded model is not available or has changed, or for an invalid nonce or author.
    """
    require_valid_author(by, nonce)
    run, jobs = record.run, record.run.jobs()
    sizes = {job.name: job.rows for job in jobs}
    of = sum(sizes.values())
    chosen = draw(record.digest, nonce, sizes, of if count is None else count)
    tables = {job.name: _table(run, job) for job in jobs if job.name in chosen}
    loaded = load_recorded_model(run, jobs, model)
    comparison = ReplayComparison(loaded, tolerance_of(run.facts["model"]))
    rows = sum(map(len, chosen.values()))
    with Bar(total=rows, desc="replay", unit="row") as bar:
        for replayed in replay_rows(loaded, jobs, chosen):
            comparison.compare(replayed, tables[replayed.job.name])
            bar.update(len(replayed.ids))
    findings, answers = comparison.findings, merge(comparison.tallies)
    differences = [*find_bias(comparison.tallies, findings.flips), *findings.differences]
    details = {
        "asked": rows,
        "of": of,
        "compared": findings.compared,
        "largest": findings.largest,
        "tolerance": asdict(comparison.tolerance),
        "flips": findings.flips,
        "right": {"recorded": answers.recorded, "replayed": answers.replayed, "of": answers.of},
        "tasks": {name: ids if len(ids) < sizes[name] else ALL for name, ids in chosen.items()},
        "differences": differences[:MOST_DIFFERENCES],
        "environment": environment(loaded.device),
    }
    recorded, here = run.facts["environment"].get("device"), environment(loaded.device)["device"]
    other_device = rounds_differently(run.facts["model"], recorded, here)
    if differences and other_device and not favours_record(comparison.tallies):
        details["elsewhere"] = recorded
    return Attestation(record.digest, REPLAY, utc_now(), by, nonce, not differences, details)


def _table(run: Run, job: Job) -> pa.Table:
    return observations.read(run.require_table(job), observations.schema_of(job.task, job.config))
