"""Rows of several seeds: which models share a row, its numbers and rank, and that it hides nothing."""

import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from harness.prompts.prompting import Prompting
from leaderboard.site import build, findings
from leaderboard.site.entries import Cell, Entry, PromptingOptions
from leaderboard.site.plots import Point, Series, spread_series
from leaderboard.site.ranks import ranks
from leaderboard.site.rows import Rows, group_rows, table_order
from leaderboard.site.seed_groups import seed_groups
from leaderboard.site.seed_rows import SeedGroup
from leaderboard.site.site_data import assemble
from leaderboard.site.sources import Source
from leaderboard.submission_file import Submission
from leaderboard.verification_level import VerificationLevel
from tests.leaderboard.browsing import DESK, PHONE, head, open_page, served, shown
from tests.leaderboard.record_edits import PRETRAINED, TRAINED
from tests.leaderboard.site_fixtures import ADDRESS, DAY, EPOCH, GAP, HOSTILE, Built, attest, index_of
from tests.leaderboard.site_fixtures import make_answers_record as make_record
from tests.support.recipes import STATEMENT

MINE = Submission("a tester", "CC-BY-4.0", TRAINED, "none", "2026-09-20")
THEIRS = Submission("another tester", "CC-BY-4.0", TRAINED, "none", "2026-09-20")
LABEL = "flipflop-small, model.positions=rope, 3 seeds"
OTHER = {"digest": "0123456789ab", "changes": {}}


def training(data_seed: int, weight_seed: int = 0, **changes: Any) -> dict[str, Any]:
    seeds = {"data_seed": data_seed, "weight_seed": weight_seed}
    return STATEMENT | seeds | {"command": f"harness train flipflop-small --data-seed {data_seed}"} | changes


