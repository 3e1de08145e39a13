"""External outputs: writes prompts for a model behind an API, and scores its outputs as a run.

    prompts.jsonl       {"id", "messages" or "prompt", "max_tokens"} per line, for any client or batch service
    prompts.run.json    the request, beside it
    answers.jsonl       one line per id, in any order: {"id", "output"}, or a line of OpenAI's or Anthropic's batches

External outputs cannot be replayed, and the run is marked as such.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fflm_data.checksums import file_sha256
from fflm_data.terminal import Bar
from harness.errors import UserError
from harness.evaluation.output_lines import ExternalOutput, read_outputs
from harness.models.name_suggestions import shortened
from harness.planning.evaluation_request import Questions
from harness.planning.planner import plan_jobs
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.prompts.rendering import messages, plain_texts
from harness.runs import observations
from harness.runs.files import only_writer, require_writable, write_json
from harness.runs.recorded_jobs import data_facts
from harness.runs.reuse import run_folder
from harness.runs.run import EXTERNAL, Run, open_run
from harness.runs.version import HARNESS_VERSION
from harness.scoring.scores import score_run
from harness.tasks import CompletionTask, DialogueTask

PROMPTS_SCHEMA = "fflm-prompts/1"


def write_prompts(questions: Questions, command: str, out: Path) -> int:
    """Writes the prompts of completion tasks and returns their number. Raises UserError for other tasks."""
    jobs = _jobs(questions)
    if out.is_dir():
        raise UserError(f"{out} is a folder. Use a file, such as {out / 'prompts.jsonl'}.")
    require_writable(out.parent)
    partial, count = out.with_name(out.name + ".partial"), 0
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        for job in jobs:
            limit = job.prompting.max_new_tokens(_completion(job))
            for start, rows in Bar(job.chunks(), desc=job.name, unit="chunk"):
                for index, prompt in enumerate(_prompts(job, rows)):
                    line = {"id": f"{_prefix(job)}-{start + index}", **prompt, "max_tokens": limit}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    count += 1
    facts = {"schema": PROMPTS_SCHEMA, "command": command, "data": data_facts(jobs)}
    write_json(_facts_file(out), facts)
    partial.replace(out)
    return count


def score_answers(answers: Path, prompts: Path, name: str, output: Path) -> tuple[Run, dict[str, Any]]:
    """Scores external outputs as a run. Raises UserError if an id is missing, unknown or duplicate."""
    outputs = read_outputs(answers)
    request = _read_facts(prompts)
    facts = {
        "command": request["command"],
        "model": _model(name, answers),
        "data": request["data"],
        "environment": {"fflm": HARNESS_VERSION, "device": EXTERNAL},
        "left_out": {},
        "outputs": EXTERNAL,
    }
    try:
        jobs = Run(prompts, facts).jobs()
    except UserError:
        raise UserError(
            f"{_facts_file(prompts)} was changed, or is of another version of fflm. Write the prompts again with "
            "harness prompts."
        ) from None
    expected = [f"{_prefix(job)}-{row}" for job in jobs for row in range(job.rows)]
    _require_same_ids(set(expected), outputs, answers)
    require_writable(output)
    folder = run_folder(output, facts)
    with only_writer(folder):
        run = open_run(folder, facts)
        for job in jobs:
            _write_table(run, job, [outputs[f"{_prefix(job)}-{row}"] for row in range(job.rows)])
            run.seal(job)
        result = score_run(run)
        write_json(folder / "result.json", result)
    return run, result


def _jobs(questions: Questions) -> list[Job]:
    """The jobs with the requested prompting. The service applies its own chat template and special tokens."""
    jobs = plan_jobs(questions)
    for job in jobs:
        if isinstance(job.task, DialogueTask):
            raise UserError(f"{job.task.name} is a dialogue, whose turns depend on the answers. Use another --task.")
        if not isinstance(job.task, CompletionTask):
            raise UserError(
                f"{job.task.name} is scored from probabilities, which external outputs do not have. Use another --task."
            )
    options = questions.prompts
    if options.thinking:
        raise UserError("--thinking is an option of the service. Remove it.")
    if options.challenges is not None:
        raise UserError("--challenges is for dialogues, whose turns depend on the answers. Remove it.")
    chat = options.chat != "off"
    if options.system is not None and not chat:
        raise UserError("--system needs chat messages, and chat is off. Remove --system.")
    prompting = Prompting(
        template=EXTERNAL if chat else None, shots=options.shots, system=options.system if chat else None
    )
    return [Job(job.task, job.config, job.split, job.rows, prompting) for job in jobs]


def _prompts(job: Job, rows: pa.Table) -> Iterator[dict[str, Any]]:
    if not job.prompting.chat:
        yield from ({"prompt": text} for text in plain_texts(job, rows))
        return
    system = [] if job.prompting.system is None else [{"role": "system", "content": job.prompting.system}]
    yield from ({"messages": [*system, *turns]} for turns in messages(job, rows))


def _completion(job: Job) -> CompletionTask:
    assert isinstance(job.task, CompletionTask)
    return job.task


def _prefix(job: Job) -> str:
    """The prefix of a job's ids, which depends on its data. Has only characters that every service accepts."""
    name = json.dumps(data_facts([job]), sort_keys=True)
    return f"{job.task.name}-{job.split}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _facts_file(prompts: Path) -> Path:
    return prompts.with_name(prompts.stem + ".run.json")


def _read_facts(prompts: Path) -> dict[str, Any]:
    path = _facts_file(prompts)
    if not path.is_file():
        others = sorted(file.name.replace(".run.json", ".jsonl") for file in prompts.parent.glob("*.run.json"))
        known = f" ({prompts.parent} has {shortened(others)})" if others else ""
        raise UserError(f"there is no {path}. Use the file that harness prompts wrote with --prompts{known}.")
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if facts["schema"] != PROMPTS_SCHEMA or not isinstance(facts["command"], str):
            raise ValueError(f"its schema is {facts['schema']!r}")
        return facts
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is invalid ({error}). Use the file that harness prompts wrote with --prompts."
        ) from None


def _require_same_ids(expected: set[str], outputs: dict[str, ExternalOutput], path: Path) -> None:
    missing, unknown = sorted(expected - outputs.keys()), sorted(outputs.keys() - expected)
    if unknown:
        raise UserError(
            f"{path} has {len(unknown):,} unknown ids, such as {unknown[0]}. Use the prompts it belongs to with "
            "--prompts."
        )
    if missing:
        raise UserError(
            f"{path} lacks {len(missing):,} of {len(expected):,} ids, such as {missing[0]}. Request them and add their "
            "outputs."
        )


def _write_table(run: Run, job: Job, outputs: list[ExternalOutput]) -> None:
    """Writes the observation table. The number of tokens is unknown: 0, or the limit if the output was cut off."""
    limit = job.prompting.max_new_tokens(_completion(job))
    columns = [
        np.arange(job.rows),
        np.zeros(job.rows, dtype=np.int64),
        [output.output for output in outputs],
        [0 if output.finished else limit for output in outputs],
    ]
    schema = observations.schema_of(job.task, job.config)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    with observations.writing(run.table(job), schema) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _model(name: str, answers: Path) -> dict[str, Any]:
    """Facts of a model of which only the name is known; its revision is a hash of its outputs."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII) or ".." in name:
        raise UserError(f"--model {name!r} is not a valid name. Use ORG/NAME, such as openai/gpt-4o.")
    return {
        "id": name,
        "revision": file_sha256(answers)[:40],
        "parameters": 0,
        "dtype": EXTERNAL,
    }
