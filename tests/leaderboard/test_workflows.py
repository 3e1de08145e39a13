"""The workflows of a results repository: least permissions, no untrusted code, valid commands."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement
from playwright._impl._driver import compute_driver_executable

from harness import cli

NAMES = ("verify", "comment", "publish")
RIGHTS = {
    "verify": {"verify": {"contents": "read", "pull-requests": "read"}},
    "comment": {"comment": {"actions": "read", "contents": "read", "pull-requests": "write"}},
    "publish": {
        "build": {"contents": "read"},
        "pages": {"pages": "write", "id-token": "write"},
        "space": {"contents": "read"},
    },
}


def text(name: str) -> str:
    return (files("leaderboard") / "workflows" / f"{name}.yml").read_text(encoding="utf-8")


def workflow(name: str) -> dict[str, Any]:
    """Returns a workflow with all scalars as text, because YAML reads the key `on` as true."""
    return yaml.load(text(name), Loader=yaml.BaseLoader)


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def commands() -> Iterator[list[str]]:
    """Returns all harness commands of the workflows, split as by a shell."""
    for name in NAMES:
        for step in steps(name):
            for line in step.get("run", "").splitlines():
                words = [word for word in shlex.split(re.sub(r">.*", "", line)) if word != "$OWN"]
                if words[:1] == ["harness"]:
                    yield words[1:]


@pytest.mark.parametrize("name", NAMES)
def test_workflows_begin_with_a_description(name: str) -> None:
    lines = text(name).splitlines()
    assert lines[0].startswith("# ") and lines[1] == "#"
    assert workflow(name)["name"] == name


@pytest.mark.parametrize("name", NAMES)
def test_workflow_permissions(name: str) -> None:
    parsed = workflow(name)
    default = parsed["permissions"]
    given = {job: one.get("permissions", default) for job, one in parsed["jobs"].items()}
    # `{}` is an empty mapping.
    assert given == RIGHTS[name]
    assert all("timeout-minutes" in job for job in parsed["jobs"].values())


def test_workflow_triggers() -> None:
    asked = workflow("verify")["on"]
    assert set(asked) == {"pull_request"} and asked["pull_request"]["branches"] == ["main"]
    # The base branch may change without a new commit.
    assert set(asked["pull_request"]["types"]) == {"opened", "synchronize", "reopened", "edited"}
    assert workflow("comment")["on"] == {"workflow_run": {"workflows": ["verify"], "types": ["completed"]}}
    assert workflow("publish")["on"] == {"push": {"branches": ["main"]}}
    assert not any("pull_request_target" in text(name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_scripts_have_no_expressions(name: str) -> None:
    """Expressions are expanded before a shell or node runs, so they could contain untrusted code."""
    for step in steps(name):
        assert "${{" not in step.get("run", "")
        assert "${{" not in step.get("with", {}).get("script", "")


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_by_commit(name: str) -> None:
    """A tag may be moved. An action has the same commit everywhere, with its version in a comment."""
    used = [step["uses"] for step in steps(name) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", one) for one in used)
    message = re.findall(r"uses: (\S+) # (v\d+\.\d+\.\d+)$", "".join(map(text, NAMES)), re.MULTILINE)
    assert {one for one, _ in message} >= set(used)
    assert len({one.partition("@")[0] for one, _ in message}) == len(set(message))


def test_packages_beside_a_token_are_pinned_by_hash() -> None:
    space = workflow("publish")["jobs"]["space"]["steps"]
    lines = [line for step in space for line in step.get("run", "").splitlines() if "install" in line]
    assert lines == ["pip install --require-hashes --only-binary :all: -r .github/requirements.txt"]
    (step,) = (step for step in space if "pip install" in step.get("run", ""))
    (checkout,) = (step for step in space if "checkout" in step.get("uses", ""))
    assert step["working-directory"] == checkout["with"]["path"] and checkout["with"]["sparse-checkout"] == ".github"
    assert "--generate-hashes --output-file .github/requirements.txt" in text("publish")


COMMIT, HASH = "0123456789" * 4, "0123456789abcdef" * 4
CHECK = "printf %s "


def installing() -> list[str]:
    """Returns the lines of each step that installs the package without a token: check and installation."""
    runs = [
        step["run"] for name in ("verify", "publish") for step in steps(name) if "FFLM_SOURCE" in step.get("run", "")
    ]
    assert len(runs) == 2 and len(set(runs)) == 1
    return runs[0].splitlines()


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        (f"fflm[eval] @ git+https://github.com/org/fflm@{COMMIT}", True),
        (f"fflm[eval] @ https://host.org/a/fflm-0.5.0-py3-none-any.whl#sha256={HASH}", True),
        ("", False), ("fflm[eval]", False), ("fflm[eval]==0.5.0", False), ("fflm", False),
        ("fflm[eval] @ git+https://github.com/org/fflm", False),
        ("fflm[eval] @ git+https://github.com/org/fflm@main", False),
        ("fflm[eval] @ git+https://github.com/org/fflm@v0.5.0", False),
        (f"fflm[eval] @ git+https://github.com/org/fflm@{COMMIT[:12]}", False),
        (f"fflm[eval] @ git+http://github.com/org/fflm@{COMMIT}", False),
        (f"other @ git+https://github.com/org/fflm@{COMMIT}", False),
        (f"fflm[eval] @ git+https://github.com/org/fflm@main@{COMMIT}", False),
        (f"fflm[eval] @ git+https://github.com/org/fflm@{COMMIT} --pre", False),
        ("fflm[eval] @ https://host.org/fflm-0.5.0-py3-none-any.whl", False),
        (f"--index-url https://host.org fflm[eval] @ git+https://github.com/org/fflm@{COMMIT}", False),
    ],
)  # fmt: skip
def test_package_source_is_pinned(source: str, taken: bool) -> None:
    """Runs the check in a shell: status 1 and one line that says what to set."""
    check, install = installing()
    assert check.startswith(CHECK) and install == 'pip install "$FFLM_SOURCE"'
    ended = subprocess.run(
        ["bash", "-e", "-c", f'{check}\necho "$FFLM_SOURCE"'], env={"FFLM_SOURCE": source, "PATH": os.environ["PATH"]},
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout.count("\n")) == (0 if taken else 1, 1)
    assert (ended.stdout.strip() == source) == taken and (
        "::error::Set the variable FFLM_SOURCE" in ended.stdout
    ) != taken
    if taken:
        assert Requirement(source).extras == {"eval"}


def test_package_is_not_installed_from_an_index() -> None:
    """The package is on no index, so its name there may be anybody's. The first lines list valid sources."""
    assert not any(re.search(r"fflm(\[\w+\])?\s*==|FFLM_VERSION", text(name)) for name in NAMES)
    message = re.findall(r"^# +(fflm\[eval\] @ \S+)", text("verify"), re.MULTILINE)
    assert len(message) == 2
    pattern = re.search(r"grep -qxE '(.*?)'", installing()[0])
    assert pattern is not None
    for source in message:
        filled = source.replace("COMMIT", COMMIT).replace("HASH", HASH)
        assert re.fullmatch(pattern[1], filled)


