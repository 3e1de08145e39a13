"""Chat templates may only frame messages: real templates render as in transformers, helping ones are refused."""

import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.prompts import chat_template
from harness.prompts.chat_template import ChatTemplate
from harness.prompts.prompting import Prompting, PromptRequest, resolve_prompting
from harness.prompts.rendering import exchange, prompt_ids, prompt_texts
from harness.prompts.template_check import render_framed
from tests.conftest import Run, refused
from tests.harness.prompts.test_prompting import OPTIONS, TASKS, folder, job_of, messages_by_hand
from tests.support import models, scripted
from tests.support.chat_templates import CHEATS, HONEST, LATER_CHEATS, NO_SYSTEM, UNBOUNDED

pytestmark = pytest.mark.usefixtures("one_thread")


def tokenizer(template: str) -> Any:
    """A template with the special tokens `<s>` and `</s>`."""
    made = models.fast(models.with_bos_and_eos())
    made.bos_token, made.eos_token, made.chat_template = "<s>", "</s>", template
    return made


def by_transformers(made: Any, conversation: list[dict[str, str]], prompting: Prompting) -> str:
    """The text that transformers renders, on the fixed date."""
    switched = {prompting.switch: prompting.thinking > 0} if prompting.switch else {}
    template = (
        made.chat_template.replace('strftime_now("%d %b %Y")', '"01 Jan 2025"')
        .replace('strftime_now("%d %B %Y")', '"01 January 2025"')
        .replace('strftime_now("%Y-%m-%d")', '"2025-01-01"')
    )
    return str(
        made.apply_chat_template(
            conversation, chat_template=template, tokenize=False, add_generation_prompt=True, date_string="01 Jan 2025",
            **switched,
        )
    )  # fmt: skip


@pytest.mark.parametrize("family", HONEST)
def test_real_templates_render_as_transformers(family: str) -> None:
    made = tokenizer(HONEST[family])
    systems = [None] if family in NO_SYSTEM else [None, "You count.", "  You count.\nWell. \n"]
    for task in TASKS:
        for shots, system in ((0, None), (2, systems[-1]), (0, systems[len(systems) // 2])):
            job, rows = job_of(task, made, shots=shots, system=system)
            found = prompt_texts(job, rows, made)
            conversations = messages_by_hand(job, rows, system)
            assert found == [by_transformers(made, turns, job.prompting) for turns in conversations]


@pytest.mark.parametrize("family", HONEST)
def test_dialogue_turns_render_as_transformers(family: str) -> None:
    """Also after answers with thinking, empty answers, and answers with trailing whitespace."""
    made = tokenizer(HONEST[family])
    job, rows = job_of("strawberry", made, challenges=2)
    on = exchange(job, rows, prompt_ids(prompt_texts(job, rows, made), True, made), made)
    challenge = job.task.challenge  # type: ignore[attr-defined]
    for answer in ("3", "There are\n\n3 of them."):
        conversation = messages_by_hand(job, rows)[1]
        conversation += [{"role": "assistant", "content": answer}, {"role": "user", "content": challenge}]
        closed = "</think>\n\n" if job.prompting.opened else ""
        text = f"{closed}{answer}"
        ended = text if on.bridge is None else answer
        following = on.following(1, [(prompt_ids([ended], True, made)[0], text)])
        expected = prompt_ids([by_transformers(made, conversation, job.prompting)], True, made)[0]
        assert following.tolist() == expected.tolist()
    assert on.longest.min() > 0


REFUSED = "adds depends on the question, but a template may only frame messages"


@pytest.mark.parametrize("cheat", CHEATS)
def test_helping_template_is_refused(cheat: str) -> None:
    made = tokenizer(CHEATS[cheat])
    for shots in (0, 2):
        with pytest.raises(UserError, match=f"{REFUSED}|drops"):
            prompt_texts(*job_of("letters", made, shots=shots), made)


@pytest.mark.parametrize("cheat", LATER_CHEATS)
def test_template_helping_in_second_turn_is_refused_for_dialogues_only(cheat: str) -> None:
    made = tokenizer(LATER_CHEATS[cheat])
    assert prompt_texts(*job_of("letters", made), made)
    with pytest.raises(UserError, match=REFUSED):
        prompt_texts(*job_of("strawberry", made), made)


def test_template_helping_on_one_row_is_refused() -> None:
    """The template helps on one row only: every job with that row is refused, and no other."""
    job, rows = job_of("letters", tokenizer(scripted.CHATML), rows=300)
    words = rows["word"].to_pylist()
    made = tokenizer(scripted.CHATML + "{% if '" + words[200] + "' in messages[-1].content %}2{% endif %}")
    helped = [row for row, word in enumerate(words) if words[200] in word]
    assert helped[0] > 100
    prompt_texts(job, rows.slice(0, helped[0]), made)
    with pytest.raises(UserError, match=REFUSED):
        prompt_texts(job, rows.slice(0, helped[0] + 1), made)


def test_model_output_is_framed_without_check() -> None:
    """Templates remove marks from answers; a later prompt contains the answer unchanged."""
    template = ChatTemplate(HONEST["gpt-oss"], "a model", {})
    conversation = [
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": "<|channel|>final<|message|> 3"},
        {"role": "user", "content": "Again."},
    ]
    (text,) = render_framed(template, [conversation], Prompting(template="0" * 64), check=False)
    assert text.count("<|channel|>final<|message|><|channel|>final<|message|> 3<|end|>") == 1


def test_whitespace_and_empty_messages_are_passed_to_template() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{% if m.content %}[{{ m.content | trim }}|{{ m.content }}]{% else %}()"
        "{% endif %}{% endfor %}",
        "a model",
        {},
    )
    conversation = [{"role": "user", "content": text} for text in (" \n3 ", "", "   ", "a b")]
    assert render_framed(template, [conversation], Prompting(template="0" * 64)) == ["[3| \n3 ]()[|   ][a b|a b]"]


def test_overlapping_contents_are_substituted_once() -> None:
    template = ChatTemplate("{% for m in messages %}{{ m.content }}.{% endfor %}", "a model", {})
    conversation = [{"role": "user", "content": text} for text in ("ab", "a", "abab", "\\1 \\g<0>")]
    assert render_framed(template, [conversation], Prompting(template="0" * 64)) == ["ab.a.abab.\\1 \\g<0>."]


# ---- From the command line


@pytest.mark.parametrize("cheat", ["counts", "hints by keyword", "lowers"])
def test_helping_template_error_of_command_line(cli: Run, tmp_path: Path, cheat: str) -> None:
    folder(tmp_path, CHEATS[cheat])
    line = refused(cli(*OPTIONS))
    assert REFUSED in line and "add --chat off" in line
    assert not list(tmp_path.glob("runs/*/*/observations/*"))
    assert cli(*OPTIONS, "--chat", "off").returncode == 0


# ---- Without end


@pytest.mark.slow("harness/prompts")
@pytest.mark.parametrize("kind", UNBOUNDED)
def test_endless_template_times_out(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "MAX_SECONDS", 2)
    made = tokenizer(UNBOUNDED[kind])
    began = time.monotonic()
    with pytest.raises(UserError, match=r"fails \(|drops") as error:
        resolve_prompting(PromptRequest(), made)
    assert "\n" not in str(error.value)
    assert time.monotonic() - began < 60
    # The next one is carried out all the same.
    assert prompt_texts(*job_of("letters", tokenizer(scripted.CHATML)), tokenizer(scripted.CHATML))
