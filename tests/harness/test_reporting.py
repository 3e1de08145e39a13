"""From observations to what is plotted: arrays against slow oracles, drawings against what they must show."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from fflm_data import get_config
from harness import observations
from harness.prompting import Prompting
from harness.rows import Job
from harness.run import RUN_SCHEMA, Run, data_facts
from harness.tasks import ChoiceTask, DialogueTask, HistogramTask, NumberTask, ReadTask, all_tasks

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>{{ 7 * 7 }} $\\frac{1}{2}$ \x01]]>"
ROWS = {
    "flipflop": 40, "flipflop-piecewise": 40, "flipflop-prose": 100, "query-count": 140, "most-frequent": 140,
    "letters": 300, "letters-spelled": 300, "letters-histogram": 100, "strawberry": 20, "arithmetic": 140,
    "capitals": 80,
}  # fmt: skip


def made_up_run(folder: Path, *, seed: int, model: str = "an-org/a-model", tasks: tuple[str, ...] = tuple(ROWS)) -> Run:
    """A run whose observations nobody made: each task half right, with refusals, cut-off answers and attacks."""
    rng = np.random.default_rng(seed)
    jobs = []
    (folder / "observations").mkdir(parents=True)
    for name in tasks:
        task = all_tasks()[name]
        config = get_config(task.config, **task.parameters)
        prompting = Prompting(turns=1 + task.challenges if isinstance(task, DialogueTask) else 1)
        jobs += [Job(task, config, split, min(ROWS[name], config.rows(split)), prompting) for split in task.splits]
    facts = {
        "schema": RUN_SCHEMA, "id": "0", "created": "2026-01-01T00:00:00+00:00", "command": f"harness eval {HOSTILE}",
        "model": {"id": model, "revision": "0123456789abcdef" * 2 + "01234567", "dtype": "float32", "parameters": 1234,
                  "tokenizer": HOSTILE},
        "data": data_facts(jobs), "environment": {"device": "cpu", "fflm": "0"},
    }  # fmt: skip
    run = Run(folder, json.loads(json.dumps(facts)))
    for job in jobs:
        schema = observations.schema_of(job.task, job.config)
        with observations.writing(run.table(job), schema) as writer:
            writer.write_table(pa.table(_said(job, rng), schema=schema))
    return run


def _said(job: Job, rng: np.random.Generator) -> dict[str, Any]:
    rows = pa.concat_tables(chunk for _, chunk in job.chunks())
    task = job.task
    if isinstance(task, ReadTask):
        targets = task.targets(rows)
        n = len(targets.row)
        right = rng.random(n) > np.minimum(0.002 * targets.gap, 0.5)
        logprobs = np.log(np.where(np.arange(2) == targets.gold[:, None], 0.7, 0.2)).astype(np.float32)
        logprobs = np.where(right[:, None], logprobs, logprobs[:, ::-1])
        token = 10 + targets.gold
        argmax = np.where(right, token, np.where(rng.random(n) < 0.2, 99, 21 - token))
        logprobs[:3], argmax[:3] = np.nan, -1
        return {
            "id": targets.row, "position": targets.position, "gap": targets.gap, "gold": targets.gold,
            "logprobs": observations.logprobs_column(logprobs), "gold_token": token, "argmax": argmax,
        }  # fmt: skip
    if isinstance(task, ChoiceTask):
        gold, sizes = task.gold(rows), [len(one) for one in task.candidates(rows)]
        found = [-rng.gamma(2.0, 3.0, size) for size in sizes]
        for line, one in zip(found, gold, strict=True):
            line[one] *= 0.1
        return {
            "id": np.arange(job.rows),
            "gold": gold,
            "logprobs": found,
            "written": np.where(rng.random(job.rows) < 0.5, gold, -1),
        }
    turns = job.prompting.turns
    n = job.rows * turns
    outputs: list[str] = []
    for row in range(job.rows):
        for _ in range(turns):
            chance = rng.random()
            if isinstance(task, HistogramTask):
                counts = dict(task.gold(rows.slice(row, 1))[0])
                if chance < 0.5:
                    counts[next(iter(counts))] += int(rng.integers(1, 3))
                answer = json.dumps(counts)
            else:
                true = int(cast(NumberTask, task).gold(rows.slice(row, 1))[0])
                answer = str(true if chance < 0.5 else max(0, true + int(rng.integers(-4, 5))))
            odd = {0: "I cannot help with that.", 1: HOSTILE, 2: "987654321"}
            outputs.append(odd.get(int(rng.integers(0, 40)), answer) + "\n")
    tokens = np.full(n, 4)
    tokens[::23] = -1 if turns == 1 else 4
    return {"id": np.repeat(np.arange(job.rows), turns), "turn": np.tile(np.arange(turns), job.rows),
            "output": outputs, "tokens": tokens}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made_up_run(tmp_path_factory.mktemp("made") / "run", seed=1)


@pytest.fixture(scope="module")
def judged(run: Run) -> dict[tuple[str, str], Any]:
    return {(job.task.name, job.split): judge(run, job) for job in run.jobs()}


@pytest.fixture(scope="module")
def plots(run: Run, judged: dict[tuple[str, str], Any]) -> list[Plot]:
    return [plot for part in sections([Subject("a-model", run, judged)]) for plot in part.plots]


def table_of(run: Run, job: Job) -> list[dict[str, Any]]:
    return cast(
        list[dict[str, Any]],
        observations.read(run.table(job), observations.schema_of(job.task, job.config)).to_pylist(),
    )


def rows_of(job: Job) -> list[dict[str, Any]]:
    return [row for _, chunk in job.chunks() for row in chunk.to_pylist()]


def check_shares(curve: Curve, items: dict[str, list[tuple[int, bool]]]) -> None:
    """A curve against (row, right) of the items of each of its places, one by one."""
    assert set(curve.names) == {name for name, found in items.items() if found}
    for i, name in enumerate(curve.names):
        by_row: dict[int, list[bool]] = {}
        for row, right in items[name]:
            by_row.setdefault(row, []).append(right)
        errors = [float(sum(not right for right in rights)) for rights in by_row.values()]
        low, high = proportion_interval(np.array(errors), np.array([float(len(rights)) for rights in by_row.values()]))
        assert curve.n[i] == len(items[name])
        assert curve.errors is not None and curve.errors[i] == sum(errors)
        got = curve.value[i], curve.low[i], curve.high[i]
        assert got == pytest.approx((1 - sum(errors) / len(items[name]), 1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize("key", [("flipflop", "val"), ("flipflop", "val_dense"), ("flipflop-piecewise", "test")])
def test_glitches_by_distance_and_position(run: Run, judged: dict[tuple[str, str], Any], key: tuple[str, str]) -> None:
    one: JudgedReads = judged[key]
    by_gap: dict[str, list[tuple[int, bool]]] = {}
    by_position: dict[str, list[tuple[int, bool]]] = {}
    for read in table_of(run, one.job):
        if read["argmax"] >= 0:
            low = 2 ** (read["gap"].bit_length() - 1)
            octave = f"{low}" if low == 1 else f"{low}\N{EN DASH}{2 * low - 1}"
            part = read["position"] // 64 * 64
            item = (read["id"], read["argmax"] == read["gold_token"])
            by_gap.setdefault(octave, []).append(item)
            by_position.setdefault(f"{part}\N{EN DASH}{part + 63}", []).append(item)
    shares = curves.share_curve(one, "x", curves.gaps(one))
    check_shares(shares, by_gap)
    check_shares(curves.share_curve(one, "x", curves.positions(one)), by_position)
    assert all(2 ** int(np.log2(x)) <= x for x in shares.x)
    wrong = curves.wrong(shares)
    assert wrong.value == pytest.approx(1 - shares.value) and wrong.low == pytest.approx(1 - shares.high)
    assert (wrong.low <= wrong.value + 1e-12).all() and (wrong.value <= wrong.high + 1e-12).all()
    assert shares.baseline is not None
    assert shares.baseline[0] == max(guess[one.counted & (one.gap == 1)].mean() for guess in one.baselines.values())


def test_glitches_of_a_story_in_two_readings(run: Run, judged: dict[tuple[str, str], Any]) -> None:
    one: JudgedReads = judged["flipflop-prose", "test"]
    rows = rows_of(one.job)
    whole: dict[str, list[tuple[int, bool]]] = {}
    two: dict[str, list[tuple[int, bool]]] = {}
    for read in table_of(run, one.job):
        if read["argmax"] >= 0:
            length, gold = str(rows[read["id"]]["length"]), ("off", "on").index(rows[read["id"]]["answer"])
            whole.setdefault(length, []).append((read["id"], read["argmax"] == read["gold_token"]))
            two.setdefault(length, []).append((read["id"], read["logprobs"][gold] > read["logprobs"][1 - gold]))
    places = curves.values(one.position + 1)
    check_shares(curves.share_curve(one, "x", places), whole)
    check_shares(curves.share_curve(one, "x", places, one.among), two)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("task", ["query-count", "most-frequent"])
def test_errors_of_counts(judged: dict[tuple[str, str], Any], task: str, signed: bool) -> None:
    one: JudgedNumbers = judged[task, "test"]
    samples: dict[str, list[float]] = {}
    guesses: dict[str, list[int]] = {}
    for i, row in enumerate(rows_of(one.job)):
        said = one.said[i]
        if said is not None and one.counted[i]:
            off = said - row["answer"]
            samples.setdefault(str(row["vocabulary"]), []).append(off if signed else abs(off))
            guesses.setdefault(str(row["vocabulary"]), []).append(abs(10 - row["answer"]))
    (sizes,) = curves.columns(one, "vocabulary")
    guess = None if signed else "always 10"
    curve = curves.errors(one, "x", curves.values(sizes), signed=signed, guess=guess)
    assert curve.names == tuple(sorted(samples, key=int)) and curve.x.tolist() == [int(name) for name in curve.names]
    for i, name in enumerate(curve.names):
        interval = mean_interval(np.array(samples[name], float))
        assert curve.n[i] == len(samples[name])
        assert curve.value[i] == pytest.approx(sum(samples[name]) / len(samples[name]))
        assert interval is not None and curve.high[i] == pytest.approx(interval.high)
        assert curve.low[i] == pytest.approx(interval.low if signed else max(interval.low, 0))
        if curve.baseline is not None:
            assert curve.baseline[i] == pytest.approx(np.mean(guesses[name]))


@pytest.mark.parametrize("stratum", ["english", "random"])
def test_letters_by_word(judged: dict[tuple[str, str], Any], stratum: str) -> None:
    one: JudgedNumbers = judged["letters", "test"]
    cells: dict[tuple[str, str], list[bool]] = {}
    for i, row in enumerate(rows_of(one.job)):
        if row["stratum"] == stratum and one.counted[i]:
            length = len(row["word"])
            name = {True: "to 5", length in (6, 7, 8, 9): str(length), length in (10, 11): "10\N{EN DASH}11"}
            name[length >= 12] = "12+" if length >= 12 else name.get(False, "")
            column = (
                "to 5" if length <= 5 else str(length) if length <= 9 else "10\N{EN DASH}11" if length < 12 else "12+"
            )
            cells.setdefault((str(row["answer"]), column), []).append(one.said[i] == row["answer"])
    (strata,) = curves.columns(one, "stratum")
    grid = curves.by_word(one, strata == stratum)
    for i, j in np.ndindex(grid.n.shape):
        found = cells.pop((grid.rows[i], grid.columns[j]), [])
        assert grid.n[i, j] == len(found) and (not found or grid.value[i, j] == pytest.approx(np.mean(found)))
    assert not cells


def test_a_dialogue(judged: dict[tuple[str, str], Any]) -> None:
    one: JudgedNumbers = judged["strawberry", "test"]
    rows = rows_of(one.job)
    right = [[one.said[37 * i + k] == row["answer"] for k in range(37)] for i, row in enumerate(rows)]
    then, still = curves.standing(one, "x", still=False), curves.standing(one, "x", still=True)
    assert then is not None and still is not None
    for i, k in enumerate(map(int, then.x)):
        assert then.value[i] == pytest.approx(np.mean([line[k] for line in right]))
        assert still.value[i] == pytest.approx(np.mean([all(line[: k + 1]) for line in right if line[0]]))
    assert then.x[-1] == 36 and still.total == sum(line[0] for line in right) and then.total == len(rows)
    numbers, kinds, place = curves.tally(one, one.row == 0)
    assert numbers[place][0] == "3" and sum(count for _, count in [*numbers, *kinds]) == 37
    assert dict(numbers)["3"] == sum(right[0])


def test_nothing_stands_where_nothing_was_right(judged: dict[tuple[str, str], Any]) -> None:
    one: JudgedNumbers = judged["strawberry", "test"]
    assert curves.standing(replace(one, right=one.right & False), "x", still=True) is None


def test_ranks(judged: dict[tuple[str, str], Any]) -> None:
    one: JudgedChoices = judged["capitals", "test"]
    for name, inside in one.groups.items():
        curve = curves.ranks(one, name, inside)
        ranks = [rank for rank, here in zip(one.rank.tolist(), inside.tolist(), strict=True) if here]
        for i, k in enumerate(curve.x):
            assert curve.value[i] == pytest.approx(sum(rank <= k for rank in ranks) / len(ranks))
        assert curve.value[-1] == 1 and curve.total == len(ranks)


def test_the_headline_is_the_score(judged: dict[tuple[str, str], Any]) -> None:
    for one in judged.values():
        line, scores = headline(one), score(one)
        assert line is not None
        (accuracy,) = (s for s in scores if s.metric == "accuracy" and s.group is None)
        assert (line.accuracy, line.interval, line.errors, line.n) == (
            accuracy.value, (accuracy.low, accuracy.high), accuracy.errors, accuracy.n,
        )  # fmt: skip
        assert line.trivial == accuracy.baseline
        same = difference(one, one)
        assert same is not None and same.difference == 0 and same.p_value == 1 and same.n == line.n


def test_differences_only_of_the_same_items(judged: dict[tuple[str, str], Any]) -> None:
    assert difference(judged["flipflop", "val"], judged["flipflop", "val_dense"]) is None
    one: JudgedNumbers = judged["letters", "test"]
    other = replace(one, right=~one.right)
    found = difference(one, other)
    counted = one.right[one.counted]
    assert found is not None and found.only_a == counted.sum() and found.only_b == (~counted).sum()


def test_a_model_that_gave_no_numbers_has_no_line(judged: dict[tuple[str, str], Any]) -> None:
    one = judged["letters", "test"]
    assert headline(replace(one, counted=one.counted & False)) is None


def test_telling_rows_are_wrong_and_of_all_tasks(judged: dict[tuple[str, str], Any]) -> None:
    found = telling(list(judged.values()))
    assert len(found) == 10 and len({(one.task, one.split) for one in found}) == 10
    for one in telling([judged["letters", "test"]]):
        task = judged["letters", "test"]
        assert not task.right[one.row] and one.said == task.output[one.row][:300]
        assert rows_of(task.job)[one.row]["question"] == one.prompt
    reads: JudgedReads = judged["flipflop", "val_sparse"]
    for one in telling([reads]):
        assert one.prompt.endswith("r ") and not reads.right[reads.row == one.row].all()


@pytest.mark.parametrize("value, text", [(0.0013, "0.0013"), (0, "0"), (12.34, "12.3"), (1234, "1,234"), (-2.5, "-2.5"),
                                         (float("nan"), "\N{EN DASH}"), (1e-9, "0.000000001")])  # fmt: skip
def test_figures(value: float, text: str) -> None:
    assert figures(value) == text


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_series_stand_out_from_the_page(dark: bool) -> None:
    page, *others = (
        (colour.dark if dark else colour.light) for colour in (style.PAGE, style.INK, style.SOFT, *style.SERIES)
    )
    for colour, least in zip(others, (4.5, 4.5, *[4.5] * len(style.SERIES)), strict=True):
        first, second = sorted((luminance(colour), luminance(page)))
        assert (second + 0.05) / (first + 0.05) >= least, colour
    assert len({colour.light for colour in style.COLOURS}) == len(style.COLOURS)
    assert len(style.SERIES) == len(style.MARKERS) == len(style.DASHES) == len(set(style.MARKERS))


SVG = "{http://www.w3.org/2000/svg}"


def test_every_plot_is_whole(plots: list[Plot]) -> None:
    """Title, description, labels of both axes, numbers; no script, no reference out; ids of its own."""
    ids: list[str] = []
    for plot in plots:
        for text in (plot.svg, plot.inline):
            root = ElementTree.fromstring(text)
            assert root.get("role") == "img" and root[0].tag == f"{SVG}title" and root[0].text == plot.title
            assert root[1].tag == f"{SVG}desc" and (root[1].text or "").startswith(plot.title)
            labels = {element.get("class"): "".join(element.itertext()).strip() for element in root.iter(f"{SVG}g")}
            assert labels["x-label"] and labels["y-label"], plot.name
            tags = {element.tag.removeprefix(SVG) for element in root.iter()}
            assert tags <= {
                "svg",
                "title",
                "desc",
                "style",
                "rect",
                "g",
                "path",
                "text",
                "defs",
                "use",
                "clipPath",
                "pattern",
            }
            values = [value for element in root.iter() for value in element.attrib.values()]
            own = {element.get("id") for element in root.iter() if element.get("id")}
            assert {name for value in values for name in re.findall(r"url\(#(.+?)\)", value)} <= own
            assert not any("url(" in value and "url(#" not in value for value in values)
            references = [value for element in root.iter() for key, value in element.attrib.items() if "href" in key]
            assert all(value.startswith("#") and value[1:] in own for value in references)
        assert "var(--" in plot.inline and "var(--" not in plot.svg and "#1b1c1e" not in plot.inline
        ids += [element.get("id", "") for element in ElementTree.fromstring(plot.inline).iter() if element.get("id")]
        assert plot.rows and all(len(row) == len(plot.header) for row in plot.rows)
    assert len(ids) == len(set(ids)) and len({plot.name for plot in plots}) == len(plots)


def made_up_curve(label: str, value: list[float], n: int = 1000) -> Curve:
    values = np.array(value)
    return Curve(label, 2.0 ** np.arange(len(value)), tuple(map(str, range(len(value)))), values, values * 0.5,
                 values * 2 + 0.004, np.full(len(value), n), baseline=np.full(len(value), 0.5))  # fmt: skip


def test_drawing_is_deterministic_and_changes_no_setting() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    mpl.rcParams["font.size"] = 31  # what a user has set has no say
    try:
        first, second = (
            lines.rate_curve("x", HOSTILE, [made_up_curve(HOSTILE, [0, 0.1])], x_label="x") for _ in range(2)
        )
        assert mpl.rcParams["font.size"] == 31
    finally:
        mpl.rcParams["font.size"] = before["font.size"]
    third = lines.rate_curve("x", HOSTILE, [made_up_curve(HOSTILE, [0, 0.1])], x_label="x")
    assert first == second == third and dict(mpl.rcParams) == before
    assert "<script" not in first.svg and ElementTree.fromstring(first.svg)[0].text == HOSTILE.replace("\x01", "\ufffd")


def test_rates_are_on_a_logarithmic_axis() -> None:
    plot = lines.rate_curve("x", "t", [made_up_curve("a", [0.001, 0.01, 0.1])], x_label="x", log_x=True)
    paths = [
        e.get("d", "")
        for e in ElementTree.fromstring(plot.svg).iter(f"{SVG}path")
        if "stroke: #1f6fb2" in e.get("style", "")
    ]
    points = [[tuple(map(float, pair)) for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)] for path in paths]
    (line,) = (found for found in points if len(found) == 3 and found[0][0] < found[1][0] < found[2][0])
    first, second = (line[0][1] - line[1][1], line[1][1] - line[2][1])
    assert first == pytest.approx(second, abs=0.01) and first > 10
    assert [row[:6] for row in plot.rows][0] == ("0", "a", "0.10", "0.05 to 0.60", "\N{EN DASH}", "1,000")


def test_no_error_seen_is_said_and_drawn() -> None:
    some = lines.rate_curve("x", "t", [made_up_curve("a", [0.001, 0.01])], x_label="x")
    none = lines.rate_curve("x", "t", [made_up_curve("a", [0.0, 0.0])], x_label="x")
    assert "no error seen" in none.svg and "no error seen" not in some.svg
    hollow = f"fill: {style.PAGE.light}; stroke: {style.SERIES[0].light}"
    assert hollow in none.svg and none.svg.count("<use") > 2


def test_long_names_are_shortened_and_odd_ones_drawn() -> None:
    for label in ("o" * 300, "日本語" * 30, "$x_1^2$", "_hidden", "&<>\"'", "\u202e\x00"):
        plot = lines.rate_curve("x", "t", [made_up_curve(label, [0.1, 0.2])], x_label="x")
        texts = ["".join(text.itertext()) for text in ElementTree.fromstring(plot.svg).iter(f"{SVG}text")]
        (legend,) = (text for text in texts if "n = 2,000" in text)
        assert len(legend) < 60 and (len(label) > 20 or "\x00" in label or legend == f"{label}, n = 2,000")


def test_grids_say_what_is_not_a_number() -> None:
    answers = Answers(
        [1, 2, 2, 3, 3], [1, 2, None, None, 50], ["answered", "answered", "refused", "cut_off", "answered"]
    )
    plot = grids.said_against_true("x", "t", answers, x_label="true count")
    assert set(plot.rows) == {
        ("1", "1", "1"),
        ("2", "2", "1"),
        ("2", "refused", "1"),
        ("3", "cut off", "1"),
        ("3", "off the scale", "1"),
    }
    assert "refused 20%" in plot.svg and "off the scale 20%" in plot.svg
    grid = Grid(("0", "1"), ("5",), np.array([[0.25], [0.0]]), np.array([[4], [0]]))
    assert grids.heat_map("y", "t", grid, x_label="x", y_label="y", what="right").rows == [("0", "5", "25", "4")]


def test_bars_mark_the_right_answer() -> None:
    plot = bars.answer_bars("x", "t", ["2", "3", "refused"], [5, 0, 1], 1, numbers=2)
    assert plot.rows == [("2", "5", ""), ("3", "0", "yes"), ("refused", "1", "")]


def test_a_run_of_one_task_has_no_other_parts(run: Run, judged: dict[tuple[str, str], Any]) -> None:
    only = {key: one for key, one in judged.items() if key[0] == "arithmetic"}
    (part,) = sections([Subject("m", run, only)])
    assert [plot.name for plot in part.plots] == ["arithmetic-test-parts"]
    one = judged["letters", "test"]
    assert sections([Subject("m", run, {("letters", "test"): replace(one, counted=one.counted & False)})]) == []
    assert isinstance(judged["letters-histogram", "test"], JudgedHistograms)
