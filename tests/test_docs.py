"""docs/observations.md documents the columns of every table and their types."""

import csv
import io
import re
from pathlib import Path

import pyarrow as pa
import pytest

from harness.reporting import comparison_table, table
from harness.runs.observations import CHOICES, COMPLETIONS, reads_schema
from harness.scoring import comparison
from harness.scoring.scores import score_run
from harness.tasks import ChoiceTask, ReadTask, all_tasks
from tests.harness.reporting.test_page import made_up_run

PAGE = (Path(__file__).parents[1] / "docs" / "observations.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")}
SCHEMAS = {"Reads": reads_schema(2), "Choices": CHOICES, "Completions": COMPLETIONS}


def documented(text: str) -> list[str]:
    """Returns the names in the first column of all Markdown tables of a text."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall("`([a-z_]+)`", cell)]


def type_name(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list[{'float32' if kind.value_type == pa.float32() else kind.value_type}]"
    return "list[float32]" if kind == CHOICES.field("logprobs").type else str(kind)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_observation_columns(kind: str) -> None:
    rows = [line.split(" | ") for line in SECTIONS[kind].splitlines() if line.startswith("| `")]
    columns = [(row[0].strip("| `"), row[1]) for row in rows]
    assert columns == [(field.name, type_name(field.type)) for field in SCHEMAS[kind]]


def test_tasks_are_listed_under_their_table() -> None:
    for name, task in all_tasks().items():
        kind = "Reads" if isinstance(task, ReadTask) else "Choices" if isinstance(task, ChoiceTask) else "Completions"
        assert [section for section in SCHEMAS if f"`{name}`" in SECTIONS[section]] == [kind]


def test_exported_table_columns(tmp_path: Path) -> None:
    runs = [made_up_run(tmp_path / name, seed=seed, tasks=("letters",)) for seed, name in enumerate("ab")]
    run_text, pair_text, item_text = re.split(
        r"\n`harness compare|\nWith `--out", SECTIONS["Tables for other programs"]
    )
    text = table.as_text("csv", [("x", "folder", score_run(runs[0]))])
    assert documented(run_text) == next(csv.reader(io.StringIO(text)))
    compared = comparison.compare_runs(*runs)
    text = comparison_table.as_text("csv", [(("x", runs[0]), ("y", runs[1]), compared)])
    assert documented(pair_text) == next(csv.reader(io.StringIO(text)))
    comparison_table.write_items(compared, tmp_path / "items.csv")
    with (tmp_path / "items.csv").open(encoding="utf-8", newline="") as file:
        assert documented(item_text) == next(csv.reader(file))
