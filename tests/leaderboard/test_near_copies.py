"""Copies are detected although their numbers were changed, and similar models are not flagged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from leaderboard.create_record import public_facts
from leaderboard.verification.near_copies import compare_logprobs, have_equal_bits, normalized_answer
from leaderboard.verification.verify_record import Verdict, verify_record
from tests.leaderboard.external_runs import external_run
from tests.leaderboard.record_edits import edit, make_consistent, make_record, only_run, replace_column, resign, rewrite
from tests.support import models

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the LSTM, whose wrong symbols have similar probabilities."""
    output = tmp_path_factory.mktemp("lstm")
    assert main(["eval", "--task", "flipflop", "--limit", "12", "--output", str(output)]) == 0
    return only_run(output).folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model with random weights, wrong in half of its reads."""
    folder = tmp_path_factory.mktemp("tiny")
    model = models.save_tiny(folder / "tiny", models.gpt2_like())
    words = ("--model", str(model), "--task", "flipflop", "--task", "capitals", "--limit", "12")
    assert main(["eval", *words, "--output", str(folder / "runs")]) == 0
    run = only_run(folder / "runs").folder
    edit(run / "run.json", public_facts)
    make_consistent(run)
    return run


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of external answers, every seventh of which is wrong."""
    run = external_run(tmp_path_factory.mktemp("answers"), "--limit", "700", tasks=("letters", "arithmetic")).folder
    edit(run / "run.json", public_facts)
    make_consistent(run)
    return run


def under_another_name(record: Path, records: Path) -> Path:
    """Returns a draft copy under the name org/other. `resign` makes it a record."""
    draft = records / "draft"
    shutil.copytree(record, draft)

    def rename(facts: dict[str, Any]) -> None:
        old = facts["model"]["id"]
        facts["model"]["id"] = "org/other"
        command = facts["command"].replace(f"--model {old}", "--model org/other")
        command = command.replace(f"--model {old.partition('/')[2]}", "--model org/other")
        facts["command"] = command if "--model" in command else command.replace("eval", "eval --model org/other")
        facts["command"] = command if facts.get("outputs") else facts["command"]

    edit(draft / "run.json", rename)
    return draft


def verdict_of(draft: Path, records: Path) -> Verdict:
    make_consistent(draft)
    return verify_record(resign(draft, records), records)


def change_logprobs(draft: Path, change: Change) -> None:
    """Changes the log-probabilities of all tables such that the most probable symbol stays the same."""
    rng = np.random.default_rng(7)

    def move(lists: list[list[float]]) -> list[list[float]]:
        values = change(np.concatenate([np.array(one) for one in lists]), rng)
        ends = np.cumsum([len(one) for one in lists])[:-1]
        return [one.tolist() for one in np.split(np.minimum(values, 0), ends)]

    for path in (draft / "observations").iterdir():
        rewrite(path, lambda table: replace_column(table, "logprobs", move))


def noise(size: float, share: float = 1.0) -> Change:
    """Adds noise downwards, so that probabilities do not sum to more than 1."""
    return lambda values, rng: values - np.abs(rng.normal(0, size, len(values))) * (rng.random(len(values)) < share)


@pytest.mark.parametrize("model", ["lstm", "tiny"])
@pytest.mark.parametrize(
    "change", [noise(0), noise(1e-4), noise(3e-4), noise(0.4, 0.5), lambda values, _: values - 2.0**-12]
)
def test_copy_with_changed_numbers_is_refused(
    request: pytest.FixtureRequest, records: Path, model: str, change: Change
) -> None:
    record = make_record(request.getfixturevalue(model), records)
    draft = under_another_name(record, records)
    change_logprobs(draft, change)
    verdict = verdict_of(draft, records)
    assert not verdict.accepted and "are those of" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("model", "change"),
    [
        ("lstm", noise(0.01)),
        ("tiny", noise(0.01)),
        ("lstm", lambda values, _: values - 0.02),
        ("tiny", lambda values, _: values - 0.02),
        ("tiny", noise(0.05)),
    ],
)
def test_possibly_same_weights_are_flagged(
    request: pytest.FixtureRequest, records: Path, model: str, change: Change
) -> None:
    """A copy with more noise, or the same model in 16 bits."""
    record = make_record(request.getfixturevalue(model), records)
    draft = under_another_name(record, records)
    change_logprobs(draft, change)
    verdict = verdict_of(draft, records)
    assert verdict.accepted, verdict.reasons
    assert any("nearly those of" in remark and "Replay the record" in remark for remark in verdict.remarks)


