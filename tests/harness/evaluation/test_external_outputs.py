"""External outputs have the same scores as a run of the same model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import Run, refused
from tests.support import scripted

pytestmark = pytest.mark.usefixtures("one_thread")

TASKS = ("--task", "letters", "--task", "letters-histogram", "--limit", 12)
SCORE = ("harness", "score", "--outputs", "answers.jsonl", "--model", "an-org/a-model")
Line = Callable[[str, str, bool], dict[str, Any]]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, lines: list[Any]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def plain(name: str, output: str, finished: bool) -> dict[str, Any]:
    return {"id": name, "output": output} | ({} if finished else {"finish_reason": "length"})


def openai_chat(name: str, output: str, finished: bool) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": output}, "finish_reason": "stop" if finished else "length"}
    return {"id": "batch_req_1", "custom_id": name, "response": {"status_code": 200, "body": {"choices": [choice]}}}


def openai_text(name: str, output: str, finished: bool) -> dict[str, Any]:
    choice = {"text": output, "finish_reason": "stop" if finished else "length"}
    return {"custom_id": name, "response": {"body": {"choices": [choice]}}}


def anthropic(name: str, output: str, finished: bool) -> dict[str, Any]:
    content = [{"type": "thinking", "thinking": "7?"}, {"type": "text", "text": output}]
    message = {"content": content, "stop_reason": "end_turn" if finished else "max_tokens"}
    return {"custom_id": name, "result": {"type": "succeeded", "message": message}}


def parts_of(*parts: Any) -> Line:
    """OpenAI's chat lines with a list of parts as content; OUTPUT is the placeholder of the output."""

    def line(name: str, output: str, finished: bool) -> dict[str, Any]:
        written = json.loads(json.dumps(parts).replace('"OUTPUT"', json.dumps(output)))
        made = openai_chat(name, "", finished)
        made["response"]["body"]["choices"][0]["message"]["content"] = written
        return made

    return line


def openai_responses(name: str, output: str, finished: bool) -> dict[str, Any]:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "7?"}]}
    message_part = {"type": "message", "content": [{"type": "output_text", "text": output, "annotations": []}]}
    return {"custom_id": name, "response": {"body": {"output": [thought, message_part], "status": "completed"}}}


def plain_parts(name: str, output: str, finished: bool) -> dict[str, Any]:
    return {"id": name, "output": [{"type": "text", "text": output}]}


TEXT = {"type": "text", "text": "OUTPUT"}
LISTS = {
    "one part": parts_of(TEXT),
    "thinking": parts_of({"type": "thinking", "thinking": [{"type": "text", "text": "7?"}]}, TEXT),
    "a value": parts_of({"type": "text", "text": {"value": "OUTPUT", "annotations": []}}),
    "strings": parts_of("OUTPUT", ""),
    "no type": parts_of({"text": "OUTPUT"}),
    "two parts": parts_of({"type": "text", "text": ""}, TEXT),
    "output text": parts_of({"type": "output_text", "text": "OUTPUT"}),
    "responses": openai_responses,
    "plain": plain_parts,
}


@pytest.fixture
def prompts(cli: Run, tmp_path: Path) -> list[dict[str, Any]]:
    done = cli("harness", "prompts", *TASKS, "--out", "prompts.jsonl")
    assert done.returncode == 0, done.stderr
    assert "24 prompts" in done.stdout and "harness score --outputs answers.jsonl" in done.stdout
    return lines_of(tmp_path / "prompts.jsonl")


def replied(prompt: dict[str, Any]) -> str:
    """The output of a model that is right on every second row."""
    question = prompt["messages"][-1]["content"]
    return scripted.answer("off by one" if int(prompt["id"].rsplit("-", 1)[1]) % 2 else "perfect", question, 0)


@pytest.mark.parametrize("line", [plain, openai_chat, openai_text, anthropic, *LISTS.values()])
def test_external_outputs_become_run(cli: Run, tmp_path: Path, prompts: list[dict[str, Any]], line: Line) -> None:
    write(tmp_path / "answers.jsonl", [line(one["id"], replied(one), True) for one in reversed(prompts)])
    done = cli(*SCORE)
    assert done.returncode == 0, done.stderr
    assert "an-org/a-model" in done.stdout and "6 / 12" in done.stdout
    (folder,) = tmp_path.glob("runs/an-org--a-model/*")
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert facts["outputs"] == "supplied" and facts["model"]["dtype"] == "supplied"
    observed = pq.read_table(folder / "observations" / "letters.test.parquet")
    assert observed["output"].to_pylist() == [replied(one) for one in prompts[:12]]
    before = (folder / "result.json").read_bytes()
    assert cli("harness", "score", folder).returncode == 0 and (folder / "result.json").read_bytes() == before
    assert cli("harness", "report", folder).returncode == 0
    assert cli("harness", "leaderboard", "build", "--out", "site", "--run", folder).returncode == 0
    for page in (folder / "report.html", tmp_path / "site" / "index.html"):
        assert "external outputs" in page.read_text(encoding="utf-8")
    assert cli(*SCORE).returncode == 0  # again: the same run


