"""A model that memorized the rows of its record scores lower on fresh rows; another model scores the same."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fflm_data import GENERATOR_VERSION, get_config
from harness.errors import UserError
from harness.tasks import all_tasks
from harness.tasks.letters import LettersTask
from leaderboard.attestations import Attestation, read_attestations, write_attestation
from leaderboard.records import read_record
from leaderboard.replay.fresh_rows import score_fresh_rows, share_of_public_rows
from leaderboard.replay.row_sampling import fresh_seed
from tests.harness.conftest import one_thread  # noqa: F401
from tests.leaderboard.model_records import copy_record, edit_run_json, make_model_record
from tests.leaderboard.record_edits import Json
from tests.support import scripted

pytestmark = pytest.mark.usefixtures("one_thread")

LETTERS = 40


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ("--task", "flipflop", "--set", "flipflop.val_rows=7", "--limit", 20)
    return make_model_record(tmp_path_factory.mktemp("runs"), *words)


@pytest.fixture(scope="module")
def memorised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a model that memorized the answers to the first rows, and its record."""
    rows = get_config("letters").table("test", 0, LETTERS).to_pylist()
    wording = LettersTask.wording
    memory = {wording.plain(row["question"]): f" {row['word'].count(row['letter'])}\n" for row in rows}
    output = tmp_path_factory.mktemp("memorised")
    model = scripted.save(output / "model", "garbage", memory)
    words = ("--task", "letters", "--task", "capitals", "--limit", LETTERS)
    return model, make_model_record(output / "runs", "--model", model, *words)


@pytest.fixture(scope="module")
def gap(lstm: Path) -> Attestation:
    """Its fresh attestation."""
    return score_fresh_rows(read_record(lstm), "nonce", "a maintainer")


def test_no_gap_for_an_untrained_model(lstm: Path, gap: Attestation) -> None:
    found, record = gap, read_record(lstm)
    assert (found.kind, found.agrees, found.nonce) == ("fresh", None, "nonce")
    assert found.details["left_out"] == {}
    gaps = {one["split"]: one for one in found.details["gaps"]}
    assert list(gaps) == ["val", "val_sparse", "val_dense"]
    for split, one in gaps.items():
        rows = 7 if split == "val" else 20
        config = replace(get_config("flipflop", val_rows=7), seed=found.details["seed"])
        texts = config.table(split, 0, rows)["text"].to_pylist()
        assert one["fresh"]["n"] == sum(text.count("r") for text in texts)
        assert one["public"]["value"] == one["fresh"]["value"] == 1 and one["gap"] == 0
        # No error in either score: each end of the gap is as far away as an interval reaches.
        reach = 1 - 0.025 ** (1 / rows)
        assert (one["low"], one["high"]) == pytest.approx((-reach, reach), abs=1e-9)
    write_attestation(lstm, found)
    assert read_attestations(lstm, record.digest) == (found,)


def _first_gap(**changed: Any) -> Callable[[Json], object]:
    return lambda facts: facts["details"]["gaps"][0].update(changed)


