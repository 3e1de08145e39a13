"""Edited copies inherit disputes and withdrawals, and honest runs of the same model do not."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fflm_data import get_config
from harness.cli import main
from leaderboard.attestations import WITHDRAWN
from leaderboard.inherited_status import inherited_findings
from leaderboard.records import RECORDS, read_record
from leaderboard.replay.parse_differences import Difference, parse_difference
from tests.leaderboard.record_edits import SUBMISSION as TERMS
from tests.leaderboard.record_edits import edit, make_consistent, make_record, replace_column, resign, rewrite
from tests.leaderboard.site_fixtures import attest, make_answers_record

pytestmark = pytest.mark.usefixtures("own_cache")
Change = Callable[[str, int], str]
GOLD = get_config("letters").table("test")["answer"].to_pylist()
# Rows with forged right answers, about a third, in addition to every seventh, which is wrong.
FORGED = [row for row in range(len(GOLD)) if row % 5 in (1, 2) and row % 7]
NAMED = FORGED[:20]


def resubmit(record: Path, records: Path, change: Callable[[Path], object], **model: Any) -> Path:
    """Changes a record and submits it again with other terms."""
    draft = records / "draft"
    shutil.copytree(record, draft)
    edit(draft / "submission.json", lambda facts: facts | replace(TERMS, disclosure="Sent again.").to_json())
    edit(draft / "run.json", lambda facts: facts["model"].update(model))
    change(draft)
    make_consistent(draft)
    return resign(draft, records)


def reword(change: Change) -> Callable[[Path], None]:
    def edited(draft: Path) -> None:
        for path in (draft / "observations").iterdir():
            rewrite(
                path,
                lambda table: replace_column(
                    table, "output", lambda texts: [change(text, row) for row, text in enumerate(texts)]
                ),
            )

    return edited


def inherited_tables(origin: Path, record: Path) -> tuple[str, ...]:
    """Returns the tables in which a record inherits a finding about another."""
    found = inherited_findings([read_record(origin), read_record(record)])
    return tuple(name for one in found.get(read_record(record).digest, ()) for name in one.tables)


def as_replayed(row: int) -> str:
    return str(GOLD[row] + 1)


def disputed_record(records: Path, **details: Any) -> Path:
    """A record with forged answers, and a replay that names some of them."""
    record = make_answers_record(records, "org/m", wrong=7)
    message = [
        f"letters.test row {row}: '{GOLD[row]}' recorded, '{as_replayed(row)}' replayed, and it was no near tie"
        for row in NAMED
    ]
    attest(record, "replay", False, **{"differences": message, **details})
    return record


EDITS: dict[str, Change] = {
    "dot": lambda text, row: f"{text}.",
    "sentence": lambda text, row: f"The answer is {text}.",
    "bold": lambda text, row: f"**{text}**",
    "spaces": lambda text, row: f"  {text}\n",
    "other wrong": lambda text, row: text if row % 7 else str(int(text) + 3 + row % 4),
    "one more wrong": lambda text, row: text if row != 404 else "77",
}


@pytest.mark.parametrize("edit_of", EDITS)
def test_edited_copy_is_disputed(records: Path, edit_of: str) -> None:
    record = disputed_record(records)
    assert inherited_tables(record, resubmit(record, records, reword(EDITS[edit_of]))) == ("letters.test",)


@pytest.mark.parametrize("edit_of", EDITS)
def test_edited_copy_is_disputed_as_a_whole(records: Path, edit_of: str) -> None:
    record = disputed_record(records, differences=["answers changed in favour of the record"])
    assert inherited_tables(record, resubmit(record, records, reword(EDITS[edit_of]))) == ("letters.test",)


@pytest.mark.parametrize("edit_of", EDITS)
@pytest.mark.parametrize("model", [{}, {"revision": "b" * 40}, {"id": "org/rn"}], ids=["same", "revision", "name"])
def test_edited_copy_of_a_withdrawn_record(records: Path, edit_of: str, model: dict[str, str]) -> None:
    """Also at another revision, or under a confusable name: org/rn looks like org/m."""
    record = make_answers_record(records, "org/m", wrong=7)
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    assert inherited_tables(record, resubmit(record, records, reword(EDITS[edit_of]), **model)) == ("letters.test",)


def test_more_tasks_do_not_hide_a_withdrawn_copy(records: Path) -> None:
    """The same if one of two tables is new."""
    record = make_answers_record(records, "org/m", wrong=7, tasks=("letters", "arithmetic"))
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")

    def regenerate(draft: Path) -> None:
        reword(EDITS["dot"])(draft)
        rewrite(
            draft / "observations" / "arithmetic.test.parquet",
            lambda table: replace_column(table, "output", lambda texts: ["7"] * len(texts)),
        )

    assert inherited_tables(record, resubmit(record, records, regenerate)) == ("letters.test",)


def _honest(text: str, row: int) -> str:
    return as_replayed(row) if row in FORGED else text


@pytest.mark.parametrize("model", [{}, {"revision": "b" * 40}])
@pytest.mark.parametrize("says_how_many", [False, True])
def test_honest_run_after_a_dispute(records: Path, model: dict[str, str], says_how_many: bool) -> None:
    right = {"recorded": len(GOLD) * 6 // 7, "replayed": len(GOLD) * 6 // 7 - len(FORGED), "of": len(GOLD)}
    record = disputed_record(records, **({"right": right} if says_how_many else {}))
    assert inherited_tables(record, resubmit(record, records, reword(_honest), **model)) == ()


def test_honest_run_after_changed_answers(records: Path) -> None:
    """The replay names no row, but counts changed answers."""
    right = {"recorded": 85, "replayed": 51, "of": 100}
    record = disputed_record(records, right=right, asked=100, differences=["answers changed in favour of the record"])
    assert inherited_tables(record, resubmit(record, records, reword(_honest))) == ()


@pytest.mark.parametrize("mended", ["named", "asked"])
def test_correcting_only_replayed_rows_ends_no_dispute(records: Path, mended: str) -> None:
    right = {"recorded": 85, "replayed": 51, "of": 100}
    record = disputed_record(records, asked=100, right=right)
    (replay,) = read_record(record).attestations
    rows = NAMED if mended == "named" else replay.details["tasks"]["letters.test"]
    copy = resubmit(record, records, reword(lambda text, row: _honest(text, row) if row in rows else text))
    assert inherited_tables(record, copy) == ("letters.test",)


@pytest.mark.parametrize(
    "change",
    [
        lambda text, row: str(GOLD[row] + (row % 9 == 0)),
        lambda text, row: str(GOLD[row]),
        lambda text, row: text if row % 14 else str(GOLD[row]),
    ],
)
def test_honest_run_of_other_weights_counts(records: Path, change: Change) -> None:
    record = make_answers_record(records, "org/m", wrong=7)
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    assert inherited_tables(record, resubmit(record, records, reword(change), revision="b" * 40)) == ()
    assert inherited_tables(record, resubmit(record, records, reword(change))) == ()


def test_better_revision_counts(records: Path) -> None:
    """Half of the wrong answers are still wrong in the same way, as after more training."""
    varied = reword(lambda text, row: text if row % 7 else str(int(text) + 1 + row % 3))
    record = resubmit(make_answers_record(records, "org/m", wrong=7), records, varied)
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    better = reword(lambda text, row: text if row % 14 else str(GOLD[row]))
    assert inherited_tables(record, resubmit(record, records, better, revision="b" * 40)) == ()
    assert inherited_tables(record, resubmit(record, records, reword(EDITS["dot"]), revision="b" * 40)) == (
        "letters.test",
    )


def test_similar_good_revisions(records: Path) -> None:
    """Models that have learned a task are right nearly everywhere: only the same weights count as a copy."""
    record = make_answers_record(records, "org/m", wrong=200)
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    assert inherited_tables(record, resubmit(record, records, reword(lambda text, row: f"{text}."))) == (
        "letters.test",
    )
    better = reword(lambda text, row: str(GOLD[row]))
    assert inherited_tables(record, resubmit(record, records, better, revision="b" * 40)) == ()


def test_constant_predictions_are_not_a_copy(records: Path) -> None:
    """Two untrained revisions are right in the same rows."""
    record = resubmit(make_answers_record(records, "org/m", wrong=7), records, reword(lambda text, row: "2"))
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    other = resubmit(record, records, reword(lambda text, row: "It is 2." if row % 3 else "2!"), revision="b" * 40)
    assert inherited_tables(record, other) == ()


def test_record_with_fewer_rows_is_disputed(records: Path) -> None:
    """The replay names none of its rows."""
    message = [f"letters.test row {row}: '{GOLD[row]}' recorded, '{as_replayed(row)}' replayed" for row in FORGED[-20:]]
    record = disputed_record(records, differences=message)
    assert inherited_tables(record, make_answers_record(records, "org/m", wrong=7, rows=60)) == ("letters.test",)
    assert inherited_tables(record, make_answers_record(records, "org/m", wrong=9, rows=60)) == ()


# ---- Choices


@pytest.mark.parametrize(
    ("change", "disputed"),
    [
        (lambda one: one, True),
        (lambda one: one - 0.002, True),
        (lambda one: one - 0.3, True),
        (lambda one: one + 0.2, True),
        (lambda one: one - 1, False),
        (lambda one: one - 1.1, False),
    ],
)
def test_repeated_choices(records: Path, change: Callable[[float], float], disputed: bool) -> None:
    (folder,) = RECORDS.glob("local--SmolLM2-135M-Instruct.Q4_1/*/791c5b86141e")
    record = records / folder.relative_to(RECORDS)
    shutil.copytree(folder, record)
    lines = pq.read_table(record / "observations" / "capitals.test.parquet").to_pylist()
    # The least probable candidate of each row, so that nothing else changes.
    least = [min(range(len(line["logprobs"])), key=line["logprobs"].__getitem__) for line in lines]
    message = [
        f"capitals.test row {row}: log-probability of candidate {one} "
        f"recorded {lines[row]['logprobs'][one]:.4f}, replayed {lines[row]['logprobs'][one] - 1:.4f}"
        for row, one in enumerate(least)
    ]
    attest(record, "replay", False, differences=message, at="2026-11-22T10:00:00Z")

    def edited(draft: Path) -> None:
        rewrite(
            draft / "observations" / "capitals.test.parquet",
            lambda table: replace_column(
                table,
                "logprobs",
                lambda lists: [
                    [change(value) if place == one else value for place, value in enumerate(line)]
                    for line, one in zip(lists, least, strict=True)
                ],
            ),
        )

    assert inherited_tables(record, resubmit(record, records, edited)) == ("capitals.test",) * disputed


# ---- Numbers


def moved(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable[[Path], None]:
    def edited(draft: Path) -> None:
        rng = np.random.default_rng(5)
        for path in sorted((draft / "observations").iterdir()):
            rewrite(
                path,
                lambda table: replace_column(
                    table, "logprobs", lambda lists: np.minimum(change(np.array(lists), rng), 0).tolist()
                ),
            )

    return edited


def swapped(draft: Path) -> None:
    """Swaps the two symbols in every second sequence."""

    def swap(table: pa.Table) -> pa.Table:
        there = table["id"].to_numpy() % 2 == 1
        values = np.array(table["logprobs"].to_pylist())
        values[there] = values[there][:, ::-1]
        message = table["argmax"].to_numpy()
        tokens = np.unique(table["gold_token"].to_numpy())
        other = np.where(message == tokens[0], tokens[1], tokens[0])
        table = replace_column(table, "logprobs", lambda _: values.tolist())
        return replace_column(table, "argmax", lambda _: np.where(there, other, message).tolist())

    for path in (draft / "observations").iterdir():
        rewrite(path, swap)


def disputed_numbers(finished: Path, records: Path) -> tuple[Path, Path]:
    """An honest record, and a disputed one with swapped symbols in half of the sequences."""
    honest = make_record(finished, records)
    record = resubmit(honest, records, swapped)
    message = []
    tables = [pq.read_table(folder / "observations" / "flipflop.val.parquet") for folder in (record, honest)]
    for line, row in enumerate(tables[0]["id"].to_pylist()):
        was, now = (table["logprobs"][line].as_py() for table in tables)
        place = f"flipflop.val row {row}, position {tables[0]['position'][line].as_py()}"
        message += [
            f"{place}: log-probability of {symbol} recorded {was[symbol]:.4f}, replayed {now[symbol]:.4f}"
            for symbol in (0, 1)
            if row % 2
        ]
    at = read_record(record).run.facts["created"].replace("+00:00", "Z")
    attest(record, "replay", False, differences=message[:20], at=at)
    return record, honest


NUMBERS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "0.002": lambda values, _: values - 0.002 * (values < -1),
    "0.01": lambda values, _: values - 0.01 * (values < -1),
    "0.3": lambda values, _: values - 0.3 * (values < -1),
    "scaled": lambda values, _: np.where(values < -1, values * 1.2, values),
    "noise": lambda values, rng: np.where(values < -1, values - np.abs(rng.normal(0, 0.5, values.shape)), values),
    "all": lambda values, rng: values - np.abs(rng.normal(0, 1e-2, values.shape)),
}


@pytest.mark.parametrize("edit_of", NUMBERS)
def test_changed_numbers_are_disputed(finished: Path, records: Path, edit_of: str) -> None:
    record, _ = disputed_numbers(finished, records)
    assert "flipflop.val" in inherited_tables(record, resubmit(record, records, moved(NUMBERS[edit_of])))


def test_honest_run_matches_the_replay(finished: Path, records: Path) -> None:
    record, honest = disputed_numbers(finished, records)
    assert inherited_tables(record, honest) == ()
    a_little_off = moved(lambda values, rng: values - np.abs(rng.normal(0, 3e-4, values.shape)))
    assert inherited_tables(record, resubmit(honest, records, a_little_off)) == ()


@pytest.mark.parametrize("edit_of", NUMBERS)
def test_changed_numbers_are_withdrawn(finished: Path, records: Path, edit_of: str) -> None:
    record = make_record(finished, records)
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    assert len(inherited_tables(record, resubmit(record, records, moved(NUMBERS[edit_of])))) == 3


def test_other_outputs_at_the_same_revision_count(finished: Path, records: Path) -> None:
    """For example after a withdrawal because of wrong weights."""
    record = make_record(finished, records)
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    anew = moved(lambda values, rng: np.where(values < -1, -4 - np.abs(rng.normal(0, 3, values.shape)), values - 0.015))
    assert inherited_tables(record, resubmit(record, records, lambda draft: (swapped(draft), anew(draft)))) == ()


# ---- Parsing of differences


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.test row 3, position 7: log-probability of 0 recorded -1.5000, replayed -2.0000", (3, 7, "0", -0.5, None)),
        ("a.test row 3: log-probability of candidate 2 recorded -2.0000, replayed -1.0000", (3, None, "2", 1.0, None)),
        ("a.test row 4, turn 2: '4' recorded, '3' replayed, and it was no near tie", (4, 2, None, None, "'3'")),
        ("a.test row 4: 'it is 4' recorded, and it was no near tie", (4, None, None, None, None)),
        ("a.test row 9, position 1: the most probable recorded 3, replayed 4, and it was no near tie",
         (9, 1, None, None, None)),
        ("a.test row 9: log-probability of 0 recorded -1.0000, replayed nan", (9, None, "0", None, None)),
        ("a.test: 12 answers changed in favour of the record", None),
    ],
)  # fmt: skip
def test_parse_difference(text: str, found: tuple[Any, ...] | None) -> None:
    difference = parse_difference(text, "a.test")
    if found is None or difference is None:
        assert difference is None and found is None
        return
    row, place, symbol, shift, replayed = found
    assert replace(difference, shift=0.0) == Difference(row, place, symbol, 0.0, replayed)
    assert np.isnan(difference.shift) if shift is None else difference.shift == pytest.approx(shift)
