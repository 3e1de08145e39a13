"""A replay agrees with valid records of all kinds of answers, and detects changed ones."""

import hashlib
import itertools
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, AutoTokenizer

from fflm_data.arrays import Ints
from harness.engine.decoding import Limit
from harness.errors import UserError
from harness.models.revision import folder_revision
from harness.planning.plans import ChoicePlan
from harness.scoring.grading import grade
from leaderboard.attestations import Attestation, read_attestations, write_attestation
from leaderboard.records import Record, read_record
from leaderboard.replay import replay as module
from leaderboard.replay import rerun
from leaderboard.replay.bias_test import Tally, clusters, find_bias
from leaderboard.replay.fresh_rows import score_fresh_rows
from leaderboard.replay.greedy_path import GreedyDecoder, find_greedy_path
from leaderboard.replay.replay import replay
from leaderboard.replay.row_sampling import draw
from leaderboard.replay.tolerances import Tolerance, exceeds, prefix_logprobs, tolerance_of
from tests.harness.conftest import one_thread  # noqa: F401
from tests.harness.models.test_loading import with_program
from tests.leaderboard.model_records import copy_record, edit_run_json, edit_table, make_model_record
from tests.support import models, scripted

pytestmark = pytest.mark.usefixtures("one_thread")

TASKS = ("flipflop", "letters", "letters-histogram", "strawberry", "capitals")
SMALL = ("--set", "flipflop.length=48", "--limit", 6, "--challenges", 2)
WORDS = [word for task in TASKS for word in ("--task", task)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("models") / "tiny", models.gpt2_like(), context=4_000, kind="llama")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A record with reads, completions, dialogues and choices."""
    return make_model_record(tmp_path_factory.mktemp("runs"), "--model", tiny, *WORDS, *SMALL)


@pytest.fixture
def folder(honest: Path, tmp_path: Path) -> Path:
    return copy_record(honest, tmp_path)


def run_replay(record: Record, model: Path | None, count: int | None = None, nonce: str = "n") -> Attestation:
    return replay(record, count, nonce, "a maintainer", None if model is None else str(model))


# ---- Sampling of rows


def oracle(digest: str, nonce: str, sizes: dict[str, int], count: int) -> dict[str, list[int]]:
    """Draws one row at a time: from the jobs with the fewest drawn rows, the one with the smallest ticket."""

    def ticket(job: str, row: int) -> str:
        return hashlib.sha256(f'["{digest}", "{nonce}", "{job}", {row}]'.encode()).hexdigest()

    left = {job: sorted((ticket(job, row), row) for row in range(rows)) for job, rows in sizes.items()}
    drawn: dict[str, list[int]] = {job: [] for job in sizes}
    for _ in range(min(count, sum(sizes.values()))):
        fewest = min(len(drawn[job]) for job in sizes if left[job])
        job = min((left[job][0], job) for job in sizes if left[job] and len(drawn[job]) == fewest)[1]
        drawn[job].append(left[job].pop(0)[1])
    return {job: sorted(rows) for job, rows in drawn.items() if rows}


@pytest.mark.parametrize("count", [1, 2, 7, 20, 34, 35, 99])
def test_draw_matches_its_description(count: int) -> None:
    sizes = {"a.test": 20, "b.val": 3, "c.test": 12}
    chosen = draw("d" * 64, "nonce", sizes, count)
    assert chosen == oracle("d" * 64, "nonce", sizes, count)
    assert sum(map(len, chosen.values())) == min(count, 35)
    if count == 7:
        assert sorted(map(len, chosen.values())) == [2, 2, 3]


def test_draw_is_stable() -> None:
    """A draw must be reproducible in later versions."""
    known = {"flipflop.val": [686, 959], "letters.test": [26, 55]}  # by sha256sum and sort
    assert draw("0" * 64, "2026-11-21", {"flipflop.val": 1000, "letters.test": 100}, 4) == known


def test_draw_depends_on_record_and_nonce() -> None:
    sizes = {"a.test": 1000, "b.test": 1000}
    draws = [draw(digest, nonce, sizes, 10) for digest, nonce in (("1", "2"), ("1", "3"), ("2", "2"), ("12", ""))]
    assert len({json.dumps(chosen) for chosen in draws}) == 4
    assert draw("1", "2", dict(reversed(sizes.items())), 10) == draws[0]


def test_draw_is_uniform() -> None:
    found = Counter(row for nonce in range(400) for row in draw("d", str(nonce), {"a.test": 10}, 3)["a.test"])
    assert all(80 < found[row] < 160 for row in range(10))  # 120 on average, with a standard deviation of 9


def test_draw_needs_a_positive_count() -> None:
    with pytest.raises(ValueError, match="count=0 is out of range"):
        draw("d", "n", {"a.test": 1}, 0)


# ---- Valid records


@pytest.mark.parametrize(
    "options",
    [
        (),
        *(
            pytest.param(options, marks=pytest.mark.slow("harness/engine", "leaderboard/replay"))
            for options in (("--batch-size", 1), ("--dtype", "bfloat16"), ("--exact-continuations",))
        ),
    ],
)
def test_replay_of_a_valid_record_agrees(tmp_path: Path, tiny: Path, options: tuple[object, ...]) -> None:
    few = ("--set", "flipflop.length=16") if "--exact-continuations" in options else ()
    folder = make_model_record(tmp_path / "runs", "--model", tiny, *WORDS, *SMALL, *few, *options)
    record = read_record(folder)
    found = run_replay(record, tiny)
    details = found.details
    assert found.agrees and details["differences"] == [], details["differences"]
    assert details["asked"] == details["of"] == sum(job.rows for job in record.run.jobs()) == 3 * 6 + 4 * 6
    assert details["compared"] > 500 and details["largest"] <= details["tolerance"]["absolute"]
    assert details["tasks"] == {job.name: "all" for job in record.run.jobs()}
    assert (found.record, found.kind, found.by, found.nonce) == (record.digest, "replay", "a maintainer", "n")
    write_attestation(folder, found)
    assert read_attestations(folder, record.digest) == (found,)


def test_replay_covers_every_table(honest: Path, tiny: Path) -> None:
    record = read_record(honest)
    found = run_replay(record, tiny, 9)
    assert found.agrees and found.details["asked"] == 9 and found.details["of"] == 42
    assert found.details["tasks"] == draw(record.digest, "n", {job.name: job.rows for job in record.run.jobs()}, 9)
    assert set(found.details["tasks"]) == {job.name for job in record.run.jobs()}
    assert run_replay(record, tiny, 9, "m").details["tasks"] != found.details["tasks"]


def test_replay_of_the_bundled_model(tmp_path: Path) -> None:
    found = run_replay(read_record(make_model_record(tmp_path / "runs", "--task", "flipflop", "--limit", 3)), None, 4)
    assert found.agrees and found.details["environment"]["torch"] == torch.__version__


@pytest.mark.parametrize("template", [scripted.CHATML, None])
def test_replay_of_a_chat_model(tmp_path: Path, template: str | None) -> None:
    model = scripted.save(tmp_path / "model", "gives in:2", template=template)
    words = ("--task", "strawberry", "--task", "letters", "--limit", 4, "--challenges", 3)
    found = run_replay(read_record(make_model_record(tmp_path / "runs", "--model", model, *words)), model)
    assert found.agrees and found.details["flips"] == 0


# ---- Changed records

Change = Callable[[list[dict[str, Any]]], object]


def far_off(lines: list[dict[str, Any]]) -> None:
    lines[3]["logprobs"][0] -= 10 * (1e-3 + 1e-4 * abs(lines[3]["logprobs"][0]))


def no_number(lines: list[dict[str, Any]]) -> None:
    lines[3]["logprobs"] = [float("nan") for _ in lines[3]["logprobs"]]


def other_argmax(lines: list[dict[str, Any]]) -> None:
    lines[3]["argmax"] = (lines[3]["argmax"] + 1) % 200


def no_argmax(lines: list[dict[str, Any]]) -> None:
    lines[3]["argmax"] = 2**31 - 1


def other_gap(lines: list[dict[str, Any]]) -> None:
    lines[3]["gap"] += 2


def other_gold_token(lines: list[dict[str, Any]]) -> None:
    lines[3]["gold_token"] += 1


def other_text(lines: list[dict[str, Any]]) -> None:
    lines[3]["output"] = "3" + lines[3]["output"][1:]


def cut_short(lines: list[dict[str, Any]]) -> None:
    lines[3] |= {"output": lines[3]["output"][:1], "tokens": 1}


def other_count(lines: list[dict[str, Any]]) -> None:
    lines[3]["tokens"] -= 1


def not_counted(lines: list[dict[str, Any]]) -> None:
    lines[3]["tokens"] = -1


def last_turn(lines: list[dict[str, Any]]) -> None:
    (line,) = (line for line in lines if line["id"] == 3 and line["turn"] == 2)
    line["output"] = " 2\n"


def no_candidate(lines: list[dict[str, Any]]) -> None:
    lines[3]["written"] = 1_000


def other_written(lines: list[dict[str, Any]]) -> None:
    lines[3]["written"] = 1 if lines[3]["written"] != 1 else 0


CHANGES = [
    ("flipflop.val_dense", far_off, "log-probability of 0 recorded"),
    ("flipflop.val_dense", no_number, "recorded nan"),
    ("flipflop.val_dense", other_argmax, "the most probable recorded"),
    ("flipflop.val_dense", no_argmax, "the most probable recorded 2147483647"),
    ("flipflop.val", other_gap, "gap recorded"),
    ("flipflop.val_sparse", other_gold_token, "gold_token recorded"),
    ("letters.test", other_text, "letters.test row 3: '3"),
    ("letters-histogram.test", cut_short, "letters-histogram.test row 3: "),
    ("letters.test", other_count, "letters.test row 3: "),
    ("letters.test", not_counted, "letters.test row 3: the output ends in non-finite logits"),
    ("strawberry.test", last_turn, "strawberry.test row 3, turn 2: ' 2\\n' recorded"),
    ("capitals.test", no_number, "capitals.test row 3: log-probability of candidate 0 recorded nan"),
    ("capitals.test", other_written, "capitals.test row 3: the written candidate recorded"),
]


@pytest.mark.slow("harness/engine", "leaderboard/replay")
@pytest.mark.parametrize(("table", "change", "difference"), CHANGES)
def test_replay_detects_changed_records(folder: Path, tiny: Path, table: str, change: Change, difference: str) -> None:
    found = run_replay(edit_table(folder, table, change), tiny)
    assert not found.agrees
    differences = found.details["differences"]
    assert any(difference in text for text in differences), differences
    assert {text.split(" row ")[0] for text in differences} == {table}
    assert all("\n" not in text and len(text) < 300 for text in differences)


def test_replay_detects_changes_in_sampled_rows(folder: Path, tiny: Path) -> None:
    record = edit_table(folder, "letters.test", other_text)
    for nonce in map(str, range(4)):
        found = run_replay(record, tiny, 14, nonce)
        assert found.agrees == (3 not in found.details["tasks"]["letters.test"])


def test_only_the_first_differences_are_listed(folder: Path, tiny: Path) -> None:
    def all_wrong(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            line["argmax"] = 7

    found = run_replay(edit_table(folder, "flipflop.val_dense", all_wrong), tiny)
    assert not found.agrees and len(found.details["differences"]) == 20


# ---- Tolerances

TOLERANCE = Tolerance(0.1, 0.01)
INFINITY = float("inf")


@pytest.mark.parametrize(
    ("recorded", "replayed", "tokens", "same"),
    [
        (-1.0, -1.1, 1, True),
        (-1.0, -1.12, 1, False),
        (-1.0, -1.12, 2, True),
        (-100.0, -101.0, 1, True),
        (-INFINITY, -INFINITY, 1, True),
        (-INFINITY, -1.0, 1, False),
        (-1.0, -INFINITY, 1, False),
        (float("nan"), float("nan"), 1, False),
        (-1.0, float("nan"), 1, False),
    ],
)
def test_tolerance_of_logprobs(recorded: float, replayed: float, tokens: int, same: bool) -> None:
    assert bool(exceeds([recorded], [replayed], TOLERANCE.allowed([replayed], tokens))[0]) != same


def test_tolerance_does_not_depend_on_the_recorded_value() -> None:
    assert all(exceeds([-(10.0**power)], [-1.0], 50 * TOLERANCE.allowed([-1.0]))[0] for power in range(2, 30))


@pytest.mark.parametrize(
    ("dtype", "quantization"), [("float32", None), ("float16", None), ("bfloat16", None), ("float32", "4bit")]
)
def test_coarser_dtypes_have_larger_tolerances(dtype: str, quantization: str | None) -> None:
    finest = tolerance_of({"dtype": "float32", "quantization": None})
    found = tolerance_of({"dtype": dtype, "quantization": quantization})
    assert (found == finest) == ((dtype, quantization) == ("float32", None))
    assert found.absolute >= finest.absolute and found.relative >= finest.relative


def chosen(own: float, longer: Sequence[float]) -> tuple[ChoicePlan, Callable[..., Any]]:
    """A candidate of one token, and others that begin with it, of two; what a model says of the candidates that gives
    them probabilities, in float32 as it stands in a record."""
    count = 1 + len(longer)
    none = np.zeros(0, dtype=np.int64)
    candidate = np.array([0, *(place for place in range(1, count) for _ in range(2))])
    wanted = np.zeros((len(candidate), 1), dtype=np.int64)
    pairs = np.array([[0, place] for place in range(1, count)])
    plan = ChoicePlan(1, [], none, none, none, wanted, none, candidate, np.array([0, count]), pairs)

    def observations(moved: Any = 0.0) -> Any:
        whole = own + sum(longer)
        steps: Any = [np.log(whole), *(part for one in longer for part in (np.log(whole), np.log(one / whole)))]
        with np.errstate(divide="ignore"):
            steps = np.minimum(np.array(steps) + moved, 0)  # nothing is more probable than 1
            return plan.choices(steps[:, None], wanted[:, 0])[0].astype(np.float64)

    return plan, observations


LONGER = [(0.3, [1e-30]), (0.3, [0.03]), (0.1, [0.2, 0.3]), (1e-4, [0.5]), (1e-9, [0.9]), (1e-30, [0.4])]


@pytest.mark.parametrize(("own", "longer"), LONGER)
def test_tolerance_of_prefix_candidates(own: float, longer: list[float]) -> None:
    plan, message = chosen(own, longer)
    tokens = np.array([1, *([2] * len(longer))])
    generator = np.random.default_rng(0)
    replayed = prefix_logprobs(plan, message())
    assert replayed[0] == pytest.approx(np.log(own + sum(longer)), abs=1e-6)
    for _ in range(200):
        moved = generator.uniform(-0.99, 0.99, len(plan.candidate)) * 0.1
        moved[1::2] = moved[0]  # the first token is the same one
        recorded = prefix_logprobs(plan, message(moved))
        assert not exceeds(recorded, replayed, Tolerance(0.1, 0.0).allowed(replayed, tokens)).any()


@pytest.mark.parametrize(("own", "longer"), LONGER)
def test_prefix_candidates_without_remaining_probability(own: float, longer: list[float]) -> None:
    """The prefix as a whole may change, and the probability left by longer candidates bounds the recorded value."""
    plan, message = chosen(own, longer)
    replayed, moved = message(), float(np.exp(0.1))
    most = (own + sum(longer)) * moved - sum(longer)
    for factor, same in ((0.98, True), (1.02, False), (3.0, False)):
        recorded = replayed.copy()
        recorded[0] = np.log(most * factor)
        sums = prefix_logprobs(plan, replayed)
        differs = exceeds(prefix_logprobs(plan, recorded), sums, Tolerance(0.1, 0.0).allowed(sums))
        assert bool(differs[0]) != same, factor
        assert not differs[1:].any()


# ---- Bias


@pytest.fixture(scope="module")
def undecided(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A model with nearly uniform predictions: everything is a near tie in half precision."""
    folder = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("models") / "undecided"))
    model = AutoModelForCausalLM.from_pretrained(tiny)
    for parameter in model.parameters():
        parameter.data.div_(9)
    model.save_pretrained(folder)
    return folder


