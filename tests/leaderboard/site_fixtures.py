"""A site of known records, built once: a run of the LSTM, and records of generated answers."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fflm_data import get_config
from harness.cli import main
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.runs import observations
from harness.runs.files import write_json
from harness.runs.recorded_jobs import data_facts
from harness.runs.run import RUN_SCHEMA, Run, read_run
from harness.runs.version import HARNESS_VERSION
from harness.scoring.scores import score_run
from harness.tasks import get_task
from leaderboard.attestations import Attestation, write_attestation
from leaderboard.hub.reported import Reported, ReportedScore, write_reported
from leaderboard.records import Record, find_records, read_record
from leaderboard.replay.row_sampling import draw, fresh_seed
from leaderboard.site import build, findings
from leaderboard.site.rows import group_rows
from leaderboard.site.site_data import assemble
from leaderboard.site.sources import Source
from leaderboard.submission_file import Submission
from leaderboard.verification_level import VerificationLevel
from tests.leaderboard.record_edits import PRETRAINED, TRAINED, make_record, resign

HOSTILE = (
    "</td><script>document.title='owned'</script><img src=x onerror=alert(1)>{{ 7 * 7 }}\"' onload=alert(1)\u202e\x07"
    "\r=cmd()"
)
EPOCH = "1790000000"  # 21 September 2026
DAY = "2026-09-21"
ADDRESS = "https://board.example/fflm/"
USUAL = Prompting()
SUBMISSION = Submission("a tester", "CC-BY-4.0", PRETRAINED, "none", "2026-09-20")
REPLAYED_BADLY: dict[str, Any] = {"asked": 1, "of": 2, "gaps": []}
SCORE = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100}
GAP = {
    "task": "letters", "split": "test", "public": SCORE | {"value": 0.5825}, "fresh": SCORE, "gap": 0.0825,
    "low": 0.04, "high": 0.12,
}  # fmt: skip
REPLAYED = {
    "largest": 0.0, "tolerance": {"absolute": 1e-3, "relative": 1e-4}, "flips": 0,
    "differences": [], "environment": {},
}  # fmt: skip


def make_answers_record(
    records: Path,
    model: str,
    *,
    wrong: int,
    tasks: tuple[str, ...] = ("letters",),
    rows: int | None = None,
    submission: Submission = SUBMISSION,
    prompting: Prompting = USUAL,
    wrong_answer: str = "",
    **facts: Any,
) -> Path:
    """Writes a record whose every `wrong`-th answer is wrong (`wrong_answer`, or one too many); returns its folder."""
    jobs = [
        Job(get_task(name), config, "test", rows or config.rows("test"), prompting)
        for name in tasks
        for config in [get_config(get_task(name).config)]
    ]
    draft = records / "draft"
    (draft / "observations").mkdir(parents=True)
    known = {
        "id": model,
        "revision": "a" * 40,
        "class": "LlamaForCausalLM",
        "parameters": 5_000_000,
        "dtype": "bfloat16",
    }
    top = {name: facts.pop(name) for name in ("command", "created", "environment") if name in facts}
    write_json(
        draft / "run.json",
        {
            "schema": RUN_SCHEMA,
            "id": "0" * 12,
            "created": "2026-09-01T10:00:00+00:00",
            "command": f"harness eval --model {model}",
            "model": known | facts,
            "data": data_facts(jobs),
            "environment": {"fflm": HARNESS_VERSION, "device": "cpu"},
            "starts": [],
        }
        | top,
    )
    run = read_run(draft)
    for job in jobs:
        target = [answer for _, chunk in job.chunks() for answer in chunk["answer"].to_pylist()]
        output = [(wrong_answer or str(one + 1)) if row % wrong == 0 else str(one) for row, one in enumerate(target)]
        with observations.writing(run.table(job), observations.COMPLETIONS) as writer:
            writer.write_table(
                pa.table([range(job.rows), [0] * job.rows, output, [1] * job.rows], schema=observations.COMPLETIONS)
            )
    write_json(draft / "result.json", score_run(run))
    write_json(draft / "submission.json", submission.to_json())
    return resign(draft, records)


def attest(folder: Path, kind: str, agrees: bool | None, **details: Any) -> None:
    """Writes an attestation of a record. asked: number of replayed sequences, default all. at: time."""
    nonce = None if kind == "withdrawn" else "n0nce"
    record = read_record(folder)
    digest, at = record.digest, details.pop("at", "2026-09-10T08:00:00Z")
    if kind == "replay":
        details = REPLAYED | _rows(record, details.pop("asked", None)) | details
    if kind == "fresh":
        details |= {"seed": fresh_seed(record.run.facts["model"]["revision"], "n0nce")}
    write_attestation(folder, Attestation(digest, kind, at, "a maintainer", nonce, agrees, details))


def _rows(record: Record, asked: int | None) -> dict[str, Any]:
    """Returns the rows and counts of a replay. asked: number of sequences, None for all."""
    sizes = {job.name: job.rows for job in record.run.jobs()}
    of = sum(sizes.values())
    drawn = draw(record.digest, "n0nce", sizes, asked or of)
    tasks = {name: "all" if len(ids) == sizes[name] else ids for name, ids in drawn.items()}
    return {"asked": asked or of, "of": of, "compared": compared_of(record, tasks), "tasks": tasks}


def compared_of(record: Record, tasks: Mapping[str, Any]) -> int:
    """Returns how many numbers and tokens a replay of some rows compares, counted line by line."""
    count = 0
    for name, ids in tasks.items():
        for line in pq.read_table(record.folder / "observations" / f"{name}.parquet").to_pylist():
            if ids == "all" or line["id"] in ids:
                count += 1 + (max(line["tokens"], 0) if "tokens" in line else len(line["logprobs"]))
    return count


class Built(NamedTuple):
    """A site, its records, and its index.json."""

    folder: Path
    records: Path
    index: dict[str, Any]

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows by slug."""
        return {row["slug"]: row for row in self.index["models"]}

    def slug(self, model: str) -> str:
        """Returns the slug of the only row of a model."""
        (slug,) = (row["slug"] for row in self.index["models"] if row["id"] == model)
        return str(slug)


