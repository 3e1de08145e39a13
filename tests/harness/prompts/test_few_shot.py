"""Solved questions before a question: right, different, always the same, and never one that is asked."""

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
from harness.prompts.few_shot import demonstrations
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
    return demonstrations(TASKS[name], config, "test", shots)


def solved(question: str) -> Any:
    """The right answer, from the words of the question alone."""
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


def test_the_tasks_are_those_that_are_known_here() -> None:
    assert {*LETTERS, *COUNTING, "arithmetic"} == TASKS.keys()


@every_task
def test_none_is_asked_and_all_are_solved(name: str) -> None:
    """Whatever the seed: none shares its question or, where letters of a word are counted, its word."""
    for seed in range(SEEDS):
        config = config_of(name, seed, **(SMALL.get(name, {}) if seed > 1 else {}))
        rows, asked = shown(name, config, MOST), config.table("test")
        questions, others = TASKS[name].texts(rows), TASKS[name].texts(asked)
        assert rows.num_rows == len(set(questions)) == MOST
        assert not {*questions} & {*others}
        if name in LETTERS:
            words = rows["word"].to_pylist()
            assert len(set(words)) == MOST and not {*words} & {*asked["word"].to_pylist()}
        for question, answer in zip(questions, TASKS[name].answers(rows), strict=True):
            assert json.loads(answer) == solved(question), question


@every_task
def test_fewer_are_the_first_of_more(name: str) -> None:
    config = config_of(name)
    most = shown(name, config, MOST).to_pylist()
    assert [shown(name, config, shots).to_pylist() for shots in (1, 5)] == [most[:1], most[:5]]
    assert TASKS[name].answers(shown(name, config, 5)) == TASKS[name].answers(shown(name, config, MOST))[:5]


@every_task
def test_they_are_the_same_wherever_they_are_asked_for(name: str) -> None:
    """In this process without what was kept, and in another one."""
    config = config_of(name)
    first = TASKS[name].texts(shown(name, config, 5))
    demonstrations.cache_clear()
    assert TASKS[name].texts(shown(name, config_of(name), 5)) == first
    program = (
        "import sys, json; from fflm_data import get_config; from harness.tasks import get_task\n"
        "from harness.prompts.few_shot import demonstrations\n"
        "task = get_task(sys.argv[1]); config = get_config(task.config, **task.parameters)\n"
        "print(json.dumps(task.texts(demonstrations(task, config, 'test', 5))))"
    )
    if name == "letters":  # one is enough: another process takes a second
        said = subprocess.run([sys.executable, "-c", program, name], check=True, capture_output=True, encoding="utf-8")
        assert json.loads(said.stdout) == first


@every_task
def test_other_seeds_show_others(name: str) -> None:
    first, second = (TASKS[name].texts(shown(name, config_of(name, seed), MOST)) for seed in (0, 1))
    assert len({*first} & {*second}) < MOST / 2


@every_task
def test_answers_differ(name: str) -> None:
    """Demonstrations that all have one answer would teach to give that."""
    assert len(set(TASKS[name].answers(shown(name, config_of(name), MOST)))) > 2


@pytest.mark.parametrize("name", COUNTING)
def test_they_are_short_where_questions_are_long(name: str) -> None:
    rows = shown(name, config_of(name), MOST)
    assert max(rows["vocabulary"].to_pylist()) <= 10
    alone = shown(name, config_of(name, vocabularies=(50, 100), repeats=8), 3)
    assert {*alone["vocabulary"].to_pylist()} == {50}


def test_a_word_that_is_asked_is_passed_over() -> None:
    """All rows of the split count, not only those that --limit leaves."""
    config = config_of("letters")
    train, test = config.block("train", 0)["word"].to_pylist(), set(config.table("test")["word"].to_pylist())
    meeting = [word for word in train[:200] if word in test]
    assert meeting, "no word of the first 200 is asked: this test shows nothing"
    found = shown("letters", config, 64)["word"].to_pylist()
    assert found == list(dict.fromkeys(word for word in train if word not in test))[:64]


@pytest.mark.parametrize("name", ["letters", "strawberry", "letters-histogram"])
def test_more_than_there_are(name: str) -> None:
    config = config_of(name, words_per_cell=1)
    with pytest.raises(
        UserError, match=rf"^{name} has only \d+ demonstrations: ask for no more with --shots$"
    ) as error:
        shown(name, config, 64)
    most = int(str(error.value).split()[3])
    assert 0 < most <= 10 and shown(name, config, most).num_rows == most
    with pytest.raises(UserError, match=f"has only {most} "):
        shown(name, config, most + 1)


def test_more_than_there_are_on_the_command_line(cli: Run, tmp_path: Any) -> None:
    models.save_tiny(tmp_path / "model", models.bytes_only(), context=13_000)
    asked = ("harness", "eval", "--model", "model", "--task", "letters", "--limit", 2, "--set")
    line = refused(cli(*asked, "letters.words_per_cell=1", "--shots", 64))
    assert "letters has only" in line
    assert not list(tmp_path.glob("runs/*/*/observations/*"))
    assert "--shots 65 is too many: at most 64" in refused(cli(*asked, "letters.words_per_cell=9", "--shots", 65))
