"""The model of a record, loaded as it was recorded, and rows put to it as they were put."""

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
from harness.evaluation.inference import observe
from harness.models.loading import describe, load
from harness.models.model_name import is_local
from harness.models.reference import MODELS
from harness.models.request import DTYPES, QUANTIZATIONS, ModelRequest
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

SAME = ("class", "parameters", "dtype")


@dataclass(frozen=True)
class Again:
    """A recorded model that can be asked again. continuations: the tasks whose answers are scored as continuations."""

    source: ModelSource
    engine: Engine
    continuations: frozenset[str]

    @property
    def device(self) -> Any:
        """Where it runs."""
        return self.engine.model.device


@dataclass(frozen=True)
class Said:
    """What was said to some rows of a job. ids: ascending; rows, plan: theirs, in that order; table: their
    observations, ordered as in a run folder."""

    job: Job
    ids: Ints
    rows: pa.Table
    plan: Plan
    table: pa.Table


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def recorded_model(run: Run, jobs: Sequence[Job], model: str | None = None) -> Again:
    """The model of a run at its revision; model: a folder in the place of the recorded id.

    Raises UserError for supplied outputs, and for another model, revision, tokenizer or chat template than the
    recorded ones.
    """
    source = recorded_source(run, model)
    facts = run.facts["model"]
    template = chat_template(source.tokenizer)
    found = None if template is None else template_hash(template)
    for job in jobs:
        if job.prompting.template is not None:
            _require("chat template", job.prompting.template, found)
        if job.prompting.marks:
            _require("marks of thinking", job.prompting.marks, template_marks(source.tokenizer))
    if template is not None and (stated := facts.get("chat_template")) is not None:
        _require("chat template", stated, template_of(source.tokenizer).facts(source.template_owner))
    fetch_weights(source)
    loaded = load(source, World().device)
    strict = facts.get("strict") is True
    described = describe(source, loaded, strict)
    # Runs of earlier versions do not state the vocabulary.
    for name in (*SAME, *({"vocabulary"} & facts.keys())):
        _require(name, facts.get(name), described[name])
    return Again(source, Engine(loaded, source.tokenizer, strict=strict), continued(run))


def recorded_source(run: Run, model: str | None = None) -> ModelSource:
    """The same without its weights, its tokenizer compared."""
    if run.external:
        raise UserError(f"{run.folder} has outputs that came from elsewhere: nobody can ask for them again")
    facts = run.facts["model"]
    try:
        source = _source(run, facts, model)
        _require("tokenizer", facts["tokenizer"]["sha256"], source.tokenizer_hash)
        continued(run)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run.folder}/run.json does not say which model was run ({error!r})") from None
    return source


def _source(run: Run, facts: Mapping[str, Any], model: str | None) -> ModelSource:
    """The model without its weights."""
    if model is None and is_local(facts["id"]):
        raise UserError(f"{facts['id']} was a folder of whoever ran it: name one with the same files with --model")
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
    _require("revision", facts["revision"], source.revision)
    if source.adapter and facts["adapter"]:
        _require("revision of the adapter", facts["adapter"]["revision"], source.adapter.revision)
    return source


def _require_no_folder(*names: str | None) -> None:
    """What a record names is of the Hub or of this package: a folder that happens to be called so is not loaded."""
    for name in names:
        if name is not None and name not in MODELS and Path(name).exists():
            raise UserError(
                f"{name[:80]!r} is meant as a name of the Hub, and there is a file or folder of that name here: go to "
                "another folder and try again"
            )


def _require_files(folder: Path, facts: Mapping[str, Any]) -> None:
    """Raises UserError unless a folder has the recorded files; nothing of it has been loaded yet."""
    needed = folder / (facts["gguf_file"] or "config.json")
    if not needed.is_file():
        raise UserError(f"there is no {needed}: name the folder of the recorded model with --model")
    try:
        revision = folder_revision(folder, facts["gguf_file"])
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}): name another folder with --model") from None
    _require("revision", facts["revision"], revision)


def _one_of(facts: Mapping[str, Any], name: str, known: Sequence[Any]) -> Any:
    if facts[name] not in known:
        raise KeyError(name)
    return facts[name]


def _adapter(adapter: Mapping[str, str] | None) -> str | None:
    """As the command line names it."""
    if adapter is None:
        return None
    if is_local(adapter["id"]):
        raise UserError(f"the adapter {adapter['id']} was a folder of whoever ran it: nobody else can load it")
    return f"{adapter['id']}@{adapter['revision']}"


def _attention(name: str | None) -> str | None:
    """A way of computing that transformers itself has: a name with a slash would fetch programs from the Hub."""
    if name is not None and not re.fullmatch(r"\w+", name, re.ASCII):
        raise UserError(f"the attention {name[:40]!r} is none that transformers brings: it is not fetched for a replay")
    return name


def _require(what: str, recorded: object, found: object) -> None:
    if recorded != found:
        raise UserError(
            f"the {what} is {str(found)[:40]}, and {str(recorded)[:40]!r} was recorded: name the model that was "
            "recorded, and use the versions of its environment"
        )


def continued(run: Run) -> frozenset[str]:
    """The tasks of a run whose answers were scored as continuations."""
    tasks = run.facts["data"]["tasks"]
    return frozenset(name for name, asked in tasks.items() if asked["rendering"]["answers"] == "continuations")


def ask_again(again: Again, jobs: Sequence[Job], chosen: Mapping[str, Sequence[int]]) -> Iterator[Said]:
    """What is said to the chosen rows, ids by job, a item at a time."""
    for job in jobs:
        if job.name not in chosen:
            continue
        left_alone = np.ones(job.rows, dtype=bool)
        left_alone[list(chosen[job.name])] = False
        continuations = job.task.name in again.continuations
        for item in build_queue([job], [left_alone], 1, MAX_ROWS_BY_CANDIDATE if continuations else MAX_ROWS):
            yield _said(again, job, np.sort(item.ids), continuations)


def _said(again: Again, job: Job, ids: Ints, continuations: bool) -> Said:
    item = WorkItem(0, ids, 0)
    rows = item.rows([job])
    plan = plan_rows(job, again.source, rows, continuations)
    parts = observe([job], iter([item]), lambda asked, rows: plan, again.engine)
    return Said(job, ids, rows, plan, in_order([part.table for part in parts]))


def in_order(tables: Sequence[pa.Table]) -> pa.Table:
    """Observations of some rows of a job as one table, ordered as in a run folder."""
    table = pa.concat_tables(tables)
    order = [(name, "ascending") for name in ("id", "position", "turn") if name in table.schema.names]
    return table.sort_by(order).combine_chunks()
