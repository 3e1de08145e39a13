"""run.json and submission.json of a submission: their form, and whether they say one consistent thing."""

import io
import json
import shlex
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from fflm_data import GENERATOR_VERSION, get_config
from harness.cli import parser
from harness.reference import DEFAULT_MODEL
from harness.run import SUPPLIED, Run, data_facts, run_id
from harness.tasks import ChoiceTask, CompletionTask, DialogueTask, all_tasks
from leaderboard.judging.refusal import Refused, shown
from leaderboard.judging.texts import require_harmless

SCHEMAS = Path(__file__).parents[1] / "schemas"
_COMMANDS = (["harness", "eval"], ["harness", "prompts"])


def require_form(value: Any, name: str) -> None:
    """Raises Refused unless a JSON value is as `schemas/<name>.schema.json` says, and its texts are harmless."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator(name).iter_errors(value))
    if error is not None:
        where = ", ".join(shown(part).strip("'") for part in error.absolute_path) or "as a whole"
        raise Refused(f"{name}.json, {where}: {_said(error)}")
    require_harmless(value, f"{name}.json")


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator

    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def _said(error: Any) -> str:
    """What a validator complains of, without what it quotes at length."""
    rules = {
        "required": "a field is missing",
        "additionalProperties": "there is a field that is not known",
        "enum": f"it must be one of {shown(error.validator_value)}",
        "const": f"it must be {shown(error.validator_value)}",
        "pattern": f"{shown(error.instance)} is not of the form {error.validator_value}",
        "type": f"{shown(error.instance)} is not of type {shown(error.validator_value)}",
    }
    rule = f"it breaks the rule {error.validator} {shown(error.validator_value)}"
    return rules.get(error.validator, rule)


def require_default_data(facts: dict[str, Any]) -> None:
    """Raises Refused for tasks, versions or data other than those that the leaderboard compares.

    Nothing is made of what the parameters say before they are known to be the default ones.
    """
    known = all_tasks()
    if facts["data"]["generator"] != GENERATOR_VERSION:
        raise Refused(f"the data is of generator {facts['data']['generator']}, this is {GENERATOR_VERSION}")
    for name, asked in facts["data"]["tasks"].items():
        if name not in known:
            raise Refused(f"there is no task {shown(name)}")
        task = known[name]
        usual = get_config(task.config, **task.parameters)
        if asked["version"] != task.version:
            raise Refused(f"it has version {asked['version']} of task {name}, this is version {task.version}")
        # Compared as JSON, for which 1, 1.0 and true are three things.
        if _text(asked["parameters"]) != _text(usual.parameters()) or asked["config"] != task.config:
            raise Refused(f"{name} is over other data than the default: run harness eval without --set")
        if isinstance(task, CompletionTask) != ("prompting" in asked):
            raise Refused(f"{name}: how its questions were put is missing, or it has none")
        if isinstance(task, CompletionTask):
            most = 1 + task.challenges if isinstance(task, DialogueTask) else 1
            if asked["prompting"]["turns"] > most:
                raise Refused(f"{name} has {asked['prompting']['turns']} turns, at most {most} are asked")
        kinds = _kinds(task)
        if "outputs" not in facts and asked.get("rendering", {}).get("answers") not in kinds:
            raise Refused(f"{name}: its answers are {' or '.join(kinds)}, and rendering says something else")


def _kinds(task: Any) -> tuple[str, ...]:
    """Of what the answers of a task can be made."""
    if isinstance(task, CompletionTask):
        return ("text",)
    return ("continuations",) if isinstance(task, ChoiceTask) else ("tokens", "continuations")


def require_consistent(run: Run) -> None:
    """Raises Refused unless run.json says one thing everywhere: data, identity, command, days."""
    facts = run.facts
    _require_names(facts["model"])
    bare = {name: {key: value for key, value in asked.items() if key != "rendering"}
            for name, asked in facts["data"]["tasks"].items()}  # fmt: skip
    if _text(data_facts(run.jobs())["tasks"]) != _text(bare):
        raise Refused("run.json, data: it is not what its tasks and splits come to")
    if facts["id"] != run_id(facts["model"], facts["data"], facts["environment"]["fflm"]):
        raise Refused("run.json, id: it is not that of its model and data; one of them was changed after the run")
    if datetime.fromisoformat(facts["created"]) > datetime.now(timezone.utc):
        raise Refused("run.json, created: that day is to come")
    _require_command(facts)


def _require_names(model: dict[str, Any]) -> None:
    names = [model["id"], *([model["adapter"]["id"]] if model.get("adapter") else [])]
    for name in names:
        if ".." in name or "--" in name or any(part.endswith((".", "-")) for part in name.split("/")):
            raise Refused(f"{shown(name)} is no name of the Hub: it has .. or -- in it, or ends with . or -")
    if ".." in (model.get("gguf_file") or ""):
        raise Refused("run.json, model, gguf_file: it leaves the model's folder")


def _require_command(facts: dict[str, Any]) -> None:
    """The command is shown for others to run: it must be one of ours, and ask this model what the record has."""
    try:
        words = shlex.split(facts["command"])
    except ValueError:
        words = []
    if words[:2] not in _COMMANDS or facts["command"] != shlex.join(words):
        raise Refused("run.json, command: it is no command of harness eval or harness prompts")
    if (words[1] == "prompts") != (facts.get("outputs") == SUPPLIED):
        raise Refused("run.json, command: outputs from elsewhere answer harness prompts, and others harness eval")
    given = _parsed(words[1:])
    asked = facts["data"]["tasks"]
    parts = [part for one in asked.values() for part in one["splits"].values()]
    if given.task and set(given.task) != set(asked):
        raise Refused("run.json, command: it asks other tasks than the record has")
    if given.task and any(part["rows"] != min(given.limit or part["of"], part["of"]) for part in parts):
        raise Refused("run.json, command: it asks other rows than the record has")
    if given.set:
        raise Refused("run.json, command: it sets other data than the default")
    if words[1] == "eval":
        _require_same_model(given, facts["model"])


def _require_same_model(given: Any, model: dict[str, Any]) -> None:
    local = model["id"].startswith("local/") and given.model is not None
    said = {"id": given.model or DEFAULT_MODEL, "requested_dtype": given.dtype}
    said |= {name: getattr(given, name) for name in ("gguf_file", "quantization", "attention", "strict")}
    for name, value in said.items():
        if value != model[name] and not (name == "id" and local):
            raise Refused(f"run.json, command: its {name} is {shown(value)}, that of the record {shown(model[name])}")


def _parsed(words: list[str]) -> Any:
    """What the command line makes of a command. Raises Refused for one that it does not take."""
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(said):
            return parser().parse_args(words)
    except SystemExit:
        raise Refused(f"run.json, command: {shown(said.getvalue().strip())}") from None


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
