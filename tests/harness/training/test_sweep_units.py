"""The order of training: seeds of all cells in turn."""

from pathlib import Path

from harness.training.sweep_file import read_sweep
from harness.training.sweep_units import breadth_first

SWEEP = """
[[group]]
name = "A"
recipe = "flipflop-small"
seeds = [5, 0, 7]

[[group]]
name = "B"
recipe = "flipflop-lstm"
seeds = 2
grid = {"model.cell" = ["gru", "lstm"]}

[[group]]
name = "C"
recipe = "query-count"
seeds = 3
side_by_side = true
"""


def test_first_seeds_of_all_cells_are_trained_first(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP, encoding="utf-8")
    units = read_sweep(path).units
    order = breadth_first(units)
    found = [
        (unit.members[0].group, dict(unit.members[0].cell).get("model.cell"), unit.members[0].seed) for unit in order
    ]
    assert found == [
        ("A", None, 5), ("B", "gru", 0), ("B", "lstm", 0), ("C", None, 0),
        ("A", None, 0), ("B", "gru", 1), ("B", "lstm", 1),
        ("A", None, 7),
    ]  # fmt: skip
    assert sorted(map(id, order)) == sorted(map(id, units))