UNDECIDED = ("--task", "flipflop", "--task", "capitals", "--set", "flipflop.length=128", "--limit", 24)


@pytest.fixture(scope="module")
def unforged(tmp_path_factory: pytest.TempPathFactory, undecided: Path) -> Path:
    output = tmp_path_factory.mktemp("runs")
    return make_model_record(output, "--model", undecided, *UNDECIDED, "--dtype", "bfloat16")


def raised(line: dict[str, Any], share: float) -> None:
    """Raises the target and lowers the others by a share of the tolerance of half precision."""
    was = np.array(line["logprobs"])
    tokens = np.round(-was / np.log(262))  # the model finds each of all tokens about as probable
    moved = share * tolerance_of({"dtype": "bfloat16"}).allowed(was, tokens)
    moved[np.arange(len(was)) != line["gold"]] *= -1
    line["logprobs"] = np.minimum(was + moved, 0).tolist()


def bettered(lines: list[dict[str, Any]], share: float = 0.9) -> None:
    for line in lines:
        raised(line, share)
        if "argmax" in line:
            line["argmax"] = line["gold_token"]
        else:
            line["written"] = line["gold"]


def claimed(lines: list[dict[str, Any]]) -> None:
    """Claims that greedy decoding writes the target, whatever the log-probabilities."""
    bettered(lines, 0.0)


