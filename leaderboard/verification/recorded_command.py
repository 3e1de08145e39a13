"""Compares the command in run.json, option by option, with the contents of the record. Readers will run the command."""

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
from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused

_COMMANDS = (["harness", "eval"], ["harness", "prompts"])
# A path with more than a file or folder name.
_FROM_ROOT = re.compile(r"[/\\~]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|$)")


def require_command(facts: dict[str, Any]) -> None:
    """Raises Refused unless the command is a harness command that reproduces this record."""
    try:
        words = shlex.split(facts["command"])
    except ValueError:
        words = []
    if words[:2] not in _COMMANDS or facts["command"] != shlex.join(words):
        raise _refused("it is not a command of harness eval or harness prompts")
    external = facts.get("outputs") == EXTERNAL
    if (words[1] == "prompts") != external:
        raise _refused("external outputs need harness prompts, and outputs of a run need harness eval")
    given = _parsed(words[1:])
    for flag in ("model", "adapter", "out"):
        if _FROM_ROOT.match(str(getattr(given, flag, None) or "")):
            raise _refused(f"--{flag} has a local path. Use the name of the folder only")
    if given.set:
        raise _refused("--set changes the data. Run harness eval without --set")
    _require_same_prompts(given, facts)
    if external:
        if re.search(r"^\.|[/\\]", str(given.out)):
            raise _refused("--out must be a file name without a folder")
        return
    _require_same_model(given, facts["model"])
    if extra := Counter(words[2:]) - Counter(shlex.split(eval_command(given))[2:]):
        raise _refused(
            f"{quote(next(iter(extra)))} is not written as harness eval writes it, or does not affect answers"
        )


def _refused(reason: str) -> Refused:
    return Refused(f"run.json, command: {reason}")


def _require_same_prompts(given: Any, facts: dict[str, Any]) -> None:
    """Raises Refused unless the command gives the recorded tasks, rows and prompting."""
    tasks = facts["data"]["tasks"]
    suite = _suite(given, facts)
    if suite is None and (set(given.task) != set(tasks) or facts["left_out"]):
        raise _refused("its tasks differ from those of the record")
    if suite is not None and {*tasks, *facts["left_out"]} != set(suite.rows):
        raise _refused("the tasks of its suite differ from those of the record, including left_out")
    for name, task_facts in tasks.items():
        most = (suite and suite.rows[name]) or None
        for part in task_facts["splits"].values():
            if part["rows"] != min(part["of"], given.limit or part["of"], most or part["of"]):
                raise _refused("its number of rows differs from that of the record")
        _require_same_prompting(given, all_tasks()[name], task_facts, suite)


def _suite(given: Any, facts: dict[str, Any]) -> Suite | None:
    """Returns the suite of a command, in the version of run.json; None if the command names tasks. Runs from before
    suites had versions use version 1."""
    named = getattr(given, "suite", None)
    if given.task and named is None:
        if "suite" in facts:
            raise _refused("it names tasks, and run.json names a suite")
        return None
    name = named or ("quick" if given.model is None else "full")
    if given.task or name not in SUITES:
        raise _refused(f"the suite {quote(name)} does not exist, or is combined with --task")
    stated = facts.get("suite", {"name": name, "version": 1})
    if stated["name"] != name:
        raise _refused(f"its suite is {name}, and that of run.json is {quote(stated['name'])}")
    try:
        return get_suite(name, stated["version"])
    except OtherVersion as error:
        raise _refused(f"it needs {error.what}") from None


def _require_same_prompting(given: Any, task: Any, task_facts: dict[str, Any], suite: Suite | None) -> None:
    continued = task_facts.get("rendering", {}).get("answers") == "continuations"
    if isinstance(task, ReadTask) and given.exact_continuations != continued:
        raise _refused(f"--exact-continuations does not match how {task.name} was scored")
    if not isinstance(task, CompletionTask):
        return
    recorded = task_facts["prompting"]
    chat = recorded["template"] is not None
    if given.chat not in ("auto", "on" if chat else "off"):
        raise _refused(f"--chat is {quote(given.chat)}, which does not match the prompts of {task.name}")
    if given.shots > MAX_SHOTS or given.shots != recorded["shots"]:
        raise _refused(f"--shots is {given.shots}, and {task.name} has {recorded['shots']}")
    if given.system != recorded["system"] and (chat or given.system):
        raise _refused(f"--system is {quote(given.system)}, and {task.name} has {quote(recorded['system'])}")
    if recorded["thinking"] not in ((0, BUDGET) if given.thinking is None else (given.thinking,)):
        raise _refused(f"--thinking is {given.thinking}, and {task.name} has {recorded['thinking']}")
    if isinstance(task, DialogueTask):
        challenges = suite.challenges if suite and given.challenges is None else given.challenges
        challenges = task.challenges if challenges is None else challenges
        if recorded["turns"] != 1 + challenges:
            raise _refused(f"it has {challenges} challenges, and {task.name} has {recorded['turns'] - 1}")


def _require_same_model(given: Any, model: dict[str, Any]) -> None:
    options = {"requested_dtype": given.dtype, "compiled": given.compile}
    options |= {name: getattr(given, name) for name in ("gguf_file", "quantization", "attention", "strict")}
    for name, value in options.items():
        if value != model[name]:
            raise _refused(f"its {name} is {quote(value)}, and that of the record is {quote(model[name])}")
    if given.model is None and model["id"] != DEFAULT_MODEL:
        raise _refused(f"it has no --model, and the record's model is {quote(model['id'])}")
    _require_same_id("model", given.model or DEFAULT_MODEL, model["id"], Path(given.gguf_file or "").stem)
    if given.revision and (is_local(model["id"]) or model["id"] in MODELS):
        raise _refused("--revision has no meaning for a local folder")
    _require_same_revision(given.revision, model["revision"])
    if (given.adapter is None) != (model["adapter"] is None):
        raise _refused(f"its adapter is {quote(given.adapter)}, and that of the record is {quote(model['adapter'])}")
    if model["adapter"] is not None:
        name, _, revision = given.adapter.partition("@")
        local = is_local(model["adapter"]["id"])
        _require_same_id("adapter", given.adapter if local else name, model["adapter"]["id"])
        _require_same_revision(None if local else revision, model["adapter"]["revision"])


def _require_same_id(kind: str, given: str, recorded: str, stem: str = "") -> None:
    """stem: name of the GGUF file that a model in a local folder is named after."""
    last = given.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if (local_id(stem or last) if is_local(recorded) else given) != recorded:
        raise _refused(f"its {kind} is {quote(given)}, and that of the record is {quote(recorded)}")


def _require_same_revision(given: str | None, recorded: str) -> None:
    """Compares commits only. A branch or tag may be any commit, also if it looks like a number (20240131)."""
    commit = given and re.fullmatch(r"[0-9a-f]{7,40}", given) and (len(given) == 40 or not given.isdigit())
    if commit and not recorded.startswith(str(given)):
        raise _refused(f"its revision is {quote(given)}, and that of the record is {recorded}")


def _parsed(words: list[str]) -> Any:
    """Returns the options of a command. Raises Refused if the command line does not accept them."""
    try:
        return parse_command(words)
    except UserError as error:
        raise _refused(quote(str(error))) from None
