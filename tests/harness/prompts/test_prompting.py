"""Prompting with many kinds of chat templates: prompts equal those of transformers."""

import hashlib
import json
import re
import sys
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers.utils import chat_template_utils

from fflm_data import GENERATOR_VERSION, get_config
from harness.errors import UserError
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.planning.evaluation_request import Questions
from harness.planning.planner import apply_prompting, plan_jobs
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting, PromptRequest, render, resolve_prompting, template_marks
from harness.prompts.rendering import end_of_answer, messages, plain_texts, prompt_ids, prompt_texts
from harness.prompts.thinking import after_thinking, marker_ids
from harness.tasks import ChoiceTask, CompletionTask, all_tasks
from tests.conftest import SMOLLM2_FILE, Run, refused
from tests.support import models, scripted

pytestmark = pytest.mark.usefixtures("one_thread")

TURNS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
)
OPENS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
BOS = "{{ bos_token }}" + TURNS + OPENS
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + TURNS
    + OPENS
)
SILENT = "{% for message in messages if message['role'] != 'system' %}" + TURNS.split("%}", 1)[1] + OPENS
LAST = "{{ messages[-1]['content'] }}"
# As Qwen3's: earlier thoughts are dropped, and an empty one is written where there shall be none.
SWITCHED = (
    "{% for message in messages %}<|im_start|>{{ message['role'] + '\n' + message['content'].split('</think>')[-1]"
    ".lstrip('\n') }}<|im_end|>\n{% endfor %}"
    + OPENS
    + "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
ALWAYS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] + '\n' + message['content'].split('</think>')[-1] }}"
    "<|im_end|>\n{% endfor %}" + OPENS + "{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}"
)
DATED = "<|im_start|>system\nToday is {{ strftime_now('%d %B %Y') }}.<|im_end|>\n" + TURNS + OPENS
PLAIN = (  # writes what a base model gets
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ 'Question: ' + message['content'] + '\nAnswer:' }}{% else %}{{ ' ' + message['content'] + '\n\n' }}{% endif %}"
    "{% endfor %}"
)
TEMPLATES = {
    "ChatML": scripted.CHATML,
    "bos": BOS,
    "no system": NO_SYSTEM,
    "switched": SWITCHED,
    "always": ALWAYS,
    "plain": PLAIN,
}
TASKS = [name for name, task in all_tasks().items() if isinstance(task, CompletionTask)]
INSTRUCTIONS = {"letters-histogram": 'Answer with a JSON object only, such as {"a": 2, "b": 1}.'}
NUMBER = "Answer with a number only."


def tokenizer(template: str | None) -> Any:
    """A tokenizer that adds a special token before and after every text."""
    backend = models.with_bos_and_eos()
    backend.add_special_tokens([scripted.START, scripted.END])
    made = models.fast(backend)
    made.bos_token, made.eos_token, made.chat_template = "<s>", "</s>", template
    return made


def job_of(task: str, tokenizer: Any, rows: int = 3, **options: Any) -> tuple[Job, Any]:
    """A job as `harness eval` plans it, and its rows."""
    questions = Questions(tasks=(task,), limit=rows, prompts=PromptRequest(**options))
    (job,) = apply_prompting(plan_jobs(questions), questions, tokenizer)
    return job, job.config.table(job.split, 0, rows)


def ids_of(job: Job, rows: Any, tokenizer: Any) -> list[list[int]]:
    return [ids.tolist() for ids in prompt_ids(prompt_texts(job, rows, tokenizer), job.prompting.chat, tokenizer)]


def messages_by_hand(job: Job, rows: Any, system: str | None = None) -> list[list[dict[str, str]]]:
    """The messages of each row, built independently: the instruction follows every question."""
    instruction = INSTRUCTIONS.get(job.task.name, NUMBER)
    task: Any = job.task
    before = [] if system is None else [{"role": "system", "content": system}]
    shots = job.prompting.shots
    if shots:
        from harness.prompts.few_shot import few_shot_examples

        shown = few_shot_examples(task, job.config, job.split, shots)
        for question, answer in zip(task.texts(shown), task.answers(shown), strict=True):
            before += [
                {"role": "user", "content": f"{question}\n{instruction}"},
                {"role": "assistant", "content": answer},
            ]
    return [[*before, {"role": "user", "content": f"{question}\n{instruction}"}] for question in task.texts(rows)]


