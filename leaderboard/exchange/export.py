"""`harness leaderboard export`: writes a record in the schema of Every Eval Ever, a format for collections of results.

    data/fflm/<org>/<model>/<uuid>.json             one record; the uuid is derived from its digest
    data/fflm/<org>/<model>/<uuid>_samples.jsonl    the model's completions, one per line (`samples.py`)

Only scores of whole splits are exported, with their intervals. Scores of groups (by distance, by stratum) are left in
the record: an average over an export would count their answers twice.
"""

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

from fflm_data.terminal import echo
from harness.errors import UserError
from harness.models.model_name import is_local
from harness.prompts.jobs import Job
from harness.runs.files import require_writable, write_json
from harness.runs.run import EXTERNAL
from harness.scoring.scores import score_run
from harness.tasks import CompletionTask, DialogueTask
from leaderboard.exchange.samples import samples
from leaderboard.records import Record, read_record

SCHEMA_VERSION = "0.3.0"
COLLECTION = "fflm"
INTERVAL = "95%, clustered by row or by fact (harness.scoring.statistics)"
INFINITE = "Infinity"


class Metric(NamedTuple):
    """Describes a score: text, kind, direction and range (a number or INFINITE)."""

    about: str
    kind: str
    lower_is_better: bool = False
    low: float | str = 0
    high: float | str = 1
    unit: str = "proportion"


METRICS = {
    "accuracy": Metric("right answers, of all", "accuracy"),
    "skill": Metric("(accuracy - best baseline) / (1 - best baseline)", "skill", low=f"-{INFINITE}"),
    "accuracy_among_symbols": Metric("reads whose target symbol is the most probable symbol", "accuracy"),
    "sequences_without_glitch": Metric("sequences whose every read is right", "accuracy"),
    "accuracy_written": Metric("rows whose target greedy decoding writes", "accuracy"),
    "mean_probability": Metric("probability of the target among the candidates", "probability"),
    "mean_reciprocal_rank": Metric("reciprocal rank of the target among the candidates", "mrr"),
    "letter_accuracy": Metric("letters with the right count", "accuracy"),
    "mean_absolute_error": Metric(
        "absolute difference of prediction and target", "mae", True, high=INFINITE, unit="count"
    ),
    "parse_failures": Metric("outputs without a readable answer", "error_rate", True),
    "refusals": Metric("outputs that refuse to answer", "error_rate", True),
    "cut_off": Metric("outputs that reach the token limit", "error_rate", True),
    "turns_without_number": Metric("turns of dialogues without a number", "error_rate", True),
    "not_a_number": Metric("answers with non-finite logits, excluded from the other scores", "error_rate", True),
}


def command(record: Path, out: Path) -> None:
    """Exports a record below `out` and prints the file. Raises UserError if the folder has no record."""
    echo(write_export(read_record(record), out))


def write_export(record: Record, out: Path) -> Path:
    """Writes the files of a record below `out` and returns the first."""
    place = export_place(record)
    path = out / place
    require_writable(path.parent)
    document = export(record)
    shared = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": document["evaluation_id"],
        "model_id": document["model_info"]["id"],
    }
    # ASCII: some readers split lines at Unicode line separators.
    lines = [json.dumps(line) + "\n" for line in samples(record.run, shared)]
    beside = place.with_name(f"{place.stem}_samples.jsonl")
    if lines:
        content = "".join(lines).encode()
        (out / beside).write_bytes(content)
        document["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": beside.as_posix(),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(content).hexdigest(),
            "total_rows": len(lines),
        }
    write_json(path, document)
    return path


def export_place(record: Record) -> PurePosixPath:
    """Returns the path of a record in a collection. Raises UserError for a model id without an organisation."""
    model = str(record.run.facts["model"]["id"])
    if model.count("/") != 1:
        raise UserError(f"{model} has no organisation. Export a record of ORG/NAME.")
    return PurePosixPath("data", COLLECTION, *model.split("/"), f"{UUID(hex=record.digest[:32], version=4)}.json")


def export(record: Record) -> dict[str, Any]:
    """Returns the aggregate document of a record, with every score recomputed."""
    run = record.run
    jobs = {(job.task.name, job.split): job for job in run.jobs()}
    created = datetime.fromisoformat(run.facts["created"])
    submitted = datetime.fromisoformat(record.submission.submitted).replace(tzinfo=timezone.utc)
    model = str(run.facts["model"]["id"])
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{COLLECTION}/{model}/{int(created.timestamp())}",
        "evaluation_timestamp": run.facts["created"],
        "retrieved_timestamp": str(int(submitted.timestamp())),
        "source_metadata": _source(record),
        "eval_library": {
            "name": "fflm",
            "version": str(run.facts["environment"].get("fflm", "unknown")),
            "additional_details": _texts(run.facts["environment"]),
        },
        "model_info": _model(record),
        "evaluation_results": [
            _result(record, jobs[score["task"], score["split"]], score)
            for score in score_run(run)["scores"]
            if score["metric"] in METRICS and score["group"] is None and score["value"] is not None
        ],
    }