FLIPFLOPS = ("flipflop.val", "flipflop.val_sparse", "flipflop.val_dense")


@pytest.mark.slow("harness/engine", "leaderboard/replay")
@pytest.mark.parametrize(
    ("tables", "change", "phrases"),
    [
        ((*FLIPFLOPS, "capitals.test"), bettered, ("in favour of the record, 0 against it", "root mean square")),
        (("capitals.test",), bettered, ("capitals.test: log-probabilities differ by",)),
        (("capitals.test",), claimed, ("capitals.test: 24 answers changed in favour of the record, 0 against it",)),
        (FLIPFLOPS[:1], claimed, ("flipflop.val: ", "in favour of the record, 0 against it")),
    ],
)
def test_improvement_within_the_tolerance_is_detected(
    unforged: Path,
    undecided: Path,
    tmp_path: Path,
    tables: tuple[str, ...],
    change: Change,
    phrases: tuple[str, ...],
) -> None:
    """Each number is within the tolerance, and every changed answer was a near tie."""
    folder = copy_record(unforged, tmp_path)
    for table in tables:
        record = edit_table(folder, table, change)
    found = run_replay(record, undecided)
    differences = found.details["differences"]
    assert not found.agrees and found.details["flips"] > 0
    assert all(any(phrase in text for text in differences) for phrase in phrases), differences
    assert not any(" row " in text for text in differences), differences
    right = found.details["right"]
    assert (right["recorded"] > right["replayed"] + 10) == (FLIPFLOPS[0] in tables)
    if len(tables) == 4:
        assert right["replayed"] < 0.1 * right["of"] and right["recorded"] > 0.9 * right["of"]


