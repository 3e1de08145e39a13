"""The workflows of a results repository: the least of rights, nothing of a stranger run, commands that exist."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright._impl._driver import compute_driver_executable

from harness import cli

NAMES = ("judge", "comment", "publish")
RIGHTS = {
    "judge": {"judge": {"contents": "read"}},
    "comment": {"comment": {"actions": "read", "pull-requests": "write"}},
    "publish": {
        "build": {"contents": "read"},
        "pages": {"pages": "write", "id-token": "write"},
        "space": {},
    },
}
# All else needs a full commit.
OF_GITHUB = re.compile(r"actions/[a-z-]+@v\d+")


def text(name: str) -> str:
    return (files("leaderboard") / "workflows" / f"{name}.yml").read_text(encoding="utf-8")


def workflow(name: str) -> dict[str, Any]:
    """All scalars as text: YAML would take the key `on` for true."""
    return yaml.load(text(name), Loader=yaml.BaseLoader)


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def commands() -> Iterator[list[str]]:
    """Every command of ours in them, as a shell splits it."""
    for name in NAMES:
        for step in steps(name):
            for line in step.get("run", "").splitlines():
                words = shlex.split(re.sub(r">.*", "", line))
                if words[:1] == ["harness"]:
                    yield words[1:]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_lines_say_what_it_is_for(name: str) -> None:
    lines = text(name).splitlines()
    assert lines[0].startswith("# ") and lines[1] == "#"
    assert workflow(name)["name"] == name


@pytest.mark.parametrize("name", NAMES)
def test_rights_are_the_least(name: str) -> None:
    parsed = workflow(name)
    default = parsed["permissions"]
    given = {job: one.get("permissions", default) for job, one in parsed["jobs"].items()}
    # As text, `{}` is an empty mapping, too.
    assert given == RIGHTS[name]
    assert all("timeout-minutes" in job for job in parsed["jobs"].values())


def test_what_starts_them() -> None:
    assert set(workflow("judge")["on"]) == {"pull_request"}
    assert workflow("comment")["on"] == {"workflow_run": {"workflows": ["judge"], "types": ["completed"]}}
    assert workflow("publish")["on"] == {"push": {"branches": ["main"]}}
    assert not any("pull_request_target" in text(name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_pasted_into_a_script(name: str) -> None:
    """What GitHub fills in before a shell or node reads it could be a stranger's program."""
    for step in steps(name):
        assert "${{" not in step.get("run", "")
        assert "${{" not in step.get("with", {}).get("script", "")


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_github_s_own_or_pinned(name: str) -> None:
    used = [step["uses"] for step in steps(name) if "uses" in step]
    assert used
    assert all(OF_GITHUB.fullmatch(one) or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one) for one in used)


def test_a_stranger_s_files_meet_no_secret_and_no_right_to_write() -> None:
    assert "secrets." not in text("judge") and "secrets." not in text("comment")
    assert "checkout" not in text("comment")
    for name in ("judge", "publish"):
        for step in steps(name):
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] == "false"
    judge = steps("judge")
    (install,) = (number for number, step in enumerate(judge) if "pip install" in step.get("run", ""))
    (first, *_) = (number for number, step in enumerate(judge) if "checkout" in step.get("uses", ""))
    assert install < first
    ours = re.compile(r'(pip install "fflm\[eval\]==\$FFLM_VERSION"|harness .*|echo "commit=.*)')
    for name in NAMES:
        for step in steps(name):
            assert all(ours.fullmatch(line) for line in step.get("run", "").splitlines())


def test_the_token_of_the_hub_reaches_one_step() -> None:
    jobs = workflow("publish")["jobs"]
    with_token = [step for step in steps("publish") if "secrets.HF_TOKEN }}" in str(step.get("env", {}))]
    assert len(with_token) == 1 and "harness leaderboard publish" in with_token[0]["run"]
    assert "secrets.HF_TOKEN }}" not in str({job: {**one, "steps": []} for job, one in jobs.items()})


def test_commands_are_those_of_the_command_line() -> None:
    found = [*commands()]
    assert len(found) == 3
    for words in found:
        given = cli.parser().parse_args(words)
        assert callable(given.run)
    with pytest.raises(SystemExit):
        cli.parser().parse_args([*found[0], "--no-such-option"])


# The comment, by the script itself

FAKES = """
const said = [];
const pulls = [{number: 5, head: {sha: 'other'}}, {number: 7, head: {sha: 'abc'}}];
const core = {notice: (text) => said.push(['notice', text])};
const context = {
  repo: {owner: 'org', repo: 'results'},
  payload: {workflow_run: {head_sha: HEAD, head_branch: 'b', head_repository: {owner: {login: 'stranger'}}}},
};
const github = {
  paginate: async (list, asked) => (list === 'files' ? FILES.map((filename) => ({filename})) : EARLIER),
  rest: {
    pulls: {listFiles: 'files', list: async (asked) => ({data: asked.head === 'stranger:b' ? pulls : []})},
    issues: {
      listComments: null,
      createComment: async (made) => said.push(['create', made]),
      updateComment: async (made) => said.push(['update', made]),
    },
  },
};
(async () => { SCRIPT })().then(() => console.log(JSON.stringify(said)));
"""


