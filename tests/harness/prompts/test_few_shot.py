"""Few-shot examples: correct, varied, deterministic, and never an evaluated row."""

import json
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from fflm_data import get_config
from fflm_data.config import Config
from harness.errors import UserError
from harness.prompts.few_shot import few_shot_examples
from harness.tasks import CompletionTask, all_tasks
from tests.conftest import Run, refused
from tests.support import models

TASKS = {name: task for name, task in all_tasks().items() if isinstance(task, CompletionTask)}
LETTERS = ("letters", "letters-spelled", "letters-histogram", "strawberry")
COUNTING = ("query-count", "most-frequent")
SEEDS = 20
MOST = 16
# All but the first seeds are tried on fewer rows.
SMALL: dict[str, dict[str, Any]] = {
    **{name: {"words_per_cell": 20} for name in LETTERS},
    **{name: {"repeats": 8, "vocabularies": (2, 5, 10, 20)} for name in COUNTING},
}

every_task = pytest.mark.parametrize("name", TASKS)


def config_of(name: str, seed: int = 0, **changed: Any) -> Config:
    return get_config(TASKS[name].config, **{**TASKS[name].parameters, "seed": seed, **changed})


def shown(name: str, config: Config, shots: int) -> pa.Table:
    return few_shot_examples(TASKS[name], config, "test", shots)


def solved(question: str) -> Any:
    """The target, computed from the words of the question."""
    if found := re.fullmatch(r"What is (\d+) ([-+x/]) (\d+)\?", question):
        a, b = int(found[1]), int(found[3])
        return next(
            result
            for sign, result in (("+", a + b), ("-", a - b), ("x", a * b), ("/", a // b if b else None))
            if sign == found[2]
        )
    quoted = re.findall(r'"([^"]+)"', question)
    if "each letter" in question:
        return {letter: quoted[0].count(letter) for letter in quoted[0]}
    if "the letter" in question:
        return quoted[1].replace(" ", "").count(quoted[0])
    words = question.splitlines()[0].removeprefix("List: ").split(" ")
    return words.count(quoted[0]) if "the word" in question else max(Counter(words).values())


def test_tasks_are_covered() -> None:
    assert {*LETTERS, *COUNTING, "arithmetic"} == TASKS.keys()


@every_task
def test_examples_are_not_evaluated_and_correct(name: str) -> None:
    """For every seed, no example shares its question, or its word in letter tasks, with an evaluated row."""
    for seed in range(SEEDS):
        config = config_of(name, seed, **(SMALL.get(name, {}) if seed > 1 else {}))
        rows, evaluated = shown(name, config, MOST), config.table("test")
        questions, others = TASKS[name].texts(rows), TASKS[name].texts(evaluated)
        assert rows.num_rows == len(set(questions)) == MOST
        assert not {*questions} & {*others}
        if name in LETTERS:
            words = rows["word"].to_pylist()
            assert len(set(words)) == MOST and not {*words} & {*evaluated["word"].to_pylist()}
        for question, answer in zip(questions, TASKS[name].answers(rows), strict=True):
            assert json.loads(answer) == solved(question), question


@every_task
def test_fewer_examples_are_prefix_of_more(name: str) -> None:
    config = config_of(name)
    most = shown(name, config, MOST).to_pylist()
    assert [shown(name, config, shots).to_pylist() for shots in (1, 5)] == [most[:1], most[:5]]
    assert TASKS[name].answers(shown(name, config, 5)) == TASKS[name].answers(shown(name, config, MOST))[:5]


@every_task
def test_examples_are_deterministic_across_processes(name: str) -> None:
    """In this process without the cache, and in another process."""
    config = config_of(name)
    first = TASKS[name].texts(shown(name, config, 5))
    few_shot_examples.cache_clear()
    assert TASKS[name].texts(shown(name, config_of(name), 5)) == first
    program = (
        "import sys, json; from fflm_data import get_config; from harness.tasks import get_task\n"
        "from harness.prompts.few_shot import few_shot_examples\n"
        "task = get_task(sys.argv[1]); config = get_config(task.config, **task.parameters)\n"
        "print(json.dumps(task.texts(few_shot_examples(task, config, 'test', 5))))"
    )
    if name == "letters":  # one is enough: another process takes a second
        done = subprocess.run([sys.executable, "-c", program, name], check=True, capture_output=True, encoding="utf-8")
        assert json.loads(done.stdout) == first


@every_task
def test_examples_depend_on_seed(name: str) -> None:
    first, second = (TASKS[name].texts(shown(name, config_of(name, seed), MOST)) for seed in (0, 1))
    assert len({*first} & {*second}) < MOST / 2


@every_task
def test_examples_have_different_answers(name: str) -> None:
    """Examples with a single answer would bias the model to it."""
    assert len(set(TASKS[name].answers(shown(name, config_of(name), MOST)))) > 2


@pytest.mark.parametrize("name", COUNTING)
def test_examples_are_short_for_long_questions(name: str) -> None:
    rows = shown(name, config_of(name), MOST)
    assert max(rows["vocabulary"].to_pylist()) <= 10
    alone = shown(name, config_of(name, vocabularies=(50, 100), repeats=8), 3)
    assert {*alone["vocabulary"].to_pylist()} == {50}


def test_examples_skip_evaluated_words() -> None:
    """Keys of all rows of the split are excluded, not only those within --limit."""
    config = config_of("letters")
    train, test = config.block("train", 0)["word"].to_pylist(), set(config.table("test")["word"].to_pylist())
    meeting = [word for word in train[:200] if word in test]
    assert meeting, "no word of the first 200 is evaluated: this test would be vacuous"
    found = shown("letters", config, 64)["word"].to_pylist()
    assert found == list(dict.fromkeys(word for word in train if word not in test))[:64]


@pytest.mark.parametrize("name", ["letters", "strawberry", "letters-histogram"])
def test_too_many_shots_error(name: str) -> None:
    config = config_of(name, words_per_cell=1)
    with pytest.raises(UserError, match=rf"^{name} has only \d+ few-shot examples: use --shots \d+ or fewer$") as error:
        shown(name, config, 64)
    most = int(str(error.value).split()[3])
    assert 0 < most <= 10 and shown(name, config, most).num_rows == most
    with pytest.raises(UserError, match=f"has only {most} "):
        shown(name, config, most + 1)


def test_too_many_shots_error_of_command_line(cli: Run, tmp_path: Any) -> None:
    models.save_tiny(tmp_path / "model", models.bytes_only(), context=13_000)
    command = ("harness", "eval", "--model", "model", "--task", "letters", "--limit", 2, "--set")
    line = refused(cli(*command, "letters.words_per_cell=1", "--shots", 64))
    assert "letters has only" in line
    assert not list(tmp_path.glob("runs/*/*/observations/*"))
    assert "--shots 65 is too many: at most 64" in refused(cli(*command, "letters.words_per_cell=9", "--shots", 65))
