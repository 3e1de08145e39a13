"""Sweep files: members, folders, and what is wrong with a file, in one line before any training."""

import re
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.training.recipes import get_recipe
from harness.training.sweep_file import FILE_KEYS, GROUP_KEYS, read_sweep
from harness.training.sweep_table import READ_SETS, SCHEMA
from harness.training.sweep_units import slug
from tests.conftest import Run

DOCS = Path(__file__).parents[3] / "docs"
GROUP = '[[group]]\nname = "a"\nrecipe = "flipflop-small"\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_members_are_the_product_of_grid_and_seeds_in_the_order_of_the_file(tmp_path: Path) -> None:
    grid = 'seeds = [3, 1]\ngrid = {"model.positions" = ["rope", "none"], "model.layers" = [1, 2]}\n'
    sweep = read_sweep(written(tmp_path, 'title = "T"\n' + GROUP + grid + GROUP.replace('"a"', '"Plain One"')))
    assert sweep.title == "T" and len(sweep.units) == len(sweep.members) == 9
    assert [(dict(each.cell).get("model.positions"), dict(each.cell).get("model.layers"), each.seed)
            for each in sweep.members] == [
        ("rope", 1, 3), ("rope", 1, 1), ("rope", 2, 3), ("rope", 2, 1),
        ("none", 1, 3), ("none", 1, 1), ("none", 2, 3), ("none", 2, 1), (None, None, 0),
    ]  # fmt: skip
    for member in sweep.members[:-1]:
        changes = {**dict(member.cell), "data.seed": member.seed, "model.seed": member.seed}
        assert member.recipe == get_recipe("flipflop-small").changed(changes)
    assert str(sweep.members[0].folder) == "a/positions-rope-layers-1/seed-3"
    assert str(sweep.members[-1].folder) == "plain-one/seed-0"


def test_seeds_side_by_side_are_one_unit_per_cell(tmp_path: Path) -> None:
    text = GROUP.replace("flipflop-small", "query-count") + "seeds = 3\nside_by_side = true\n"
    units = read_sweep(written(tmp_path, text + 'grid = {"model.width" = [8, 16]}\n')).units
    assert [[member.seed for member in unit.members] for unit in units] == [[0, 1, 2]] * 2
    assert all(unit.side_by_side for unit in units)
    assert [unit.label for unit in units] == ["a, width 8, 3 seeds", "a, width 16, 3 seeds"]