def _source(record: Record) -> dict[str, Any]:
    """Returns the source of a record. The relation of the evaluator to the model is only known from `disclosure`."""
    submission = record.submission
    return {
        "source_name": "fflm leaderboard",
        "source_type": "evaluation_run",
        "source_organization_name": submission.contact,
        "evaluator_relationship": "other",
        "additional_details": _texts(
            {
                "disclosure": submission.disclosure,
                "division": submission.division,
                "licence_of_outputs": submission.licence,
                "record": record.place.as_posix(),
                "record_sha256": record.digest,
                "supersedes": list(submission.supersedes),
                "withdrawn": record.withdrawn.details.get("reason") if record.withdrawn else None,
            }
        ),
    }


def _model(record: Record) -> dict[str, Any]:
    facts = dict(record.run.facts["model"])
    name = str(facts.pop("id"))
    external = record.run.external
    environment = record.run.facts["environment"]
    engine = (
        {}
        if external
        else {"inference_engine": _texts({"name": "transformers", "version": environment.get("transformers")})}
    )
    here = {
        "deployment_type": "unknown" if external else "self_deployed",
        "model_availability": "unknown" if external or is_local(name) else "open_weights",
    }
    known = {key: value for key, value in facts.items() if value != EXTERNAL and not (external and key == "parameters")}
    return {
        "name": name,
        "id": name,
        "developer": name.split("/", maxsplit=1)[0],
        **engine,
        "additional_details": here | _texts(known),
    }


def _result(record: Record, job: Job, score: dict[str, Any]) -> dict[str, Any]:
    metric = METRICS[score["metric"]]
    uncertainty: dict[str, Any] = {"num_samples": score["n"]}
    if score["low"] is not None and score["high"] is not None:
        uncertainty["confidence_interval"] = {
            "lower": score["low"], "upper": score["high"], "confidence_level": 0.95, "method": INTERVAL
        }  # fmt: skip
    return {
        "evaluation_result_id": f"{job.name}.{score['metric']}",
        "evaluation_name": job.name,
        "evaluation_timestamp": record.run.facts["created"],
        "source_data": {
            "dataset_name": f"fflm/{job.config.name}",
            "source_type": "other",
            "additional_details": _texts(
                {
                    "generator": record.run.facts["data"]["generator"],
                    "config": job.config.name,
                    "split": job.split,
                    "seed": job.config.seed,
                    "parameters": job.config.parameters(),
                    "fingerprint": job.config.fingerprint(),
                    "rows": job.rows,
                    "rows_of_split": job.config.rows(job.split),
                }
            ),
        },
        "metric_config": {
            "evaluation_description": metric.about,
            "metric_id": score["metric"] if score["metric"] == "accuracy" else f"fflm.{score['metric']}",
            "metric_name": score["metric"].replace("_", " "),
            "metric_kind": metric.kind,
            "metric_unit": metric.unit,
            "lower_is_better": metric.lower_is_better,
            "score_type": "continuous",
            "min_score": metric.low,
            "max_score": metric.high,
        },
        "score_details": {
            "score": score["value"],
            "details": _texts({"n": score["n"], "errors": score["errors"], "best_baseline": score["baseline"]}),
            "uncertainty": uncertainty,
        },
        "generation_config": _generation(record, job),
    }


def _generation(record: Record, job: Job) -> dict[str, Any]:
    """Returns how the answers were obtained: greedy decoding or log-probabilities."""
    model = record.run.facts["model"]
    args: dict[str, Any] = {"execution_command": record.run.facts["command"]}
    details: dict[str, Any] = {"task_version": job.version, "dtype": model["dtype"]}
    details |= {key: model.get(key) for key in ("quantization", "adapter", "gguf_file", "attention")}
    if isinstance(job.task, CompletionTask):
        prompting = job.prompting
        args |= {"max_tokens": prompting.max_new_tokens(job.task), "reasoning": prompting.thinking > 0}
        args |= {} if record.run.external else {"temperature": 0.0}
        details |= {
            "shots": prompting.shots,
            "chat_template_sha256": None if prompting.template == EXTERNAL else prompting.template,
            "system_prompt": prompting.system,
            "thinking_tokens": prompting.thinking,
            "turns": prompting.turns if isinstance(job.task, DialogueTask) else None,
        }
    return {"generation_args": args, "additional_details": _texts(details)}


def _texts(facts: dict[str, Any]) -> dict[str, str]:
    """Returns the known values as strings, the only type that the schema allows there."""
    known = {key: value for key, value in facts.items() if value is not None and value != []}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in known.items()}
