"""docs/observations.md names the columns of every table, with the types they have."""

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
    """The names in the first columns of a text's tables, in order."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall("`([a-z_]+)`", cell)]


def type_name(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list[{'float32' if kind.value_type == pa.float32() else kind.value_type}]"
    return "list[float32]" if kind == CHOICES.field("logprobs").type else str(kind)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_observations(kind: str) -> None:
    rows = [line.split(" | ") for line in SECTIONS[kind].splitlines() if line.startswith("| `")]
    found = [(row[0].strip("| `"), row[1]) for row in rows]
    assert found == [(field.name, type_name(field.type)) for field in SCHEMAS[kind]]


def test_every_task_stands_where_its_table_is_told() -> None:
    for name, task in all_tasks().items():
        kind = "Reads" if isinstance(task, ReadTask) else "Choices" if isinstance(task, ChoiceTask) else "Completions"
        assert [one for one in SCHEMAS if f"`{name}`" in SECTIONS[one]] == [kind]


def test_tables_for_other_programs(tmp_path: Path) -> None:
    runs = [made_up_run(tmp_path / name, seed=seed, tasks=("letters",)) for seed, name in enumerate("ab")]
    of_run, of_pair, of_items = re.split(r"\n`harness compare|\nWith `--out", SECTIONS["Tables for other programs"])
    text = table.as_text("csv", [("x", "folder", score_run(runs[0]))])
    assert documented(of_run) == next(csv.reader(io.StringIO(text)))
    found = comparison.compare_runs(*runs)
    text = comparison_table.as_text("csv", [(("x", runs[0]), ("y", runs[1]), found)])
    assert documented(of_pair) == next(csv.reader(io.StringIO(text)))
    comparison_table.write_items(found, tmp_path / "items.csv")
    with (tmp_path / "items.csv").open(encoding="utf-8", newline="") as file:
        assert documented(of_items) == next(csv.reader(file))