def make_records(root: Path) -> Path:
    """Writes records of all kinds: whole and partial, of both divisions, disputed, superseded, withdrawn."""
    records = root / "records"
    records.mkdir()
    assert main(["eval", "--task", "flipflop", "--limit", "6", "--output", str(root / "runs")]) == 0
    (run,) = root.glob("runs/*/*")
    make_record(run, records, Submission("a tester", "MIT", TRAINED, "none", "2026-09-20"))
    for number, wrong in enumerate((2, 3, 4, 5, 7, 200)):
        make_answers_record(
            records, f"org/model-{number}", wrong=wrong, parameters=6 * 10 ** (number + 5), revision=f"{number}" * 40
        )
    both = make_answers_record(
        records, "org/both", wrong=9, tasks=("letters", "arithmetic"), **{"class": "GPT2LMHeadModel"}
    )
    make_answers_record(records, "org/shots", wrong=6, prompting=Prompting(shots=5, system="Be brief."))
    make_answers_record(records, "org/partial", wrong=1000, rows=30)
    old = make_answers_record(records, "org/new", wrong=3, created="2026-08-01T00:00:00+00:00")
    make_answers_record(
        records, "org/new", wrong=8, submission=Submission("a", "MIT", PRETRAINED, "", "2026-09-02", (old.name,))
    )
    gone = make_answers_record(records, "org/gone", wrong=13)
    attest(gone, "withdrawn", None, reason="it was another model")
    attest(both, "fresh", None, seed=7, environment={}, gaps=[GAP])
    attest(both, "replay", True, asked=4)
    disputed = make_answers_record(records, "org/disputed", wrong=11)
    attest(disputed, "replay", False, asked=4, differences=["row 3 says 2"])
    score = ReportedScore("letters", "test", 0.625, "2026-09-01", "https://example.org/card", "as stated", "org/fflm")
    write_reported(root / "reported", Reported("org/elsewhere", (score,)))
    return records


def built(root: Path) -> Built:
    """Builds the site of `make_records` below a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FFLM_CACHE", str(root / "cache"))
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        records = make_records(root)
        build.command(root / "site", [], records, ADDRESS)
    return Built(root / "site", records, json.loads((root / "site" / "index.json").read_text(encoding="utf-8")))


def index_of(records: Path, runs: tuple[Path, ...] = ()) -> list[dict[str, Any]]:
    """Builds a site beside some records and returns its rows."""
    out = records.parent / "site"
    build.command(out, list(runs), records, None)
    models = json.loads((out / "index.json").read_text(encoding="utf-8"))["models"]
    assert isinstance(models, list)
    return models


def hostile_site(site: Built, folder: Path) -> Path:
    """Builds a site with a row in which every text is an attack, including texts that verification refuses."""
    records = {record.run.facts["model"]["id"]: record for record in find_records(site.records)}
    record = records["org/model-0"]
    found = findings.find_one(record.run, DAY)
    wrong = [
        replace(one, prompt=HOSTILE, target=HOSTILE, predicted=HOSTILE, detail=HOSTILE) for one in found.error_examples
    ]
    asked = {**record.run.facts["data"]["tasks"]["letters"], "prompting": asdict(Prompting(HOSTILE, 1, HOSTILE))}
    facts = record.run.facts | {
        "command": HOSTILE,
        "environment": {"device": HOSTILE, HOSTILE: HOSTILE},
        "model": {"id": HOSTILE, "revision": "d" * 40, "dtype": HOSTILE, "class": HOSTILE, "parameters": 7,
                  "adapter": {"id": HOSTILE}, HOSTILE: HOSTILE},
        "data": record.run.facts["data"] | {"tasks": {"letters": asked}},
    }  # fmt: skip
    submission = Submission(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    attestations = tuple(
        Attestation(record.digest, kind, HOSTILE, HOSTILE, HOSTILE, False, {"differences": [HOSTILE], **REPLAYED_BADLY})
        for kind in ("replay", "fresh")
    )
    source = Source(
        Run(record.run.folder, facts), replace(found, error_examples=tuple(wrong)), record.digest,
        VerificationLevel("rescored", HOSTILE, HOSTILE), submission, record.place, attestations,
    )  # fmt: skip
    withdrawn = Attestation("e" * 64, "withdrawn", HOSTILE, HOSTILE, None, None, {"reason": HOSTILE})
    gone = replace(source, digest="e" * 64, attestations=(withdrawn,))
    score = ReportedScore(*(HOSTILE, HOSTILE), 0.5, HOSTILE, f"javascript:{HOSTILE}", HOSTILE, HOSTILE)
    board = assemble(group_rows([source, gone]), [Reported(HOSTILE, (score,))], DAY, "")
    folder.mkdir()
    build.write(board, [source], folder)
    return folder