def wrong_symbols(size: float) -> Change:
    """Changes the symbols that are not predicted, which does not change scores."""
    return lambda values, rng: np.where(values < -1, values - np.abs(rng.normal(0, size, values.shape)), values)


@pytest.mark.parametrize(
    ("model", "change"),
    [
        ("lstm", wrong_symbols(0.5)),
        ("lstm", wrong_symbols(2)),
        ("lstm", noise(0.5, 0.9)),
        ("tiny", noise(0.5, 0.9)),
        (
            "lstm",
            lambda values, rng: noise(2, 0.9)(values, rng) * (values < -1) + noise(0.05)(values, rng) * (values >= -1),
        ),
        ("tiny", noise(0.05, 0.95)),
        ("lstm", lambda values, rng: noise(0.5, 0.9)(noise(1e-4)(values, rng), rng)),
    ],
)
def test_partly_kept_copies_are_flagged(
    request: pytest.FixtureRequest, records: Path, model: str, change: Change
) -> None:
    record = make_record(request.getfixturevalue(model), records)
    draft = under_another_name(record, records)
    change_logprobs(draft, change)
    verdict = verdict_of(draft, records)
    assert verdict.accepted, verdict.reasons
    assert any("those of" in remark and "Replay the record" in remark for remark in verdict.remarks)


@pytest.mark.parametrize("seed", range(3))
def test_confident_models_are_similar(seed: int) -> None:
    """Both models predict many targets with full confidence at similar places."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=4_000)
    one, other = (-np.round(np.exp(2 + 1.5 * (hard + rng.normal(0, 0.3, 4_000)))) * 2.0**-16 for _ in range(2))
    error_examples = np.minimum(one, other) < -8 * 2.0**-16
    assert (one == other).mean() > 0.1
    assert not have_equal_bits(one[error_examples], other[error_examples], 0.25)
    assert have_equal_bits(
        one[error_examples],
        np.where(rng.random(error_examples.sum()) < 0.4, one[error_examples], other[error_examples]),
        0.25,
    )


def test_wrong_reads_correlate_despite_noise(tiny: Path, records: Path) -> None:
    """Compares which reads are wrong, and by how much."""
    record = make_record(tiny, records)
    draft = under_another_name(record, records)
    (draft / "observations" / "capitals.test.parquet").unlink()

    def without(facts: dict[str, Any]) -> None:
        del facts["data"]["tasks"]["capitals"]
        facts["command"] = facts["command"].replace(" --task capitals", "")

    edit(draft / "run.json", without)
    change_logprobs(draft, noise(0.3))
    verdict = verdict_of(draft, records)
    assert verdict.accepted and "its wrong reads of flipflop" in verdict.remarks[0]


def test_other_weights_are_not_flagged(tiny: Path, lstm: Path, tmp_path: Path, records: Path) -> None:
    make_record(tiny, records)
    make_record(lstm, records)
    other = models.save_tiny(tmp_path / "other-one", models.gpt2_like(), kind="llama")
    words = ("--model", str(other), "--task", "flipflop", "--task", "capitals", "--limit", "12")
    assert main(["eval", *words, "--output", str(tmp_path / "runs")]) == 0
    run = only_run(tmp_path / "runs").folder
    edit(run / "run.json", public_facts)
    make_consistent(run)
    verdict = verify_record(make_record(run, records), records)
    assert verdict.accepted and verdict.remarks == ()


def correlated(by: float, seed: int, size: int = 2_000) -> tuple[np.ndarray, np.ndarray]:
    """Returns log-probabilities of two models with the given correlation."""
    rng = np.random.default_rng(seed)
    one, own = rng.normal(size=size), rng.normal(size=size)
    other = by * one + np.sqrt(1 - by**2) * own
    return -4 + np.minimum(one, 4), -4 + np.minimum(other, 4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("by", "flagged"), [(0.0, False), (0.8, False), (0.99, False), (0.9995, True)])
def test_usual_correlations_are_not_flagged(by: float, flagged: bool, seed: int) -> None:
    found = compare_logprobs(*correlated(by, seed), "flipflop.val")
    assert (found is not None) == flagged and not (found and found.certain)


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_scaled_logprobs_are_flagged(scale: float) -> None:
    one, _ = correlated(0.0, 0)
    assert compare_logprobs(one, scale * one, "flipflop.val") is not None


def two_learners(seed: int, size: int = 4_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns log-probabilities of a model that knows all reads of two symbols and of one that knows most of them, and
    which values are those of the targets."""
    rng = np.random.default_rng(seed)
    wrong = np.stack([rng.uniform(8, 14, size), np.where(rng.random(size) < 0.1, 0.05, rng.uniform(3.5, 4.5, size))])
    symbols = np.stack([np.log1p(-np.exp(-wrong)), -wrong], axis=-1)
    return symbols[0].ravel(), symbols[1].ravel(), np.tile([True, False], size)


