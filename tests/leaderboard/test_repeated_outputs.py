"""What was found out outlives small edits of numbers and words, and does not follow into honest runs of the model."""

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
from leaderboard.inherited_status import following
from leaderboard.records import RECORDS, read_record
from leaderboard.replay.differences import Difference, read_difference
from tests.leaderboard.record_edits import SUBMISSION as TERMS
from tests.leaderboard.record_edits import consistent, edit, make_record, only_run, replaced, resign, rewrite
from tests.leaderboard.site_fixtures import attest, spoken

Change = Callable[[str, int], str]
GOLD = get_config("letters").table("test")["answer"].to_pylist()
# Rows that are right in a record and were not said, about a third, beside every seventh, which is wrong.
FORGED = [row for row in range(len(GOLD)) if row % 5 in (1, 2) and row % 7]
NAMED = FORGED[:20]


def sent(record: Path, records: Path, change: Callable[[Path], object], **model: Any) -> Path:
    """A record, changed and sent again under other terms."""
    draft = records / "draft"
    shutil.copytree(record, draft)
    edit(draft / "submission.json", lambda facts: facts | replace(TERMS, disclosure="Sent again.").to_json())
    edit(draft / "run.json", lambda facts: facts["model"].update(model))
    change(draft)
    consistent(draft)
    return resign(draft, records)


def reworded(change: Change) -> Callable[[Path], None]:
    def edited(draft: Path) -> None:
        for path in (draft / "observations").iterdir():
            rewrite(
                path,
                lambda table: replaced(
                    table, "output", lambda texts: [change(text, row) for row, text in enumerate(texts)]
                ),
            )

    return edited


def followed(origin: Path, record: Path) -> tuple[str, ...]:
    """The tables in which what was found out of a record follows into another."""
    found = following([read_record(origin), read_record(record)])
    return tuple(name for one in found.get(read_record(record).digest, ()) for name in one.tables)


def as_replayed(row: int) -> str:
    return str(GOLD[row] + 1)


def doubted(records: Path, **details: Any) -> Path:
    """A record of which a replay found that answers were forged, and names some."""
    record = spoken(records, "org/m", wrong=7)
    told = [
        f"letters.test row {row}: '{GOLD[row]}' recorded, '{as_replayed(row)}' replayed, and it was no near tie"
        for row in NAMED
    ]
    attest(record, "replay", False, **{"differences": told, **details})
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
def test_an_edited_copy_is_disputed(records: Path, edit_of: str) -> None:
    record = doubted(records)
    assert followed(record, sent(record, records, reworded(EDITS[edit_of]))) == ("letters.test",)


@pytest.mark.parametrize("edit_of", EDITS)
def test_an_edited_copy_is_disputed_as_a_whole(records: Path, edit_of: str) -> None:
    record = doubted(records, differences=["answers turned in favour of the record"])
    assert followed(record, sent(record, records, reworded(EDITS[edit_of]))) == ("letters.test",)


@pytest.mark.parametrize("edit_of", EDITS)
@pytest.mark.parametrize("model", [{}, {"revision": "b" * 40}, {"id": "org/rn"}], ids=["same", "revision", "name"])
def test_an_edited_copy_of_what_was_withdrawn(records: Path, edit_of: str, model: dict[str, str]) -> None:
    """Also at a revision or under a name that passes for it: org/rn is read as org/m."""
    record = spoken(records, "org/m", wrong=7)
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    assert followed(record, sent(record, records, reworded(EDITS[edit_of]), **model)) == ("letters.test",)


def test_more_tasks_do_not_hide_what_was_withdrawn(records: Path) -> None:
    """Nor does making one of two tables anew."""
    record = spoken(records, "org/m", wrong=7, tasks=("letters", "arithmetic"))
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")

    def made_anew(draft: Path) -> None:
        reworded(EDITS["dot"])(draft)
        rewrite(
            draft / "observations" / "arithmetic.test.parquet",
            lambda table: replaced(table, "output", lambda texts: ["7"] * len(texts)),
        )

    assert followed(record, sent(record, records, made_anew)) == ("letters.test",)


def _honest(text: str, row: int) -> str:
    return as_replayed(row) if row in FORGED else text


