"""Validates run.json and submission.json: schema, harmless texts, consistency of all fields."""

import json
from datetime import date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

from fflm_data import GENERATOR_VERSION, get_config
from harness.models import training_statement
from harness.runs.identity import run_id
from harness.runs.recorded_jobs import data_facts
from harness.runs.run import EXTERNAL, Run
from harness.tasks import ChoiceTask, CompletionTask, DialogueTask, all_tasks
from leaderboard.untrusted_text import quote
from leaderboard.verification.reading import canonical
from leaderboard.verification.recorded_command import require_command
from leaderboard.verification.refusal import Refused
from leaderboard.verification.text_safety import require_safe_texts

SCHEMAS = Path(__file__).parents[1] / "schemas"


def require_schema(value: Any, name: str, *, new: bool = True) -> None:
    """Raises Refused unless a JSON value matches `schemas/<name>.schema.json` and its texts are harmless. new: whether
    the record is submitted now."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator(name).iter_errors(value))
    if error is not None:
        where = ", ".join(quote(part).strip("'") for part in error.absolute_path) or "top level"
        raise Refused(f"{name}.json, {where}: {_schema_error(error)}")
    require_safe_texts(_without_template(value) if name == "run" else value, f"{name}.json", new=new)
    if name != "attestation":
        _require_whole_numbers(value, f"{name}.json")


def _without_template(facts: dict[str, Any]) -> dict[str, Any]:
    """Returns run.json without the chat template, which is a program with markup. Pages show it as text."""
    model = {name: value for name, value in facts["model"].items() if name != "chat_template"}
    return facts | {"model": model}


def _require_whole_numbers(value: Any, where: str) -> None:
    """Raises Refused for floats such as 1.0, which JSON Schema accepts as integers, except in data parameters and in
    the changes of a training recipe."""
    if isinstance(value, float):
        raise Refused(f"{where}: {quote(value)} is not an integer")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key not in ("parameters", "changes") or not isinstance(item, dict):
            _require_whole_numbers(item, f"{where}, {key}")


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator

    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def choices(name: str, field: str) -> tuple[str, ...]:
    """Returns the allowed values of an enum field of `schemas/<name>.schema.json`."""
    return tuple(_validator(name).schema["properties"][field]["enum"])


def _schema_error(error: Any) -> str:
    """Returns a short message for a validation error, with shortened quotes."""
    messages = {
        "required": "a required field is missing",
        "additionalProperties": "it has an unknown field",
        "enum": f"it must be one of {quote(error.validator_value)}",
        "const": f"it must be {quote(error.validator_value)}",
        "pattern": f"{quote(error.instance)} does not match {error.validator_value}",
        "type": f"{quote(error.instance)} is not of type {quote(error.validator_value)}",
    }
    return messages.get(error.validator, f"it violates {error.validator} {quote(error.validator_value)}")


def require_default_data(facts: dict[str, Any]) -> None:
    """Raises Refused for unknown tasks, other versions, or data that is not the default data.

    The parameters of a submission are compared, never used.
    """
    known = all_tasks()
    if facts["data"]["generator"] != GENERATOR_VERSION:
        raise Refused(
            f"the data version is {facts['data']['generator']}, and this version of fflm verifies {GENERATOR_VERSION}"
        )
    for name, task_facts in facts["data"]["tasks"].items():
        if name not in known:
            raise Refused(f"the task {quote(name)} does not exist")
        task = known[name]
        default = get_config(task.config, **task.parameters)
        if not task.has_same_prompts(task_facts["version"]):
            raise Refused(
                f"{name} has task version {task_facts['version']}, the current one is {task.version}. "
                "Evaluate it again."
            )
        # Compared as JSON text: 1, 1.0 and true differ.
        if (
            canonical(task_facts["parameters"]) != canonical(default.parameters())
            or task_facts["config"] != task.config
        ):
            raise Refused(f"{name} does not use the default data. Run harness eval without --set.")
        sizes = default.splits()
        for split in task.splits:
            if sizes.get(split) and split not in task_facts["splits"]:
                raise Refused(f"{name} lacks the split {split}. A record needs all splits of its tasks.")
        if isinstance(task, CompletionTask) != ("prompting" in task_facts):
            raise Refused(f"{name}: its prompting is missing, or it is a task without prompting")
        if isinstance(task, CompletionTask):
            _require_prompting(task, task_facts["prompting"])
        kinds = _kinds(task)
        if "outputs" not in facts and task_facts.get("rendering", {}).get("answers") not in kinds:
            raise Refused(f"{name}: its answers are {' or '.join(kinds)}, and its rendering has another kind")


def _require_prompting(task: CompletionTask, prompting: dict[str, Any]) -> None:
    most = 1 + task.challenges if isinstance(task, DialogueTask) else 1
    if prompting["turns"] > most:
        raise Refused(f"{task.name} has {prompting['turns']} turns, the limit is {most}")
    chat_only = ("system", "switch", "thinking", "opened", "marks")
    if prompting["template"] is None and any(prompting.get(name) for name in chat_only):
        raise Refused(f"{task.name} has options of a chat template, and no chat template")


def _kinds(task: Any) -> tuple[str, ...]:
    """Returns the possible kinds of answers of a task."""
    if isinstance(task, CompletionTask):
        return ("text",)
    return ("continuations",) if isinstance(task, ChoiceTask) else ("tokens", "continuations")


def require_consistent(run: Run) -> None:
    """Raises Refused unless data, id, command and dates of run.json are consistent."""
    facts = run.facts
    _require_names(facts["model"])
    if "outputs" in facts:
        _require_external(facts)
    else:
        _require_evaluated(facts)
    bare = {name: {key: value for key, value in task_facts.items() if key != "rendering"}
            for name, task_facts in facts["data"]["tasks"].items()}  # fmt: skip
    if canonical(data_facts(run.jobs())["tasks"]) != canonical(bare):
        raise Refused("run.json, data: it does not match the data of its tasks and splits")
    if facts["id"] != run_id(facts["model"], facts["data"], facts["environment"]["fflm"]):
        raise Refused("run.json, id: it does not match model and data. One of them was changed after the run.")
    for where, text in [("created", facts["created"]), *(("starts", start["at"]) for start in facts["starts"])]:
        if _parse_time(f"run.json, {where}", text) > datetime.now(timezone.utc):
            raise Refused(f"run.json, {where}: the date is in the future")
    unknown = sorted(name for name in facts["left_out"] if name not in all_tasks() or name in facts["data"]["tasks"])
    if unknown:
        raise Refused(f"run.json, left_out: {quote(unknown[0])} is not a task, or was evaluated")
    require_command(facts)


def require_submission_date(submission: dict[str, Any], facts: dict[str, Any]) -> None:
    """Raises Refused if the submission date is invalid, in the future, or before the run."""
    try:
        day = date.fromisoformat(submission["submitted"])
    except ValueError:
        raise Refused(f"submission.json, submitted: {quote(submission['submitted'])} is not a date") from None
    if day > (datetime.now(timezone.utc) + timedelta(days=1)).date():  # time zones ahead of UTC
        raise Refused("submission.json, submitted: the date is in the future")
    if day < _parse_time("run.json, created", facts["created"]).date():
        raise Refused("submission.json, submitted: the date is before the run")


def _parse_time(where: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{where}: {quote(text)} is not a time in ISO 8601") from None


def _require_names(model: dict[str, Any]) -> None:
    names = [model["id"], *([model["adapter"]["id"]] if model.get("adapter") else [])]
    for name in names:
        if ".." in name or "--" in name or any(part.endswith((".", "-")) for part in name.split("/")):
            raise Refused(f"{quote(name)} is not a name of the Hub: it contains .. or --, or ends with . or -")
        if any(not _is_portable(part) for part in name.split("/")):
            raise Refused(f"{quote(name)} is not a valid file name on every system. Rename the model.")
    file = model.get("gguf_file") or ""
    if ".." in file or any(not _is_portable(part) for part in file.split("/") if file):
        raise Refused(
            "run.json, model, gguf_file: the path leaves the model's folder, or is not valid on every system. "
            "Rename the file."
        )


def _is_portable(name: str) -> bool:
    """Returns whether a name is safe on every system, in git and on a page: no Windows device, no file of git, no
    temporary file, no property of JavaScript objects, and at least one letter or digit."""
    stem, lower = name.partition(".")[0].casefold(), name.casefold()
    devices = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
    return (
        stem not in devices
        and not lower.endswith((".git", ".lock", ".partial", ".tmp", ".lnk"))
        and lower not in {"__proto__", "constructor", "prototype", "head"}
        and any(sign.isalnum() for sign in name)
    )


def _require_external(facts: dict[str, Any]) -> None:
    """Raises Refused unless external outputs have texts only: nothing else is known about them."""
    model = {**dict.fromkeys(("id", "revision")), "parameters": 0, "dtype": EXTERNAL}
    stated = facts["model"] | dict.fromkeys(("id", "revision"))
    if canonical(stated) != canonical(model) or canonical(facts["left_out"]) != "{}":
        raise Refused("external outputs have a model name and revision, and no other model fields. Remove the others.")
    if set(facts["environment"]) != {"fflm", "device"} or facts["environment"]["device"] != EXTERNAL:
        raise Refused("external outputs have no environment except the version of fflm. Remove the other fields.")
    for name, task_facts in facts["data"]["tasks"].items():
        task, prompting = all_tasks()[name], task_facts.get("prompting", {})
        if not isinstance(task, CompletionTask) or isinstance(task, DialogueTask) or "rendering" in task_facts:
            raise Refused(f"{name} cannot have external outputs: it needs log-probabilities, turns or a rendering")
        plain = prompting | {"turns": 1, "thinking": 0, "opened": False, "switch": None}
        no_template = prompting["template"] in (None, EXTERNAL)
        if canonical(prompting) != canonical(plain) or "marks" in prompting or not no_template:
            raise Refused(f"{name} has prompting that harness prompts does not write")


def _require_evaluated(facts: dict[str, Any]) -> None:
    """Raises Refused unless the fields of a model that was run locally are consistent."""
    model = facts["model"]
    # For quantized weights the library chooses the dtype of the other weights.
    if model["requested_dtype"] not in ("auto", model["dtype"]) and model["quantization"] is None:
        raise Refused(
            f"the requested dtype is {quote(model['requested_dtype'])}, and the model's is {quote(model['dtype'])}"
        )
    prompting = [task_facts.get("prompting", {}) for task_facts in facts["data"]["tasks"].values()]
    if any(each.get("template") == EXTERNAL for each in prompting):
        raise Refused("the chat template 'supplied' is for external outputs, and this model was run locally")
    _require_training(model)


def _require_training(model: dict[str, Any]) -> None:
    """Raises Refused unless a training statement has the form that the harness writes. Its contents, the digest
    included, are a statement of the submitter, which a record alone cannot confirm."""
    if "training" not in model:
        return
    if fault := training_statement.fault_of(model["training"]):
        raise Refused(f"run.json, model, training: {fault}. Run harness eval again.")
    if model["gguf_file"] or model["adapter"]:
        raise Refused("run.json, model, training: GGUF weights and adapters are not what a recipe trained")