@pytest.mark.parametrize("right", [True, False])
def test_wheel_is_pinned_by_hash(tmp_path: Path, right: bool) -> None:
    """With the options of the job with a token, pip accepts a local wheel only by its hash."""
    wheel = tmp_path / ".github" / "fflm-0.5.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with ZipFile(wheel, "w") as archive:
        archive.writestr("fflm-0.5.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: fflm\nVersion: 0.5.0\n")
        archive.writestr("fflm-0.5.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("fflm-0.5.0.dist-info/RECORD", "")
    digest = sha256(wheel.read_bytes() if right else b"another").hexdigest()
    (tmp_path / ".github" / "requirements.txt").write_text(f"./.github/{wheel.name} --hash=sha256:{digest}\n", "utf-8")
    (line,) = (
        step["run"] for step in workflow("publish")["jobs"]["space"]["steps"] if "pip install" in step.get("run", "")
    )
    ended = subprocess.run(
        [sys.executable, "-m", *shlex.split(line), "--dry-run", "--no-index", "--ignore-installed"], cwd=tmp_path,
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert (ended.returncode == 0, "Would install fflm-0.5.0" in ended.stdout) == (right, right), ended.stderr


def test_untrusted_files_have_no_secret_and_no_write_permission() -> None:
    assert "secrets." not in text("verify") and "secrets." not in text("comment")
    assert "checkout" not in text("comment")
    for name in ("verify", "publish"):
        for step in steps(name):
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] == "false"
    verification = steps("verify")
    (install,) = (number for number, step in enumerate(verification) if "pip install" in step.get("run", ""))
    (first, *_) = (number for number, step in enumerate(verification) if "checkout" in step.get("uses", ""))
    assert install < first
    install = r'pip install ("\$FFLM_SOURCE"|--require-hashes .*)'
    ours = re.compile(rf'({install}|{CHECK}.*|harness .*|echo "commit=.*|git -C head rev-parse .*)')
    for name in NAMES:
        for step in steps(name):
            assert all(ours.fullmatch(line) for line in step.get("run", "").splitlines())


def test_hub_token_is_limited_to_one_step() -> None:
    jobs = workflow("publish")["jobs"]
    with_token = [step for step in steps("publish") if "secrets.HF_TOKEN }}" in str(step.get("env", {}))]
    assert len(with_token) == 1 and "harness leaderboard publish" in with_token[0]["run"]
    assert "secrets.HF_TOKEN }}" not in str({job: {**one, "steps": []} for job, one in jobs.items()})


def test_workflow_commands_are_valid() -> None:
    found = [*commands()]
    assert len(found) == 3
    for words in found:
        given = cli.parser().parse_args(words)
        assert callable(given.run)
    with pytest.raises(SystemExit):
        cli.parser().parse_args([*found[0], "--no-such-option"])


# The comment script

FAKES = """
const said = [];
const pulls = PULLS;
const core = {notice: (text) => said.push(['notice', text])};
const context = {
  repo: {owner: 'org', repo: 'results'},
  payload: {
    workflow_run: {head_sha: HEAD, head_branch: 'b', head_repository: null}, repository: {default_branch: 'main'},
  },
};
const github = {
  paginate: async (list, asked) => ({files: FILES, pulls}[list] ?? EARLIER),
  rest: {
    pulls: {
      listFiles: 'files',
      list: 'pulls',
      get: async (asked) => ({data: {...pulls.find((one) => one.number === asked.pull_number), ...NOW}}),
    },
    repos: {
      compareCommitsWithBasehead: async (asked) => {
        if (asked.basehead !== 'BASE...main') { throw new Error('not found'); }
        return {data: {status: 'BETWEEN'}};
      },
    },
    issues: {
      listComments: null,
      createComment: async (made) => said.push(['create', made]),
      updateComment: async (made) => said.push(['update', made]),
    },
  },
};
(async () => { SCRIPT })().then(() => console.log(JSON.stringify(said)));
"""


HEAD, BASE = "a" * 40, "b" * 40
ADDED = {"filename": "records/a--b/c/d/run.json", "status": "added"}


def request(number: int, head: str = HEAD, into: str = "main") -> dict[str, Any]:
    return {"number": number, "head": {"sha": head}, "base": {"ref": into}}


def comment(
    folder: Path,
    verdict: str | bytes | None,
    earlier: object = (),
    *,
    head: str = HEAD,
    commits: str | None = f"{HEAD}\n{BASE}\n",
    files: tuple[dict[str, Any], ...] = (ADDED,),
    pulls: tuple[dict[str, Any], ...] = (request(5, "c" * 40), request(7)),
    now: dict[str, Any] | None = None,
    between: str = "identical",
) -> list[Any]:
    """Runs the script and returns its requests to GitHub. Playwright provides node."""
    (folder / "verdict").mkdir()
    if verdict is not None:
        content = verdict.encode() if isinstance(verdict, str) else verdict
        (folder / "verdict" / "verdict.json").write_bytes(content)
    if commits is not None:
        (folder / "verdict" / "commits.txt").write_text(commits, encoding="utf-8")
    (script,) = (step["with"]["script"] for step in steps("comment") if "script" in step.get("with", {}))
    program = FAKES.replace("'BASE...main'", f"'{BASE}...main'").replace("BETWEEN", between)
    program = program.replace("NOW", json.dumps({"changed_files": len(files)} | (now or {})))
    program = program.replace("HEAD", json.dumps(head)).replace("EARLIER", json.dumps(earlier))
    program = program.replace("PULLS", json.dumps(pulls)).replace("FILES", json.dumps(files))
    return run_script(folder, program.replace("SCRIPT", script))


def run_script(folder: Path, program: str, **environment: str) -> list[Any]:
    node = compute_driver_executable()[0]
    done = subprocess.run(
        [node, "-e", program], env={"RUNNER_TEMP": str(folder), **environment}, cwd=folder, capture_output=True,
        encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


PLACE = "an-org--m/0123456789ab/abcdef012345"
RIGHT = {"task": "letters", "split": "test", "metric": "accuracy", "value": 0.857, "low": 0.83, "high": 0.88}
ACCEPTED = {
    "accepted": True, "path": "x", "reasons": [], "remarks": ["ask the contact"], "place": PLACE,
    "submission": {"division": "pretrained"}, "model": {"id": "an-org/m"},
    "scores": [RIGHT | {"baseline": 0.2}, RIGHT | {"metric": "skill", "baseline": None}],
}  # fmt: skip


def test_comment_shows_the_scores(tmp_path: Path) -> None:
    ((verb, made),) = comment(tmp_path, json.dumps([ACCEPTED]))
    assert (verb, made["issue_number"], made["owner"]) == ("create", 7, "org")
    lines = made["body"].splitlines()
    assert lines[3:5] == ["````text", f"accepted: an-org/m (pretrained), {PLACE}"]
    assert "  letters.test" in lines[5] and "85.70%  83.00% to 88.00%, baseline 20.00%" in lines[5]
    assert lines[6:] == ["  note: ask the contact", "````"]


def test_later_verdict_replaces_the_comment(tmp_path: Path) -> None:
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
        json.dumps([{"accepted": False, "reasons": ["x" * 100_000] * 9}] * 20),
        json.dumps([None, 3, "x", [], {"accepted": "yes", "reasons": HOSTILE}]),
        json.dumps({"accepted": True}),
        "",
        "[" * 100_000,
        b"\xff\xfe",
        b" " * (2**20 + 1),
        None,
    ],
)
def test_hostile_verdict_is_escaped(tmp_path: Path, verdict: str | bytes | None) -> None:
    ((_, made),) = (one for one in comment(tmp_path, verdict) if one[0] != "notice")
    body = made["body"]
    assert body.isascii() and len(body) < 65_536
    head, inside, tail = re.fullmatch(r"(.*?\n````text\n)(.*)(\n````)", body, re.DOTALL).groups()  # type: ignore[union-attr]
    assert "`" not in inside and "\x1b" not in inside
    assert head.count("<!--") == 1 and tail == "\n````"