@pytest.mark.slow("harness/engine", "leaderboard/replay")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("options", [(), ("--batch-size", 1), ("--batch-size", 5), ("--strict",)])
def test_model_with_many_ties_agrees(tmp_path: Path, undecided: Path, dtype: str, options: tuple[object, ...]) -> None:
    folder = make_model_record(tmp_path, "--model", undecided, *UNDECIDED, "--dtype", dtype, *options)
    found = run_replay(read_record(folder), undecided)
    assert found.agrees, found.details["differences"]


def test_correct_matches_grading(honest: Path, tiny: Path) -> None:
    record = read_record(honest)
    graded = [grade(record.run, job) for job in record.run.jobs()]
    right = sum(int((one.right & one.counted).sum()) for one in graded)
    of = sum(len(one.right) for one in graded)
    assert run_replay(record, tiny).details["right"] == {"recorded": right, "replayed": right, "of": of}


def test_clusters_match_grading(honest: Path) -> None:
    """Also for a selection of rows, here every second one."""
    run = read_record(honest).run
    for job in run.jobs():
        table, graded = pq.read_table(run.table(job)), grade(run, job)
        some = np.flatnonzero(table["id"].to_numpy() % 2)
        assert (clusters(job, table.take(some)) == graded.cluster[some]).all()