def by_transformers(tokenizer: Any, conversations: list[list[dict[str, str]]], **named: Any) -> list[list[int]]:
    return [
        tokenizer.apply_chat_template(
            conversation, tokenize=True, add_generation_prompt=True, return_dict=False, **named
        )
        for conversation in conversations
    ]


# ---- Ids


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("task", TASKS)
def test_prompt_ids_equal_transformers(task: str, kind: str, shots: int) -> None:
    made = tokenizer(TEMPLATES[kind])
    job, rows = job_of(task, made, shots=shots)
    switched = {"enable_thinking": False} if kind == "switched" else {}
    ids = ids_of(job, rows, made)
    assert ids == by_transformers(made, messages_by_hand(job, rows), **switched)
    bos = made.bos_token_id
    assert {one.count(bos) for one in ids} == {int(kind in ("bos", "plain"))}
    assert made.eos_token_id not in [token for one in ids for token in one]


def test_prompt_ids_with_system_prompt() -> None:
    made = tokenizer(BOS)
    job, rows = job_of("letters", made, shots=1, system="Count well.")
    assert ids_of(job, rows, made) == by_transformers(made, messages_by_hand(job, rows, "Count well."))
    assert made.decode(ids_of(job, rows, made)[0]).startswith("<s><|im_start|>system\nCount well.<|im_end|>\n")


@pytest.mark.parametrize("budget", [0, None, 100])
def test_prompt_ids_with_thinking_on_and_off(budget: int | None) -> None:
    made = tokenizer(SWITCHED)
    job, rows = job_of("letters", made, thinking=budget)
    assert ids_of(job, rows, made) == by_transformers(made, messages_by_hand(job, rows), enable_thinking=bool(budget))
    assert made.decode(ids_of(job, rows, made)[0]).endswith("assistant\n" if budget else "</think>\n\n")


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("task", TASKS)
def test_plain_template_gives_plain_ids(task: str, shots: int) -> None:
    made = tokenizer(PLAIN)
    job, rows = job_of(task, made, shots=shots)
    plainly = replace(job, prompting=Prompting(shots=shots))
    assert prompt_texts(plainly, rows, made) == plain_texts(job, rows)
    assert ids_of(plainly, rows, tokenizer(None)) == ids_of(job, rows, made)
    assert ids_of(job_of(task, made, shots=shots, chat="off")[0], rows, made) == ids_of(job, rows, made)


def test_plain_text() -> None:
    made = tokenizer(None)
    job, rows = job_of("letters", made, shots=1, rows=1)
    (text,) = prompt_texts(job, rows, made)
    (conversation,) = messages_by_hand(job, rows)
    solved, answer, question = (one["content"] for one in conversation)
    assert text == f"Question: {solved}\nAnswer: {answer}\n\nQuestion: {question}\nAnswer:"
    assert question == f'How many times does the letter "r" occur in the word "strawberry"?\n{NUMBER}'
    # What opens a text opens it once, what would end it is left out.
    (ids,) = ids_of(job, rows, made)
    assert ids == [made.bos_token_id, *made(text, add_special_tokens=False).input_ids]


@pytest.fixture(scope="module")
def real(smollm2: Path) -> Any:
    return resolve(ModelRequest(str(smollm2), gguf_file=SMOLLM2_FILE)).tokenizer


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("task", TASKS)
def test_prompt_ids_of_real_tokenizer(real: Any, task: str, shots: int) -> None:
    for system in (None, "You count."):
        job, rows = job_of(task, real, shots=shots, system=system)
        assert ids_of(job, rows, real) == by_transformers(real, messages_by_hand(job, rows, system))
    assert real.decode(ids_of(job, rows, real)[0]).endswith("<|im_end|>\n<|im_start|>assistant\n")
    plain, rows = job_of(task, real, shots=shots, chat="off")
    assert ids_of(plain, rows, real) == [real(text).input_ids for text in plain_texts(plain, rows)]


# ---- What is refused, and what is recorded


def folder(path: Path, template: str | None, behaviour: str = "perfect") -> Path:
    return scripted.save(path / "model", behaviour, template=template)


