"""What comes from a file reaches a terminal as text: no escape sequence, no forged line, no turned direction."""

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

from fflm_data.terminal import say, visible
from tests.conftest import Run, refused

ROOT = Path(__file__).parents[1]
# Sets the title, clears, colours, goes back, forges a line, turns the direction; \x9b begins a sequence by itself.
EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\rback\n::error::forged\x9b31m\u202eright to left\u2066\u200b"
BAD = [chr(code) for code in [*range(32), *range(127, 160), 0x202E, 0x2066, 0x200B, 0x2028, 0xFEFF]]


@pytest.mark.parametrize(
    ("text", "shown"),
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
def test_visible(text: object, shown: str) -> None:
    assert visible(text) == shown


def test_nothing_that_a_terminal_acts_on_is_left() -> None:
    for sign in BAD:
        assert sign not in visible(f"a{sign}b") and visible(f"a{sign}b").startswith("a\\")
    assert visible("a\n\x1bb", lines=True) == "a\n\\x1bb"


def test_a_terminal_with_few_characters() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("naïve \x1b", file=out)
    assert out.buffer.getvalue() == b"na\\xefve \\x1b\n"  # type: ignore[attr-defined]


def clean(done: "subprocess.CompletedProcess[str]") -> "subprocess.CompletedProcess[str]":
    """The same, if nothing in it acts on a terminal."""
    said = done.stdout + done.stderr
    assert not [sign for sign in BAD if sign != "\n" and sign in said], repr(said)
    assert not any(line.startswith("::error::") for line in said.splitlines())
    return done


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts, answers to them, and the run of those."""
    from harness.cli import main

    folder = tmp_path_factory.mktemp("answered")
    assert main(["prompts", "--task", "letters", "--limit", "6", "--out", str(folder / "prompts.jsonl")]) == 0
    asked = [json.loads(line) for line in (folder / "prompts.jsonl").read_text("utf-8").splitlines()]
    write(folder / "answers.jsonl", [{"id": one["id"], "output": f"{EVIL} 3"} for one in asked])
    words = ["--outputs", folder / "answers.jsonl", "--model", "an-org/a-model", "--output", folder / "runs"]
    assert main(["score", *map(str, words)]) == 0
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
def test_ids_of_answers(cli: Run, here: Path, lines: list[dict[str, Any]]) -> None:
    write(here / "answers.jsonl", lines)
    assert "owned" in refused(clean(cli(*SCORE)))


def test_facts_of_prompts(cli: Run, here: Path) -> None:
    (here / "prompts.run.json").write_text(json.dumps({"schema": EVIL, "command": "x"}), "utf-8")
    assert "owned" in refused(clean(cli(*SCORE)))


def test_names_that_are_typed(cli: Run) -> None:
    assert "owned" in refused(clean(cli("harness", "eval", "--task", EVIL)))
    assert "owned" in refused(clean(cli("harness", "eval", f"--{EVIL}")))
    assert "owned" in refused(clean(cli("fflm-data", "show", EVIL)))


@pytest.mark.parametrize("place", ["schema", "command", "created", "model", "task", "split"])
def test_run_json(cli: Run, here: Path, place: str) -> None:
    (path,) = here.glob("runs/*/*/run.json")
    facts = json.loads(path.read_text("utf-8"))
    tasks = facts["data"]["tasks"]
    if place == "task":
        tasks[EVIL] = tasks.pop("letters")
    elif place == "split":
        tasks["letters"]["splits"][EVIL] = tasks["letters"]["splits"].pop("test")
    elif place == "model":
        facts["model"]["id"] = EVIL
    else:
        facts[place] = EVIL
    path.write_text(json.dumps(facts), "utf-8")
    if place in ("command", "created"):
        for table in path.parent.glob("observations/*"):
            table.unlink()
    assert refused(clean(cli("harness", "score", path.parent)))
    clean(cli("harness", "compare", path.parent, path.parent))
    clean(cli("harness", "report", path.parent))


def test_what_an_earlier_run_says_of_itself(cli: Run, here: Path) -> None:
    """The line that says why nothing of it is used."""
    (path,) = here.glob("runs/*/*/run.json")
    facts = json.loads(path.read_text("utf-8"))
    facts["data"]["tasks"]["letters"]["parameters"] = {EVIL: EVIL}
    facts["environment"]["fflm"] = EVIL
    path.write_text(json.dumps(facts), "utf-8")
    write(here / "answers.jsonl", [json.loads(line) | {"output": "2"} for line in (here / "answers.jsonl").open()])
    done = clean(cli(*SCORE))
    assert done.returncode == 0 and "owned" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="file names of other systems are text")
def test_folders(cli: Run, here: Path) -> None:
    folder = here / f"x{EVIL.replace('/', '')}"
    (here / "runs").rename(folder)
    (run,) = folder.glob("*/*")
    assert clean(cli("harness", "score", run)).returncode == 0
    clean(cli("harness", "compare", run, run, "--out", folder / "out"))
    (run / "run.json").unlink()
    assert "owned" in refused(clean(cli("harness", "score", run)))


def test_data_of_others(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "val.jsonl").write_text(json.dumps({"text": f"w0i1{EVIL}"}) + "\n", "utf-8")
    done = clean(cli("fflm-data", "check", tmp_path))
    assert done.returncode in (1, 2)
    (tmp_path / "val.jsonl").write_text(json.dumps({EVIL: "w0r0"}) + "\n", "utf-8")
    clean(cli("fflm-data", "check", tmp_path))


def test_whoever_reads_may_stop(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m harness tasks | head -n 1", shell=True, cwd=tmp_path, capture_output=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, encoding="utf-8",
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""


# One writes JSON of ASCII for the process that started it, one is for the makers of the data.
OTHERS = {"fflm_data/terminal.py", "leaderboard/verification/sandbox.py", "fflm_data/facts/make.py"}
# What they write is read by the process that has started them.
CHILDREN = {
    "harness/prompts/chat_template_process.py",
    "harness/models/tokenizer_process.py",
    "leaderboard/replay/file_check.py",
}
TABLES = {"harness/reporting/table.py", "harness/reporting/comparison_table.py"}


def test_all_that_is_printed_is_made_visible() -> None:
    """No print() beside `say`; and of rich's, only tables of cells."""
    for package in ("fflm_data", "harness", "leaderboard"):
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
            names = [call.id for call in calls if isinstance(call, ast.Name)]
            methods = [ast.unparse(call) for call in calls if isinstance(call, ast.Attribute)]
            assert name in OTHERS or "print" not in names, name
            assert name in TABLES or not any(one.endswith("console.print") for one in methods), name
            assert name in CHILDREN or not {"sys.stdout.write", "sys.stderr.write"} & {*methods}, name
