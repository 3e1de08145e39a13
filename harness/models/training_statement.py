"""The training statement of a model: how its folder says that `harness train` made it.

A folder written by `harness train` has a recipe.json, and an evaluation records its main fields as `model.training` in
run.json. The statement is the trainer's own: nothing in run.json can confirm it. Only its form is checked, here, both
for the file of a model and for the records of a leaderboard, because all of its texts are untrusted.
"""

import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RECIPE_FILE = "recipe.json"
RECIPE_SCHEMA = "fflm-recipe/1"
_SCHEMAS = "fflm-recipe/"
SECTIONS = ("data", "model", "optimizer", "schedule", "intervention")
FIELDS = ("recipe", "changes", "digest", "data_seed", "weight_seed", "command")
MOST_FILE_BYTES = 1_000_000
MOST_CHANGES, MOST_ITEMS = 40, 16
MOST_CHARACTERS, MOST_CHARACTERS_OF_CHANGES, MOST_CHARACTERS_OF_COMMAND = 200, 4_000, 2_000
MOST_INTEGER = 2**63 - 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_MOST_CHARACTERS_OF_KEY = 80
_DIGEST = re.compile(r"[0-9a-f]{12}")
_COMMAND = ["harness", "train"]
# Paths that tell where something is on a machine: absolute, in a home folder, on a drive or host, or upwards.
_LOCATION = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|(.*[/\\])?\.\.([/\\]|$)")


def training_statement(path: Path) -> dict[str, Any] | None:
    """Returns the training statement of a recipe.json; None if another program's file has that name.

    Raises ValueError if it is faulty.
    """
    recipe = _read(path)
    schema = recipe.get("schema") if isinstance(recipe, dict) else None
    if not isinstance(schema, str) or not schema.startswith(_SCHEMAS):
        return None
    if schema != RECIPE_SCHEMA:
        raise ValueError(f"it has the schema {schema[:40]!r}, and this version of fflm reads {RECIPE_SCHEMA!r}")
    if missing := [name for name in SECTIONS if not isinstance(recipe.get(name), dict)]:
        raise ValueError(f"{missing[0]} is not an object")
    changes, command = recipe.get("changes"), recipe.get("command")
    statement = {
        "recipe": recipe.get("name"),
        "changes": {key: _without_location(changes[key]) for key in sorted(changes)}
        if isinstance(changes, dict)
        else changes,
        "digest": recipe_digest(recipe),
        "data_seed": recipe["data"].get("seed"),
        "weight_seed": recipe["model"].get("seed"),
        "command": public_command(command) if isinstance(command, str) and command.isprintable() else command,
    }
    if fault := fault_of(statement):
        raise ValueError(fault)
    return statement


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """Returns 12 hex digits that are equal for the seeds of one recipe: of the SHA-256 of the sections as JSON, without
    the seeds of data and weights."""
    sections = {name: dict(recipe[name]) for name in SECTIONS}
    for name in ("data", "model"):
        sections[name].pop("seed", None)
    text = json.dumps(sections, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fault_of(statement: object) -> str:
    """Returns what is wrong with the form of a training statement; "" if nothing."""
    if not isinstance(statement, dict) or set(statement) != set(FIELDS):
        return f"it does not have the fields {', '.join(FIELDS)}"
    if not isinstance(statement["recipe"], str) or not _NAME.fullmatch(statement["recipe"]):
        return "its name is not 1 to 60 letters, digits, dots, dashes and underscores"
    for name in ("data_seed", "weight_seed"):
        if type(statement[name]) is not int or not 0 <= statement[name] <= MOST_INTEGER:
            return f"its {name.replace('_', ' ')} is not an integer from 0 to 2**63 - 1"
    if not isinstance(statement["digest"], str) or not _DIGEST.fullmatch(statement["digest"]):
        return "its digest is not 12 hexadecimal digits"
    return _fault_of_changes(statement["changes"]) or _fault_of_command(statement["command"])


def setting_text(value: Any) -> str:
    """Returns the value of a change in words: `rope`, `0.1`, `true`, `[1, 2]`."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def recipe_text(statement: Mapping[str, Any]) -> str:
    """Returns the recipe of a statement in words: `flipflop-small, model.positions=rope`."""
    changes = (f"{key}={setting_text(value)}" for key, value in statement["changes"].items())
    return ", ".join([statement["recipe"], *changes])


def public_command(command: str) -> str:
    """Returns a command line with each location on a machine reduced to its last part, quoted for a shell. A text that
    no shell can split stays as it is."""
    try:
        return shlex.join(_without_location_of_option(word) for word in shlex.split(command))
    except ValueError:
        return command


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(MOST_FILE_BYTES + 1)
    if len(content) > MOST_FILE_BYTES:
        raise ValueError(f"it has more than {MOST_FILE_BYTES:,} bytes")
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is not JSON (too deeply nested)") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error})") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _fault_of_changes(changes: object) -> str:
    if not isinstance(changes, dict) or len(changes) > MOST_CHANGES:
        return f"its changes are not an object with at most {MOST_CHANGES} entries"
    for key, value in changes.items():
        if len(key) > _MOST_CHARACTERS_OF_KEY or not _KEY.fullmatch(key):
            return f"one of its changes has the key {key[:40]!r}"
        items = value if isinstance(value, list) else [value]
        if len(items) > MOST_ITEMS or not all(map(_is_scalar, items)):
            return f"its change of {key} is not a number, a short text, or a list of at most {MOST_ITEMS} of them"
    if len(json.dumps(changes)) > MOST_CHARACTERS_OF_CHANGES:
        return f"its changes have more than {MOST_CHARACTERS_OF_CHANGES:,} characters"
    return ""


def _fault_of_command(command: object) -> str:
    if not isinstance(command, str) or len(command) > MOST_CHARACTERS_OF_COMMAND or not command.isprintable():
        return f"its command is not one line of at most {MOST_CHARACTERS_OF_COMMAND:,} characters"
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    # People copy the command into a shell: quoted like this, it runs harness train and nothing else.
    if words[:2] != _COMMAND or command != shlex.join(words):
        return "its command is not a quoted command line of harness train"
    return ""


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MOST_CHARACTERS and value.isprintable()
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) <= MOST_INTEGER)


def _without_location(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_location(item) for item in value]
    return _last_part(value) if isinstance(value, str) and _LOCATION.match(value) else value


def _without_location_of_option(word: str) -> str:
    """Returns a word of a command line: a value, `--name=value` or `KEY=VALUE`."""
    name, equals, value = word.partition("=")
    if _LOCATION.match(word) or not equals:
        return str(_without_location(word))
    return f"{name}={_without_location_of_option(value)}"


def _last_part(path: str) -> str:
    parts: Iterator[str] = (part.lstrip("~") for part in reversed(re.split(r"[/\\]", path)))
    return next((part for part in parts if part.strip(".") and not part.endswith(":")), "folder")