OTHERS = [".github/workflows/verify.yml", "leaderboard/records/a", "records.md", "`\u202e", ""]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("renamed", [False, True])
def test_pull_request_with_changed_workflow_is_refused(tmp_path: Path, other: str, renamed: bool) -> None:
    """Its workflow may have written any verdict. Moving a file out of the folder is a change, too."""
    moved = {"filename": "records/a--b/c/d/x.yml", "status": "renamed", "previous_filename": other}
    changed = moved if renamed else {"filename": other, "status": "added"}
    ((verb, made),) = comment(tmp_path, json.dumps([ACCEPTED]), files=(ADDED, changed))
    assert verb == "create" and "accepted" not in made["body"] and made["body"].isascii()
    assert made["body"].splitlines()[1].startswith("refused: this pull request changes files")


def test_pull_request_with_unlisted_files_is_refused(tmp_path: Path) -> None:
    ((_, made),) = comment(tmp_path, json.dumps([ACCEPTED]), now={"changed_files": 3001})
    assert "accepted" not in made["body"] and "more files than GitHub lists" in made["body"]


def test_comment_names_the_verified_commit(tmp_path: Path) -> None:
    """Also if the source repository was deleted."""
    ((_, made),) = comment(tmp_path, json.dumps([ACCEPTED]))
    first = made["body"].splitlines()[1]
    assert HEAD in first and BASE in first and first.endswith("not valid for any other commit:")


