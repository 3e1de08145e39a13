"""The chat templates of records in verification, replay and site."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import UserError
from harness.runs.run import read_run
from leaderboard.create_record import public_facts
from leaderboard.records import read_record
from leaderboard.replay.replay import replay
from leaderboard.untrusted_text import visible
from leaderboard.verification.verify_record import Verdict, verify_record
from tests.leaderboard.record_edits import Json, edit, make_consistent, make_record, only_run, resign
from tests.leaderboard.site_fixtures import attest, index_of, make_answers_record
from tests.support import scripted
from tests.support.chat_templates import CHEATS, HONEST, LATER_CHEATS, UNBOUNDED

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "extra_special_tokens": ["<|a|>"]}


def run_chat_model(folder: Path, *tasks: str, template: str = scripted.CHATML) -> Path:
    """A finished run of a chat model, as harness submit stages it."""
    model = scripted.save(folder / "model", "perfect", template=template)
    words = [word for task in tasks for word in ("--task", task)]
    assert main(["eval", "--model", str(model), *words, "--limit", "4", "--output", str(folder / "runs")]) == 0
    run = only_run(folder / "runs").folder
    edit(run / "run.json", public_facts)
    make_consistent(run)
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_chat_model(tmp_path_factory.mktemp("finished"), "letters", "strawberry")


def forged(finished: Path, records: Path, change: Callable[[Json], object]) -> Path:
    """Changes run.json consistently and returns the record."""
    run = records.parent / "forged"
    shutil.copytree(finished, run)
    edit(run / "run.json", lambda facts: change(facts) and None)
    make_consistent(run)
    return make_record(run, records)


def with_template(text: str, **tokens: Any) -> Callable[[Json], None]:
    """Sets another template, with its hash everywhere."""

    def change(facts: Json) -> None:
        facts["model"]["chat_template"] |= {"text": text, "special_tokens": {**TOKENS, **tokens}}
        for task in facts["data"]["tasks"].values():
            task["prompting"]["template"] = hashlib.sha256(text.encode()).hexdigest()

    return change


def verdict_of(record: Path, records: Path, **options: Any) -> Verdict:
    return verify_record(record, records, **options)


def test_run_records_its_template(finished: Path) -> None:
    facts = read_run(finished).facts
    stated = facts["model"]["chat_template"]
    assert stated["text"] == scripted.CHATML and stated["of"] == "model"
    assert stated["special_tokens"]["eos_token"] == scripted.END
    digest = hashlib.sha256(scripted.CHATML.encode()).hexdigest()
    assert {task["prompting"]["template"] for task in facts["data"]["tasks"].values()} == {digest}


def test_run_without_chat_has_no_template(tmp_path: Path) -> None:
    model = scripted.save(tmp_path / "model", "perfect", template=scripted.CHATML)
    for words in (["--task", "letters", "--chat", "off"], ["--task", "flipflop-prose"]):
        output = tmp_path / "-".join(words)
        assert main(["eval", "--model", str(model), *words, "--limit", "1", "--output", str(output)]) == 0
        assert "chat_template" not in only_run(output).facts["model"]


@pytest.mark.parametrize("family", [None, *HONEST])
def test_templates_of_real_families_are_accepted(finished: Path, records: Path, family: str | None) -> None:
    change = with_template(HONEST[family]) if family else lambda facts: None
    assert verdict_of(forged(finished, records, change), records).reasons == ()


@pytest.mark.parametrize("cheat", CHEATS | LATER_CHEATS)
def test_templates_that_change_messages_are_refused(finished: Path, records: Path, cheat: str) -> None:
    text = (CHEATS | LATER_CHEATS)[cheat]
    (message,) = verdict_of(forged(finished, records, with_template(text)), records).reasons
    assert (
        "the text that the chat template of the record adds depends on the question" in message and "\n" not in message
    )


@pytest.mark.slow("leaderboard/verification", "harness/prompts")
@pytest.mark.parametrize("kind", ["powers", "repeats", "doubles", "writes much"])
def test_endless_templates_are_refused(finished: Path, records: Path, kind: str) -> None:
    (message,) = verdict_of(forged(finished, records, with_template(UNBOUNDED[kind])), records).reasons
    assert "fails (it" in message and "\n" not in message


def _other_text(facts: Json) -> None:
    facts["model"]["chat_template"]["text"] += " "


def _no_text(facts: Json) -> None:
    del facts["model"]["chat_template"]


def _one_task_of_another(facts: Json) -> None:
    facts["data"]["tasks"]["letters"]["prompting"]["template"] = "0" * 64


def _of_an_adapter(facts: Json) -> None:
    facts["model"]["chat_template"]["of"] = "adapter"


def _more_fields(facts: Json) -> None:
    facts["model"]["chat_template"]["note"] = "x"


def _huge(facts: Json) -> None:
    facts["model"]["chat_template"]["text"] += "x" * 200_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_text, "its hash differs"),
        (_no_text, "lacks the text of the chat template. Run harness eval with a new --output folder"),
        (_one_task_of_another, "its hash differs"),
        (_of_an_adapter, "the record has no adapter"),
        (_more_fields, "it has an unknown field"),
        (_huge, "maxLength"),
    ],
)
def test_inconsistent_templates_are_refused(
    finished: Path, records: Path, change: Callable[[Json], None], message: str
) -> None:
    (reason,) = verdict_of(forged(finished, records, change), records).reasons
    assert message in reason


def test_accepted_record_without_template_text(finished: Path, records: Path) -> None:
    verdict = verdict_of(forged(finished, records, _no_text), records, new=False)
    assert verdict.accepted
    assert any("the text of the chat template is not recorded" in remark for remark in verdict.remarks)


# ---- Replays


def test_replay_needs_the_recorded_template(finished: Path, tmp_path: Path) -> None:
    model = finished.parents[2] / "model"
    record = make_record(finished, tmp_path / "records")
    assert replay(read_record(record), None, "n", "a maintainer", str(model)).agrees
    edit(record / "run.json", lambda facts: facts["model"]["chat_template"]["special_tokens"].clear())
    with pytest.raises(UserError, match="the chat template is"):
        replay(read_record(resign(record, tmp_path / "records")), None, "n", "a maintainer", str(model))


@pytest.mark.parametrize("cheat", ["counts", "hints by length", "lowers"])
def test_replay_refuses_a_template_that_changes_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cheat: str
) -> None:
    """The record was made by a harness that accepted the template."""
    with monkeypatch.context() as context:
        context.setattr("harness.prompts.rendering.render_framed", _taken)
        run = run_chat_model(tmp_path, "letters", template=CHEATS[cheat])
    record = make_record(run, tmp_path / "records")
    with pytest.raises(UserError, match="adds depends on the question"):
        replay(read_record(record), None, "n", "a maintainer", str(tmp_path / "model"))


def _taken(template: Any, conversations: Any, prompting: Any, *, check: bool = True) -> list[str]:
    from harness.prompts.prompting import render_all

    return render_all(template, conversations, prompting)


# ---- The site


def shown(records: Path, model: str, **facts: Any) -> tuple[str, Path]:
    """Returns the page of a record of a chat model, and the record."""
    from harness.prompts.prompting import Prompting

    text = "<script>alert(1)</script>{{ messages }}\u202e"
    digest = hashlib.sha256(text.encode()).hexdigest()
    record = make_answers_record(records, model, wrong=50, prompting=Prompting(template=digest))
    facts = {"chat_template": {"text": text, "special_tokens": {}, "of": "model"}} | facts
    edit(record / "run.json", lambda message: message["model"].update(facts))
    make_consistent(record)
    return digest, resign(record, records)


def page_of(records: Path) -> str:
    (row,) = index_of(records)
    return (records.parent / "site" / row["page"]).read_text(encoding="utf-8")


def test_page_shows_template_text_and_hash(records: Path) -> None:
    digest, record = shown(records, "org/m")
    page = page_of(records)
    assert digest in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ messages }}\\u{202e}" in page and "<script>alert" not in page
    assert "<strong>not yet compared with the model&#39;s repository</strong>" in page
    attest(record, "replay", True, asked=4)
    page = page_of(records)
    assert (
        "from the model&#39;s repository at this revision, confirmed by a replay" in page
        and "not yet compared" not in page
    )


@pytest.mark.parametrize(
    ("model", "facts", "mark"),
    [
        ("local/m", {}, "from a local folder, not from a repository"),
        (
            "org/m",
            {
                "chat_template": {"text": "x", "special_tokens": {}, "of": "adapter"},
                "adapter": {"id": "org/lora", "revision": "0" * 40},
            },
            "from the adapter, not from the model&#39;s repository",
        ),
    ],
)
def test_other_templates_are_marked(records: Path, model: str, facts: Json, mark: str) -> None:
    _, record = shown(records, model, **facts)
    attest(record, "replay", True, asked=4)
    assert f"<strong>{mark}</strong>" in page_of(records)


def test_older_record_shows_the_template_hash(records: Path) -> None:
    digest, record = shown(records, "org/m")
    edit(record / "run.json", lambda message: message["model"].pop("chat_template") and None)
    make_consistent(record)
    resign(record, records)
    page = page_of(records)
    assert digest in page and "The record does not contain its text." in page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n\tb", "a\n\tb"),
        ("a\u202eb", "a\\u{202e}b"),
        ("\u200b\U000e0041", "\\u{200b}\\u{e0041}"),
        ("\x1b[2J\r", "\\u{001b}[2J\\u{000d}"),
        ("<\uff5cUser\uff5c>\u2581", "<\uff5cUser\uff5c>\u2581"),
    ],
)
def test_invisible_characters_are_escaped(text: str, expected: str) -> None:
    assert visible(text) == expected