@pytest.mark.parametrize("model", [{}, {"revision": "b" * 40}])
@pytest.mark.parametrize("says_how_many", [False, True])
def test_an_honest_run_after_a_dispute(records: Path, model: dict[str, str], says_how_many: bool) -> None:
    right = {"recorded": len(GOLD) * 6 // 7, "replayed": len(GOLD) * 6 // 7 - len(FORGED), "of": len(GOLD)}
    record = doubted(records, **({"right": right} if says_how_many else {}))
    assert followed(record, sent(record, records, reworded(_honest), **model)) == ()


def test_an_honest_run_after_answers_turned(records: Path) -> None:
    """Of a replay that names no row, but says how many answers turned."""
    right = {"recorded": 85, "replayed": 51, "of": 100}
    record = doubted(records, right=right, asked=100, differences=["answers turned in favour of the record"])
    assert followed(record, sent(record, records, reworded(_honest))) == ()


@pytest.mark.parametrize("mended", ["named", "asked"])
def test_to_mend_what_was_asked_ends_no_dispute(records: Path, mended: str) -> None:
    right = {"recorded": 85, "replayed": 51, "of": 100}
    record = doubted(records, asked=100, right=right)
    (replay,) = read_record(record).attestations
    rows = NAMED if mended == "named" else replay.details["tasks"]["letters.test"]
    copy = sent(record, records, reworded(lambda text, row: _honest(text, row) if row in rows else text))
    assert followed(record, copy) == ("letters.test",)


@pytest.mark.parametrize(
    "change",
    [
        lambda text, row: str(GOLD[row] + (row % 9 == 0)),
        lambda text, row: str(GOLD[row]),
        lambda text, row: text if row % 14 else str(GOLD[row]),
    ],
)
def test_an_honest_run_of_other_weights_counts(records: Path, change: Change) -> None:
    record = spoken(records, "org/m", wrong=7)
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    assert followed(record, sent(record, records, reworded(change), revision="b" * 40)) == ()
    assert followed(record, sent(record, records, reworded(change))) == ()


def test_a_better_revision_counts(records: Path) -> None:
    """Half of what was wrong is still wrong in the same way, as after more training."""
    varied = reworded(lambda text, row: text if row % 7 else str(int(text) + 1 + row % 3))
    record = sent(spoken(records, "org/m", wrong=7), records, varied)
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    better = reworded(lambda text, row: text if row % 14 else str(GOLD[row]))
    assert followed(record, sent(record, records, better, revision="b" * 40)) == ()
    assert followed(record, sent(record, records, reworded(EDITS["dot"]), revision="b" * 40)) == ("letters.test",)


def test_good_revisions_are_alike(records: Path) -> None:
    """Right nearly everywhere, as models are that have learned a task: only the same weights are taken for a copy."""
    record = spoken(records, "org/m", wrong=200)
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    assert followed(record, sent(record, records, reworded(lambda text, row: f"{text}."))) == ("letters.test",)
    better = reworded(lambda text, row: str(GOLD[row]))
    assert followed(record, sent(record, records, better, revision="b" * 40)) == ()


def test_what_always_says_the_same_is_no_copy(records: Path) -> None:
    """Two revisions that know nothing are right in the same rows."""
    record = sent(spoken(records, "org/m", wrong=7), records, reworded(lambda text, row: "2"))
    attest(record, WITHDRAWN, None, reason="The weights were another model's.")
    other = sent(record, records, reworded(lambda text, row: "It is 2." if row % 3 else "2!"), revision="b" * 40)
    assert followed(record, other) == ()


def test_fewer_rows_than_were_named_are_disputed(records: Path) -> None:
    """A record of the first rows, none of which a replay names."""
    told = [f"letters.test row {row}: '{GOLD[row]}' recorded, '{as_replayed(row)}' replayed" for row in FORGED[-20:]]
    record = doubted(records, differences=told)
    assert followed(record, spoken(records, "org/m", wrong=7, rows=60)) == ("letters.test",)
    assert followed(record, spoken(records, "org/m", wrong=9, rows=60)) == ()


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
def test_candidates_of_choices(records: Path, change: Callable[[float], float], disputed: bool) -> None:
    (folder,) = RECORDS.glob("local--SmolLM2-135M-Instruct.Q4_1/*/791c5b86141e")
    record = records / folder.relative_to(RECORDS)
    shutil.copytree(folder, record)
    lines = pq.read_table(record / "observations" / "capitals.test.parquet").to_pylist()
    # The least probable one of each row, so that nothing else changes.
    least = [min(range(len(line["logprobs"])), key=line["logprobs"].__getitem__) for line in lines]
    told = [
        f"capitals.test row {row}: log-probability of candidate {one} "
        f"recorded {lines[row]['logprobs'][one]:.4f}, replayed {lines[row]['logprobs'][one] - 1:.4f}"
        for row, one in enumerate(least)
    ]
    attest(record, "replay", False, differences=told, at="2026-11-22T10:00:00Z")

    def edited(draft: Path) -> None:
        rewrite(
            draft / "observations" / "capitals.test.parquet",
            lambda table: replaced(
                table,
                "logprobs",
                lambda lists: [
                    [change(value) if place == one else value for place, value in enumerate(line)]
                    for line, one in zip(lists, least, strict=True)
                ],
            ),
        )

    assert followed(record, sent(record, records, edited)) == ("capitals.test",) * disputed


# ---- Numbers


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished")
    assert main(["eval", "--task", "flipflop", "--limit", "12", "--output", str(output)]) == 0
    return only_run(output).folder


def moved(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable[[Path], None]:
    def edited(draft: Path) -> None:
        rng = np.random.default_rng(5)
        for path in sorted((draft / "observations").iterdir()):
            rewrite(
                path,
                lambda table: replaced(
                    table, "logprobs", lambda lists: np.minimum(change(np.array(lists), rng), 0).tolist()
                ),
            )

    return edited


def swapped(draft: Path) -> None:
    """The two symbols of every second sequence, as of a model that says the opposite there."""

    def swap(table: pa.Table) -> pa.Table:
        there = table["id"].to_numpy() % 2 == 1
        values = np.array(table["logprobs"].to_pylist())
        values[there] = values[there][:, ::-1]
        said = table["argmax"].to_numpy()
        tokens = np.unique(table["gold_token"].to_numpy())
        other = np.where(said == tokens[0], tokens[1], tokens[0])
        table = replaced(table, "logprobs", lambda _: values.tolist())
        return replaced(table, "argmax", lambda _: np.where(there, other, said).tolist())

    for path in (draft / "observations").iterdir():
        rewrite(path, swap)


def disputed_numbers(run: Path, records: Path) -> tuple[Path, Path]:
    """An honest record, and one in which half of the sequences are swapped, as a replay found."""
    honest = make_record(run, records)
    record = sent(honest, records, swapped)
    told = []
    tables = [pq.read_table(folder / "observations" / "flipflop.val.parquet") for folder in (record, honest)]
    for line, row in enumerate(tables[0]["id"].to_pylist()):
        was, now = (table["logprobs"][line].as_py() for table in tables)
        place = f"flipflop.val row {row}, position {tables[0]['position'][line].as_py()}"
        told += [
            f"{place}: log-probability of {symbol} recorded {was[symbol]:.4f}, replayed {now[symbol]:.4f}"
            for symbol in (0, 1)
            if row % 2
        ]
    at = read_record(record).run.facts["created"].replace("+00:00", "Z")
    attest(record, "replay", False, differences=told[:20], at=at)
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
def test_moved_numbers_are_disputed(run: Path, records: Path, edit_of: str) -> None:
    record, _ = disputed_numbers(run, records)
    assert "flipflop.val" in followed(record, sent(record, records, moved(NUMBERS[edit_of])))


def test_an_honest_run_says_what_the_replay_said(run: Path, records: Path) -> None:
    record, honest = disputed_numbers(run, records)
    assert followed(record, honest) == ()
    a_little_off = moved(lambda values, rng: values - np.abs(rng.normal(0, 3e-4, values.shape)))
    assert followed(record, sent(honest, records, a_little_off)) == ()


@pytest.mark.parametrize("edit_of", NUMBERS)
def test_moved_numbers_are_withdrawn(run: Path, records: Path, edit_of: str) -> None:
    record = make_record(run, records)
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    assert len(followed(record, sent(record, records, moved(NUMBERS[edit_of])))) == 3


def test_other_weights_at_the_same_revision_count(run: Path, records: Path) -> None:
    """As after a record that was withdrawn since its weights were another model's."""
    record = make_record(run, records)
    assert main(["leaderboard", "withdraw", str(record), "--reason", "Wrong weights."]) == 0
    anew = moved(lambda values, rng: np.where(values < -1, -4 - np.abs(rng.normal(0, 3, values.shape)), values - 0.015))
    assert followed(record, sent(record, records, lambda draft: (swapped(draft), anew(draft)))) == ()


# ---- What a replay's words are


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
        ("a.test: 12 answers turned in favour of the record", None),
    ],
)  # fmt: skip
def test_differences_are_read_as_they_are_worded(text: str, found: tuple[Any, ...] | None) -> None:
    difference = read_difference(text, "a.test")
    if found is None or difference is None:
        assert difference is None and found is None
        return
    row, place, symbol, shift, replayed = found
    assert replace(difference, shift=0.0) == Difference(row, place, symbol, 0.0, replayed)
    assert np.isnan(difference.shift) if shift is None else difference.shift == pytest.approx(shift)