OPTIONS = ("harness", "eval", "--model", "model", "--task", "letters", "--limit", 4)


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        (None, ["--chat", "on"], "the tokenizer of local/model has no chat template: remove --chat on"),
        (None, ["--system", "Hi"], "--system needs a chat template, and local/model has none: remove --system"),
        (None, ["--thinking", "9"], "--thinking needs a chat template, and local/model has none: remove --thinking"),
        (scripted.CHATML, ["--chat", "off", "--system", "Hi"], "--chat is off: remove --system"),
        (SWITCHED, ["--chat", "off", "--thinking", "9"], "--chat is off: remove --thinking"),
        (scripted.CHATML, ["--thinking", "9"], "does not support thinking: remove --thinking 9"),
        (NO_SYSTEM, ["--system", "Hi"], "fails (System role not supported): remove --system"),
        ("{{ raise_exception('not today') }}", [], "fails (not today): add --chat off"),
        ("{{ raise_exception('not\ntoday') }}", [], "fails (not today): add --chat off"),
        ("{{ messages + 1 }}", [], "fails (can only concatenate list"),
        ("{{ 1 / 0 }}", [], "fails (division by zero)"),
        ("", [], "drops the question: add --chat off"),
        ("hello", [], "drops the question: add --chat off"),
        (SILENT, ["--system", "Hi"], "drops the system prompt: remove --system"),
        (LAST, ["--shots", "1"], "drops few-shot examples: remove --shots"),
        (LAST, ["--task", "strawberry"], "drops earlier turns, which dialogues need: add --chat off"),
        (scripted.CHATML, ["--chat", "maybe"], "--chat takes auto, on, off"),
        (scripted.CHATML, ["--shots", "-1"], "'-1' is not an integer of at least 0"),
    ],
)
def test_template_error_messages(
    cli: Run, tmp_path: Path, template: str | None, options: list[str], message: str
) -> None:
    folder(tmp_path, template)
    assert message in refused(cli(*OPTIONS, *options))
    assert not list(tmp_path.glob("runs/*/*/observations/*"))


@pytest.mark.parametrize(
    "change",
    [{"turns": "x"}, {"turns": 0}, {"thinking": "5"}, {"template": 5}, {"shots": None}, {"system": 7}, {"opened": 1}],
)
def test_changed_recorded_prompting_is_refused(cli: Run, tmp_path: Path, change: dict[str, Any]) -> None:
    folder(tmp_path, scripted.CHATML)
    assert cli(*OPTIONS).returncode == 0
    (run,) = tmp_path.glob("runs/*/*")
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    facts["data"]["tasks"]["letters"]["prompting"] |= change
    (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    for verb in ("score", "report"):
        assert "run.json is invalid" in refused(cli("harness", verb, run))


def test_mark_in_system_prompt_opens_no_thinking() -> None:
    made = tokenizer(BOS)
    assert not resolve_prompting(PromptRequest(system="Write <think> where you think."), made).opened


def facts_by_run(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("runs/*/*/run.json")
    }


def test_recorded_prompting(cli: Run, tmp_path: Path) -> None:
    folder(tmp_path, SWITCHED, "thinks:3")
    plain = {"template": None, "shots": 0, "system": None, "switch": None, "thinking": 0, "opened": False, "turns": 1}
    chat = plain | {"template": hashlib.sha256(SWITCHED.encode()).hexdigest(), "switch": "enable_thinking"}
    cases = [
        ([], chat),
        (["--chat", "off"], plain),
        (["--shots", "2"], chat | {"shots": 2}),
        (["--system", "Count."], chat | {"system": "Count."}),
        (["--thinking", "80"], chat | {"thinking": 80}),
    ]
    seen: set[str] = set()
    made = scripted_tokenizer(SWITCHED)
    for options, expected in cases:
        result = cli(*OPTIONS, *options)
        assert result.returncode == 0, result.stderr
        runs = facts_by_run(tmp_path)
        (new,) = runs.keys() - seen
        seen.add(new)
        recorded = runs[new]["data"]["tasks"]["letters"]
        assert recorded["prompting"] == expected
        request = {
            key[2:]: int(value) if value.isdigit() else value
            for key, value in zip(options[::2], options[1::2], strict=True)
        }
        ids = ids_of(*job_of("letters", made, **request), made)[0]
        assert recorded["rendering"]["first_tokens"] == ids[:8]
        assert " ".join(options) in runs[new]["command"]
        assert "4 of 4 rows done before, resuming" in cli(*OPTIONS, *options).stdout  # the same command finds it again
        assert facts_by_run(tmp_path).keys() == seen
    assert len(seen) == len(cases)


def scripted_tokenizer(template: str | None) -> Any:
    made = models.fast(scripted.tokenizer())
    made.chat_template, made.eos_token = template, scripted.END
    return made


def test_other_template_gives_other_run(cli: Run, tmp_path: Path) -> None:
    for template in (scripted.CHATML, TURNS + OPENS):
        folder(tmp_path, template)
        assert cli(*OPTIONS).returncode == 0
    assert len(facts_by_run(tmp_path)) == 2


# ---- The date


def test_template_date_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokenizer(DATED)
    ours, theirs = set(), set()
    for day in (3, 14, 25):

        class Clock(datetime):
            today = day

            @classmethod
            def now(cls, tz: Any = None) -> "Clock":
                return cls(2031, 7, cls.today)

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)
        job, rows = job_of("letters", made)
        ours.add(str(ids_of(job, rows, made)))
        theirs.add(str(by_transformers(made, messages_by_hand(job, rows))))
    assert len(theirs) == 3
    assert len(ours) == 1
    assert "Today is 01 January 2025." in prompt_texts(job, rows, made)[0]