def trained(records: Path, model: str, seed: int, wrong: int, **facts: Any) -> Path:
    """Writes a record of a trained model; returns its folder."""
    facts = {"submission": MINE, "training": training(seed), "revision": f"{wrong:02d}" * 20} | facts
    return make_record(records, model, wrong=wrong, **facts)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A site with two rows of several seeds, and all kinds of models that do not join them. Read-only."""
    root = tmp_path_factory.mktemp("seeds")
    records = root / "records"
    records.mkdir()
    checked = trained(records, "org/rope-1", 1, 5, **{"class": "GPT2LMHeadModel"})
    trained(records, "org/rope-2", 2, 20, **{"class": "GPT2LMHeadModel"})
    trained(records, "org/rope-0", 0, 11, **{"class": "GPT2LMHeadModel"}, tasks=("letters", "arithmetic"))
    bad = trained(records, "org/rope-3", 3, 3, **{"class": "GPT2LMHeadModel"})
    gone = trained(records, "org/rope-4", 4, 13, **{"class": "GPT2LMHeadModel"})
    trained(records, "org/again", 0, 4, **{"class": "GPT2LMHeadModel"}, created="2026-08-01T00:00:00+00:00")
    trained(records, "org/shaky", 7, 6, **{"class": "GPT2LMHeadModel"}, deterministic=False)
    for number, wrong in enumerate((8, 9)):
        trained(records, f"org/plain-{number}", number, wrong, training=training(number, **OTHER))
    make_record(records, "org/large", wrong=50, submission=MINE)
    attest(checked, "replay", True, asked=4)
    attest(checked, "fresh", None, seed=7, environment={}, gaps=[GAP])
    attest(bad, "replay", False, asked=4, differences=["row 3 says 2"])
    attest(gone, "withdrawn", None, reason="it was another model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FFLM_CACHE", str(root / "cache"))
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        build.command(root / "site", [], records, ADDRESS)
    return Built(root / "site", records, json.loads((root / "site" / "index.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def address(board: Built) -> Iterator[str]:
    with served(board.folder) as where:
        yield where


def group_of(board: Built, label: str = LABEL) -> dict[str, Any]:
    (group,) = (group for group in board.index["seed_groups"] if group["label"] == label)
    return dict(group)


def models_of(site: dict[str, Any], label: str = LABEL) -> list[str]:
    """Returns the ids of the models of a group, in its order."""
    (group,) = (group for group in site["seed_groups"] if group["label"] == label)
    names = {row["slug"]: row["id"] for row in site["models"]}
    return [names[slug] for slug in group["seeds"]]


def groups_of(records: Path) -> list[list[str]]:
    """Builds a site and returns the model ids of each group."""
    index_of(records)
    site = json.loads((records.parent / "site" / "index.json").read_text(encoding="utf-8"))
    return [models_of(site, group["label"]) for group in site["seed_groups"]]


# ---- Which models share a row


def test_seeds_of_a_recipe_share_a_row(board: Built) -> None:
    assert [group["label"] for group in board.index["seed_groups"]] == ["flipflop-small, 2 seeds", LABEL]
    assert models_of(board.index) == ["org/rope-0", "org/rope-1", "org/rope-2"]
    assert models_of(board.index, "flipflop-small, 2 seeds") == ["org/plain-0", "org/plain-1"]
    assert len(board.rows) == 9  # the machine-readable files keep an entry for each model


@pytest.mark.parametrize(
    ("model", "facts", "joins"),
    [
        ("org/b", {}, True),
        ("org/b", {"training": training(1, 5)}, True),
        ("org/b", {"training": training(0, 5)}, True),
        ("org/b", {"training": training(1, recipe="renamed", command="harness train renamed")}, True),
        ("org/b", {"submission": THEIRS}, True),
        ("other/b", {}, False),
        ("Org/b", {}, False),
        ("org/b", {"training": training(1, digest="0" * 12)}, False),
        ("org/b", {"training": training(0)}, False),
        ("org/b", {"dtype": "float32"}, False),
        ("org/b", {"quantization": "4bit"}, False),
        ("org/b", {"parameters": 6_000_000}, False),
        ("org/b", {"class": "GPT2LMHeadModel"}, False),
        ("org/b", {"prompting": Prompting(shots=5)}, False),
        ("org/b", {"rows": 30}, False),
        ("org/b", {"deterministic": False}, False),
        ("org/b", {"submission": Submission("a tester", "MIT", PRETRAINED, "none", "2026-09-20")}, False),
    ],
    ids=str,
)
def test_who_joins_a_row(records: Path, model: str, facts: dict[str, Any], joins: bool) -> None:
    trained(records, "org/a", 0, 3)
    trained(records, model, 1, 7, **facts)
    assert groups_of(records) == ([["org/a", model]] if joins else [])


def test_local_models_need_the_same_contact(records: Path) -> None:
    """Everybody may use the name local, and many train the same recipe."""
    trained(records, "local/a", 0, 3)
    trained(records, "local/b", 1, 7, submission=THEIRS)
    assert groups_of(records) == []
    trained(records, "local/c", 2, 9)
    assert groups_of(records) == [["local/a", "local/c"]]


def test_local_runs_are_not_grouped(records: Path, tmp_path: Path) -> None:
    trained(records, "org/a", 0, 3)
    trained(records, "org/b", 1, 7)
    mine = trained(tmp_path / "mine", "org/c", 2, 9)
    (mine / "submission.json").unlink()
    rows = {row["id"]: row for row in index_of(records, (mine,))}
    assert rows["org/c"]["seed_group"] is None and rows["org/c"]["training"]["data_seed"] == 2
    assert rows["org/a"]["seed_group"] == rows["org/b"]["seed_group"] is not None


def test_contradicting_records_of_a_model(records: Path) -> None:
    """Two records of one revision state different recipes: nothing is believed. One that states nothing agrees."""
    trained(records, "org/a", 0, 3)
    trained(records, "org/b", 1, 7)
    trained(records, "org/b", 1, 4, revision="07" * 20, tasks=("arithmetic",), training=training(2))
    assert groups_of(records) == []
    trained(records, "org/c", 3, 9)
    make_record(records, "org/c", wrong=4, revision="09" * 20, tasks=("arithmetic",), submission=MINE)
    assert groups_of(records) == [["org/a", "org/c"]]


def test_repeated_seed_counts_once(records: Path) -> None:
    """The better verified result counts, then the later one. The other keeps a row."""
    trained(records, "org/a", 0, 3)
    trained(records, "org/b", 1, 7, created="2026-09-02T00:00:00+00:00")
    first = trained(records, "org/b", 1, 40, revision="1" * 40, created="2026-09-01T00:00:00+00:00")
    assert groups_of(records) == [["org/a", "org/b"]]
    page = (records.parent / "site" / "index.html").read_text(encoding="utf-8")
    assert page.count("<tr id=") == 2 and "1 not counted" in page
    cells = json.loads((records.parent / "site" / "index.json").read_text("utf-8"))["seed_groups"][0]["cells"]
    assert cells[0]["most_errors"] == 334 and cells[0]["fewest_errors"] == 143
    attest(first, "replay", True)
    index_of(records)
    cells = json.loads((records.parent / "site" / "index.json").read_text("utf-8"))["seed_groups"][0]["cells"]
    assert cells[0]["fewest_errors"] == 25


# ---- Numbers


def test_numbers_of_a_row(board: Built) -> None:
    group, rows = group_of(board), {row["id"]: row for row in board.index["models"]}
    seeds = [rows[f"org/rope-{number}"] for number in range(3)]
    cells = {cell["task"]: cell for cell in group["cells"]}
    values = [cell["value"] for row in seeds for cell in row["cells"] if cell["task"] == "letters"]
    letters = cells["letters"]
    assert (letters["median"], letters["minimum"], letters["maximum"]) == (median(values), min(values), max(values))
    assert (letters["seeds"], letters["fewest_errors"], letters["most_errors"], letters["n"]) == (3, 50, 200, 1000)
    assert cells["arithmetic"]["seeds"] == 1 and cells["arithmetic"]["median"] == cells["arithmetic"]["maximum"]
    assert group["memory"] is None and group["owner"] == "org" and group["changes"] == {"model.positions": "rope"}


def test_lowest_level_of_the_seeds(records: Path) -> None:
    folders = [trained(records, f"org/{number}", number, 3 + number) for number in range(2)]

    def level() -> str:
        index_of(records)
        site = json.loads((records.parent / "site" / "index.json").read_text(encoding="utf-8"))
        return str(site["seed_groups"][0]["verification"]["level"])

    assert level() == "rescored"
    attest(folders[0], "replay", True)
    assert level() == "rescored"
    attest(folders[1], "replay", True, asked=4)
    assert level() == "spot-checked"


def synthetic(slug: str, seed: int | None = None, **cells: tuple[float, int]) -> Entry:
    """Returns an entry with flip-flop cells of given accuracy over the first of 100 rows."""
    model = {"id": f"org/{slug}", "dtype": "float32", "parameters": 5, "revision": "a" * 40}
    model |= {} if seed is None else {"training": training(seed)}
    source: Any = SimpleNamespace(
        place="x", submission=MINE, digest=slug, trust=1, created=0, division=TRAINED, attestations=(),
        run=SimpleNamespace(facts={"model": model}, external=False), verification=VerificationLevel("rescored", ""),
        findings=SimpleNamespace(result={"scores": []}),
    )  # fmt: skip
    made = {
        ("flipflop", split): Cell(
            "flipflop", split, value, value - 0.01, value + 0.01, 0, 9, 0.5, "", 0.1, rows, 100, 0, source
        )
        for split, (value, rows) in cells.items()
    }
    return Entry(slug, model, PromptingOptions(), made, (source,), (), {})


def whole(slug: str, seed: int | None, val: float, sparse: float, dense: float) -> Entry:
    return synthetic(slug, seed, val=(val, 100), val_sparse=(sparse, 100), val_dense=(dense, 100))


def test_memory_of_a_row_is_the_split_with_the_lowest_median() -> None:
    seeds = [whole("a", 0, 0.9, 0.8, 0.5), whole("b", 1, 0.9, 0.6, 0.9), whole("c", 2, 0.9, 0.7, 0.95)]
    (group,) = seed_groups(Rows(seeds, []))
    assert group.whole_memory is not None
    assert (group.whole_memory.split, group.whole_memory.value) == ("val_sparse", 0.7)
    assert group.memory_interval == (pytest.approx(0.49), pytest.approx(0.71))  # of each seed's worst split
    (even,) = seed_groups(Rows(seeds[:2], []))
    assert even.whole_memory is not None and even.whole_memory.value == pytest.approx(0.7)


def test_results_over_fewer_rows_do_not_count() -> None:
    seeds = [
        synthetic("a", 0, val=(0.9, 100), val_dense=(0.3, 10)),
        synthetic("b", 1, val=(0.8, 100), val_dense=(0.5, 20)),
        synthetic("c", 2, val=(0.1, 10), val_sparse=(0.7, 100)),
    ]
    (group,) = seed_groups(Rows(seeds, []))
    found = {split: (len(cell.cells), cell.value, cell.rows, cell.partial) for (_, split), cell in group.cells.items()}
    assert found["val"] == (2, pytest.approx(0.85), 100, False)
    assert found["val_dense"] == (1, 0.5, 20, True) and found["val_sparse"] == (1, 0.7, 100, False)


def test_seeds_compete_as_one_model() -> None:
    """25 seeds above a model are one model above it. A seed is ranked as if it stood in the place of its row."""
    seeds = [whole(f"seed{number}", number, *[0.8 + number / 1000] * 3) for number in range(25)]
    others = [whole(name, None, *[value] * 3) for name, value in (("top", 0.9), ("mid", 0.81), ("low", 0.5))]
    entries = [*seeds, *others]
    (group,) = seed_groups(Rows(entries, []))
    found = ranks([group, *others]).memory
    assert found[group.slug] == (2, 3, 4) and found["low"] == (4, 4, 4) and found["top"] == (1, 1, 4)
    assert found["mid"] == (2, 3, 4)
    assert found["seed0"] == (2, 3, 4) and found["seed24"] == (2, 3, 4)
    far = [whole("far0", 100, *[0.6] * 3), *seeds[1:]]
    (group,) = seed_groups(Rows([*far, *others], []))
    found = ranks([group, *others]).memory
    assert found["far0"] == (3, 3, 4) and found[group.slug] == (2, 3, 4) and found["low"] == (4, 4, 4)


def test_rows_of_the_same_models_do_not_compete() -> None:
    """The same seeds in two dtypes are two rows of one model, as are two rows of one model elsewhere."""
    first = [whole(f"a{number}", number, *[0.9] * 3) for number in range(3)]
    second = []
    for entry in first[1:]:
        model = entry.model | {"dtype": "bfloat16"}
        copy = whole(f"{entry.slug}-half", entry.training.seed[0] if entry.training else 0, *[0.4] * 3)
        second.append(Entry(copy.slug, model, copy.prompting, copy.cells, copy.sources, (), {}))
    other = whole("other", None, *[0.6] * 3)
    groups = seed_groups(Rows([*first, *second, other], []))
    assert len(groups) == 2 and {len(group.seeds) for group in groups} == {2, 3}
    found = ranks([*groups, other]).memory
    assert {rank.models for rank in found.values()} == {2}
    assert found["other"] == (2, 2, 2)


def test_order_of_the_table() -> None:
    seeds = [whole("a", 0, *[0.99] * 3), whole("b", 1, *[0.61] * 3), whole("c", 2, *[0.6] * 3)]
    others = [whole("first", None, *[0.7] * 3), whole("last", None, *[0.55] * 3), synthetic("part", val=(1.0, 3))]
    (group,) = seed_groups(Rows(seeds, []))
    ordered = sorted([*others, group], key=table_order)
    assert [row.slug for row in ordered] == ["first", group.slug, "last", "part"]


def test_order_of_equal_memories_is_that_of_the_intervals() -> None:
    """The range of the seeds is narrower than an interval, and must not put them first."""
    (group,) = seed_groups(Rows([whole("a", 0, *[0.7] * 3), whole("b", 1, *[0.7] * 3)], []))
    other = whole("same", None, *[0.7] * 3)
    other.model["id"] = "a/same"
    assert sorted([group, other], key=table_order)[0] is other


def test_labels_and_slugs_are_unique() -> None:
    entries = [
        whole(f"{number}-{dtype}", number, *[0.9] * 3) for number in range(2) for dtype in ("float32", "bfloat16")
    ]
    for entry in entries:
        entry.model["dtype"] = entry.slug.partition("-")[2]
    site = assemble(Rows(entries, []), [], DAY, "")
    assert sorted(site.labels[group.slug] for group in site.seed_groups) == [
        "flipflop-small, model.positions=rope, 2 seeds (bfloat16)",
        "flipflop-small, model.positions=rope, 2 seeds (float32)",
    ]
    taken = {group.slug for group in site.seed_groups}
    imitating = [Entry(slug, entry.model, entry.prompting, entry.cells, entry.sources, (), {})
                 for slug, entry in zip(sorted(taken), entries[:1] * 2, strict=True)]  # fmt: skip
    again = assemble(Rows([*entries, *imitating], []), [], DAY, "")
    assert not {group.slug for group in again.seed_groups} & taken
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", group.slug) for group in again.seed_groups)


def test_plots_of_several_seeds() -> None:
    """By label, whatever the order. Groups that a seed lacks are left out."""

    def series(**values: float) -> dict[Any, list[Series]]:
        points = tuple(Point(name[1:], value, value - 0.1, value + 0.1, 10, 2, 0.5) for name, value in values.items())
        return {("t", "s"): [Series("t", "s", "accuracy", "gap", points)]}

    found = spread_series([series(_1=0.1, _2=0.5, _3=0.9), series(_3=0.3, _2=0.7, _1=0.2), series(_1=0.6, _2=0.0)])
    (joined,) = found["t", "s"]
    assert [(point.label, point.value, point.low, point.high, point.n, point.errors) for point in joined.points] == [
        ("1", 0.2, 0.1, 0.6, 30, 6), ("2", 0.5, 0.0, 0.7, 30, 6),
    ]  # fmt: skip
    assert spread_series([series(_1=0.1, _2=0.5), series(_1=0.2)]) == {}


# ---- Nothing is hidden


def test_disputed_and_withdrawn_seeds_are_shown(board: Built) -> None:
    group, rows = group_of(board), {row["id"]: row for row in board.index["models"]}
    page = (board.folder / "index.html").read_text(encoding="utf-8")
    for name in ("org/rope-3", "org/again", "org/shaky"):
        assert rows[name]["seed_group"] is None and f'<tr id="{rows[name]["slug"]}"' in page
    assert rows["org/rope-3"]["verification"]["disputed"] and "org/rope-4" not in rows
    assert group["not_counted"] == 4 and "4 not counted" in page
    text = (board.folder / group["page"]).read_text(encoding="utf-8")
    listed = text[text.index("Not counted") :]
    assert re.search(r"org/rope-3</a>: <strong>disputed", listed) and re.search(r"org/shaky</a>: not determin", listed)
    assert "org/again</a>: another result with data seed 0 and weight seed 0" in listed
    assert re.search(r"org/rope-4</bdi> <code>[0-9a-f]{12}</code>: <bdi>withdrawn on .*it was another model", listed)


def test_withdrawal_of_all_but_one_seed_ends_the_row(records: Path) -> None:
    trained(records, "org/a", 0, 3)
    other = trained(records, "org/b", 1, 7)
    assert len(groups_of(records)) == 1
    attest(other, "withdrawn", None, reason="it was another model")
    assert groups_of(records) == []
    page = (records.parent / "site" / "index.html").read_text(encoding="utf-8")
    assert page.count("<tr id=") == 1 and "it was another model" in page


def test_records_of_others_do_not_appear_on_the_page(records: Path) -> None:
    """The same recipe of another owner, or of another contact for local models."""
    for owner in ("org", "local"):
        for number in range(2):
            trained(records, f"{owner}/{number}", number, 3 + number, training=training(number, digest="1" * 12))
    for name in ("other/x", "local/x"):
        gone = trained(records, name, 5, 40, submission=THEIRS, training=training(5, digest="1" * 12))
        attest(gone, "withdrawn", None, reason="it was another model")
    assert len(groups_of(records)) == 2
    for page in (records.parent / "site" / "recipes").iterdir():
        assert "another model" not in page.read_text(encoding="utf-8")


# ---- Machine-readable files


def test_index_matches_its_schema(board: Built) -> None:
    schema = json.loads((board.folder / board.index["$schema"]).read_text(encoding="utf-8"))
    jsonschema.validate(board.index, schema)
    assert board.index["schema"] == "fflm-leaderboard/3"
    group = group_of(board)
    for change in ({"seeds": ["a"]}, {"digest": "x"}, {"owner": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(board.index | {"seed_groups": [group | change]}, schema)


def test_csv_names_recipe_and_row(board: Built) -> None:
    lines = list(csv.DictReader(io.StringIO((board.folder / "scores.csv").read_text(encoding="utf-8"))))
    by_model = {line["model"]: line for line in lines if line["task"] == "letters"}
    line = by_model["org/rope-2"]
    assert (line["recipe"], line["recipe_digest"]) == ("flipflop-small, model.positions=rope", STATEMENT["digest"])
    assert (line["data_seed"], line["weight_seed"], line["seed_group"]) == ("2", "0", group_of(board)["slug"])
    assert by_model["org/again"]["data_seed"] == "0" and by_model["org/again"]["seed_group"] == ""
    assert not any(by_model["org/large"][name] for name in ("recipe", "data_seed", "weight_seed", "seed_group"))


def test_links_and_ids_are_valid(board: Built) -> None:
    class Links(HTMLParser):
        def __init__(self, path: Path):
            super().__init__()
            self.path, self.found, self.ids = path, set[str](), set[str]()
            self.feed(path.read_text(encoding="utf-8"))

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            for name, value in attrs:
                if name in ("href", "src") and not re.match("https?://", value):
                    self.found.add(value)
                if name == "id":
                    assert value not in self.ids
                    self.ids.add(value)

    pages = {path: Links(path) for path in board.folder.rglob("*.html")}
    assert sum(path.parent.name == "recipes" for path in pages) == 2
    for path, page in pages.items():
        for link in page.found:
            target, _, name = link.partition("#")
            there = (path.parent / target.partition("?")[0]).resolve() if target else path
            assert there.is_file(), (path, link)
            assert not name or name in pages[there].ids, (path, link)


# ---- In the browser


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("viewport", [DESK, PHONE])
def test_row_opens_to_its_seeds(
    browser: Any, address: str, board: Built, javascript: bool, viewport: dict[str, int]
) -> None:
    group = group_of(board)
    with open_page(browser, address, java_script_enabled=javascript, viewport=viewport) as page:
        page.goto(f"{address}index.html")
        row = page.locator(f"tr[id='{group['slug']}']")
        text = row.inner_text()
        assert LABEL in text and "by org" in text and "4 not counted" in text and "rescored" in text
        assert all(part in text for part in ("90.90", "80.00\N{EN DASH}95.00", "3 seeds", "1 seed"))
        seed = row.get_by_role("link", name="org/rope-1")
        assert not seed.is_visible()
        row.locator("summary").click()
        seed.click()
        assert page.get_by_role("heading", level=1).inner_text() == "org/rope-1"
        page.get_by_role("link", name="flipflop-small, model.positions=rope").click()
        assert page.url == address + group["page"]
        assert page.get_by_role("heading", level=1).inner_text() == LABEL
        page.get_by_role("region", name="Scores of each seed").get_by_role("link", name="org/rope-2").click()
        assert page.get_by_role("heading", level=1).inner_text() == "org/rope-2"


def test_page_of_the_row(browser: Any, address: str, board: Built) -> None:
    with open_page(browser, address, java_script_enabled=False) as page:
        page.goto(address + group_of(board)["page"])
        table = page.get_by_role("region", name="Scores over all seeds").locator("tbody tr").first.inner_text()
        assert all(part in table for part in ("90.90", "80.00", "95.00", "50\N{EN DASH}200 / 1,000"))
        seeds = page.get_by_role("region", name="Scores of each seed").locator("tbody tr")
        assert [text.split()[0] for text in seeds.all_inner_texts()] == ["org/rope-0", "org/rope-1", "org/rope-2"]
        assert "data seed 1, weight seed 0" in seeds.nth(1).inner_text() and "200 errors" in seeds.nth(1).inner_text()
        assert "spot-checked" in seeds.nth(1).inner_text()
        codes = page.locator("pre code").all_inner_texts()
        assert codes == ["harness train flipflop-small --data-seed 0", "harness eval --model org/rope-0"]


def test_page_of_a_seed(browser: Any, address: str, board: Built) -> None:
    with open_page(browser, address, java_script_enabled=False) as page:
        page.goto(f"{address}models/{board.slug('org/rope-2')}.html")
        text = page.locator("main").inner_text()
        facts = page.locator("section", has=page.locator("#training")).first
        assert facts.locator("dd").all_inner_texts() == [
            "flipflop-small", "model.positions = rope", "2", "0", STATEMENT["digest"],
        ]  # fmt: skip
        assert facts.locator("pre code").all_inner_texts() == [
            "harness train flipflop-small --data-seed 2", "harness eval --model org/rope-2",
        ]  # fmt: skip
        assert "As the submitter states" in text
        page.get_by_role("link", name="In the table").click()
        assert page.url == f"{address}index.html#{board.slug('org/rope-2')}"
        assert page.get_by_role("link", name="org/rope-2").is_visible()  # the browser opens the list
        page.goto(f"{address}models/{board.slug('org/large')}.html")
        assert page.locator("#training").count() == 0


def test_link_to_a_seed_opens_its_row(browser: Any, address: str, board: Built) -> None:
    """Links to rows stay valid when a model becomes part of a row of several seeds."""
    with open_page(browser, address) as page:
        page.goto(f"{address}index.html?sort=letters.test#{board.slug('org/rope-1')}")
        link = page.get_by_role("link", name="org/rope-1")
        assert link.is_visible()
        row = page.locator(f"tr[id='{group_of(board)['slug']}'] th")
        plain = page.locator(f"tr[id='{board.slug('org/large')}'] th")
        colours = [one.evaluate("one => getComputedStyle(one).backgroundColor") for one in (row, plain)]
        assert colours[0] != colours[1]


def test_sorting_and_search(browser: Any, address: str, board: Built) -> None:
    group, other = group_of(board), group_of(board, "flipflop-small, 2 seeds")
    values = {row["slug"]: row["cells"][0]["value"] for row in board.index["models"] if row["seed_group"] is None}
    values |= {each["slug"]: each["cells"][0]["median"] for each in (group, other)}
    with open_page(browser, address) as page:
        page.goto(f"{address}index.html")
        assert page.get_by_role("status").inner_text() == "6 of 6 rows shown" and len(shown(page)) == len(values) == 6
        head(page, "letters.test").get_by_role("button").click()
        assert shown(page) == sorted(values, key=lambda slug: -values[slug])
        page.get_by_role("searchbox").fill("ROPE-2")  # the id of a seed
        assert shown(page) == [group["slug"]]
        page.get_by_role("searchbox").fill("positions=rope")
        assert shown(page) == [group["slug"]]
        page.get_by_role("button", name="Reset").click()
        page.locator("select[name=family]").select_option("GPT2")
        assert group["slug"] in shown(page) and other["slug"] not in shown(page)


@pytest.mark.slow("leaderboard/site")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["index", "recipe", "model", "task"])
def test_accessibility_and_layout(browser: Any, address: str, board: Built, kind: str, scheme: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    paths = {"index": "index.html", "recipe": group_of(board)["page"], "task": "tasks/letters.html",
             "model": f"models/{board.slug('org/rope-1')}.html"}  # fmt: skip
    with open_page(browser, address, color_scheme=scheme) as page:
        page.goto(address + paths[kind])
        for details in page.locator("details").all():
            details.locator("summary").first.click()
        found = Axe().run(page).response
        assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]] == []
    with open_page(browser, address, viewport=PHONE) as page:
        page.goto(address + paths[kind])
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


# ---- Hostile texts


def hostile_source(source: Source, number: int) -> Source:
    """Returns a source whose training has attacks in every text that the form of a statement allows."""
    text = "".join(sign for sign in HOSTILE if sign.isprintable())
    stated = STATEMENT | {"weight_seed": number, "command": text, "recipe": text}
    stated["changes"] = {text: text, "model.x": [text, 1], "long": text * 20}
    facts = source.run.facts | {"model": source.run.facts["model"] | {"id": f"<b>org/{number}", "training": stated}}
    run = type(source.run)(source.run.folder, facts)
    return Source(run, source.findings, f"{number}" * 64, source.verification, MINE, source.place)


@pytest.mark.parametrize("kind", ["index", "recipe", "model", "task"])
def test_hostile_texts_are_escaped(browser: Any, board: Built, tmp_path: Path, kind: str) -> None:
    """Even texts that no record may have."""
    from leaderboard.records import find_records

    record = next(each for each in find_records(board.records) if each.run.facts["model"]["id"] == "org/rope-1")
    source = Source(
        record.run, findings.find_one(record.run, DAY), record.digest, VerificationLevel("rescored", ""), MINE,
        record.place,
    )  # fmt: skip
    site = assemble(group_rows([hostile_source(source, number) for number in range(3)]), [], DAY, "")
    (group,) = site.seed_groups
    assert isinstance(group, SeedGroup) and len(group.seeds) == 3
    folder = tmp_path / "hostile"
    folder.mkdir()
    build.write(site, [source], folder)
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in folder.rglob("*"))
    paths = {"index": "index.html", "recipe": group.page, "model": group.seeds[0].page, "task": "tasks/letters.html"}
    with served(folder) as where, open_page(browser, where) as page:
        page.goto(where + paths[kind])
        assert page.title() != "owned" and page.locator("img[src=x], [onerror], [onload], main b").count() == 0
        assert page.locator("script").count() == 1 and "document.title='owned'" in page.locator("main").inner_text()
    lines = list(csv.reader((folder / "scores.csv").read_text(encoding="utf-8").splitlines()))
    assert all(len(line) == len(lines[0]) for line in lines)
    assert not any(re.match(r"\s*[=@]", field) for line in lines for field in line)