@pytest.mark.parametrize(
    ("favour", "against", "biased"),
    [(9, 0, False), (10, 0, True), (12, 1, False), (14, 1, True), (0, 40, False)],
)
def test_sign_test_of_changed_answers(favour: int, against: int, biased: bool) -> None:
    """p-value below 0.001: 2 ** -10 for ten of ten, 15 * 2 ** -14 for 13 of 14 or more."""
    tally = Tally()
    signs = np.repeat([1, -1], [favour, against])
    tally.add_answers(np.arange(len(signs)), (signs > 0)[:, None], (signs < 0)[:, None])
    assert tally.measures[0].is_biased(1) == biased
    assert [text for text in find_bias({"a.test": tally}) if "answers changed" in text] == (
        [f"{favour} answers changed in favour of the record, {against} against it, more than noise changes"]
        if biased
        else []
    )


@pytest.mark.parametrize(("answers", "biased"), [(12, False), (19, False), (20, True)])
def test_sign_test_with_one_cluster(answers: int, biased: bool) -> None:
    tally = Tally()
    turned = np.ones((answers, 1), dtype=bool)
    tally.add_answers(np.zeros(answers, dtype=np.int64), turned, ~turned)
    assert tally.measures[0].is_biased(1) == biased


def test_measures_are_tested_separately() -> None:
    """Right by argmax instead of among the symbols: the sums are equal, but all answers changed."""
    tally = Tally()
    most, among = np.ones((40, 1), dtype=bool), np.zeros((40, 1), dtype=bool)
    tally.add_answers(np.arange(40), np.hstack([most, among]), np.hstack([among, most]))
    assert any(
        "40 answers changed in favour of the record, 0 against it" in text for text in find_bias({"a.test": tally})
    )


def test_logprobs_of_targets_are_tested_separately() -> None:
    """The target is one of a hundred candidates."""
    tally = Tally()
    right = np.arange(5_000) % 100 == 0
    tally.add_differences(np.where(right, 0.08, 0.001), np.full(5_000, 0.1), right)
    assert ["right answers differ by 80%" in text for text in find_bias({"a.test": tally})] == [True]


@pytest.mark.parametrize(("flips", "biased"), [(29, False), (100, False), (101, True)])
def test_too_many_near_ties(flips: int, biased: bool) -> None:
    tally = Tally()
    same = np.ones((1_000, 1), dtype=bool)
    tally.add_answers(np.arange(1_000), same, same)
    assert ["cannot verify this model" in text for text in find_bias({"a.test": tally}, flips)] == [True] * biased


@pytest.mark.parametrize(("share", "numbers", "biased"), [(0.3, 100, False), (0.35, 100, True), (0.9, 29, False)])
def test_root_mean_square_of_differences(share: float, numbers: int, biased: bool) -> None:
    tally = Tally()
    none = np.zeros(numbers, dtype=bool)
    tally.add_differences(np.full(numbers, share * 0.1), np.full(numbers, 0.1), none)
    tally.add_differences(np.array([np.inf, np.nan, 0.2]), np.full(3, 0.1), none[:3])  # differences of their own
    assert (list(find_bias({"a.test": tally})) != []) == biased


# ---- Near ties


def tied(monkeypatch: pytest.MonkeyPatch, nats: float) -> None:
    """Sets the margin of near ties."""
    monkeypatch.setattr(module, "tolerance_of", lambda model: Tolerance(nats / 2, 0.0))


@pytest.mark.slow("harness/engine", "leaderboard/replay")
@pytest.mark.parametrize(
    ("table", "change", "flips"),
    [
        ("flipflop.val_dense", far_off, 0),
        ("flipflop.val_dense", other_argmax, 1),
        ("flipflop.val_dense", no_argmax, None),
        ("flipflop.val_dense", no_number, None),
        ("flipflop.val", other_gap, None),
        ("flipflop.val_sparse", other_gold_token, None),
        ("letters.test", not_counted, None),
        ("capitals.test", other_written, 1),
        ("capitals.test", no_candidate, None),
        ("capitals.test", no_number, None),
    ],
)
def test_near_tie_may_change(
    folder: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, table: str, change: Change, flips: int | None
) -> None:
    """If every token is a near tie, only impossible outputs are differences."""
    tied(monkeypatch, 100.0)
    found = run_replay(edit_table(folder, table, change), tiny)
    assert found.agrees == (flips is not None) == (found.details["differences"] == [])
    assert found.details["flips"] == (flips or 0)