CODES = "aAbBcCdDeFgGhHIjklmMnprRsStTuUVwWxXyYzZ"


@pytest.mark.skipif(sys.platform != "linux", reason="C libraries have codes and flags of their own")
@pytest.mark.parametrize("flag", ["", "-", "_", "0", "^"])
def test_clock_formats_as_strftime(flag: str) -> None:
    day = datetime(2025, 1, 1)
    codes = [f"%{flag}{code}" for code in CODES] + ["%%d", "%d.%m.%Y um %H:%M Uhr", "100%"]
    wanted = "|".join(day.strftime(code) for code in codes)
    assert f"{wanted}?" in rendered_by(tokenizer("{{ strftime_now('" + "|".join(codes) + "') }}" + LAST))


@pytest.mark.parametrize(
    ("code", "text"),
    [("%H:%M", "00:00"), ("%-d", "1"), ("%#d %B", "1 January"), ("%-I %p", "12 AM"), ("%d/%m/%y", "01/01/25")],
)
def test_template_with_date(code: str, text: str) -> None:
    assert rendered_by(tokenizer("{{ strftime_now('" + code + "') }}" + LAST)) == f"{text}?"


@pytest.mark.parametrize("start", ["", "\n", "\n\n", "\n\n\n", "  ", "\n  ", " \n\n", "\t"])
@pytest.mark.parametrize("template", [LAST, BOS, "{% if true %}x{% endif %}\n" + LAST, "{# c #}\n" + LAST])
def test_clock_keeps_start_of_template(start: str, template: str) -> None:
    made = tokenizer(start + template)
    question = [{"role": "user", "content": "?"}]
    assert rendered_by(made) == made.apply_chat_template(question, tokenize=False, add_generation_prompt=True)


def rendered_by(made: Any) -> str:
    return render(made, [{"role": "user", "content": "?"}], Prompting())