def test_scores_equal_model_with_same_outputs(cli: Run, tmp_path: Path, prompts: list[dict[str, Any]]) -> None:
    scripted.save(tmp_path / "model", "off by one", None, scripted.CHATML)
    assert cli("harness", "eval", "--model", "model", *TASKS, "--output", "own").returncode == 0
    message_part = [scripted.answer("off by one", one["messages"][-1]["content"], 0) for one in prompts]
    write(
        tmp_path / "answers.jsonl",
        [plain(one["id"], text, True) for one, text in zip(prompts, message_part, strict=True)],
    )
    assert cli(*SCORE).returncode == 0
    own, external = (
        json.loads(next(tmp_path.glob(f"{name}/*/*/result.json")).read_text(encoding="utf-8"))["scores"]
        for name in ("own", "runs")
    )
    assert own == external


def test_outputs_cut_off_are_counted(cli: Run, tmp_path: Path, prompts: list[dict[str, Any]]) -> None:
    lines = [anthropic(one["id"], "Let me see. The letters are", place > 4) for place, one in enumerate(prompts)]
    write(tmp_path / "answers.jsonl", lines)
    done = cli(*SCORE)
    assert "letters.test: 12 answers, of which 7 not parsed, 5 cut off (counted as wrong)" in done.stdout


def test_prompts_are_those_of_harness_eval(cli: Run, tmp_path: Path, prompts: list[dict[str, Any]]) -> None:
    first = prompts[0]["messages"]
    assert first == [
        {
            "role": "user",
            "content": 'How many times does the letter "r" occur in the word "strawberry"?\nAnswer with a number only.',
        }
    ]
    assert {tuple(sorted(one)) for one in prompts} == {("id", "max_tokens", "messages")}
    assert len({one["id"] for one in prompts}) == 24
    cli("harness", "prompts", "--task", "letters", "--limit", 2, "--shots", 2, "--system", "Count.", "--out", "p.jsonl")
    roles = [message["role"] for message in lines_of(tmp_path / "p.jsonl")[1]["messages"]]
    assert roles == ["system", *["user", "assistant"] * 2, "user"]
    cli("harness", "prompts", "--task", "letters", "--limit", 1, "--chat", "off", "--out", "q.jsonl")
    (plainly,) = lines_of(tmp_path / "q.jsonl")
    assert plainly["prompt"] == f"Question: {first[0]['content']}\nAnswer:"


def answered(prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [plain(one["id"], "3", True) for one in prompts]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-2], "lacks 2 of 24 ids, such as letters-histogram-test-"),
        (lambda lines: [*lines, lines[3]], "line 25: duplicate id letters-test-"),
        (lambda lines: [*lines, {"id": "letters-test-12", "output": "3"}], "has 1 unknown ids"),
        (lambda lines: [*lines[:-1], {"output": "3"}], "line 24, is invalid"),
        (lambda lines: [*lines[:-1], {"id": lines[-1]["id"], "output": 3}], "line 24, is invalid"),
        (lambda lines: [*lines[:-1], "3"], "line 24, is invalid"),
        (
            lambda lines: [*lines[:-1], parts_of({"type": "image_url", "image_url": {"url": "x"}})("x", "", True)],
            'line 24: a part of the output is of type "image_url". Write {"id"',
        ),
        (lambda lines: [*lines[:-1], parts_of({"type": "text", "text": 3})("x", "", True)], 'is of type "text"'),
        (lambda lines: [*lines[:-1], parts_of({"type": 5})("x", "", True)], "is without a type"),
        (lambda lines: [*lines[:-1], parts_of(3)("x", "", True)], "line 24, is invalid"),
        (lambda lines: [*lines[:-1], {"custom_id": lines[-1]["id"], "error": {}}], "line 24, is invalid"),
        (
            lambda lines: [*lines[:-1], {"custom_id": "x", "response": None, "error": {"code": "e"}}],
            "the service failed",
        ),
        (
            lambda lines: [*lines[:-1], {"custom_id": "x", "response": {"status_code": 500, "body": {}}}],
            "failed (x: 500)",
        ),
        (lambda lines: [*lines[:-1], {"custom_id": "x", "result": {"type": "errored"}}], 'failed (x: "errored")'),
    ],
)
def test_missing_duplicate_and_unknown_ids_are_refused(
    cli: Run, tmp_path: Path, prompts: list[dict[str, Any]], change: Any, message: str
) -> None:
    write(tmp_path / "answers.jsonl", change(answered(prompts)))
    assert message in refused(cli(*SCORE))
    assert not (tmp_path / "runs").exists()