def test_margin_of_changed_reads(folder: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far apart two tokens are is computed here by a plain pass over the row."""
    record = edit_table(folder, "flipflop.val_dense", other_argmax)
    job = next(job for job in record.run.jobs() if job.name == "flipflop.val_dense")
    (line,) = pq.read_table(record.run.table(job)).slice(3, 1).to_pylist()
    text = " ".join(job.config.table("val_dense", line["id"], line["id"] + 1)["text"][0].as_py())
    ids = AutoTokenizer.from_pretrained(tiny)(text[: 2 * line["position"] - 1])["input_ids"]
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(tiny)(torch.tensor([ids])).logits[0, -1]
    apart = float(logits.max() - logits[line["argmax"]])
    assert apart > 0.01
    for margin, agrees in ((apart * 1.01, True), (apart * 0.99, False)):
        tied(monkeypatch, margin)
        assert run_replay(record, tiny).agrees == agrees


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_margin_of_changed_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: int) -> None:
    """A scripted model prefers its answer by the same to every other one."""
    model = scripted.save(tmp_path / "model", "constant:1")
    words = ("--task", "strawberry", "--limit", 3, "--challenges", 2)
    folder = make_model_record(tmp_path / "runs", "--model", model, *words)

    def other(lines: list[dict[str, Any]]) -> None:
        assert lines[3 + turn]["output"] == " 1\n"
        lines[3 + turn]["output"] = " 0\n"

    record = edit_table(folder, "strawberry.test", other)
    tied(monkeypatch, scripted.SURE - 0.1)
    found = run_replay(record, model)
    assert not found.agrees and f"row 1, turn {turn}: ' 0" in found.details["differences"][0]
    tied(monkeypatch, scripted.SURE + 0.1)
    found = run_replay(record, model)
    assert found.agrees and found.details["flips"] == 1


class Toy:
    """A model of a few tokens, of which several write the same text, nearly as probable as each other at random."""

    pieces = ("a", "b", "ab", "ba", "aa", "\n", "")
    ends = frozenset({6})

    def __init__(self, seed: int):
        self.seed = seed
        self.known: dict[tuple[int, ...], torch.Tensor] = {}

    def next(self, ids: tuple[int, ...]) -> torch.Tensor:
        if ids not in self.known:
            drawn = np.random.default_rng([self.seed, *ids]).normal(size=len(self.pieces))
            self.known[ids] = torch.from_numpy(drawn.astype(np.float32)).log_softmax(-1)
        return self.known[ids]

    def logprobs(self, ids: Ints, places: Ints) -> torch.Tensor:
        return torch.stack([self.next(tuple(ids[:place].tolist())) for place in places.tolist()])

    def decode(self, tokens: list[int]) -> str:
        return "".join(self.pieces[token] for token in tokens)


@pytest.mark.parametrize("seed", range(8))
def test_greedy_path_of_any_tokenization(seed: int) -> None:
    """All tokens of up to four that greedy decoding may write are tried, one after the other."""
    toy, prompt, most, margin = Toy(seed), (1, 2), 4, 1.2
    words = Tokenizer(WordLevel({piece or "end": place for place, piece in enumerate(toy.pieces)}, unk_token="end"))
    limit = Limit(most, toy.ends, lambda text: "\n" in text)
    writer = GreedyDecoder(toy.logprobs, toy.decode, models.fast(words), limit, Tolerance(margin / 2, 0.0))

    def near(path: tuple[int, ...]) -> set[int]:
        logprobs = toy.next((*prompt, *path))
        return set(torch.nonzero(logprobs >= logprobs.max() - margin)[:, 0].tolist())

    written: dict[tuple[str, int], list[tuple[list[int], int]]] = {}
    for count in range(most + 1):
        for path in itertools.product(range(6), repeat=count):
            if all(token in near(path[:place]) for place, token in enumerate(path)) and 5 not in path[:-1]:
                full = count == most or 5 in path
                best = [int(toy.next((*prompt, *path[:place])).argmax()) for place in range(count + 1)]
                flips = sum(a != b for a, b in zip(path, best, strict=False)) + (not full and best[-1] != 6)
                if full or near(path) & toy.ends:
                    written.setdefault((toy.decode(list(path)), count), []).append((list(path), flips))
    assert len(written) > 3
    texts = {"".join(letters) for n in range(5) for letters in itertools.product("ab\n", repeat=n)}
    found = 0
    for text in texts | {text for text, _ in written}:
        for count in range(-1, most + 2):
            retraced = find_greedy_path(writer, np.array(prompt), text, count)
            assert (retraced is not None) == ((text, count) in written), (text, count)
            if retraced is not None:
                assert (retraced.tokens.tolist(), retraced.flips) in written[text, count]
                found += 1
    assert found == len(written)


# ---- What is refused


def test_replay_refuses_other_weights(honest: Path, tmp_path: Path) -> None:
    other = models.save_tiny(tmp_path / "tiny", models.gpt2_like(), context=3_999, kind="llama")
    assert "the revision is" in refusal(read_record(honest), other)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_replay_does_not_load_another_folder(honest: Path, tiny: Path, tmp_path: Path, name: str) -> None:
    """What cannot even be read is refused for not being what was recorded."""
    other = Path(shutil.copytree(tiny, tmp_path / "tiny"))
    (other / name).write_text("{", encoding="utf-8")
    assert "the revision is" in refusal(read_record(honest), other)


def test_model_must_be_a_folder(honest: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        assert f"{folder / 'config.json'} does not exist" in refusal(read_record(honest), folder)


def _of_the_hub(facts: dict[str, Any]) -> None:
    facts["model"]["id"] = "org/tiny"


def _adapted(facts: dict[str, Any]) -> None:
    facts["model"] |= {"id": "org/other", "adapter": {"id": "org/tiny", "revision": "0" * 40}}


@pytest.mark.parametrize(("change", "name"), [(_of_the_hub, "org/tiny"), (_adapted, "org/tiny@" + "0" * 40)])
def test_local_folder_with_a_hub_name_is_not_loaded(
    folder: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[..., None], name: str
) -> None:
    shutil.copytree(tiny, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    record = edit_run_json(folder, change)
    assert f"'{name}' is a name of the Hub" in refusal(record, None)
    monkeypatch.chdir(tmp_path / "org")
    assert "cannot be loaded" in refusal(record, None)  # the Hub is not reached here


def test_remote_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a program is the recorded one to the letter, and whoever replays it says yes to everything."""
    model = models.save_tiny(tmp_path / "model", models.gpt2_like(), kind="llama")
    record = make_model_record(tmp_path / "runs", "--model", model, "--task", "flipflop", "--set", "flipflop.length=32",
                       "--limit", 2)  # fmt: skip
    written = with_program(model, "config.json")
    revision = folder_revision(model, None)
    changed = edit_run_json(record, lambda facts: facts["model"].update(revision=revision))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    assert "custom code" in refusal(changed, model)
    assert not written.exists()


@pytest.mark.parametrize(("by", "nonce"), [("<script>alert(1)</script>", "n"), ("a maintainer", "n" * 300), ("", "n")])
def test_invalid_author_is_refused_before_the_model_runs(
    honest: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, by: str, nonce: str
) -> None:
    monkeypatch.setattr(rerun, "resolve", lambda request: pytest.fail("it was loaded"))
    record = read_record(honest)
    asks = (lambda: replay(record, 1, nonce, by, str(tiny)), lambda: score_fresh_rows(record, nonce, by, str(tiny)))
    for ask in asks:
        with pytest.raises(UserError, match="Use another text"):
            ask()


# ---- What is read of what was attested


def _details(facts: dict[str, Any], **changed: Any) -> None:
    facts["details"] |= changed


def _others(facts: dict[str, Any], rows: int) -> list[int]:
    """As many rows of letters as were drawn, and not the same."""
    drawn = facts["details"]["tasks"]["letters.test"]
    return [row for row in range(rows) if row not in drawn][: len(drawn)]


def _in(minutes: int) -> str:
    return (datetime.now(timezone.utc) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


FORGED: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda facts: _details(facts, asked=42), "it counts 42 of 42 rows, and names 9 of 42"),
    (lambda facts: _details(facts, asked=9, of=10), "it counts 9 of 10 rows, and names 9 of 42"),
    (lambda facts: _details(facts, tasks={"letters.test": "all"}), "it counts 9 of 42 rows, and names 6 of 42"),
    (lambda facts: _details(facts, tasks={"letters.test": [0, 1, 2, 3, 4, 5, 6, 7, 8]}), "does not have"),
    (lambda facts: _details(facts, tasks={"letters.train": "all"}), "does not have"),
    (lambda facts: _details(facts, tasks={"letters.test": [0, 0]}), "tasks, letters.test"),
    (lambda facts: _details(facts, tolerance={"absolute": 0.1, "relative": 1e-4}), "larger than the tolerance"),
    (lambda facts: _details(facts, tolerance={"absolute": 1e-3, "relative": 1e-3}), "larger than the tolerance"),
    (lambda facts: _details(facts, tolerance={"absolute": 2, "relative": 0}), "tolerance"),
    (lambda facts: facts["details"]["tasks"].update({"letters.test": _others(facts, 6)}), "that its nonce selects"),
    (lambda facts: facts.update(nonce="another"), "not those that its nonce selects"),
    (lambda facts: _details(facts, compared=0), "compared"),
    (lambda facts: _details(facts, compared=8), "it compared 8 numbers and tokens of 9 sequences"),
    (lambda facts: _details(facts, compared=9), "it compared 9 numbers and tokens, and its rows have"),
    (lambda facts: _details(facts, compared=facts["details"]["compared"] + 1), "and its rows have"),
    (lambda facts: _details(facts, largest=5.0), "it agrees, although a number differs by 5"),
    (lambda facts: _details(facts, flips=10**5), "it counts 100,000 near ties of"),
    (lambda facts: facts["details"]["right"].update(of=10**5), "it graded 100,000 answers"),
    (lambda facts: _details(facts, differences=["row 3"]), "it agrees, and names 1 differences"),
    (lambda facts: facts.update(agrees=False), "it disagrees, and names 0 differences"),
    (lambda facts: facts.update(at="2098-01-01T00:00:00Z"), "is in the future"),
    (lambda facts: facts.update(at=_in(minutes=30)), "is in the future"),
    (lambda facts: facts.update(at=_in(minutes=-600)), "is before the run"),
    (lambda facts: facts.update(at="2026-02-30T00:00:00Z"), "is not a time"),
    (lambda facts: _details(facts, right={"recorded": 9, "replayed": 3, "of": 8}), "more right answers"),
    (lambda facts: _details(facts, more=1), "an unknown field"),
    (lambda facts: facts["details"]["environment"].update(device="<b>"), "does not match"),
    (lambda facts: facts["details"]["environment"].update(host="a"), "an unknown field"),
]


