"""Loads the model of a record with its recorded options, and runs rows with their recorded prompts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fflm_data.arrays import Ints
from harness.engine.engine import Engine
from harness.errors import UserError
from harness.evaluation.distributed import World
from harness.evaluation.inference_loop import observe
from harness.models.loading import describe, load
from harness.models.model_name import is_local
from harness.models.model_request import DTYPES, QUANTIZATIONS, ModelRequest
from harness.models.reference import MODELS
from harness.models.resolve import resolve
from harness.models.revision import folder_revision
from harness.models.source import ModelSource
from harness.models.weights import fetch_weights
from harness.planning.planner import plan_rows
from harness.planning.plans import Plan
from harness.planning.work_queue import MAX_ROWS, MAX_ROWS_BY_CANDIDATE, WorkItem, build_queue
from harness.prompts.chat_template import template_hash
from harness.prompts.jobs import Job
from harness.prompts.prompting import chat_template, template_marks, template_of
from harness.runs.run import Run
from leaderboard.untrusted_text import quote

SAME = ("class", "parameters", "dtype")


@dataclass(frozen=True)
class ReplayModel:
    """A loaded model of a record. continuations: tasks whose answers are scored as continuations."""

    source: ModelSource
    engine: Engine
    continuations: frozenset[str]

    @property
    def device(self) -> Any:
        """The device that it runs on."""
        return self.engine.model.device


@dataclass(frozen=True)
class ReplayedRows:
    """Outputs for selected rows of a job. ids: ascending. rows, plan: in the order of ids. table: observations, ordered
    as in a run folder."""

    job: Job
    ids: Ints
    rows: pa.Table
    plan: Plan
    table: pa.Table


def utc_now() -> str:
    """Returns the time, ISO 8601 in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def load_recorded_model(run: Run, jobs: Sequence[Job], model: str | None = None) -> ReplayModel:
    """Loads the model of a run at its revision. model: a folder to use instead of the recorded id.

    Raises UserError for external outputs, or if model, revision, tokenizer or chat template differ from the record.
    """
    source = resolve_recorded_model(run, model)
    facts = run.facts["model"]
    template = chat_template(source.tokenizer)
    found = None if template is None else template_hash(template)
    for job in jobs:
        if job.prompting.template is not None:
            _require_same("chat template", job.prompting.template, found)
        if job.prompting.marks:
            _require_same("marks of thinking", job.prompting.marks, template_marks(source.tokenizer))
    if template is not None and (stated := facts.get("chat_template")) is not None:
        _require_same("chat template", stated, template_of(source.tokenizer).facts(source.template_owner))
    fetch_weights(source)
    loaded = load(source, World().device)
    strict = facts.get("strict") is True
    described = describe(source, loaded, strict)
    # Runs of earlier versions lack the vocabulary and the training statement.
    for name in (*SAME, *sorted({"vocabulary", "training"} & facts.keys())):
        _require_same(name, facts.get(name), described.get(name))
    return ReplayModel(source, Engine(loaded, source.tokenizer, strict=strict), continuation_tasks(run))


def resolve_recorded_model(run: Run, model: str | None = None) -> ModelSource:
    """Returns the source of a run's model without loading weights. Parameters and errors as `load_recorded_model`."""
    if run.external:
        raise UserError(f"{run.folder} has external outputs, which cannot be replayed. Name another record.")
    facts = run.facts["model"]
    try:
        source = _source(run, facts, model)
        _require_same("tokenizer", facts["tokenizer"]["sha256"], source.tokenizer_hash)
        continuation_tasks(run)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run.folder}/run.json lacks a field of the model ({error!r}). Restore the file.") from None
    return source


def _source(run: Run, facts: Mapping[str, Any], model: str | None) -> ModelSource:
    """Returns the source of the model, without weights."""
    if model is None and is_local(facts["id"]):
        raise UserError(f"{facts['id']} was a local folder. Name a folder with the same files with --model.")
    name = model or facts["id"]
    adapter = _adapter(facts["adapter"])
    if model is None:
        _require_no_folder(name, adapter)
    else:
        _require_files(Path(model), facts)
    source = resolve(
        ModelRequest(
            name,
            None if model is not None or name in MODELS else facts["revision"],
            _one_of(facts, "requested_dtype", DTYPES),
            facts["gguf_file"],
            _one_of(facts, "quantization", (None, *QUANTIZATIONS)),
            adapter,
            _attention(facts["attention"]),
            compile=facts["compiled"] is True,
        )
    )
    _require_same("revision", facts["revision"], source.revision)
    if source.adapter and facts["adapter"]:
        _require_same("revision of the adapter", facts["adapter"]["revision"], source.adapter.revision)
    return source