def test_date_variable_is_no_thinking_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that writes the current second has no thinking switch."""

    class Clock(datetime):
        ticks = 0

        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            cls.ticks += 1
            return cls(2031, 7, 3, 12, 30, cls.ticks % 60)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    made = tokenizer(DATED.replace("%Y", "%Y %S"))
    assert resolve_prompting(PromptRequest(), made).switch is None


# ---- Thinking


def scores(tmp_path: Path) -> dict[str, float]:
    (path,) = tmp_path.glob("runs/*/*/result.json")
    scores = json.loads(path.read_text(encoding="utf-8"))["scores"]
    return {one["metric"]: one["value"] for one in scores if one["group"] is None}


def observed(tmp_path: Path) -> list[dict[str, Any]]:
    (path,) = tmp_path.glob("runs/*/*/observations/letters.test.parquet")
    return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("template", ["switched", "always"])
def test_answer_after_thinking_is_scored(cli: Run, tmp_path: Path, template: str) -> None:
    """The thinking contains the number 7; the answers are correct."""
    folder(tmp_path, TEMPLATES[template], "thinks:20")
    result = cli(*OPTIONS, "--thinking", 70)
    assert result.returncode == 0, result.stderr
    found = scores(tmp_path)
    assert (found["accuracy"], found["cut_off"], found["parse_failures"]) == (1, 0, 0)
    for row in observed(tmp_path):
        opening = "" if template == "always" else "<think>\n"
        assert row["output"].startswith(f"{opening}7 7 7") and "</think>\n\n" in row["output"]


# A common form: thinking precedes the answer, between marks.
REASONS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content %}OPEN\n{{ m.reasoning_content }}\n"
    "CLOSE\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}" + OPENS
)
# As others do: what was thought is left out of earlier answers, and a thought is begun by the prompt.
DROPS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('CLOSE')[-1] }}<|im_end|>\n{% endfor %}"
    + OPENS
    + "{% if add_generation_prompt %}OPEN\n{% endif %}"
)
CHANNELS = ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>")


def with_marks(template: str, opening: str, close: str) -> str:
    return template.replace("OPEN", opening).replace("CLOSE", close)


@pytest.mark.parametrize(
    ("template", "marks", "own"),
    [
        (REASONS, ("<muse>", "</muse>"), True),
        (REASONS, ("<|mull|>", "<|speak|>"), True),
        (REASONS, ("@@MULL@@", "@@SPEAK@@"), True),
        (DROPS, ("<muse>", "</muse>"), True),
        (DROPS, ("@@MULL@@", "@@SPEAK@@"), True),
        (REASONS + DROPS.rpartition("{% if")[1] + DROPS.rpartition("{% if")[2], ("<muse>", "</muse>"), True),
        (REASONS, ("<think>", "</think>"), False),
        (REASONS, ("<|channel>thought", "<channel|>"), False),
        (REASONS, ("[THINK]", "[/THINK]"), False),
        (REASONS, ("<|inner_prefix|>", "<|inner_suffix|>"), False),
        (DROPS, ("◁think▷", "◁/think▷"), False),
        (REASONS, CHANNELS, False),
        (REASONS, ("Reasoning:", "Answer:"), False),
        (scripted.CHATML, ("", ""), False),
        (LAST, ("", ""), False),
        (NO_SYSTEM, ("", ""), False),
    ],
)
def test_template_marks(template: str, marks: tuple[str, str], own: bool) -> None:
    """Unknown tags are found by how the template renders thinking."""
    made = tokenizer(with_marks(template, *marks))
    assert template_marks(made) == (marks if own else ())
    prompting = resolve_prompting(PromptRequest(), made)
    assert prompting.marks == (marks if own else ())
    assert ("marks" in prompting.facts()) == own
    assert Prompting(**json.loads(json.dumps(prompting.facts()))) == prompting
    if own:
        opened = template.endswith(DROPS.rpartition("{% if")[2])
        assert (prompting.opened, prompting.thinking) == (opened, 2048)


@pytest.mark.parametrize(
    "text", ["<|channel|>", "<|message|>", "<channel|>", "</think>", "<|inner_suffix|>", "[/THINK]"]
)
def test_marks_special_in_tokenizer_file_only(text: str) -> None:
    made = models.fast(scripted.tokenizer([text, "<|else|>"]))
    made.chat_template = scripted.CHATML
    assert text not in made.all_special_tokens
    assert marker_ids(made) == {made.convert_tokens_to_ids(text)}


@pytest.mark.parametrize(
    ("template", "marks"),
    [
        (REASONS, CHANNELS),
        (REASONS, ("<|channel>thought", "<channel|>")),
        (REASONS, ("<muse>", "</muse>")),
        (DROPS, ("<|mull|>", "<|speak|>")),
        (DROPS, ("<|START_THINKING|>", "<|END_THINKING|>")),
        (REASONS, ("@@MULL@@", "@@SPEAK@@")),
    ],
)
def test_thinking_between_template_marks(cli: Run, tmp_path: Path, template: str, marks: tuple[str, str]) -> None:
    """Marks are special in tokenizer.json only, so that plain decoding skips them."""
    folder(tmp_path, with_marks(template, *marks), f"thinks:20 {marks[0]} {marks[1]}")
    result = cli(*OPTIONS, "--thinking", 90)
    assert result.returncode == 0, result.stderr
    found = scores(tmp_path)
    assert (found["accuracy"], found["cut_off"], found["parse_failures"]) == (1, 0, 0)
    assert all("7 7 7" in row["output"] for row in observed(tmp_path))


@pytest.mark.parametrize("template", ["switched", "always"])
@pytest.mark.parametrize(("budget", "limit"), [(30, 78), (200, 248)])
def test_unfinished_thinking_is_cut_off(cli: Run, tmp_path: Path, template: str, budget: int, limit: int) -> None:
    """The limit is 48 tokens for the answer plus the thinking budget."""
    folder(tmp_path, TEMPLATES[template], "thinks:1000")
    result = cli(*OPTIONS, "--thinking", budget)
    assert result.returncode == 0, result.stderr
    assert {row["tokens"] for row in observed(tmp_path)} == {limit}
    found = scores(tmp_path)
    assert (found["accuracy"], found["cut_off"], found["parse_failures"]) == (0, 1, 0)


@pytest.mark.slow("harness/prompts")
@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("letters", ["--thinking", 2048]),
        ("letters", ["--thinking", 700, "--shots", 2]),
        ("letters-histogram", ["--thinking", 999]),
        ("strawberry", ["--thinking", 300, "--challenges", 1]),
    ],
)
def test_thinking_budget_advice(cli: Run, tmp_path: Path, task: str, words: list[object]) -> None:
    words_ = tokenizer(SWITCHED)
    made = models.save_tiny(tmp_path / "small", words_.backend_tokenizer, context=700)
    words_.save_pretrained(made)
    command: list[object] = ["harness", "eval", "--model", made, "--task", task, "--limit", 2]
    message = refused(cli(*command, *words))
    found = re.search(r"needs up to [\d,]+ tokens, .* is 700: use less thinking: add --thinking (\d+)$", message)
    assert found is not None, message
    assert int(found[1]) % 64 == 0 and int(found[1]) >= 64
    thinking = words.index("--thinking")
    words[thinking + 1] = int(found[1])
    assert cli(*command, *words).returncode == 0
    words[thinking + 1] = int(found[1]) + 128
    assert "use less thinking" in refused(cli(*command, *words))


def small(folder: Path, context: int) -> list[object]:
    """The command that evaluates a small thinking model with that context length."""
    words = tokenizer(SWITCHED)
    made = models.save_tiny(folder / "small", words.backend_tokenizer, context=context)
    words.save_pretrained(made)
    return ["harness", "eval", "--model", made, "--limit", 2]


@pytest.mark.slow("harness/prompts")
@pytest.mark.parametrize(
    ("context", "words", "advised"),
    [
        (1024, ["--thinking", 2048], ["--thinking", "--challenges"]),
        (1024, ["--thinking", 2048, "--challenges", 12], ["--thinking", "--challenges"]),
        (2500, ["--thinking", 64], ["--challenges"]),
        (600, ["--thinking", 300, "--challenges", 1], ["--thinking"]),
        (340, ["--thinking", 2048, "--challenges", 1], ["--thinking", "--challenges"]),
        (400, ["--thinking", 300, "--challenges", 0], ["--thinking"]),
        (1024, [], ["--challenges"]),
        (300, ["--challenges", 5], ["--challenges"]),
    ],
)
def test_dialogue_advice(cli: Run, tmp_path: Path, context: int, words: list[object], advised: list[str]) -> None:
    command = [*small(tmp_path, context), "--task", "strawberry"]
    message = refused(cli(*command, *words))
    advice = re.findall(r"(--[a-z]+) (\d+)", message.rpartition(": ")[2])
    assert [flag for flag, _ in advice] == advised, message
    # The last of an option counts.
    advised_words = [word for pair in advice for word in pair]
    done = cli(*command, *words, *advised_words)
    assert done.returncode == 0, done.stderr
    more = [word for flag, number in advice for word in (flag, int(number) + (128 if flag == "--thinking" else 2))]
    assert "needs up to" in refused(cli(*command, *words, *more))


@pytest.mark.slow("harness/prompts")
def test_suite_skips_dialogues_with_advice(cli: Run, tmp_path: Path) -> None:
    command = [*small(tmp_path, 1024), "--suite", "quick"]
    done = cli(*command, "--thinking", 512)
    reason = re.search(r"skipped: strawberry \(.*: use less thinking and fewer challenges: add (.*)\)\n", done.stdout)
    assert done.returncode == 0 and reason is not None, done
    done = cli(*command, *reason[1].split())
    assert done.returncode == 0 and "skipped: strawberry" not in done.stdout


def test_dialogue_without_fitting_size(cli: Run, tmp_path: Path) -> None:
    command = [*small(tmp_path, 80), "--task", "strawberry"]
    assert refused(cli(*command, "--thinking", 64)).endswith("no dialogue fits, name another --task")


def test_thinking_is_off_by_default(cli: Run, tmp_path: Path) -> None:
    folder(tmp_path, SWITCHED, "thinks:1000")
    assert cli(*OPTIONS).returncode == 0
    assert scores(tmp_path)["accuracy"] == 1
    assert {row["output"] for row in observed(tmp_path)} <= set("01234")


HARMONY = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% if m.thinking and loop.last %}<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>"
    "{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|end|>"
    "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
# Templates, and the special token with which they end an answer.
ENDS = {
    "ChatML": (scripted.CHATML, "<|im_end|>"),
    "switched": (SWITCHED, "<|im_end|>"),
    "always": (ALWAYS, "<|im_end|>"),
    "spaced": ("{% for m in messages %}{{ m.content }} <|im_end|>{% endfor %}", "<|im_end|>"),
    "next turn": ("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}<|assistant|>", "<|user|>"),
    "none": (PLAIN, None),
    "last message alone": (LAST, None),
    "messages of thoughts": (HARMONY, None),
    "thoughts left out": (HARMONY.replace("m.thinking and loop.last", "false"), None),
}


@pytest.mark.parametrize("thinking", [None, 64])
@pytest.mark.parametrize("name", ENDS)
def test_end_of_answer_of_template(name: str, thinking: int | None) -> None:
    template, end = ENDS[name]
    made = models.fast(scripted.tokenizer())
    special = ["<|im_end|>", "<|user|>", "<|assistant|>", "<|start|>", "<|end|>", "<|message|>"]
    channels = ["<|channel|>"] if "<|channel|>" in template else []
    made.add_special_tokens({"additional_special_tokens": special + channels})
    made.chat_template = template
    prompting = Prompting(template="0" * 64, thinking=thinking or 0)
    expected = set() if end is None else {made.convert_tokens_to_ids(end)}
    assert end_of_answer(prompting, made) == expected
    assert end_of_answer(Prompting(), made) == frozenset()


def test_default_budget_of_always_thinking_models() -> None:
    resolved = resolve_prompting(PromptRequest(), tokenizer(ALWAYS))
    assert (resolved.thinking, resolved.opened, resolved.switch) == (2048, True, None)
    letters: Any = all_tasks()["letters"]
    assert resolved.max_new_tokens(letters) == 2048 + 48
    assert resolve_prompting(PromptRequest(thinking=5), tokenizer(ALWAYS)).max_new_tokens(letters) == 5 + 48
    off = resolve_prompting(PromptRequest(), tokenizer(SWITCHED))
    assert (off.thinking, off.opened, off.max_new_tokens(letters)) == (0, False, 48)


@pytest.mark.parametrize(
    ("output", "opened", "expected"),
    [
        ("3", False, "3"),
        ("7</think>3", True, "3"),
        ("<think>7</think>3", False, "3"),
        ("<think>7</think>8</think>3", False, "3"),
        ("<think>7", False, None),
        ("7", True, None),
        ("<think>7</think><think>8", False, None),
        ("[THINK]7[/THINK]3", False, "3"),
        ("<|channel|>analysis<|message|>7", False, None),
        ("<|channel|>analysis<|message|>7<|end|><|start|>assistant<|channel|>final<|message|>3", False, "3"),
    ],
)
def test_after_thinking(output: str, opened: bool, expected: str | None) -> None:
    assert after_thinking(output, opened) == expected


def test_several_templates_without_default() -> None:
    made = tokenizer(None)
    made.chat_template = {"tool_use": TURNS, "rag": TURNS}
    assert not resolve_prompting(PromptRequest(), made).chat
    with pytest.raises(UserError, match="has no chat template"):
        resolve_prompting(PromptRequest(chat="on"), made)


# ---- A changed prompt is a new version

PINNED = Path(__file__).parent / "prompts.json"
COMMAND = "python -m tests.harness.prompts.test_prompting"


@cache
def rendered(name: str) -> str:
    """SHA-256 of all messages in the first rows of a task."""
    task = all_tasks()[name]
    config = get_config(task.config, **task.parameters)
    texts: list[Any] = []
    for split in task.splits:
        rows = config.table(split, 0, 3)
        if isinstance(task, CompletionTask):
            for shots in (0, 2):
                job = Job(task, config, split, 3, Prompting(shots=shots))
                texts += [plain_texts(job, rows), messages(job, rows)]
                texts += [getattr(task, "challenge", None), getattr(task, "challenges", None)]
        else:
            texts.append(task.texts(rows))
            texts += [task.candidates(rows)] if isinstance(task, ChoiceTask) else []
    return hashlib.sha256(json.dumps(texts, ensure_ascii=True).encode()).hexdigest()


def now() -> dict[str, dict[str, Any]]:
    return {
        name: {
            "version": task.version,
            **({} if task.same_prompts_since is None else {"same_since": task.same_prompts_since}),
            "generator": GENERATOR_VERSION,
            "sha256": rendered(name),
        }
        for name, task in all_tasks().items()
    }


def complaint(pinned: dict[str, dict[str, Any]], current: dict[str, dict[str, Any]]) -> str:
    """What is wrong with the current prompts, in one line; "" if nothing."""
    for name, entry in current.items():
        before = pinned.get(name, {})
        if before == entry:
            continue
        if {**before, "sha256": ""} == {**entry, "sha256": ""}:
            return f"what {name} says has changed: raise the version of task {name}, then run {COMMAND}"
        if (
            before
            and before["sha256"] != entry["sha256"]
            and entry.get("same_since", entry["version"]) != entry["version"]
        ):
            return f"what {name} says has changed: older versions of task {name} ask something else"
        return f"the prompts of {name} are not pinned for its version: run {COMMAND}"
    gone = [name for name in pinned if name not in current]
    return f"there is no task {gone[0]} any more: run {COMMAND}" if gone else ""


@pytest.mark.parametrize("name", all_tasks())
def test_prompts_match_pinned_hashes(name: str) -> None:
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    assert not (wrong := complaint({name: pinned.get(name, {})}, {name: now()[name]})), wrong


def test_pinned_tasks_exist() -> None:
    assert json.loads(PINNED.read_text(encoding="utf-8")).keys() == all_tasks().keys()


def test_changed_prompt_messages() -> None:
    """The check itself: changed prompt, raised version, new task, removed task."""
    before = {"a": {"version": 1, "generator": "1", "sha256": "x"}}
    assert complaint(before, before) == ""
    changed = {"a": before["a"] | {"sha256": "y"}}
    assert "older versions of task a ask" in complaint(before, {"a": changed["a"] | {"version": 2, "same_since": 1}})
    assert "not pinned" in complaint(before, {"a": before["a"] | {"version": 2, "same_since": 1}})
    assert "raise the version of task a, then run python -m" in complaint(before, changed)
    assert "not pinned for its version" in complaint(before, {"a": changed["a"] | {"version": 2}})
    assert "not pinned" in complaint({}, before)
    assert "no task a any more" in complaint(before, {})


def pin() -> str:
    """Pins the prompts of new tasks and versions; keeps those that changed without a new version."""
    pinned = json.loads(PINNED.read_text(encoding="utf-8")) if PINNED.exists() else {}
    current = now()
    for name, entry in current.items():
        if (wrong := complaint({name: pinned.get(name, {})}, {name: entry})) and "has changed" in wrong:
            return wrong
    PINNED.write_text(json.dumps(current, indent=1) + "\n", encoding="utf-8", newline="\n")
    return ""


if __name__ == "__main__":
    sys.exit(pin() or 0)