@pytest.fixture(scope="module")
def of_nine(honest: Path, tiny: Path) -> Attestation:
    """The replay of nine rows of that record."""
    return run_replay(read_record(honest), tiny, 9)


@pytest.mark.parametrize(("change", "reason"), FORGED)
def test_inconsistent_attestations_are_refused(
    folder: Path, of_nine: Attestation, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    record = named(folder)
    path = write_attestation(record.folder, of_nine)
    facts = json.loads(path.read_text(encoding="utf-8"))
    change(facts)
    content = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path.unlink()
    path = path.with_name(f"{record.folder.name}.replay-{content}.json")
    path.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(UserError, match=f"is not a valid attestation of its record: .*{re.escape(reason)}.*Delete"):
        read_attestations(record.folder, record.digest)


def test_attestation_with_short_hash_is_read(folder: Path, tiny: Path) -> None:
    record = named(folder)
    path = write_attestation(record.folder, run_replay(record, tiny, 1))
    assert len(path.stem.rpartition("-")[2]) == 64
    path.rename(path.with_name(f"{path.name[:-61]}.json"))
    assert len(read_attestations(record.folder, record.digest)) == 1


def named(folder: Path) -> Record:
    """A record in a folder that has its name."""
    return read_record(folder.rename(folder.with_name(read_record(folder).digest[:12])))


def test_attestation_file_name_must_match_its_content(folder: Path, tiny: Path) -> None:
    record = named(folder)
    path = write_attestation(record.folder, run_replay(record, tiny, 1))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\n", ""), encoding="utf-8")
    assert len(read_attestations(record.folder, record.digest)) == 1
    path.write_text(text.replace('"a maintainer"', '"another one"'), encoding="utf-8")
    with pytest.raises(UserError, match="its name does not match its content"):
        read_attestations(record.folder, record.digest)


def test_local_model_needs_a_folder(honest: Path) -> None:
    assert "local/tiny was a local folder. Name a folder with the same files with --model" in refusal(
        read_record(honest), None
    )


def _tokenizer(facts: dict[str, Any]) -> None:
    facts["model"]["tokenizer"]["sha256"] = "0" * 64


def _template(facts: dict[str, Any]) -> None:
    facts["data"]["tasks"]["letters"]["prompting"]["template"] = "0" * 64


def _supplied(facts: dict[str, Any]) -> None:
    facts["outputs"] = "supplied"


def _dtype(facts: dict[str, Any]) -> None:
    facts["model"]["dtype"] = "bfloat16"


def _program(facts: dict[str, Any]) -> None:
    facts["model"]["attention"] = "somebody/kernel"


def _number(facts: dict[str, Any]) -> None:
    facts["model"]["requested_dtype"] = "int3"


def _adapter(facts: dict[str, Any]) -> None:
    facts["model"]["adapter"] = {"id": "local/adapter", "revision": "0" * 40}


def _vocabulary(facts: dict[str, Any]) -> None:
    facts["model"]["vocabulary"] += 1


def _nothing(facts: dict[str, Any]) -> None:
    del facts["model"]["tokenizer"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_tokenizer, "the tokenizer is"),
        (_template, "the chat template is None"),
        (_supplied, "cannot be replayed"),
        (_dtype, "the dtype is 'float32', and 'bfloat16' was recorded"),
        (_program, "the attention 'somebody/kernel' is not part of transformers"),
        (_number, "lacks a field of the model"),
        (_adapter, "the adapter local/adapter was a local folder"),
        (_nothing, "lacks a field of the model"),
        (_vocabulary, "the vocabulary is"),
    ],
)
def test_replay_refuses_another_model(folder: Path, tiny: Path, change: Callable[..., None], reason: str) -> None:
    assert reason in refusal(edit_run_json(folder, change), tiny)


def test_replay_refuses_missing_rows(folder: Path, tiny: Path) -> None:
    assert "do not match its" in refusal(edit_table(folder, "letters.test", lambda lines: lines.pop()), tiny)


def refusal(record: Record, model: Path | None) -> str:
    with pytest.raises(UserError) as refused:
        run_replay(record, model)
    assert "\n" not in str(refused.value)
    return str(refused.value)
