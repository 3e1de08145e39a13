"""Exports are valid for the validator of Every Eval Ever."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from harness.errors import UserError
from harness.tasks import CompletionTask
from leaderboard.exchange import export as exchange
from leaderboard.records import Record, find_records, read_record
from leaderboard.submission_file import Submission
from tests.conftest import CACHE, Run, unpacked
from tests.leaderboard.external_runs import as_evaluated, external_run

EVERY_EVAL_EVER = "every-eval-ever==0.3.0"
# The package requires Python 3.12, but the parts imported here run on earlier versions.
PIP = ("--python-version", "3.12", "--only-binary=:all:")
SUBMISSION = Submission(
    "somebody", "CC-BY-4.0", "pretrained", 'none; "no overlap" is known', "2026-11-20", ("0123456789ab",)
)
Validate = Callable[[Path], Any]


@pytest.fixture
def validate(monkeypatch: pytest.MonkeyPatch) -> Validate:
    """Returns the report of the project's validator on a file, with all checks."""
    monkeypatch.syspath_prepend(str(unpacked(EVERY_EVAL_EVER, CACHE / "every-eval-ever-0.3.0", options=PIP)))
    from every_eval_ever.validator.validation_core import validate_file

    def report(path: Path) -> Any:
        root = next(folder.parent for folder in path.parents if folder.name == "data")
        there = {file.relative_to(root).as_posix() for file in root.rglob("*")}

        def read(place: str) -> str:
            return (root / place).read_text(encoding="utf-8")

        place = path.relative_to(root).as_posix()
        return validate_file(
            path, repo_path=place, available_files=there, read_repo_file=read, run_semantic_checks=True
        )

    return report


