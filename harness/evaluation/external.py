"""Models behind an API: prompts out to a file, answers in from one, and a run folder of them like any other.

    prompts.jsonl       {"id", "messages" or "prompt", "max_tokens"} a line, for any client or batch service
    prompts.run.json    what was asked, beside it
    answers.jsonl       a line an id, in any order: {"id", "output"}, or a line as OpenAI's or Anthropic's batches give

What a model says is taken as it stands; nothing of it can be replayed, and the run says so.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fflm_data.checksums import file_sha256
from fflm_data.terminal import Bar
from harness.errors import UserError
from harness.models.name_suggestions import shortened
from harness.planning.planner import plan_jobs
from harness.planning.request import Questions
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.prompts.rendering import messages, plain_texts
from harness.runs import observations
from harness.runs.run import EXTERNAL, Run, data_facts, only_writer, open_run, require_writable, run_folder, write_json
from harness.runs.version import HARNESS_VERSION
from harness.scoring.scores import score_run
from harness.tasks import CompletionTask, DialogueTask

PROMPTS_SCHEMA = "fflm-prompts/1"
# Why services stop at the limit of tokens.
CUT_OFF = frozenset({"length", "model_length", "max_tokens", "max_output_tokens"})
# Parts of an answer that are not said: what was thought before it.
UNSAID = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})


class _NoText(ValueError):
    """A part of an answer that is no text."""


class Answer(NamedTuple):
    """One line of answers. finished: whether the model ended it itself."""

    id: str
    output: str
    finished: bool


def write_prompts(questions: Questions, command: str, out: Path) -> int:
    """Writes the prompts of completion tasks; returns how many. Raises UserError for tasks that text cannot answer."""
    jobs = _jobs(questions)
    if out.is_dir():
        raise UserError(f"{out} is a folder: name a file, such as {out / 'prompts.jsonl'}")
    require_writable(out.parent)
    partial, count = out.with_name(out.name + ".partial"), 0
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        for job in jobs:
            limit = job.prompting.max_new_tokens(_completion(job))
            for start, rows in Bar(job.chunks(), desc=job.name, unit="chunk"):
                for place, asked in enumerate(_asked(job, rows)):
                    line = {"id": f"{_prefix(job)}-{start + place}", **asked, "max_tokens": limit}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    count += 1
    facts = {"schema": PROMPTS_SCHEMA, "command": command, "data": data_facts(jobs)}
    write_json(_facts_file(out), facts)
    partial.replace(out)
    return count


def score_answers(answers: Path, prompts: Path, name: str, output: Path) -> tuple[Run, dict[str, Any]]:
    """A run of answers from elsewhere, scored. Raises UserError if an id is missing, unknown or there twice."""
    found = _by_id(answers)
    asked = _read_facts(prompts)
    facts = {
        "command": asked["command"],
        "model": _model(name, answers),
        "data": asked["data"],
        "environment": {"fflm": HARNESS_VERSION, "device": EXTERNAL},
        "left_out": {},
        "outputs": EXTERNAL,
    }
    try:
        jobs = Run(prompts, facts).jobs()
    except UserError:
        raise UserError(
            f"{_facts_file(prompts)} was changed, or is of another version of fflm: write it and its prompts again "
            "with harness prompts"
        ) from None
    expected = [f"{_prefix(job)}-{row}" for job in jobs for row in range(job.rows)]
    _require_same(set(expected), found, answers)
    require_writable(output)
    folder = run_folder(output, facts)
    with only_writer(folder):
        run = open_run(folder, facts)
        for job in jobs:
            _write_table(run, job, [found[f"{_prefix(job)}-{row}"] for row in range(job.rows)])
            run.seal(job)
        result = score_run(run)
        write_json(folder / "result.json", result)
    return run, result


def _jobs(questions: Questions) -> list[Job]:
    """The jobs, each put as was asked; a chat template is the service's own, and so are its special tokens."""
    jobs = plan_jobs(questions)
    for job in jobs:
        if isinstance(job.task, DialogueTask):
            raise UserError(f"{job.task.name} is a dialogue, whose turns depend on the answers: name another --task")
        if not isinstance(job.task, CompletionTask):
            raise UserError(f"{job.task.name} is read off probabilities, which text does not have: name another --task")
    asked = questions.prompts
    if asked.thinking:
        raise UserError("--thinking is for the service to set: leave it out")
    chat = asked.chat != "off"
    if asked.system is not None and not chat:
        raise UserError("--system is said through messages, and --chat off was asked: leave it out")
    prompting = Prompting(template=EXTERNAL if chat else None, shots=asked.shots, system=asked.system if chat else None)
    return [Job(job.task, job.config, job.split, job.rows, prompting) for job in jobs]


def _asked(job: Job, rows: pa.Table) -> Iterator[dict[str, Any]]:
    if not job.prompting.chat:
        yield from ({"prompt": text} for text in plain_texts(job, rows))
        return
    system = [] if job.prompting.system is None else [{"role": "system", "content": job.prompting.system}]
    yield from ({"messages": [*system, *said]} for said in messages(job, rows))


def _completion(job: Job) -> CompletionTask:
    assert isinstance(job.task, CompletionTask)
    return job.task


def _prefix(job: Job) -> str:
    """What ids of a job begin with: letters, digits and hyphens, which every service takes; other data, other ids."""
    name = json.dumps(data_facts([job]), sort_keys=True)
    return f"{job.task.name}-{job.split}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _facts_file(prompts: Path) -> Path:
    return prompts.with_name(prompts.stem + ".run.json")


