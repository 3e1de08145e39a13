"""`harness leaderboard build`: records to a static page, every number recomputed on the way.

One row a model, one column a task and split. What comes from a record is text until the template
has escaped it. Nothing on the page needs JavaScript.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fflm_data import GENERATOR_VERSION, get_config
from harness import HARNESS_VERSION
from harness.errors import UserError
from harness.run import Run, read_run, require_writable
from harness.table import percent
from harness.tasks import all_tasks
from leaderboard.records import find_records, rescore

TEMPLATES = Path(__file__).parent / "templates"
MEMORY_TASK = "flipflop"


@dataclass(frozen=True)
class Cell:
    """One score of one model: what stands in the table, and over how many rows it was taken."""

    accuracy: float
    low: float
    high: float
    errors: int
    n: int
    baseline: float
    rows: int
    of: int
    lost: int = 0

    @property
    def partial(self) -> bool:
        """Whether it was taken over the first rows only."""
        return self.rows < self.of

    @property
    def standing(self) -> str:
        """How it compares with the best trivial guess: above, below, or not told apart by the interval."""
        return "above" if self.low > self.baseline else "below" if self.high < self.baseline else "near"


@dataclass(frozen=True)
class Row:
    """One model: its facts, its cells by (task, split), the commands that gave them. supplied: whether its outputs came
    from elsewhere, so that nobody can replay them."""

    model: dict[str, Any]
    cells: dict[tuple[str, str], Cell]
    commands: list[str]
    device: str
    supplied: bool

    @property
    def partial(self) -> bool:
        """Whether any of its cells was taken over part of a split."""
        return any(cell.partial for cell in self.cells.values())

    @property
    def worst_memory(self) -> float:
        """The lowest accuracy over the flip-flop splits, below all others if there is none."""
        return min((cell.accuracy for (task, _), cell in self.cells.items() if task == MEMORY_TASK), default=-1.0)


def command(out: Path, runs: list[Path]) -> None:
    """Writes index.html and style.css to `out`, from all records and the given run folders."""
    require_writable(out)
    sources = find_records() + [read_run(folder) for folder in runs]
    if not sources:
        raise UserError("there is no record and no run to show: name run folders with --run")
    for run in sources:
        _require_default_data(run)
    results = [(run, rescore(run)) for run in tqdm(sources, desc="rescoring", unit="run")]
    rows = merge(results)
    (out / "index.html").write_text(render(rows), encoding="utf-8", newline="\n")
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    (out / "style.css").write_text(style, encoding="utf-8", newline="\n")
    print(f"{out / 'index.html'}: {len(rows)} model{'s' if len(rows) != 1 else ''}, every score recomputed")


def merge(results: list[tuple[Run, dict[str, Any]]]) -> list[Row]:
    """One row a model (id, revision and dtype): each cell from the run over most rows, the latest of those.

    Full rows come first, best memory first: a memory is as good as its worst split.
    """
    models: dict[tuple[str, ...], list[tuple[Run, dict[str, Any]]]] = {}
    for run, result in sorted(results, key=lambda pair: pair[0].facts["created"]):
        key = tuple(result["model"][name] for name in ("id", "revision", "dtype"))
        models.setdefault(key, []).append((run, result))
    rows = []
    for pairs in models.values():
        cells: dict[tuple[str, str], Cell] = {}
        origins: dict[tuple[str, str], Run] = {}
        for run, result in pairs:
            for place, cell in _cells(result).items():
                if place not in cells or cell.rows >= cells[place].rows:
                    cells[place], origins[place] = cell, run
        shown = list({id(run): run for run in origins.values()}.values())
        commands = [run.facts["command"] for run in shown]
        latest, result = pairs[-1]
        rows.append(Row(result["model"], cells, commands, result["environment"]["device"], latest.supplied))
    return sorted(rows, key=lambda row: (row.partial, -row.worst_memory, row.model["id"]))


def _require_default_data(run: Run) -> None:
    for job in run.jobs():
        usual = get_config(job.task.config, **job.task.parameters).parameters()
        if changed := {key: value for key, value in job.config.parameters().items() if value != usual[key]}:
            settings = ", ".join(f"{key}={value}" for key, value in changed.items())
            raise UserError(
                f"{run.folder} is over other data ({job.task.name} with {settings}) than the columns: "
                "run harness eval without --set"
            )


def _cells(result: dict[str, Any]) -> dict[tuple[str, str], Cell]:
    lost = {
        (score["task"], score["split"]): score["errors"]
        for score in result["scores"]
        if score["metric"] == "not_a_number"
    }
    cells = {}
    for score in result["scores"]:
        if score["metric"] == "accuracy" and score["group"] is None:
            asked = result["data"]["tasks"][score["task"]]["splits"][score["split"]]
            cells[score["task"], score["split"]] = Cell(
                score["value"], score["low"], score["high"], score["errors"], score["n"], score["baseline"],
                asked["rows"], asked["of"], lost.get((score["task"], score["split"]), 0),
            )  # fmt: skip
    return cells


def render(rows: list[Row]) -> str:
    """The page. Every value is escaped by the template's autoescape."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["short"] = _short_count
    present = {place for row in rows for place in row.cells}
    columns = [
        (task.name, split) for task in all_tasks().values() for split in task.splits if (task.name, split) in present
    ]
    tasks = [name for name in all_tasks() if any(name == column[0] for column in columns)]
    return environment.get_template("index.html").render(
        rows=rows,
        columns=columns,
        tasks=[(name, sum(name == column[0] for column in columns)) for name in tasks],
        baselines={column: _baseline(rows, column) for column in columns},
        generator_version=GENERATOR_VERSION,
        harness_version=HARNESS_VERSION,
    )


def _baseline(rows: list[Row], column: tuple[str, str]) -> Cell:
    """The cell whose trivial score stands for the column: the one over most rows."""
    return max((row.cells[column] for row in rows if column in row.cells), key=lambda cell: cell.rows)


def _short_count(number: int) -> str:
    """133,381 as 133K, 134,515,008 as 135M."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