@pytest.mark.parametrize(
    "commits",
    [
        None,
        "",
        f"{'d' * 40}\n{BASE}\n",
        f"{BASE}\n{HEAD}\n",
        HEAD,
        f"{HEAD}\n",
        f"{HEAD}\n{BASE}\n{HEAD}\n",
        "x" * 2**21,
    ],
)
def test_verdict_of_another_commit_is_ignored(tmp_path: Path, commits: str | None) -> None:
    ((_, made),) = comment(tmp_path, json.dumps([ACCEPTED]), commits=commits)
    assert "accepted" not in made["body"]
    assert made["body"].splitlines()[1] == "no verdict: another commit was verified, not"


@pytest.mark.parametrize(("base", "between"), [(BASE, "diverged"), (BASE, "behind"), ("e" * 40, "identical")])
def test_verdict_on_another_branch_is_ignored(tmp_path: Path, base: str, between: str) -> None:
    ((_, made),) = comment(tmp_path, json.dumps([ACCEPTED]), commits=f"{HEAD}\n{base}\n", between=between)
    assert "accepted" not in made["body"] and "not on this branch" in made["body"]


def test_verdict_on_an_older_base_commit_is_valid(tmp_path: Path) -> None:
    ((_, made),) = comment(tmp_path, json.dumps([ACCEPTED]), between="ahead")
    assert "accepted" in made["body"]


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "f" * 40},
        {"pulls": ()},
        {"pulls": (request(7, into="other"),)},
        {"now": {"head": {"sha": "f" * 40}}},
        {"now": {"base": {"ref": "other"}}},
    ],
)
def test_updated_or_retargeted_pull_request_gets_no_comment(tmp_path: Path, changes: dict[str, Any]) -> None:
    ((verb, _),) = comment(tmp_path, json.dumps([ACCEPTED]), **changes)
    assert verb == "notice"


