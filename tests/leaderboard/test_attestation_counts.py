"""Attestations that contradict themselves, or the tables of their record, are not read."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.cli import main
from harness.errors import UserError
from leaderboard.attestations import read_attestations
from leaderboard.records import RECORDS, find_records, read_record
from tests.leaderboard.record_edits import make_record, only_run
from tests.leaderboard.site_fixtures import attest, spoken


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished")
    assert main(["eval", "--task", "flipflop", "--limit", "12", "--output", str(output)]) == 0
    return only_run(output).folder


@pytest.fixture
def record(run: Path, records: Path) -> Path:
    return make_record(run, records)


def answers(record: Path) -> int:
    """How many answers a record has."""
    return sum(pq.read_metadata(path).num_rows for path in (record / "observations").iterdir())


def read(record: Path, agrees: bool = True, **details: Any) -> None:
    """Writes a replay of all of a record, and reads it."""
    at = read_record(record).run.facts["created"].replace("+00:00", "Z")
    attest(record, "replay", agrees, at=at, **({} if agrees else {"differences": ["row 3"]}) | details)
    read_attestations(record, read_record(record).digest)


def refusal(record: Path, agrees: bool = True, **details: Any) -> str:
    with pytest.raises(UserError) as error:
        read(record, agrees, **details)
    return str(error.value)


def test_what_a_replay_of_all_counts(record: Path) -> None:
    of = answers(record)
    read(record, largest=1e-3, flips=1, right={"recorded": of, "replayed": of - 1, "of": of})


@pytest.mark.parametrize("asked", [1, 7, None])
@pytest.mark.parametrize("by", [-1, 1, 1000])
def test_other_counts_are_refused(record: Path, asked: int | None, by: int) -> None:
    """Of some rows and of all, counted anew from the tables."""
    read(record, asked=asked)
    (compared,) = (one.details["compared"] for one in read_record(record).attestations)
    assert "and its rows have" in refusal(record, asked=asked, compared=max(compared + by, 1))


@pytest.mark.parametrize(
    ("largest", "fault"),
    [(5.0, "a number is apart by 5"), (0.002, "a number is apart by 0.002"), (1e-3, "")],
)
def test_numbers_that_agree_are_near(record: Path, largest: float, fault: str) -> None:
    if fault:
        assert fault in refusal(record, largest=largest)
    else:
        read(record, largest=largest)
    records_beside(record)
    read(record, agrees=False, largest=largest)


def records_beside(record: Path) -> Path:
    """The record without what is attested of it."""
    for path in record.parent.glob("*.json"):
        path.unlink()
    return record


@pytest.mark.parametrize(
    ("recorded", "replayed", "flips", "fault"),
    [
        (159, 20, 0, "159 answers were right as recorded, 20 as replayed, with 0 near ties"),
        (20, 159, 0, "with 0 near ties"),
        (159, 120, 20, "with 20 near ties"),
        (290, 250, 29, "with 29 near ties"),
        (200, 172, 28, "more than noise turns"),
        (100, 98, 2, ""),
        (98, 100, 2, ""),
        (159, 159, 29, ""),
    ],
)
def test_answers_turn_at_near_ties_and_to_both_sides(
    records: Path, run: Path, recorded: int, replayed: int, flips: int, fault: str
) -> None:
    record = make_record(run, records)
    right = {"recorded": recorded, "replayed": replayed, "of": answers(record)}
    if fault:
        assert fault in refusal(record, right=right, flips=flips)
        records_beside(record)
        read(record, agrees=False, right=right, flips=flips)
    else:
        read(record, right=right, flips=flips)


@pytest.mark.parametrize("flips", [10**6, 150])
def test_near_ties_without_end_are_no_agreement(record: Path, flips: int) -> None:
    of = answers(record)
    assert 30 < of // 10 + 1 < 10**6
    told = refusal(record, flips=max(flips, of // 10 + 1))
    assert "near ties of" in told
    records_beside(record)
    assert "it counts" in refusal(record, agrees=False, flips=of + 1)


def test_texts_have_no_numbers_to_be_apart(records: Path) -> None:
    record = spoken(records, "org/m", wrong=5)
    assert "a number is apart by 0.0001, where at most 0 is allowed" in refusal(record, largest=1e-4)
    records_beside(record)
    assert "with 3 near ties" in refusal(record, flips=3, right={"recorded": 800, "replayed": 796, "of": 1000})
    records_beside(record)
    assert "its rows have 1,000" in refusal(record, right={"recorded": 8, "replayed": 8, "of": 999})
    records_beside(record)
    read(record, flips=4, right={"recorded": 800, "replayed": 796, "of": 1000})


@pytest.fixture
def of_all_kinds(tmp_path: Path) -> Path:
    """A record with reads, choices, completions and dialogues: that of SmolLM2-135M, without what is attested of it."""
    (folder,) = RECORDS.glob("local--SmolLM2-135M-Instruct.Q4_1/*/791c5b86141e")
    return Path(shutil.copytree(folder, tmp_path / folder.name))


def test_kinds_that_turn_at_once(of_all_kinds: Path) -> None:
    """Choices are ranked by numbers alone, and one near tie may turn all later answers of a dialogue."""
    of = answers(of_all_kinds)
    choices = pq.read_metadata(of_all_kinds / "observations" / "capitals.test.parquet").num_rows
    turns = max(
        max(pq.read_table(path)["turn"].to_pylist()) + 1
        for path in (of_all_kinds / "observations").iterdir()
        if "turn" in pq.read_schema(path).names
    )
    assert choices == 12 and turns > 1
    for flips in (0, 1):
        right = {"recorded": 300, "replayed": 300 + choices + flips * turns, "of": of}
        read(of_all_kinds, right=right, flips=flips)
        records_beside(of_all_kinds)
        right["replayed"] += 1
        assert f"with {flips} near ties" in refusal(of_all_kinds, right=right, flips=flips)
        records_beside(of_all_kinds)


def test_what_was_attested_before_is_still_read() -> None:
    attested = [one.kind for record in find_records() for one in record.attestations]
    assert attested.count("replay") >= 2
