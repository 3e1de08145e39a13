"""Terminal output: no escape sequences, forged lines or bidirectional marks from files."""

import ast
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fflm_data.terminal import echo, visible
from tests.conftest import Run, refused

ROOT = Path(__file__).parents[1]
# Sets the title, clears, colours, returns the cursor, forges a line, changes the direction. \x9b starts a sequence.
EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\rback\n::error::forged\x9b31m\u202eright to left\u2066\u200b"
BAD = [chr(code) for code in [*range(32), *range(127, 160), 0x202E, 0x2066, 0x200B, 0x2028, 0xFEFF]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("naïve 日本語 🙂 ação [x] \\", "naïve 日本語 🙂 ação [x] \\"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b2J\x00\x7f", "\\x9b2J\\x00\\x7f"),
        ("\u202eevil\u2028", "\\u202eevil\\u2028"),
        ("half \udc80 and \ud800", "half \\udc80 and \\ud800"),
        (Path("x\x1b"), "x\\x1b"),
    ],
)
def test_visible(text: object, expected: str) -> None:
    assert visible(text) == expected


def test_visible_escapes_all_control_characters() -> None:
    for character in BAD:
        assert character not in visible(f"a{character}b") and visible(f"a{character}b").startswith("a\\")
    assert visible("a\n\x1bb", lines=True) == "a\n\\x1bb"


def test_say_on_ascii_terminal() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    echo("naïve \x1b", file=out)
    assert out.buffer.getvalue() == b"na\\xefve \\x1b\n"  # type: ignore[attr-defined]


