"""README and docs: Python blocks run, commands parse, options exist, links resolve."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.runs.version import HARNESS_VERSION
from harness.tasks import listing
from tests.hub import Hub

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
}
README = PAGES["README.md"]
BLOCKS = {
    page: re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)
    for page in ("README.md", "docs/data.md", "docs/python.md")
}
# One process per page, a new namespace per block: blocks share no imports or definitions.
RUN_BLOCKS = """
import json, sys
for code in json.load(sys.stdin):
    print("\\x1e", end="")
    exec(compile(code, code, "exec"), {"__name__": "__main__"})
"""


@pytest.mark.parametrize("page", BLOCKS)
def test_python_blocks(page: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", RUN_BLOCKS], input=json.dumps(BLOCKS[page]), cwd=tmp_path,
        env=os.environ | {"HF_HOME": str(tmp_path / "home")}, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    outputs = result.stdout.split("\x1e")[1:]
    assert len(outputs) == len(BLOCKS[page]) > 0
    for code, output in zip(BLOCKS[page], outputs, strict=True):
        assert len(output.splitlines()) >= code.count("print("), code


COMMANDS = """
import shlex, sys
from fflm_data.cli import main
for line in sys.argv[1:]:
    assert main(shlex.split(line)[1:]) == 0, line
"""
# Added to the push commands of the page, to push fewer rows.
FEW = "--config flipflop --config letters" + "".join(
    f" --set flipflop.{split}_rows=1500" for split in ("train", "val", "val_sparse", "val_dense")
)


def test_data_commands(tmp_path: Path) -> None:
    """Runs the fflm-data commands of the page in order, against a Hub that also has the external dataset."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGES["docs/data.md"], re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines = [line.replace("ORG/", "org/") for line in lines if line.startswith("fflm-data ")]
    lines = [
        f"{line} {FEW}" if line.startswith("fflm-data push") and "--config" not in line else line for line in lines
    ]
    assert len(lines) == 6
    external = tmp_path / "external"
    external.mkdir()
    (external / "val.csv").write_text("text\n" + "w0i1r0\nw1r1w0r0\n" * 50, encoding="utf-8")
    with Hub(tmp_path / "hub") as hub:
        hub.add_repository("dataset", "synthseq/flipflop", external)
        result = subprocess.run(
            [sys.executable, "-c", COMMANDS, *lines],
            cwd=tmp_path, env=os.environ | hub.environment("hf_owner", tmp_path / "home"),
            capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-2000:]
        parameters = {
            revision: json.loads(hub.files("dataset", "org/fflm", revision)["fflm.json"])["configs"]
            for revision in ("main", "v1.0.0", "long", "refs/pr/1")
        }
    assert "flipflop/val: 1,500 rows match" in result.stdout
    assert "validation: 100 of 100 strings are legal" in result.stdout
    lengths = {revision: configs["flipflop"]["parameters"]["length"] for revision, configs in parameters.items()}
    assert lengths == {"main": 1024, "v1.0.0": 512, "long": 1024, "refs/pr/1": 1024}
    seeds = {revision: configs["letters"]["parameters"]["seed"] for revision, configs in parameters.items()}
    assert seeds == {"main": 0, "v1.0.0": 0, "long": 0, "refs/pr/1": 7}


HARNESS_COMMANDS = [
    line
    for page in PAGES.values()
    for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("harness ")
]


@pytest.mark.parametrize("line", HARNESS_COMMANDS)
def test_harness_commands_parse(line: str) -> None:
    """Parses every harness command of the pages."""
    from harness.cli import parser

    parser().parse_args(shlex.split(line, comments=True)[1:])


def test_documented_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import main

    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    options = capsys.readouterr().out
    evaluations = " ".join(re.findall(r"harness eval [^\n`]*", "".join(PAGES.values())))
    assert all(option in options for option in set(re.findall(r"--[a-z-]+", evaluations)))


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGES[page]):
        assert target.startswith("https://") or ((ROOT / page).parent / target).exists(), target


def test_readme_length() -> None:
    assert len(README.splitlines()) < 150


def test_tasks_page_is_generated() -> None:
    assert PAGES["docs/tasks.md"] == listing.as_markdown() + "\n"


def test_citation_version() -> None:
    assert f"version: {HARNESS_VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