def _score(which: str, **changed: float) -> Callable[[Json], object]:
    return lambda facts: facts["details"]["gaps"][0][which].update(changed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda facts: facts["details"].update(seed=7), "its seed is not the seed of its nonce"),
        (lambda facts: facts.update(nonce="another"), "its seed is not the seed of its nonce"),
        (_first_gap(low=0.9, high=-0.9), "between 0.9000 and -0.9000"),
        (_first_gap(gap=0.2, low=0.1, high=0.3), "not the difference of its scores"),
        (_score("public", low=1.0, high=0.5), "between 1.0000 and 0.5000"),
        (_score("fresh", value=0.5, low=0.6, high=1.0), "0.5000 is not between 0.6000 and 1.0000"),
        (_first_gap(task="letters", split="test"), "the record does not have it"),
        (lambda facts: facts["details"]["gaps"].append(facts["details"]["gaps"][0]), "has flipflop.val twice"),
        (lambda facts: facts["details"].update(left_out={"flipflop": "no"}), "flipflop.val"),
        (lambda facts: facts.update(at="2098-01-01T00:00:00Z"), "is in the future"),
        (lambda facts: facts.update(at="2020-01-01T00:00:00Z"), "is before the run"),
        (lambda facts: facts.update(at="2026-13-01T00:00:00Z"), "is not a time"),
    ],
)
def test_inconsistent_fresh_attestations_are_refused(
    lstm: Path, tmp_path: Path, gap: Attestation, change: Callable[[Json], object], reason: str
) -> None:
    folder = copy_record(lstm, tmp_path).rename(tmp_path / lstm.name)
    path = write_attestation(folder, gap)
    facts = json.loads(path.read_text(encoding="utf-8"))
    change(facts)
    content = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path.unlink()
    path.with_name(f"{folder.name}.fresh-{content}.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(UserError, match=f"not a valid attestation of its record: .*{re.escape(reason)}"):
        read_attestations(folder, gap.record)


def test_memorized_rows_give_a_gap(memorised: tuple[Path, Path]) -> None:
    model, folder = memorised
    found = score_fresh_rows(read_record(folder), "nonce", "a maintainer", str(model))
    (gap,) = found.details["gaps"]
    assert (gap["task"], gap["public"]["n"], gap["fresh"]["n"]) == ("letters", LETTERS, LETTERS)
    questions = get_config("letters", seed=found.details["seed"]).table("test", 0, LETTERS)["question"].to_pylist()
    known = set(get_config("letters").table("test", 0, LETTERS)["question"].to_pylist())
    right = sum(question in known for question in questions) / LETTERS
    assert gap["public"]["value"] == 1 and gap["fresh"]["value"] == pytest.approx(right)
    assert gap["gap"] == pytest.approx(1 - right) and gap["low"] > 0.5 and gap["high"] <= 1
    assert "same with any seed" in found.details["left_out"]["capitals"]


@pytest.mark.parametrize(("rows", "expected"), [(5, 5), (None, LETTERS), (60, 60)])
def test_number_of_fresh_rows(memorised: tuple[Path, Path], rows: int | None, expected: int) -> None:
    model, folder = memorised
    (gap,) = score_fresh_rows(read_record(folder), "nonce", "a maintainer", str(model), rows).details["gaps"]
    assert gap["fresh"]["n"] == expected and gap["public"]["n"] == LETTERS


def test_no_files_are_left_behind(memorised: tuple[Path, Path]) -> None:
    model, folder = memorised
    before = sorted(folder.parent.rglob("*"))
    score_fresh_rows(read_record(folder), "nonce", "a maintainer", str(model), 2)
    assert sorted(folder.parent.rglob("*")) == before


def test_external_outputs_cannot_be_replayed(lstm: Path, tmp_path: Path) -> None:
    record = edit_run_json(copy_record(lstm, tmp_path), lambda run: run.update(outputs="supplied"))
    with pytest.raises(UserError, match="cannot be replayed"):
        score_fresh_rows(record, "nonce", "a maintainer")


def test_fresh_seed_depends_on_revision_and_nonce() -> None:
    drawn = {fresh_seed(revision, nonce) for revision in ("a" * 40, "b" * 40) for nonce in ("1", "2", "")}
    assert len(drawn) == 6
    digest = hashlib.sha256(json.dumps(["a" * 40, GENERATOR_VERSION, "1"]).encode()).hexdigest()
    assert fresh_seed("a" * 40, "1") == int(digest[:16], 16) // 2
    assert all(get_config("flipflop", seed=seed).seed == seed for seed in drawn)


@pytest.mark.parametrize("name", sorted(all_tasks()))
def test_tasks_with_fresh_rows(name: str, lstm: Path) -> None:
    """All tasks except those about a list of facts."""
    task = all_tasks()[name]
    (job, *_) = read_record(lstm).run.jobs()
    config = get_config(task.config, **task.parameters)
    share = share_of_public_rows(replace(job, task=task, config=config, split=task.splits[0]), 12345)
    assert share > 0.4 if name == "capitals" else share < 0.05
