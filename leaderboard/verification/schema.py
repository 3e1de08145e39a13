"""run.json and submission.json of a submission: their form, and whether they say one consistent thing."""

import json
from datetime import date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

from fflm_data import GENERATOR_VERSION, get_config
from harness.runs.identity import run_id
from harness.runs.recorded_jobs import data_facts
from harness.runs.run import EXTERNAL, Run
from harness.tasks import ChoiceTask, CompletionTask, DialogueTask, all_tasks
from leaderboard.verification.reading import canonical
from leaderboard.verification.recorded_command import require_command
from leaderboard.verification.refusal import Refused, shown
from leaderboard.verification.texts import require_harmless

SCHEMAS = Path(__file__).parents[1] / "schemas"


def require_form(value: Any, name: str, *, new: bool = True) -> None:
    """Raises Refused unless a JSON value is as `schemas/<name>.schema.json` says, and its texts are harmless. new:
    whether it was not accepted before."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator(name).iter_errors(value))
    if error is not None:
        where = ", ".join(shown(part).strip("'") for part in error.absolute_path) or "as a whole"
        raise Refused(f"{name}.json, {where}: {_said(error)}")
    require_harmless(_without_template(value) if name == "run" else value, f"{name}.json", new=new)
    if name != "attestation":
        _require_whole_numbers(value, f"{name}.json")


def _without_template(facts: dict[str, Any]) -> dict[str, Any]:
    """run.json without the chat template, which is a program and full of marks; pages show it as text."""
    model = {name: value for name, value in facts["model"].items() if name != "chat_template"}
    return facts | {"model": model}


def _require_whole_numbers(value: Any, where: str) -> None:
    """Raises Refused for 1.0, which schemas take for 1, anywhere but in the parameters of data."""
    if isinstance(value, float):
        raise Refused(f"{where}: {shown(value)} is no whole number")
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key != "parameters" or not isinstance(one, dict):
            _require_whole_numbers(one, f"{where}, {key}")


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator

    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def choices(name: str, field: str) -> tuple[str, ...]:
    """What a field of `schemas/<name>.schema.json` may be, where that is one of a few."""
    return tuple(_validator(name).schema["properties"][field]["enum"])


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
        if not task.has_same_prompts(asked["version"]):
            raise Refused(f"it has version {asked['version']} of task {name}, this is version {task.version}")
        # Compared as JSON, for which 1, 1.0 and true are three things.
        if canonical(asked["parameters"]) != canonical(usual.parameters()) or asked["config"] != task.config:
            raise Refused(f"{name} is over other data than the default: run harness eval without --set")
        sizes = usual.splits()
        for split in task.splits:
            if sizes.get(split) and split not in asked["splits"]:
                raise Refused(f"{name} lacks the split {split}: a record has all splits of its tasks")
        if isinstance(task, CompletionTask) != ("prompting" in asked):
            raise Refused(f"{name}: how its questions were put is missing, or it has none")
        if isinstance(task, CompletionTask):
            _require_prompting(task, asked["prompting"])
        kinds = _kinds(task)
        if "outputs" not in facts and asked.get("rendering", {}).get("answers") not in kinds:
            raise Refused(f"{name}: its answers are {' or '.join(kinds)}, and rendering says something else")


def _require_prompting(task: CompletionTask, said: dict[str, Any]) -> None:
    most = 1 + task.challenges if isinstance(task, DialogueTask) else 1
    if said["turns"] > most:
        raise Refused(f"{task.name} has {said['turns']} turns, at most {most} are asked")
    if said["template"] is None and any(said.get(name) for name in ("system", "switch", "thinking", "opened", "marks")):
        raise Refused(f"{task.name}: it was asked without a chat template, and has what only a template says")


def _kinds(task: Any) -> tuple[str, ...]:
    """Of what the answers of a task can be made."""
    if isinstance(task, CompletionTask):
        return ("text",)
    return ("continuations",) if isinstance(task, ChoiceTask) else ("tokens", "continuations")


def require_consistent(run: Run) -> None:
    """Raises Refused unless run.json says one thing everywhere: data, identity, command, days."""
    facts = run.facts
    _require_names(facts["model"])
    _require_external(facts) if "outputs" in facts else _require_asked(facts)
    bare = {name: {key: value for key, value in asked.items() if key != "rendering"}
            for name, asked in facts["data"]["tasks"].items()}  # fmt: skip
    if canonical(data_facts(run.jobs())["tasks"]) != canonical(bare):
        raise Refused("run.json, data: it is not what its tasks and splits come to")
    if facts["id"] != run_id(facts["model"], facts["data"], facts["environment"]["fflm"]):
        raise Refused("run.json, id: it is not that of its model and data; one of them was changed after the run")
    for where, text in [("created", facts["created"]), *(("starts", start["at"]) for start in facts["starts"])]:
        if _moment(f"run.json, {where}", text) > datetime.now(timezone.utc):
            raise Refused(f"run.json, {where}: that day is to come")
    unknown = sorted(name for name in facts["left_out"] if name not in all_tasks() or name in facts["data"]["tasks"])
    if unknown:
        raise Refused(f"run.json, left_out: {shown(unknown[0])} is no task, or one that was asked")
    require_command(facts)


def require_submitted(submission: dict[str, Any], facts: dict[str, Any]) -> None:
    """Raises Refused for a day of submission that is none, is to come, or was before the run."""
    try:
        day = date.fromisoformat(submission["submitted"])
    except ValueError:
        raise Refused(f"submission.json, submitted: there is no day {shown(submission['submitted'])}") from None
    if day > (datetime.now(timezone.utc) + timedelta(days=1)).date():  # it may be tomorrow where it was written
        raise Refused("submission.json, submitted: that day is to come")
    if day < _moment("run.json, created", facts["created"]).date():
        raise Refused("submission.json, submitted: that was before the run")


def _moment(where: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{where}: there is no time {shown(text)}") from None


def _require_names(model: dict[str, Any]) -> None:
    names = [model["id"], *([model["adapter"]["id"]] if model.get("adapter") else [])]
    for name in names:
        if ".." in name or "--" in name or any(part.endswith((".", "-")) for part in name.split("/")):
            raise Refused(f"{shown(name)} is no name of the Hub: it has .. or -- in it, or ends with . or -")
        if any(not _is_portable(part) for part in name.split("/")):
            raise Refused(f"{shown(name)} is no name for files everywhere: call the model something else")
    file = model.get("gguf_file") or ""
    if ".." in file or any(not _is_portable(part) for part in file.split("/") if file):
        raise Refused("run.json, model, gguf_file: it leaves the model's folder, or is no name for files everywhere")


def _is_portable(name: str) -> bool:
    """Whether a name means the same on every system, to git, and to a page: no device of Windows, whatever its ending,
    no file of git or of who is writing, nothing that every object of JavaScript has, and a letter or digit in it."""
    stem, lower = name.partition(".")[0].casefold(), name.casefold()
    devices = {"con", "prn", "aux", "nul"} | {f"{port}{one}" for port in ("com", "lpt") for one in range(10)}
    return (
        stem not in devices
        and not lower.endswith((".git", ".lock", ".partial", ".tmp", ".lnk"))
        and lower not in {"__proto__", "constructor", "prototype", "head"}
        and any(sign.isalnum() for sign in name)
    )


def _require_external(facts: dict[str, Any]) -> None:
    """Of outputs from elsewhere nothing is known but texts: whoever has more to tell has run the model."""
    model = {**dict.fromkeys(("id", "revision")), "parameters": 0, "dtype": EXTERNAL}
    said = facts["model"] | dict.fromkeys(("id", "revision"))
    if canonical(said) != canonical(model) or canonical(facts["left_out"]) != "{}":
        raise Refused("outputs from elsewhere come with a model's name and revision, and with nothing else of it")
    if set(facts["environment"]) != {"fflm", "device"} or facts["environment"]["device"] != EXTERNAL:
        raise Refused("outputs from elsewhere have no environment but the version of fflm")
    for name, asked in facts["data"]["tasks"].items():
        task, said = all_tasks()[name], asked.get("prompting", {})
        if not isinstance(task, CompletionTask) or isinstance(task, DialogueTask) or "rendering" in asked:
            raise Refused(f"{name} cannot be answered from elsewhere: it takes probabilities, or turns, or a rendering")
        plain = said | {"turns": 1, "thinking": 0, "opened": False, "switch": None}
        if canonical(said) != canonical(plain) or "marks" in said or said["template"] not in (None, EXTERNAL):
            raise Refused(f"{name} was put to a service in a way that harness prompts does not know")


def _require_asked(facts: dict[str, Any]) -> None:
    """What only a model can have that was run here."""
    model = facts["model"]
    # Of quantized weights the library decides in which numbers the rest is.
    if model["requested_dtype"] not in ("auto", model["dtype"]) and model["quantization"] is None:
        raise Refused(f"{shown(model['requested_dtype'])} was requested, and the model is {shown(model['dtype'])}")
    if any(one.get("prompting", {}).get("template") == EXTERNAL for one in facts["data"]["tasks"].values()):
        raise Refused("a chat template that is 'supplied' is that of a service, and this model was run")