def test_evaluation_of_a_group_replaces_that_of_the_file(tmp_path: Path) -> None:
    text = 'evaluation = {tasks = ["flipflop"], limit = 7}\n' + GROUP
    text += GROUP.replace('"a"', '"b"') + 'evaluation = {tasks = ["flipflop-piecewise"]}\nset = {"model.layers" = 1}\n'
    text += GROUP.replace('"a"', '"c"').replace("flipflop-small", "query-count") + "evaluation = {limit = 50}\n"
    evaluations = [(member.evaluation.tasks, member.evaluation.limit) for member in
                   read_sweep(written(tmp_path, text)).members]  # fmt: skip
    assert evaluations == [(("flipflop",), 7), (("flipflop-piecewise",), 7), ((), 50)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "group"),
        ("title = 1\n" + GROUP, "title"),
        ("titel = 'x'\n" + GROUP, "did you mean"),
        (GROUP + "seed = 3\n", "did you mean"),
        (GROUP + "seeds = 0\n", "seeds"),
        (GROUP + "seeds = true\n", "seeds"),
        (GROUP + "seeds = []\n", "seeds"),
        (GROUP + "seeds = [1, 1]\n", "free of duplicates"),
        (GROUP + "seeds = [-1]\n", "seeds"),
        (GROUP + 'seeds = ["1"]\n', "seeds"),
        (GROUP.replace("small", "smal"), "flipflop-small"),
        ('[[group]]\nname = "a"\n', "recipe"),
        ('[[group]]\nrecipe = "flipflop-small"\n', "name"),
        ('group = ["a"]\n', "a table"),
        ("[group]\nname = 'a'\n", "[[group]]"),
        (GROUP + 'set = {"model.layer" = 2}\n', "did you mean"),
        (GROUP + "set = {model.layers = 2}\n", '"model.layers"'),
        (GROUP + 'grid = {"model.layers" = 2}\n', "a list of values"),
        (GROUP + 'grid = {"model.layers" = []}\n', "a list of values"),
        (GROUP + "grid = {model.layers = [2]}\n", '"model.layers"'),
        (GROUP + "grid = [1]\n", "grid"),
        (GROUP + 'set = {"model.layers" = "two"}\n', "model.layers"),
        (GROUP + 'set = {"model.width" = 66}\n', "multiple of model.heads=4"),
        (GROUP + 'grid = {"model.width" = [64, 66]}\n', "multiple of model.heads=4"),
        (GROUP + 'set = {"data.seed" = 4}\n', "seeds"),
        (GROUP + 'grid = {"model.seed" = [4]}\n', "seeds"),
        (GROUP + "architecture = 3\n", "architecture"),
        (GROUP + 'side_by_side = "yes"\n', "true or false"),
        (GROUP + 'seeds = 2\nside_by_side = true\nset = {"intervention.mlp_dropout" = 0.1}\n', "dropout"),
        (GROUP + 'evaluation = {tasks = "flipflop"}\n', "evaluation.tasks"),
        (GROUP + 'evaluation = {tasks = ["flipflops"]}\n', "flipflop-piecewise"),
        (GROUP + "evaluation = {tasks = []}\n", "evaluation.tasks"),
        (GROUP + "evaluation = {limit = 0}\n", "evaluation.limit"),
        (GROUP + "evaluation = {rows = 3}\n", "limit"),
        (GROUP.replace("flipflop-small", "query-count") + 'evaluation = {tasks = ["flipflop"]}\n', "left out"),
        (GROUP + GROUP.replace('"a"', '"b"'), "the same recipe and seed"),
        (GROUP + 'grid = {"model.layers" = [2, 2]}\n', "the same recipe and seed"),
        (GROUP + GROUP.replace('"a"', '"A!"') + 'set = {"model.layers" = 1}\n', "share the folder a/seed-0"),
        ("title = \n", "is not a TOML file"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as raised:
        read_sweep(path)
    message = str(raised.value)
    assert named in message and str(path) in message and "\n" not in message


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_unreadable_files(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "sweep.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"sweep\.toml"):
        read_sweep(path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GROUP + 'set = {"model.layer" = 2}\n', "model.layers"),
        (GROUP + 'architecture = "lama"\n', "llama"),
        (GROUP + 'architecture = "llama"\nset = {"model.num_attention_heads" = 7}\n', "a, seed 0"),
    ],
)
def test_command_line_refuses_before_any_training(cli: Run, tmp_path: Path, text: str, named: str) -> None:
    result = cli("harness", "train", "--sweep", written(tmp_path, text), "--output", tmp_path / "out")
    assert result.returncode == 2 and named in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option", [["flipflop-small"], ["--set", "model.layers=1"], ["--seeds", "2"], ["--push", "a/b"], ["--from", "x"]]
)
def test_options_that_a_sweep_replaces(cli: Run, tmp_path: Path, option: list[str]) -> None:
    file = written(tmp_path, GROUP)
    result = cli("harness", "train", *option, "--sweep", file, "--output", tmp_path / "out")
    assert result.returncode == 2 and option[0] in result.stderr
    result = cli("harness", "train", "--sweep", file)
    assert result.returncode == 2 and "--output" in result.stderr


@pytest.mark.parametrize(
    ("text", "name"),
    [("Embedding dropout 0.5", "embedding-dropout-0.5"), ("AUX", "aux-"), ("lpt1.x", "lpt1.x-"), ("über / ..", "ber"),
     ("...", "group"), ("x" * 300, "x" * 80), ("p_ignore 0.8+0.98", "p-ignore-0.8-0.98")],
)  # fmt: skip
def test_folder_names_are_portable(text: str, name: str) -> None:
    assert slug(text) == name


def test_documentation_lists_every_key_and_column(tmp_path: Path) -> None:
    page = (DOCS / "sweeps.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert read_sweep(written(tmp_path, example)).units[-1].label == "Positions, none, seed 2"
    documented = set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE))
    assert documented - {"report.html", "results.parquet"} == {
        *(key for key in FILE_KEYS if key != "group"), *(f"group.{key}" for key in GROUP_KEYS if key != "evaluation")
    }  # fmt: skip
    columns = page.partition("Columns of")[2]
    for name in SCHEMA.names:
        set_name, _, number = name.rpartition("_")
        words = (f"`{set_name}`", number) if set_name in READ_SETS else (name,)
        assert all(word in columns for word in words), name


def test_the_findings_can_be_trained() -> None:
    """The file of the documentation is valid, and has the seeds that it promises."""
    sweep = read_sweep(DOCS / "findings.toml")
    groups = [member.group for member in sweep.members]
    assert groups.count("Transformer") == groups.count("LSTM") == 10 and groups.count("Mixture") == 5
    assert len({(member.recipe.digest(), member.seed) for member in sweep.members}) == len(sweep.members)