def comment(
    folder: Path,
    verdict: str | bytes | None,
    earlier: object = (),
    head: str = "abc",
    files: tuple[str, ...] = ("records/a--b/c/d/run.json",),
) -> list[Any]:
    """What the script asks of GitHub. Playwright brings the node that runs it."""
    (folder / "verdict").mkdir()
    if verdict is not None:
        content = verdict.encode() if isinstance(verdict, str) else verdict
        (folder / "verdict" / "verdict.json").write_bytes(content)
    (script,) = (step["with"]["script"] for step in steps("comment") if "script" in step.get("with", {}))
    program = FAKES.replace("HEAD", json.dumps(head)).replace("EARLIER", json.dumps(earlier))
    program = program.replace("FILES", json.dumps(files)).replace("SCRIPT", script)
    node = compute_driver_executable()[0]
    environment = {"RUNNER_TEMP": str(folder)}
    done = subprocess.run([node, "-e", program], env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PLACE = "an-org--m/0123456789ab/abcdef012345"
RIGHT = {"task": "letters", "split": "test", "metric": "accuracy", "value": 0.857, "low": 0.83, "high": 0.88}
ACCEPTED = {
    "accepted": True, "path": "x", "reasons": [], "remarks": ["ask the contact"], "place": PLACE,
    "submission": {"division": "pretrained"}, "model": {"id": "an-org/m"},
    "scores": [RIGHT | {"baseline": 0.2}, RIGHT | {"metric": "skill", "baseline": None}],
}  # fmt: skip


def test_the_row_is_told(tmp_path: Path) -> None:
    ((verb, made),) = comment(tmp_path, json.dumps([ACCEPTED]))
    assert (verb, made["issue_number"], made["owner"]) == ("create", 7, "org")
    lines = made["body"].splitlines()
    assert lines[3:5] == ["````text", f"accepted: an-org/m (pretrained), {PLACE}"]
    assert "  letters.test" in lines[5] and "85.70%  83.00% to 88.00%, trivial 20.00%" in lines[5]
    assert lines[6:] == ["  note: ask the contact", "````"]


def test_a_later_verdict_takes_the_place_of_the_first(tmp_path: Path) -> None:
    earlier = [
        {"id": 1, "user": {"type": "User"}, "body": "<!-- fflm verdict --> mine"},
        {"id": 2, "user": {"type": "Bot"}, "body": "<!-- fflm verdict -->\nold"},
    ]
    ((verb, made),) = comment(tmp_path, json.dumps([{"accepted": False, "reasons": ["it is empty"]}]), earlier)
    assert (verb, made["comment_id"]) == ("update", 2)
    assert "refused\n  it is empty" in made["body"]


HOSTILE = "````\n@everyone <img src=x onerror=alert(1)> [x](javascript:1) \u202e ${process.exit(1)} \x1b[31m"


@pytest.mark.parametrize(
    "verdict",
    [
        json.dumps([{"accepted": False, "reasons": [HOSTILE, 3, None, {"a": HOSTILE}]}]),
        json.dumps([{"accepted": True, "model": {"id": HOSTILE}, "place": [HOSTILE], "scores": [None, 3, ACCEPTED]}]),
        json.dumps([{"accepted": True, "scores": [{"metric": "accuracy", "task": HOSTILE, "value": HOSTILE}]}]),
        json.dumps([{"accepted": False, "reasons": ["x" * 100_000] * 9}] * 999),
        json.dumps([None, 3, "x", [], {"accepted": "yes", "reasons": HOSTILE}]),
        json.dumps({"accepted": True}),
        "",
        "[" * 100_000,
        b"\xff\xfe",
        b" " * (2**20 + 1),
        None,
    ],
)
def test_a_hostile_verdict_is_text(tmp_path: Path, verdict: str | bytes | None) -> None:
    ((_, made),) = (one for one in comment(tmp_path, verdict) if one[0] != "notice")
    body = made["body"]
    assert body.isascii() and len(body) < 65_536
    head, inside, tail = re.fullmatch(r"(.*?\n````text\n)(.*)(\n````)", body, re.DOTALL).groups()  # type: ignore[union-attr]
    assert "`" not in inside and "\x1b" not in inside
    assert head.count("<!--") == 1 and tail == "\n````"


@pytest.mark.parametrize("other", [".github/workflows/judge.yml", "leaderboard/records/a", "records.md", "`\u202e"])
def test_a_request_that_brings_its_own_judge_is_refused(tmp_path: Path, other: str) -> None:
    """Its workflow may have written any verdict."""
    ((verb, made),) = comment(tmp_path, json.dumps([ACCEPTED]), files=("records/a--b/c/d/run.json", other))
    assert verb == "create" and "accepted" not in made["body"] and made["body"].isascii()
    assert made["body"].splitlines()[1].startswith("refused: this pull request touches more")


def test_a_request_that_has_gone_on_is_left_alone(tmp_path: Path) -> None:
    ((verb, _),) = comment(tmp_path, json.dumps([ACCEPTED]), head="newer")
    assert verb == "notice"
