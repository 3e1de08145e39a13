"""Suggestions for an invalid --set: task, parameter or value."""

import argparse

import pytest

from fflm_data.cli import main as data_main
from fflm_data.config import ParameterError
from fflm_data.suggestions import did_you_mean
from harness.commands import options
from harness.errors import UserError
from harness.planning.evaluation_request import Questions
from harness.planning.planner import plan_jobs


def planned(*texts: str) -> int:
    """The number of jobs of the tasks in some --set options."""
    parameters = options.data_parameters(argparse.Namespace(set=list(texts)))
    return len(plan_jobs(Questions(tasks=tuple(parameters), parameters=parameters)))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("leters.words_per_cell=3", "letters"), ("FLIPFLOP.length=64", "flipflop"), ("prose.seed=3", "flipflop-prose"),
        ("letter-spelled.seed=3", "letters-spelled"), ("letters.config=letter", "letters"),
        ("letters.config=capitls", "capitals"), ("flipflop.task=flip-flop", "flipflop"),
        ("flipflop.lenght=64", "length"), ("letters.words=3", "words_per_cell"), ("letters.wrds=3", "words_per_cell"),
        ("capitals.prefix=2", "prefixes"), ("flipflop.LENGTH=64", "length"), ("flipflop-prose.length=9", "lengths"),
        ("flipflop.rendering=spacd", "spaced"), ("flipflop.rendering=PLAIN", "plain"),
        ("capitals.relations=captal", "capital"), ("capitals.relations=capital,contry", "country"),
        ("length=64", "flipflop.length=64"), ("lenght=64", "flipflop.length=64"),
        ("words=3", "letters.words_per_cell=3"),
        ("p_ignore=0.5", "flipflop.p_ignore=0.5"), ("rendering=plain", "flipflop.rendering=plain"),
    ],
)  # fmt: skip
def test_set_suggestion(text: str, meant: str) -> None:
    with pytest.raises((UserError, ParameterError)) as refusal:
        planned(text)
    message = str(refusal.value)
    assert message.endswith(f"did you mean {meant!r}?") and "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("letters.limit=5", "use --limit"), ("letters.shots=2", "use --shots"),
        ("letters.zzz=5", "Its parameters are seed, words_per_cell"), ("zzz.seed=5", "there is no task 'zzz'"),
        ("zzz=5", "has no task"), ("letters", "has no task"), ("letters.seed", "sets nothing"),
        ("letters.seed=x", "must be an integer"),
    ],
)  # fmt: skip
def test_set_without_suggestion(text: str, message: str) -> None:
    with pytest.raises((UserError, ParameterError)) as refusal:
        planned(text)
    assert message in str(refusal.value) and "did you mean" not in str(refusal.value)


def test_set_valid_value() -> None:
    assert planned("flipflop.length=64", "flipflop.rendering=plain") == 3
    assert planned("capitals.relations=capital,country", "letters.words_per_cell=3") == 2


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["build", "folder", "--config", "letters", "--set", "leters.seed=3"], "letters"),
        (["build", "folder", "--config", "letters", "--set", "letters.sed=3"], "seed"),
        (["show", "letters", "--set", "words=3"], "words_per_cell"),
        (["show", "letters", "--split", "tst"], "test"),
    ],
)
def test_set_suggestion_of_data_command(capsys: pytest.CaptureFixture[str], command: list[str], meant: str) -> None:
    assert data_main(command) == 2
    assert capsys.readouterr().err.strip().endswith(f"did you mean {meant!r}?")


def test_set_suggestion_by_word_and_case() -> None:
    assert did_you_mean("Letters", ["letters", "letters-spelled"]) == "; did you mean 'letters'?"
    assert did_you_mean("spelld", ["letters", "letters-spelled"]) == "; did you mean 'letters-spelled'?"
    assert (
        did_you_mean("", ["letters", "--x"]) == did_you_mean("zzz", ["letters", "--x"]) == did_you_mean("a", []) == ""
    )