def _require_no_folder(*names: str | None) -> None:
    """Raises UserError if a recorded Hub name is also a local path, which would be loaded instead."""
    for name in names:
        if name is not None and name not in MODELS and Path(name).exists():
            raise UserError(
                f"{quote(name)} is a name of the Hub, and this folder has a file or folder of that name. Run the "
                "command in another folder."
            )


def _require_files(folder: Path, facts: Mapping[str, Any]) -> None:
    """Raises UserError unless a folder has the recorded files. Nothing has been loaded yet."""
    needed = folder / (facts["gguf_file"] or "config.json")
    if not needed.is_file():
        raise UserError(f"{needed} does not exist. Name the folder of the recorded model with --model.")
    try:
        revision = folder_revision(folder, facts["gguf_file"])
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}). Name another folder with --model.") from None
    _require_same("revision", facts["revision"], revision)


def _one_of(facts: Mapping[str, Any], name: str, known: Sequence[Any]) -> Any:
    if facts[name] not in known:
        raise KeyError(name)
    return facts[name]


def _adapter(adapter: Mapping[str, str] | None) -> str | None:
    """Returns the adapter as the command line names it."""
    if adapter is None:
        return None
    if is_local(adapter["id"]):
        raise UserError(
            f"the adapter {adapter['id']} was a local folder, which cannot be replayed. Name another record."
        )
    return f"{adapter['id']}@{adapter['revision']}"


def _attention(name: str | None) -> str | None:
    """Returns the attention implementation. A name with a slash would download a kernel from the Hub."""
    if name is not None and not re.fullmatch(r"\w+", name, re.ASCII):
        raise UserError(f"the attention {quote(name)} is not part of transformers. Replay another record.")
    return name


def _require_same(name: str, recorded: object, found: object) -> None:
    if recorded != found:
        raise UserError(
            f"the {name} is {quote(found)}, and {quote(recorded)} was recorded. Use the recorded model and the "
            "versions in its environment."
        )


def continuation_tasks(run: Run) -> frozenset[str]:
    """Returns the tasks of a run whose answers were scored as continuations."""
    tasks = run.facts["data"]["tasks"]
    return frozenset(name for name, facts in tasks.items() if facts["rendering"]["answers"] == "continuations")


def replay_rows(model: ReplayModel, jobs: Sequence[Job], chosen: Mapping[str, Sequence[int]]) -> Iterator[ReplayedRows]:
    """Yields the outputs for the chosen rows (ids by job), one work item at a time."""
    for job in jobs:
        if job.name not in chosen:
            continue
        skipped = np.ones(job.rows, dtype=bool)
        skipped[list(chosen[job.name])] = False
        continuations = job.task.name in model.continuations
        for item in build_queue([job], [skipped], 1, MAX_ROWS_BY_CANDIDATE if continuations else MAX_ROWS):
            yield _run_rows(model, job, np.sort(item.ids), continuations)


def _run_rows(model: ReplayModel, job: Job, ids: Ints, continuations: bool) -> ReplayedRows:
    item = WorkItem(0, ids, 0)
    rows = item.rows([job])
    plan = plan_rows(job, model.source, rows, continuations)
    parts = observe([job], iter([item]), lambda _item, _rows: plan, model.engine)
    return ReplayedRows(job, ids, rows, plan, concat_sorted([part.table for part in parts]))


def concat_sorted(tables: Sequence[pa.Table]) -> pa.Table:
    """Returns observations of a job as one table, ordered as in a run folder."""
    table = pa.concat_tables(tables)
    order = [(name, "ascending") for name in ("id", "position", "turn") if name in table.schema.names]
    return table.sort_by(order).combine_chunks()