def findings(report: Any) -> list[Any]:
    return [*report.errors, *report.warnings]


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A record of external answers, every seventh of which is wrong."""
    run = external_run(tmp_path_factory.mktemp("supplied"), "--shots", "2", "--system", "Count.", model="an-org/m")
    (run.folder / "submission.json").write_text(json.dumps(SUBMISSION.to_json()), encoding="utf-8")
    return read_record(run.folder)


@pytest.mark.parametrize("model", ["fflm--lstm", "local--SmolLM2-135M-Instruct.Q4_1"])
def test_exports_match_the_schema(validate: Validate, cli: Run, tmp_path: Path, model: str) -> None:
    """For the bundled records: every kind of answer, and whole splits of reads."""
    record = next(record for record in find_records() if record.folder.parts[-3] == model)
    done = cli("harness", "leaderboard", "export", record.folder, "--out", "out")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("out/data/fflm/*/*/*.json")
    assert done.stdout == f"{path.relative_to(tmp_path)}\n"
    assert findings(validate(path)) == []
    found = {one["evaluation_result_id"]: one for one in json.loads(path.read_text())["evaluation_results"]}
    stored = json.loads((record.folder / "result.json").read_text(encoding="utf-8"))["scores"]
    whole = [
        one for one in stored if one["group"] is None and one["metric"] in exchange.METRICS and one["value"] is not None
    ]
    assert len(found) == len(whole) > 5
    for score in whole:
        details = found[f"{score['task']}.{score['split']}.{score['metric']}"]["score_details"]
        interval = details["uncertainty"].get("confidence_interval", {})
        assert (details["score"], details["uncertainty"]["num_samples"]) == (score["value"], score["n"])
        assert (interval.get("lower"), interval.get("upper")) == (score["low"], score["high"])
    require_same_answers(validate, record, path)
    left = {one["metric"] for one in stored if one["group"] is None} - set(exchange.METRICS)
    assert left <= {"mean_signed_error", "changes_of_mind"}


def require_same_answers(validate: Validate, record: Record, path: Path) -> None:
    """Asserts that the exported samples are valid, equal the tables, and give the exported accuracies."""
    beside = path.with_name(f"{path.stem}_samples.jsonl")
    jobs = [job for job in record.run.jobs() if isinstance(job.task, CompletionTask)]
    assert beside.exists() == bool(jobs)
    if not jobs:
        return
    assert findings(validate(beside)) == []
    lines = [json.loads(line) for line in beside.read_text(encoding="utf-8").splitlines()]
    results = {one["evaluation_result_id"]: one for one in json.loads(path.read_text())["evaluation_results"]}
    for job in jobs:
        mine = [line for line in lines if line["evaluation_name"] == job.name]
        details = results[f"{job.name}.accuracy"]["score_details"]
        assert {line["evaluation_result_id"] for line in mine} == {f"{job.name}.accuracy"}
        assert len(mine) == details["uncertainty"]["num_samples"] == job.rows
        assert sum(line["evaluation"]["score"] for line in mine) / len(mine) == pytest.approx(details["score"])
        written = pq.read_table(record.run.table(job))["output"].to_pylist()
        spoken = [
            line["output"]["raw"]
            if line["interaction_type"] == "single_turn"
            else [message["content"] for message in line["messages"][1::2]]
            for line in mine
        ]
        assert [output for outputs in spoken for output in outputs] == written


def test_export_has_the_facts_of_a_record(validate: Validate, external: Record, tmp_path: Path) -> None:
    path = exchange.write_export(external, tmp_path)
    assert findings(validate(path)) == []
    assert UUID(path.stem).version == 4
    assert exchange.write_export(external, tmp_path / "again").read_bytes() == path.read_bytes()
    require_same_answers(validate, external, path)
    (first, second, *_) = path.with_name(f"{path.stem}_samples.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["input"]["raw"] == 'How many times does the letter "r" occur in the word "strawberry"?'
    wrong, right = json.loads(first), json.loads(second)
    assert (wrong["input"]["reference"], wrong["output"]["raw"]) == (["3"], ["4"])
    assert wrong["answer_attribution"][0]["extracted_value"] == "4"
    assert (wrong["evaluation"]["is_correct"], right["evaluation"]["is_correct"]) == (False, True)
    facts = json.loads(path.read_text(encoding="utf-8"))
    assert facts["model_info"]["id"] == "an-org/m"
    details = facts["model_info"]["additional_details"]
    assert details["revision"] == external.run.facts["model"]["revision"]
    assert (details["deployment_type"], "parameters" in details, "dtype" in details) == ("unknown", False, False)
    assert (facts["eval_library"]["name"], facts["eval_library"]["version"]) == (
        "fflm",
        external.run.facts["environment"]["fflm"],
    )
    source = facts["source_metadata"]
    assert (source["source_organization_name"], source["source_type"]) == ("somebody", "evaluation_run")
    assert source["additional_details"]["disclosure"] == SUBMISSION.disclosure
    assert source["additional_details"]["record_sha256"] == external.digest
    assert facts["retrieved_timestamp"] == "1795132800"  # the day of submission, midnight in UTC
    (accuracy,) = (one for one in facts["evaluation_results"] if one["metric_config"]["metric_id"] == "accuracy")
    assert accuracy["score_details"]["score"] == pytest.approx(1 - 143 / 1000)
    assert accuracy["score_details"]["details"]["errors"] == "143"
    metric = accuracy["metric_config"]
    assert (metric["min_score"], metric["max_score"], metric["lower_is_better"]) == (0, 1, False)
    data = accuracy["source_data"]["additional_details"]
    assert (data["config"], data["split"], data["seed"], data["rows"]) == ("letters", "test", "0", "1000")
    asked = accuracy["generation_config"]
    assert "temperature" not in asked["generation_args"]
    assert (asked["additional_details"]["shots"], asked["additional_details"]["system_prompt"]) == ("2", "Count.")


def test_export_of_a_hub_model(validate: Validate, external: Record, tmp_path: Path) -> None:
    run = external_run(tmp_path, "--chat", "off", model="an-org/m")
    template = "a" * 64
    facts = run.facts["data"]["tasks"]["letters"]["prompting"]
    facts["template"] = template
    run.facts["environment"]["transformers"] = "5.23.0"
    record = Record(as_evaluated(run, quantization="4bit"), SUBMISSION, external.digest)
    path = exchange.write_export(record, tmp_path)
    assert findings(validate(path)) == []
    message = json.loads(path.read_text(encoding="utf-8"))
    assert message["model_info"]["inference_engine"] == {"name": "transformers", "version": "5.23.0"}
    assert message["model_info"]["additional_details"]["model_availability"] == "open_weights"
    for one in message["evaluation_results"]:
        details = one["generation_config"]["additional_details"]
        assert (details["dtype"], details["quantization"], details["chat_template_sha256"]) == (
            "bfloat16",
            "4bit",
            template,
        )
        assert one["generation_config"]["generation_args"]["temperature"] == 0


def no_score(facts: dict[str, Any]) -> None:
    del facts["evaluation_results"][0]["score_details"]["score"]


TAMPERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "another field": lambda facts: facts.update(more=1),
    "no model": lambda facts: facts.pop("model_info"),
    "no score": no_score,
    "a score in per cent": lambda facts: facts["evaluation_results"][0]["score_details"].update(score=85.7),
    "details that are no text": lambda facts: facts["source_metadata"]["additional_details"].update(n=1),
    "another relation": lambda facts: facts["source_metadata"].update(evaluator_relationship="friend"),
    "no bounds": lambda facts: facts["evaluation_results"][0]["metric_config"].update(min_score=None),
    "another model": lambda facts: facts["model_info"].update(id="an-org/other"),
}


@pytest.mark.parametrize("change", TAMPERED)
def test_validator_detects_invalid_exports(validate: Validate, external: Record, tmp_path: Path, change: str) -> None:
    path = exchange.write_export(external, tmp_path)
    facts = json.loads(path.read_text(encoding="utf-8"))
    TAMPERED[change](facts)
    path.write_text(json.dumps(facts), encoding="utf-8")
    assert findings(validate(path))


@pytest.mark.parametrize("change", [{"evaluation_id": "other"}, {"output": None}, {"more": 1}, {"sample_id": 3}])
def test_validator_detects_invalid_samples(
    validate: Validate, external: Record, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = exchange.write_export(external, tmp_path)
    beside = path.with_name(f"{path.stem}_samples.jsonl")
    first, *others = beside.read_text(encoding="utf-8").splitlines(keepends=True)
    beside.write_text("".join([json.dumps(json.loads(first) | change) + "\n", *others]), encoding="utf-8")
    assert findings(validate(beside))


def test_export_errors(external: Record, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        exchange.command(tmp_path, tmp_path / "out")
    run = as_evaluated(external_run(tmp_path), id="bare")
    with pytest.raises(UserError, match="bare has no organisation"):
        exchange.write_export(Record(run, SUBMISSION, external.digest), tmp_path / "out")
    assert not (tmp_path / "out").exists()