@pytest.mark.parametrize("seed", range(3))
def test_models_that_know_the_targets_are_not_flagged(seed: int) -> None:
    first, second, right = two_learners(seed)
    assert compare_logprobs(first, second, "a", right) is None
    for noise in (0.002, 0.02):
        copied = np.minimum(second + np.random.default_rng(9).normal(0, noise, len(second)), 0)
        assert compare_logprobs(copied, second, "a", right) is not None
    assert compare_logprobs(first, second, "a") is not None  # without the targets they seem similar


def test_constant_logprobs_are_ignored() -> None:
    """Constant or nearly constant log-probabilities are equal but not copied."""
    rng = np.random.default_rng(0)
    flat = np.full(500, -6.0)
    assert compare_logprobs(flat, flat, "a") is None
    assert compare_logprobs(flat + rng.normal(0, 1e-4, 500), flat + rng.normal(0, 1e-4, 500), "a") is None


# ---- Texts


def reworded(draft: Path, change: Callable[[str, int], str]) -> None:
    for path in (draft / "observations").iterdir():
        rewrite(
            path,
            lambda table: replace_column(
                table, "output", lambda texts: [change(text, place) for place, text in enumerate(texts)]
            ),
        )


def _other_wrong(text: str, place: int) -> str:
    """Makes other wrong answers at the same places."""
    return str(int(text) + 1 + place % 5) if place % 7 == 0 else text


@pytest.mark.parametrize(
    ("change", "refused", "flagged"),
    [
        (lambda text, place: text, True, False),
        (lambda text, place: f"The answer is {text}.", False, True),
        (lambda text, place: f" {text}\n", False, True),
        (lambda text, place: text if place % 140 else str(place), False, True),
        (lambda text, place: text if place % 9 else str(place % 7), False, True),
        (lambda text, place: f"It is {text}." if place % 8 else "I do not know.", False, True),
        (lambda text, place: text if place % 6 else "17", False, True),
        (_other_wrong, False, False),
        (lambda text, place: str(int(text) - (place % 7 == 0) + (place % 9 == 0)), False, False),
    ],
)
def test_copied_answers_of_another_model(
    answers: Path, records: Path, change: Callable[[str, int], str], refused: bool, flagged: bool
) -> None:
    """Only completions are copied: unchanged, reworded, or with a few changes; and those of another model."""
    record = make_record(answers, records)
    draft = under_another_name(record, records)
    reworded(draft, change)
    verdict = verdict_of(draft, records)
    assert verdict.accepted != refused
    if refused:
        assert "test are those of 'org/tiny'" in verdict.reasons[0]
    assert any("nearly those of 'org/tiny'" in remark for remark in verdict.remarks) == flagged


def test_two_good_models_are_not_flagged(answers: Path, records: Path) -> None:
    """Right answers of two models are equal."""
    record = make_record(answers, records)
    reworded(record, lambda text, place: str(int(text) - (place % 7 == 0)))
    make_consistent(record)
    record = resign(record, records)
    draft = under_another_name(record, records)
    verdict = verdict_of(draft, records)
    assert verdict.accepted and verdict.remarks == ()


def test_normalized_answer() -> None:
    assert normalized_answer("The answer is **3**.") == normalized_answer("3") == ("3",)
    assert normalized_answer("r: 3, s: 1") == ("3", "1")
    assert normalized_answer("I do NOT know!") == ("i", "do", "not", "know")