def test_half_characters_are_replaced(cli: Run, tmp_path: Path, prompts: list[dict[str, Any]]) -> None:
    write(tmp_path / "answers.jsonl", [plain(one["id"], "\ud83d 3", True) for one in prompts])
    assert cli(*SCORE).returncode == 0
    (table,) = tmp_path.glob("runs/*/*/observations/letters.test.parquet")
    assert set(pq.read_table(table)["output"].to_pylist()) == {"? 3"}


def test_refusals_in_all_service_formats(cli: Run, tmp_path: Path, prompts: list[dict[str, Any]]) -> None:
    part = {"type": "refusal", "refusal": "I cannot count letters."}
    messages: list[Any] = [{"content": None, "refusal": part["refusal"]}, {"content": [part]}, {"content": [], **part}]
    lines: list[Any] = [
        {
            "custom_id": one["id"],
            "response": {"status_code": 200, "body": {"choices": [{"message": messages[place % 3]}]}},
        }
        if place % 2
        else {"custom_id": one["id"], "response": {"body": {"output": [{"type": "message", "content": [part]}]}}}
        for place, one in enumerate(prompts)
    ]
    write(tmp_path / "answers.jsonl", lines)
    assert "letters.test: 12 answers, of which 12 refused" in cli(*SCORE).stdout


@pytest.mark.parametrize(
    "change", [{"data": 5}, {"data": {"generator": "0"}}, {"command": None}, {"schema": "other/1"}]
)
def test_changed_prompt_facts_are_refused(
    cli: Run, tmp_path: Path, prompts: list[dict[str, Any]], change: dict[str, Any]
) -> None:
    path = tmp_path / "prompts.run.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    write(tmp_path / "answers.jsonl", answered(prompts))
    line = refused(cli(*SCORE))
    assert "prompts.run.json" in line and "harness prompts" in line


def test_outputs_for_other_data_are_refused(cli: Run, tmp_path: Path, prompts: list[dict[str, Any]]) -> None:
    write(tmp_path / "answers.jsonl", answered(prompts))
    assert cli("harness", "prompts", *TASKS, "--set", "letters.seed=1", "--out", "prompts.jsonl").returncode == 0
    assert "unknown ids" in refused(cli(*SCORE))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (SCORE[:-2], "add --model ORG/NAME"),
        ((*SCORE[:-1], "a model"), "is not a valid name"),
        ((*SCORE[:-1], "../.."), "is not a valid name"),
        ((*SCORE, "--prompts", "other.jsonl"), "Use the file that harness prompts wrote with --prompts"),
        (("harness", "prompts", "--task", "strawberry", "--out", "p"), "is a dialogue"),
        (("harness", "prompts", "--task", "flipflop", "--out", "p"), "scored from probabilities"),
        (("harness", "prompts", "--task", "capitals", "--out", "p"), "scored from probabilities"),
        (("harness", "prompts", "--task", "letters", "--thinking", "9", "--out", "p"), "is an option of the service"),
        (
            ("harness", "prompts", "--task", "letters", "--challenges", "2", "--out", "p"),
            "--challenges is for dialogues",
        ),
        (("harness", "score"), "name either run folders, or a file of answers"),
        (("harness", "score", "--outputs", ".", "--model", "a/b"), ". is not a file"),
        (("harness", "prompts", "--task", "letters", "--out", "."), ". is a folder. Use a file"),
        (
            ("harness", "prompts", "--task", "letters", "--chat", "off", "--system", "x", "--out", "p"),
            "Remove --system",
        ),
    ],
)
def test_prompts_and_score_refusals(
    cli: Run, tmp_path: Path, prompts: list[dict[str, Any]], arguments: tuple[str, ...], message: str
) -> None:
    write(tmp_path / "answers.jsonl", answered(prompts))
    assert message in refused(cli(*arguments))


def test_help_leaves_out_options_that_are_refused(cli: Run) -> None:
    listed = {verb: cli("harness", verb, "--help").stdout for verb in ("prompts", "eval", "ask")}
    for option in ("--thinking", "--challenges"):
        assert option not in listed["prompts"] and option in listed["eval"] and option in listed["ask"]
    assert "--shots" in listed["prompts"]