def _read_facts(prompts: Path) -> dict[str, Any]:
    path = _facts_file(prompts)
    if not path.is_file():
        others = sorted(one.name.replace(".run.json", ".jsonl") for one in prompts.parent.glob("*.run.json"))
        there = f" ({prompts.parent} has {shortened(others)})" if others else ""
        raise UserError(f"there is no {path}: name the file that harness prompts wrote with --prompts{there}")
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if facts["schema"] != PROMPTS_SCHEMA or not isinstance(facts["command"], str):
            raise ValueError(f"its schema is {facts['schema']!r}")
        return facts
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} does not say what was asked ({error}): name the file that harness prompts wrote with --prompts"
        ) from None


def _by_id(path: Path) -> dict[str, Answer]:
    """The answers of a file. Raises UserError for a line that is none, or one that comes twice."""
    if not path.is_file():
        raise UserError(f"{path} is no file: name the file of answers with --outputs")
    found: dict[str, Answer] = {}
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    parsed = json.loads(line)
                    if failure := _failure(parsed):
                        raise UserError(f"{path}, line {number}: the service failed ({failure}): ask this one again")
                    one = _answer(parsed)
                except _NoText as error:
                    raise UserError(
                        f'{path}, line {number}: a part of the answer is {error}: write {{"id": ..., "output": ...}} '
                        "with its text"
                    ) from None
                except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
                    raise UserError(
                        f'{path}, line {number}, is no answer: write {{"id": ..., "output": ...}}, or leave a batch '
                        "service's line as it came"
                    ) from None
                if one.id in found:
                    raise UserError(f"{path}, line {number}: {one.id} is there twice: leave one answer an id")
                found[one.id] = one
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: write it as JSON lines in UTF-8") from None
    return found


def _failure(line: dict[str, Any]) -> str:
    """What a batch service says of a request that it did not answer; "" if it did."""
    response, result = line.get("response") or {}, line.get("result") or {}
    status = response.get("status_code", 200)
    error = line.get("error") or (response.get("body") or {}).get("error") or result.get("error")
    if error or status != 200 or result.get("type", "succeeded") != "succeeded":
        said = json.dumps(error or result.get("type") or status, ensure_ascii=False)
        return f"{line.get('custom_id')}: {said[:120]}"
    return ""


def _answer(line: dict[str, Any]) -> Answer:
    """A line as it may come. Raises KeyError and the like for one of no known form."""
    if "output" in line:
        output, finished = line["output"], line.get("finish_reason") not in CUT_OFF
    elif "response" in line:  # OpenAI's batches, of three of its interfaces
        body = line["response"]["body"]
        if "output" in body:
            output = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
            finished = body.get("status") != "incomplete"
        else:
            choice = body["choices"][0]
            said = choice.get("message", {})
            output = choice["text"] if "text" in choice else _text(said["content"]) or said.get("refusal")
            finished = choice.get("finish_reason") not in CUT_OFF
    else:  # Anthropic's
        said = line["result"]["message"]
        output = [part for part in said["content"] if part["type"] == "text"]
        finished = said.get("stop_reason") not in CUT_OFF
    name = line["id"] if "output" in line else line["custom_id"]
    if not isinstance(name, str):
        raise TypeError
    # Half a character, as when a service cuts one in two, is no text that a table could hold.
    whole = _text(output).encode("utf-8", "replace").decode("utf-8")
    return Answer(name, whole, finished)


def _text(content: Any) -> str:
    """What is said by an answer that is a text, nothing, or a list of parts. Raises _NoText for a part of another kind,
    TypeError for what is no answer."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise TypeError
    return "".join(part if isinstance(part, str) else _part(part) for part in content)


def _part(part: dict[str, Any]) -> str:
    kind = part.get("type", "text")
    if kind in UNSAID:
        return ""
    text = part.get("refusal" if kind == "refusal" else "text")
    said = text.get("value") if isinstance(text, dict) else text
    if kind not in ("text", "output_text", "refusal") or not isinstance(said, str):
        raise _NoText(f"of type {json.dumps(kind)[:40]}" if isinstance(kind, str) else "of no type")
    return said


def _require_same(expected: set[str], found: dict[str, Answer], path: Path) -> None:
    missing, unknown = sorted(expected - found.keys()), sorted(found.keys() - expected)
    if unknown:
        raise UserError(
            f"{path} answers {len(unknown):,} ids that were not asked, such as {unknown[0]}: name the prompts it "
            "belongs to with --prompts"
        )
    if missing:
        raise UserError(
            f"{path} lacks {len(missing):,} of {len(expected):,} ids, such as {missing[0]}: ask those too, and add "
            "their answers"
        )


def _write_table(run: Run, job: Job, answers: list[Answer]) -> None:
    """Outputs whose tokens nobody counted: 0, or the limit for one that was cut off there."""
    limit = job.prompting.max_new_tokens(_completion(job))
    columns = [
        np.arange(job.rows),
        np.zeros(job.rows, dtype=np.int64),
        [answer.output for answer in answers],
        [0 if answer.finished else limit for answer in answers],
    ]
    schema = observations.schema_of(job.task, job.config)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    with observations.writing(run.table(job), schema) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _model(name: str, answers: Path) -> dict[str, Any]:
    """A model of which nothing is known but its name; its revision is that of what it said."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII) or ".." in name:
        raise UserError(f"--model {name!r} is no name for a page: write ORG/NAME, such as openai/gpt-4o")
    return {
        "id": name,
        "revision": file_sha256(answers)[:40],
        "parameters": 0,
        "dtype": EXTERNAL,
    }