def clean(result: "subprocess.CompletedProcess[str]") -> "subprocess.CompletedProcess[str]":
    """Returns the result unchanged. Fails if its output has control characters or a forged line."""
    output = result.stdout + result.stderr
    assert not [character for character in BAD if character != "\n" and character in output], repr(output)
    assert not any(line.startswith("::error::") for line in output.splitlines())
    return result


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with prompts, external outputs and their run."""
    from harness.cli import main

    folder = tmp_path_factory.mktemp("answered")
    assert main(["prompts", "--task", "letters", "--limit", "6", "--out", str(folder / "prompts.jsonl")]) == 0
    prompts = [json.loads(line) for line in (folder / "prompts.jsonl").read_text("utf-8").splitlines()]
    write(folder / "answers.jsonl", [{"id": prompt["id"], "output": f"{EVIL} 3"} for prompt in prompts])
    arguments = ["--outputs", folder / "answers.jsonl", "--model", "an-org/a-model", "--output", folder / "runs"]
    assert main(["score", *map(str, arguments)]) == 0
    return folder


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


@pytest.fixture
def here(answered: Path, tmp_path: Path) -> Path:
    shutil.copytree(answered, tmp_path, dirs_exist_ok=True)
    return tmp_path


SCORE = ("harness", "score", "--outputs", "answers.jsonl", "--model", "an-org/a-model")


@pytest.mark.parametrize(
    "lines",
    [
        [{"id": EVIL, "output": "3"}],
        [{"id": EVIL, "output": "3"}] * 2,
        [{"custom_id": EVIL, "error": {"message": EVIL}}],
        [{"custom_id": "x", "response": {"status_code": EVIL}}],
    ],
    ids=["unknown", "twice", "failed", "status"],
)
def test_ids_in_answers_file(cli: Run, here: Path, lines: list[dict[str, Any]]) -> None:
    write(here / "answers.jsonl", lines)
    assert "owned" in refused(clean(cli(*SCORE)))


def test_schema_of_prompts_file(cli: Run, here: Path) -> None:
    (here / "prompts.run.json").write_text(json.dumps({"schema": EVIL, "command": "x"}), "utf-8")
    assert "owned" in refused(clean(cli(*SCORE)))


def test_command_line_names(cli: Run) -> None:
    assert "owned" in refused(clean(cli("harness", "eval", "--task", EVIL)))
    assert "owned" in refused(clean(cli("harness", "eval", f"--{EVIL}")))
    assert "owned" in refused(clean(cli("fflm-data", "show", EVIL)))


@pytest.mark.parametrize("field", ["schema", "command", "created", "model", "task", "split"])
def test_run_json(cli: Run, here: Path, field: str) -> None:
    (path,) = here.glob("runs/*/*/run.json")
    facts = json.loads(path.read_text("utf-8"))
    tasks = facts["data"]["tasks"]
    if field == "task":
        tasks[EVIL] = tasks.pop("letters")
    elif field == "split":
        tasks["letters"]["splits"][EVIL] = tasks["letters"]["splits"].pop("test")
    elif field == "model":
        facts["model"]["id"] = EVIL
    else:
        facts[field] = EVIL
    path.write_text(json.dumps(facts), "utf-8")
    if field in ("command", "created"):
        for table in path.parent.glob("observations/*"):
            table.unlink()
    assert refused(clean(cli("harness", "score", path.parent)))
    clean(cli("harness", "compare", path.parent, path.parent))
    clean(cli("harness", "report", path.parent))


def test_reason_for_not_reusing_a_run(cli: Run, here: Path) -> None:
    """Checks the line with the reason why an earlier run is not reused."""
    (path,) = here.glob("runs/*/*/run.json")
    facts = json.loads(path.read_text("utf-8"))
    facts["data"]["tasks"]["letters"]["parameters"] = {EVIL: EVIL}
    facts["environment"]["fflm"] = EVIL
    path.write_text(json.dumps(facts), "utf-8")
    write(here / "answers.jsonl", [json.loads(line) | {"output": "2"} for line in (here / "answers.jsonl").open()])
    result = clean(cli(*SCORE))
    assert result.returncode == 0 and "owned" in result.stdout


@pytest.mark.skipif(os.name != "posix", reason="other systems do not allow these file names")
def test_folder_names(cli: Run, here: Path) -> None:
    folder = here / f"x{EVIL.replace('/', '')}"
    (here / "runs").rename(folder)
    (run,) = folder.glob("*/*")
    assert clean(cli("harness", "score", run)).returncode == 0
    clean(cli("harness", "compare", run, run, "--out", folder / "out"))
    (run / "run.json").unlink()
    assert "owned" in refused(clean(cli("harness", "score", run)))


def test_external_data(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "val.jsonl").write_text(json.dumps({"text": f"w0i1{EVIL}"}) + "\n", "utf-8")
    result = clean(cli("fflm-data", "check", tmp_path))
    assert result.returncode in (1, 2)
    (tmp_path / "val.jsonl").write_text(json.dumps({EVIL: "w0r0"}) + "\n", "utf-8")
    clean(cli("fflm-data", "check", tmp_path))


def test_closed_pipe_is_silent(tmp_path: Path) -> None:
    result = subprocess.run(
        f"{sys.executable} -m harness tasks | head -n 1", shell=True, cwd=tmp_path, capture_output=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, encoding="utf-8",
    )  # fmt: skip
    assert len(result.stdout.splitlines()) == 1 and result.stderr == ""


# terminal.py implements `echo`, sandbox.py writes ASCII JSON for its parent process, make.py is a maintenance script.
MAY_PRINT = {"fflm_data/terminal.py", "leaderboard/verification/sandbox.py", "fflm_data/facts/make.py"}
# Subprocesses whose output is read by their parent process.
SUBPROCESSES = {
    "harness/prompts/chat_template_process.py",
    "harness/models/tokenizer_process.py",
    "leaderboard/replay/file_check.py",
}
TABLES = {f"harness/reporting/{name}.py" for name in ("table", "comparison_table", "sweep_summary")}


def test_all_output_goes_through_echo() -> None:
    """No print() except in `echo`, and rich prints only tables."""
    for package in ("fflm_data", "harness", "leaderboard"):
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
            names = [call.id for call in calls if isinstance(call, ast.Name)]
            methods = [ast.unparse(call) for call in calls if isinstance(call, ast.Attribute)]
            assert name in MAY_PRINT or "print" not in names, name
            assert name in TABLES or not any(method.endswith("console.print") for method in methods), name
            assert name in SUBPROCESSES or not {"sys.stdout.write", "sys.stderr.write"} & {*methods}, name