# The script that finds the sender of superseded records

SENDERS = """
const said = [];
const core = {notice: (text) => {}, setOutput: (name, value) => said.push([name, value])};
const context = {repo: {owner: 'org', repo: 'results'}, payload: {pull_request: {user: USER}}};
const github = {rest: {repos: {
  listCommits: async ({sha, path}) => ({data: sha === 'base' && COMMITS[path] ? [{sha: COMMITS[path]}] : []}),
  listPullRequestsAssociatedWithCommit: async (asked) => ({data: PULL_REQUESTS[asked.commit_sha] ?? []}),
}}};
(async () => { SCRIPT })().then(() => console.log(JSON.stringify(said)));
"""
MINE, HERS, GONE, DIRECT, TWICE, OPEN = (f"{number:012x}" for number in range(1, 7))
MERGED = {"merged_at": "2026-01-01T00:00:00Z"}
PULL_REQUESTS = {
    MINE: [{"user": {"id": 7}, **MERGED}],
    HERS: [{"user": {"id": 8}, **MERGED}],
    GONE: [{"user": None, **MERGED}],
    DIRECT: [],
    TWICE: [{"user": {"id": 7}, **MERGED}, {"user": {"id": 8}, **MERGED}],
    OPEN: [{"user": {"id": 7}, "merged_at": None}],
}


def owned(folder: Path, submission: str, user: object) -> list[str]:
    """Returns the superseded digests that the script attributes to the sender."""
    place = "records/org--m/0123456789ab"
    for digest in PULL_REQUESTS:
        (folder / "base" / place / digest).mkdir(parents=True)
        (folder / "head" / place / digest).mkdir(parents=True)
        (folder / "head" / place / digest / "submission.json").write_text(json.dumps({"supersedes": [HERS]}), "utf-8")
    new = folder / "head" / place / ("f" * 12)
    new.mkdir()
    (new / "submission.json").write_text(submission, encoding="utf-8")
    (script,) = (step["with"]["script"] for step in steps("verify") if "script" in step.get("with", {}))
    program = SENDERS.replace("USER", json.dumps(user)).replace("PULL_REQUESTS", json.dumps(PULL_REQUESTS))
    program = program.replace("COMMITS", json.dumps({f"{place}/{digest}/run.json": digest for digest in PULL_REQUESTS}))
    ((name, value),) = run_script(folder, program.replace("SCRIPT", script), BASE="base")
    assert name == "own" and re.fullmatch(r"(--own [0-9a-f]{12} ?)*", value)
    return [word for word in value.split() if word != "--own"]


@pytest.mark.parametrize(("user", "own"), [({"id": 7}, [MINE]), ({"id": 8}, [HERS]), ({"id": 9}, []), (None, [])])
def test_sender_is_the_author_of_the_pull_request(tmp_path: Path, user: object, own: list[str]) -> None:
    assert owned(tmp_path, json.dumps({"supersedes": [*PULL_REQUESTS, "0" * 12], "contact": "her"}), user) == own


@pytest.mark.parametrize(
    "submission",
    ["", "[" * 9999, "{}", '{"supersedes": 7}', '{"supersedes": [null, {}, "; rm -rf /", "$(id)"]}', " " * (2**20 + 1)],
)
def test_hostile_submission_json_is_ignored(tmp_path: Path, submission: str) -> None:
    assert owned(tmp_path, submission, {"id": 7}) == []
