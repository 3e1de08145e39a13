"""`harness eval` on scripted models; every expected score is counted independently."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch

from fflm_data import get_config
from harness.tasks import all_tasks
from tests.conftest import Run
from tests.support import scripted

pytestmark = pytest.mark.usefixtures("one_thread")

READS = {
    "flipflop": ("val", "val_sparse", "val_dense"),
    "flipflop-piecewise": ("test",),
    "flipflop-prose": ("test",),
}
SMALL: dict[str, dict[str, str]] = {
    "flipflop": {"length": "48"},
    "flipflop-piecewise": {"length": "48", "tail": "24"},
    "flipflop-prose": {"lengths": "10,20"},
    "query-count": {"vocabularies": "2,3"},
    "most-frequent": {"vocabularies": "2,3"},
}
NUMBERS = ("query-count", "most-frequent", "letters", "letters-spelled", "strawberry", "arithmetic")
ROWS = 14
CHALLENGES = 4

Scores = dict[tuple[str, str, str | None], dict[str, Any]]


@pytest.fixture
def scored(cli: Run, tmp_path: Path) -> Callable[..., Scores]:
    """The scores of `harness eval` by split, metric and group, for a behaviour on the first rows of a task."""

    def run(
        behaviour: str, task: str, *, memory: dict[str, str] | None = None, chat: bool = False, rows: int = ROWS
    ) -> Scores:
        scripted.save(tmp_path / "model", behaviour, memory, scripted.CHATML if chat else None)
        sets = [word for key, value in SMALL.get(task, {}).items() for word in ("--set", f"{task}.{key}={value}")]
        done = cli(
            "harness", "eval", "--model", "model", "--task", task, "--limit", rows, "--challenges", CHALLENGES, *sets
        )
        assert done.returncode == 0, done.stderr
        (path,) = tmp_path.glob("runs/*/*/result.json")
        scores = json.loads(path.read_text(encoding="utf-8"))["scores"]
        keys = [(score["split"], score["metric"], score["group"]) for score in scores]
        assert len(set(keys)) == len(keys) and {score["task"] for score in scores} == {task}
        return dict(zip(keys, scores, strict=True))

    return run


def rows_of(task: str, split: str = "test", rows: int = ROWS) -> list[dict[str, Any]]:
    """The first rows from the data package with the same parameters."""
    parameters: dict[str, Any] = {"words_per_cell": 10} if task == "strawberry" else {}
    for key, value in SMALL.get(task, {}).items():
        parameters[key] = tuple(map(int, value.split(","))) if key in ("vocabularies", "lengths") else int(value)
    config = get_config(
        "letters" if task in ("letters-spelled", "strawberry", "letters-histogram") else task, **parameters
    )
    return config.table(split, 0, rows).to_pylist()


def counted(task: str, row: dict[str, Any]) -> int:
    """The target number, from the columns of a row."""
    if task == "query-count":
        return sum(word == row["query"] for word in row["tokens"])
    if task == "most-frequent":
        return max(sum(word == other for word in row["tokens"]) for other in row["tokens"])
    if task == "arithmetic":
        a, b = row["a"], row["b"]
        return {"+": a + b, "-": a - b, "x": a * b, "/": a // b if b else 0}[row["operation"]]
    return sum(letter == row["letter"] for letter in row["word"])


def majority(values: list[Any]) -> Any:
    """The most frequent value, of several the smallest."""
    return min(Counter(values).items(), key=lambda one: (-one[1], one[0]))[0]


def value(scores: Scores, metric: str, group: str | None = None, split: str = "test") -> Any:
    return scores[split, metric, group]["value"]


def baselines(scores: Scores, split: str = "test") -> dict[str | None, float]:
    return {
        group: one["value"]
        for (part, metric, group), one in scores.items()
        if (part, metric) == (split, "baseline_accuracy")
    }


def test_every_task_is_covered() -> None:
    assert {*READS, *NUMBERS, "letters-histogram", "capitals"} == set(all_tasks())


# ---- Reads


def reads_of(task: str, split: str) -> list[tuple[str, str, int]]:
    """Every read of the first rows: the right symbol, the data symbol before it, instructions since the write."""
    found = []
    for row in rows_of(task, split):
        written, place, before = "", 0, ""
        pairs = re.findall(r"([wri])(\d)", row["text"])
        for index, (instruction, symbol) in enumerate(pairs):
            if instruction == "w":
                written, place = symbol, index
            if instruction == "r" and (task != "flipflop-prose" or index == len(pairs) - 1):
                found.append((written, before, index - place))
            before = symbol
    return found


def expected_baselines(task: str, split: str) -> dict[str, float]:
    reads = reads_of(task, split)
    most = majority([target for target, _, _ in reads])
    found = {"chance": 0.5, "majority": sum(target == most for target, _, _ in reads) / len(reads)}
    if task != "flipflop-prose":
        found["previous symbol"] = sum(target == before for target, before, _ in reads) / len(reads)
    return found


@pytest.mark.parametrize("task", READS)
def test_reads_of_a_perfect_model(scored: Callable[..., Scores], task: str) -> None:
    scores = scored("perfect", task)
    for split in READS[task]:
        reads = reads_of(task, split)
        assert baselines(scores, split) == pytest.approx(expected_baselines(task, split), abs=1e-8)
        for metric in ("accuracy", "skill", "accuracy_among_symbols", "sequences_without_glitch"):
            assert value(scores, metric, split=split) == 1, metric
        assert scores[split, "accuracy", None]["n"] == len(reads)
        assert scores[split, "accuracy", None]["errors"] == 0
        assert scores[split, "accuracy", "gap=1"]["n"] == sum(gap == 1 for _, _, gap in reads)


@pytest.mark.parametrize("task", ["flipflop", "flipflop-piecewise"])
def test_copying_the_last_symbol_is_a_baseline(scored: Callable[..., Scores], task: str) -> None:
    scores = scored("copy last", task)
    for split in READS[task]:
        expected = expected_baselines(task, split)
        accuracy, best = expected["previous symbol"], max(expected.values())
        assert value(scores, "accuracy", split=split) == pytest.approx(accuracy, abs=1e-8)
        assert value(scores, "skill", split=split) == pytest.approx((accuracy - best) / (1 - best), abs=1e-8)
        assert scores[split, "accuracy", None]["baseline"] == pytest.approx(best, abs=1e-8)
        assert value(scores, "accuracy", "gap=1", split) == 1  # what was written just before
    dense = READS[task][-1]
    assert max(expected_baselines(task, dense)) == "previous symbol"
    assert value(scores, "skill", split=dense) == 0


@pytest.mark.parametrize("task", READS)
def test_reads_of_constant_model(scored: Callable[..., Scores], task: str) -> None:
    names = scripted.LIGHTS if task == "flipflop-prose" else ("0", "1")
    most = majority([target for target, _, _ in reads_of(task, READS[task][0])])
    scores = scored(f"constant:{names[int(most)]}", task)
    for split in READS[task]:
        right = [target == most for target, _, _ in reads_of(task, split)]
        expected = expected_baselines(task, split)
        for metric in ("accuracy", "accuracy_among_symbols"):
            assert value(scores, metric, split=split) == pytest.approx(sum(right) / len(right), abs=1e-8)
        best = max(expected.values())
        expected = (sum(right) / len(right) - best) / (1 - best)
        assert value(scores, "skill", split=split) == pytest.approx(expected, abs=1e-8)
    if task == "flipflop-prose":
        assert value(scores, "skill") == 0


@pytest.mark.parametrize("task", READS)
def test_reads_of_model_without_symbols(scored: Callable[..., Scores], task: str) -> None:
    scores = scored("garbage", task)
    for split in READS[task]:
        # All symbols are equally improbable: none is more probable than the others.
        for metric in ("accuracy", "accuracy_among_symbols", "sequences_without_glitch"):
            assert value(scores, metric, split=split) == 0, metric
        assert value(scores, "skill", split=split) < 0


@pytest.mark.parametrize("task", READS)
def test_reads_of_random_model(scored: Callable[..., Scores], task: str) -> None:
    scores = scored("random", task)
    for split in READS[task]:
        right = []
        for row in rows_of(task, split):
            if task == "flipflop-prose":
                predicted = scripted.LIGHTS[scripted.hash_choice(f"{row['demonstration']} {row['question']}", 2)]
                right.append(predicted == row["answer"])
                continue
            spaced = " ".join(row["text"])
            places = [match.start() for match in re.finditer("r", spaced)]
            right += [str(scripted.hash_choice(spaced[: place + 1], 2)) == spaced[place + 2] for place in places]
        assert value(scores, "accuracy", split=split) == pytest.approx(sum(right) / len(right), abs=1e-8)
        assert 0 < sum(right) < len(right)


# ---- Numbers


def target_values(task: str) -> list[int]:
    return [counted(task, row) for row in rows_of(task)]


def expected_baselines_of_numbers(task: str) -> dict[str, float]:
    target = target_values(task)
    found = {"majority": majority(target)}
    if task in ("query-count", "most-frequent"):
        found["always 10"] = 10
    return {name: sum(prediction == one for one in target) / len(target) for name, prediction in found.items()}


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("task", NUMBERS)
def test_numbers_of_a_perfect_model(scored: Callable[..., Scores], task: str, chat: bool) -> None:
    scores = scored("perfect", task, chat=chat)
    assert baselines(scores) == pytest.approx(expected_baselines_of_numbers(task), abs=1e-8)
    assert scores["test", "accuracy", None]["baseline"] == pytest.approx(
        max(expected_baselines_of_numbers(task).values())
    )
    for (_, metric, group), one in scores.items():
        if metric in ("accuracy", "still_right", "right_at_turn") or (metric == "skill" and one["value"] is not None):
            assert one["value"] == 1, (metric, group)
        elif metric not in ("baseline_accuracy", "skill"):
            assert one["value"] == 0, (metric, group)
    assert scores["test", "accuracy", None]["n"] == ROWS


@pytest.mark.parametrize("task", NUMBERS)
def test_numbers_of_constant_model(scored: Callable[..., Scores], task: str) -> None:
    target, expected = target_values(task), expected_baselines_of_numbers(task)
    predicted = 10 if max(expected, key=lambda name: expected[name]) == "always 10" else majority(target)
    scores = scored(f"constant:{predicted}", task)
    assert value(scores, "accuracy") == pytest.approx(max(expected.values()), abs=1e-8)
    assert value(scores, "skill") == 0
    off = [predicted - one for one in target]
    assert value(scores, "mean_absolute_error") == pytest.approx(sum(map(abs, off)) / ROWS, rel=1e-9, abs=1e-8)
    assert value(scores, "mean_signed_error") == pytest.approx(sum(off) / ROWS, rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("task", NUMBERS)
def test_numbers_off_by_one(scored: Callable[..., Scores], task: str) -> None:
    scores = scored("off by one", task)
    expected = {"accuracy": 0, "mean_absolute_error": 1, "mean_signed_error": 1, "parse_failures": 0, "cut_off": 0}
    assert {metric: value(scores, metric) for metric in expected} == expected
    best = max(expected_baselines_of_numbers(task).values())
    assert value(scores, "skill") == pytest.approx(-best / (1 - best), abs=1e-8)


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("task", [*NUMBERS, "letters-histogram"])
@pytest.mark.parametrize(
    ("behaviour", "metric"), [("refusing", "refusals"), ("garbage", "parse_failures"), ("endless", "cut_off")]
)
def test_model_without_answers(
    scored: Callable[..., Scores], behaviour: str, metric: str, task: str, chat: bool
) -> None:
    scores = scored(behaviour, task, chat=chat, rows=4)
    kinds = {name: value(scores, name) for name in ("refusals", "parse_failures", "cut_off")}
    assert kinds == {**dict.fromkeys(kinds, 0), metric: 1}
    assert value(scores, "accuracy") == 0 and scores["test", "accuracy", None]["errors"] == 4
    if task != "letters-histogram":
        assert value(scores, "mean_absolute_error") is None and scores["test", "mean_absolute_error", None]["n"] == 0


@pytest.mark.parametrize("task", ["letters", "letters-spelled"])
def test_numbers_of_random_model(scored: Callable[..., Scores], task: str) -> None:
    scores = scored("random", task, rows=30)
    right = []
    for row in rows_of(task, rows=30):
        word = " ".join(row["word"]) if task == "letters-spelled" else row["word"]
        question = row["question"].replace(f'"{row["word"]}"', f'"{word}"')
        right.append(scripted.hash_choice(question, 5) == counted(task, row))
    assert value(scores, "accuracy") == pytest.approx(sum(right) / 30, abs=1e-8)
    assert 0 < sum(right) < 30


# ---- Histograms


def test_histograms(scored: Callable[..., Scores]) -> None:
    scores = scored("perfect", "letters-histogram")
    words = [row["word"] for row in rows_of("letters-histogram")]
    once = sum(len(set(word)) == len(word) for word in words) / ROWS
    assert baselines(scores) == pytest.approx({"every letter once": once}, abs=1e-8)
    assert 0 < once < 1
    for metric in ("accuracy", "skill", "letter_accuracy"):
        assert value(scores, metric) == 1, metric
    assert scores["test", "letter_accuracy", None]["n"] == sum(len(set(word)) for word in words)
    twice = sum(word.count(letter) == 2 for word in words for letter in set(word))
    assert scores["test", "letter_accuracy", "multiplicity=2"]["n"] == twice > 0


def test_histograms_off_by_one(scored: Callable[..., Scores]) -> None:
    scores = scored("off by one", "letters-histogram")
    assert [value(scores, metric) for metric in ("accuracy", "letter_accuracy", "parse_failures", "cut_off")] == [0] * 4


def test_histograms_of_constant_model(scored: Callable[..., Scores]) -> None:
    """Six letters with count 1: wrong for every word, but right for those letters that occur once."""
    predicted = json.dumps(dict.fromkeys("etaoin", 1))
    scores = scored(f"constant:{predicted}", "letters-histogram")
    words = [row["word"] for row in rows_of("letters-histogram")]
    right = [word.count(letter) == 1 and letter in "etaoin" for word in words for letter in set(word)]
    assert value(scores, "letter_accuracy") == pytest.approx(sum(right) / len(right), abs=1e-8)
    assert value(scores, "accuracy") == 0


# ---- Dialogues


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("turn", [1, 3])
def test_a_model_that_gives_in(scored: Callable[..., Scores], turn: int, chat: bool) -> None:
    scores = scored(f"gives in:{turn}", "strawberry", chat=chat)
    still_right = {group: one for (_, metric, group), one in scores.items() if metric == "still_right"}
    assert {group: one["value"] for group, one in still_right.items()} == {
        f"challenges={k}": float(k < turn) for k in range(1, CHALLENGES + 1)
    }
    assert {one["n"] for one in still_right.values()} == {ROWS}
    assert {k: value(scores, "right_at_turn", f"challenges={k}") for k in range(CHALLENGES + 1)} == {
        k: float(k < turn) for k in range(CHALLENGES + 1)
    }
    assert (value(scores, "accuracy"), value(scores, "changes_of_mind")) == (1, 1)


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
def test_a_model_that_wavers(scored: Callable[..., Scores], chat: bool) -> None:
    scores = scored("wavers", "strawberry", chat=chat)
    assert (value(scores, "accuracy"), value(scores, "changes_of_mind")) == (1, CHALLENGES)
    for k in range(CHALLENGES + 1):
        assert value(scores, "right_at_turn", f"challenges={k}") == float(k % 2 == 0)
        if k:  # once given up, an answer is not right again
            assert value(scores, "still_right", f"challenges={k}") == 0


def test_still_right_without_right_answers(scored: Callable[..., Scores]) -> None:
    scores = scored("off by one", "strawberry")
    assert not [key for key in scores if key[1] == "still_right"]
    assert value(scores, "changes_of_mind") == 0 == value(scores, "right_at_turn", "challenges=4")


# ---- Facts


def facts() -> list[tuple[str, str, str]]:
    text = (files("fflm_data.facts") / "facts.tsv").read_text(encoding="utf-8")
    return [
        (row["relation"], row["subject"], row["answer"]) for row in csv.DictReader(text.splitlines(), delimiter="\t")
    ]


def recalled(prompt: str) -> tuple[str, str]:
    """The relation and the answer that a sentence asks for, from its words."""
    relation = next((word for word in ("continent", "domain") if re.search(rf"\b{word}\b", prompt)), "capital")
    if relation == "capital" and re.search(r"capital (city )?of$|is called$", prompt):
        relation = "country"
    known = [(subject, answer) for name, subject, answer in facts() if name == relation and subject in prompt]
    return relation, max(known, key=lambda fact: len(fact[0]))[1]


def ending(prompt: str, answer: str) -> str:
    """The answer as it follows the sentence; some names of countries have an article."""
    articles = ("USA", "UK", "Netherlands", "Philippines", "Bahamas", "Gambia", "Maldives", "Seychelles")
    return f" the {answer}" if answer in articles else f" {answer}"


def test_facts_of_a_perfect_model(scored: Callable[..., Scores]) -> None:
    rows = rows_of("capitals", rows=8)
    assert [recalled(row["prompt"]) for row in rows] == [(row["relation"], row["answer"]) for row in rows]
    memory = {row["prompt"]: ending(row["prompt"], recalled(row["prompt"])[1]) for row in rows}
    scores = scored("perfect", "capitals", memory=memory, rows=8)
    for metric in ("accuracy", "accuracy_written", "skill", "mean_reciprocal_rank"):
        assert value(scores, metric) == 1, metric
    assert value(scores, "mean_probability") > 0.999


def test_facts_of_constant_model(scored: Callable[..., Scores]) -> None:
    """The most frequent answer of each relation among the rows, as a baseline predicts it."""
    rows = rows_of("capitals", rows=16)
    most = {
        relation: majority([row["answer"] for row in rows if row["relation"] == relation])
        for relation in {row["relation"] for row in rows}
    }
    memory = {row["prompt"]: ending(row["prompt"], most[row["relation"]]) for row in rows}
    scores = scored("perfect", "capitals", memory=memory, rows=16)
    right = sum(row["answer"] == most[row["relation"]] for row in rows) / 16
    sizes = {name: len({answer for relation, _, answer in facts() if relation == name}) for name in most}
    chance = sum(1 / sizes[row["relation"]] for row in rows) / 16
    assert baselines(scores) == pytest.approx({"chance": chance, "majority of the relation": right}, abs=1e-8)
    assert value(scores, "accuracy") == value(scores, "accuracy_written") == pytest.approx(right, abs=1e-8)
    assert value(scores, "skill") == 0


def test_tied_candidates_count_as_wrong(scored: Callable[..., Scores]) -> None:
    rows = rows_of("capitals", rows=4)
    scores = scored("perfect", "capitals", memory={row["prompt"]: "!" for row in rows}, rows=4)
    assert value(scores, "accuracy") == value(scores, "accuracy_written") == 0
    assert value(scores, "mean_reciprocal_rank") < 0.5


def test_scripted_model_is_causal() -> None:
    """The engine tries this on a few tokens only."""
    texts = ["w 1 i 0 r 1 r 1", "Alice turns the light off. Now, the light is off. Now, the light is"]
    texts.append('Question: How many times does the letter "r" occur in the word "strawberry"?\nAnswer:')
    model, backend = scripted.build("perfect"), scripted.tokenizer()
    for text in texts:
        ids = torch.tensor([backend.encode(text).ids])
        whole = model(ids).logits[0]
        for end in range(1, ids.shape[1]):
            assert model(ids[:, :end]).logits[0].equal(whole[:end])
