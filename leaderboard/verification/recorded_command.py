"""The command of a record, which others are to run: what it says is compared with what the record has, option by
option."""

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from harness.commands.options import eval_command, parse_command
from harness.errors import OtherVersion, UserError
from harness.models.model_name import is_local, local_id
from harness.models.reference import DEFAULT_MODEL, MODELS
from harness.prompts.prompting import MAX_SHOTS
from harness.prompts.thinking import BUDGET
from harness.runs.run import EXTERNAL
from harness.tasks import CompletionTask, DialogueTask, ReadTask, all_tasks
from harness.tasks.suites import SUITES, Suite, get_suite
from leaderboard.verification.refusal import Refused, shown

_COMMANDS = (["harness", "eval"], ["harness", "prompts"])
# Where somebody's files lie, and not only what they are called.
_FROM_ROOT = re.compile(r"[/\\~]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|$)")


def require_command(facts: dict[str, Any]) -> None:
    """The command is shown for others to run: it must be one of ours, and ask this model what the record has."""
    try:
        words = shlex.split(facts["command"])
    except ValueError:
        words = []
    if words[:2] not in _COMMANDS or facts["command"] != shlex.join(words):
        raise _otherwise("it is no command of harness eval or harness prompts")
    external = facts.get("outputs") == EXTERNAL
    if (words[1] == "prompts") != external:
        raise _otherwise("outputs from elsewhere answer harness prompts, and others harness eval")
    given = _parsed(words[1:])
    for flag in ("model", "adapter", "out"):
        if _FROM_ROOT.match(str(getattr(given, flag, None) or "")):
            raise _otherwise(f"--{flag} names a folder of somebody's machine")
    if given.set:
        raise _otherwise("it sets other data than the default")
    _require_same_questions(given, facts)
    if external:
        if re.search(r"^\.|[/\\]", str(given.out)):
            raise _otherwise("--out is more than the name of a file")
        return
    _require_same_model(given, facts["model"])
    if extra := Counter(words[2:]) - Counter(shlex.split(eval_command(given))[2:]):
        raise _otherwise(f"{shown(next(iter(extra)))} is not as harness eval writes it, or decides no answer")


def _otherwise(reason: str) -> Refused:
    return Refused(f"run.json, command: {reason}")


def _require_same_questions(given: Any, facts: dict[str, Any]) -> None:
    """Tasks, rows, and how questions are put."""
    asked = facts["data"]["tasks"]
    suite = _suite(given, facts)
    if suite is None and (set(given.task) != set(asked) or facts["left_out"]):
        raise _otherwise("it asks other tasks than the record has")
    if suite is not None and {*asked, *facts["left_out"]} != set(suite.rows):
        raise _otherwise("its suite has other tasks than the record has, with those that are left out")
    for name, one in asked.items():
        most = (suite and suite.rows[name]) or None
        for part in one["splits"].values():
            if part["rows"] != min(part["of"], given.limit or part["of"], most or part["of"]):
                raise _otherwise("it asks other rows than the record has")
        _require_same_prompting(given, all_tasks()[name], one, suite)


def _suite(given: Any, facts: dict[str, Any]) -> Suite | None:
    """The suite of a command in the version that the run names, None where the command names tasks. Runs from before
    suites had versions are of the first."""
    named = getattr(given, "suite", None)
    if given.task and named is None:
        if "suite" in facts:
            raise _otherwise("it names tasks, and run.json names a suite")
        return None
    name = named or ("quick" if given.model is None else "full")
    if given.task or name not in SUITES:
        raise _otherwise(f"there is no suite {shown(name)}, or tasks are named beside it")
    stated = facts.get("suite", {"name": name, "version": 1})
    if stated["name"] != name:
        raise _otherwise(f"its suite is {name}, and run.json says {shown(stated['name'])}")
    try:
        return get_suite(name, stated["version"])
    except OtherVersion as error:
        raise _otherwise(f"it is {error.what}") from None


def _require_same_prompting(given: Any, task: Any, asked: dict[str, Any], suite: Suite | None) -> None:
    continued = asked.get("rendering", {}).get("answers") == "continuations"
    if isinstance(task, ReadTask) and given.exact_continuations != continued:
        raise _otherwise(f"--exact-continuations is in it or not, and {task.name} was answered the other way")
    if not isinstance(task, CompletionTask):
        return
    said = asked["prompting"]
    chat = said["template"] is not None
    if given.chat not in ("auto", "on" if chat else "off"):
        raise _otherwise(f"its --chat is {shown(given.chat)}, and {task.name} was asked the other way")
    if given.shots > MAX_SHOTS or given.shots != said["shots"]:
        raise _otherwise(f"its --shots is {given.shots}, that of {task.name} {said['shots']}")
    if given.system != said["system"] and (chat or given.system):
        raise _otherwise(f"its --system is {shown(given.system)}, that of {task.name} {shown(said['system'])}")
    if said["thinking"] not in ((0, BUDGET) if given.thinking is None else (given.thinking,)):
        raise _otherwise(f"its --thinking is {given.thinking}, that of {task.name} {said['thinking']}")
    if isinstance(task, DialogueTask):
        challenges = suite.challenges if suite and given.challenges is None else given.challenges
        challenges = task.challenges if challenges is None else challenges
        if said["turns"] != 1 + challenges:
            raise _otherwise(f"its challenges are {challenges}, those of {task.name} {said['turns'] - 1}")


def _require_same_model(given: Any, model: dict[str, Any]) -> None:
    said = {"requested_dtype": given.dtype, "compiled": given.compile}
    said |= {name: getattr(given, name) for name in ("gguf_file", "quantization", "attention", "strict")}
    for name, value in said.items():
        if value != model[name]:
            raise _otherwise(f"its {name} is {shown(value)}, that of the record {shown(model[name])}")
    if given.model is None and model["id"] != DEFAULT_MODEL:
        raise _otherwise(f"it names no model, and the record is of {shown(model['id'])}")
    _require_same_id("model", given.model or DEFAULT_MODEL, model["id"], Path(given.gguf_file or "").stem)
    if given.revision and (is_local(model["id"]) or model["id"] in MODELS):
        raise _otherwise("--revision, and a folder has none")
    _require_same_revision(given.revision, model["revision"])
    if (given.adapter is None) != (model["adapter"] is None):
        raise _otherwise(f"its adapter is {shown(given.adapter)}, that of the record {shown(model['adapter'])}")
    if model["adapter"] is not None:
        name, _, revision = given.adapter.partition("@")
        local = is_local(model["adapter"]["id"])
        _require_same_id("adapter", given.adapter if local else name, model["adapter"]["id"])
        _require_same_revision(None if local else revision, model["adapter"]["revision"])


def _require_same_id(what: str, given: str, recorded: str, stem: str = "") -> None:
    """stem: of the GGUF file that a model of a folder is called by."""
    last = given.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if (local_id(stem or last) if is_local(recorded) else given) != recorded:
        raise _otherwise(f"its {what} is {shown(given)}, that of the record {shown(recorded)}")


def _require_same_revision(given: str | None, recorded: str) -> None:
    """A branch or tag may be any commit, its days among them (20240131); a commit is that one."""
    commit = given and re.fullmatch(r"[0-9a-f]{7,40}", given) and (len(given) == 40 or not given.isdigit())
    if commit and not recorded.startswith(str(given)):
        raise _otherwise(f"its revision is {shown(given)}, that of the record {recorded}")


def _parsed(words: list[str]) -> Any:
    """The options of a command. Raises Refused for one that the command line does not take."""
    try:
        return parse_command(words)
    except UserError as error:
        raise _otherwise(shown(str(error))) from None
