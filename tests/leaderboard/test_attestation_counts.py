"""Attestations that contradict themselves or the tables of their record are refused."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.errors import UserError
from leaderboard.attestations import read_attestations
from leaderboard.records import RECORDS, find_records, read_record
from tests.leaderboard.record_edits import make_record
from tests.leaderboard.site_fixtures import attest, make_answers_record

pytestmark = pytest.mark.usefixtures("own_cache")


def answers(record: Path) -> int:
    """Returns the number of answers of a record."""
    return sum(pq.read_metadata(path).num_rows for path in (record / "observations").iterdir())


def read(record: Path, agrees: bool = True, **details: Any) -> None:
    """Writes a full replay of a record and reads it."""
    at = read_record(record).run.facts["created"].replace("+00:00", "Z")
    attest(record, "replay", agrees, at=at, **({} if agrees else {"differences": ["row 3"]}) | details)
    read_attestations(record, read_record(record).digest)


def refusal(record: Path, agrees: bool = True, **details: Any) -> str:
    with pytest.raises(UserError) as error:
        read(record, agrees, **details)
    return str(error.value)


def test_counts_of_a_full_replay(record: Path) -> None:
    of = answers(record)
    read(record, largest=1e-3, flips=1, right={"recorded": of, "replayed": of - 1, "of": of})


@pytest.mark.parametrize("asked", [1, 7, None])
@pytest.mark.parametrize("by", [-1, 1, 1000])
def test_other_counts_are_refused(record: Path, asked: int | None, by: int) -> None:
    """For some rows and for all, counted again from the tables."""
    read(record, asked=asked)
    (compared,) = (one.details["compared"] for one in read_record(record).attestations)
    assert "and its rows have" in refusal(record, asked=asked, compared=max(compared + by, 1))


@pytest.mark.parametrize(
    ("largest", "fault"),
    [(5.0, "a number differs by 5"), (0.002, "a number differs by 0.002"), (1e-3, "")],
)
def test_largest_difference_of_an_agreement(record: Path, largest: float, fault: str) -> None:
    if fault:
        assert fault in refusal(record, largest=largest)
    else:
        read(record, largest=largest)
    records_beside(record)
    read(record, agrees=False, largest=largest)


def records_beside(record: Path) -> Path:
    """Returns the record without its attestations."""
    for path in record.parent.glob("*.json"):
        path.unlink()
    return record


@pytest.mark.parametrize(
    ("recorded", "replayed", "flips", "fault"),
    [
        (159, 20, 0, "159 answers were right as recorded and 20 as replayed, with 0 near ties"),
        (20, 159, 0, "with 0 near ties"),
        (159, 120, 20, "with 20 near ties"),
        (290, 250, 29, "with 29 near ties"),
        (200, 172, 28, "a larger change than noise causes"),
        (100, 98, 2, ""),
        (98, 100, 2, ""),
        (159, 159, 29, ""),
    ],
)
def test_changed_answers_of_an_agreement(
    records: Path, finished: Path, recorded: int, replayed: int, flips: int, fault: str
) -> None:
    record = make_record(finished, records)
    right = {"recorded": recorded, "replayed": replayed, "of": answers(record)}
    if fault:
        assert fault in refusal(record, right=right, flips=flips)
        records_beside(record)
        read(record, agrees=False, right=right, flips=flips)
    else:
        read(record, right=right, flips=flips)


@pytest.mark.parametrize("flips", [10**6, 150])
def test_too_many_near_ties_contradict_an_agreement(record: Path, flips: int) -> None:
    of = answers(record)
    assert 30 < of // 10 + 1 < 10**6
    message = refusal(record, flips=max(flips, of // 10 + 1))
    assert "near ties of" in message
    records_beside(record)
    assert "it counts" in refusal(record, agrees=False, flips=of + 1)


def test_completions_have_no_logprob_differences(records: Path) -> None:
    record = make_answers_record(records, "org/m", wrong=5)
    assert "a number differs by 0.0001, more than the 0 allowed" in refusal(record, largest=1e-4)
    records_beside(record)
    assert "with 3 near ties" in refusal(record, flips=3, right={"recorded": 800, "replayed": 796, "of": 1000})
    records_beside(record)
    assert "its rows have 1,000" in refusal(record, right={"recorded": 8, "replayed": 8, "of": 999})
    records_beside(record)
    read(record, flips=4, right={"recorded": 800, "replayed": 796, "of": 1000})


@pytest.fixture
def of_all_kinds(tmp_path: Path) -> Path:
    """A record with reads, choices, completions and dialogues: that of SmolLM2-135M, without its attestations."""
    (folder,) = RECORDS.glob("local--SmolLM2-135M-Instruct.Q4_1/*/791c5b86141e")
    return Path(shutil.copytree(folder, tmp_path / folder.name))


def test_answers_changed_by_one_near_tie(of_all_kinds: Path) -> None:
    """Choices are ranked by log-probabilities, and one near tie may change all later answers of a dialogue."""
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


def test_older_attestations_are_read() -> None:
    attested = [one.kind for record in find_records() for one in record.attestations]
    assert attested.count("replay") >= 2
