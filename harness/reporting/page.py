"""The HTML pages `report.html` (one run) and `compare.html` (several runs), each a single file, and plots/*.svg.

Templates escape all text of a run. The only markup is that of the plots, whose text is escaped too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fflm_data.number_formats import NO_VALUE, percent, points, significant, skill, typographic
from harness.models.training_statement import recipe_text
from harness.reporting.error_examples import error_examples
from harness.reporting.plot_types import Plot
from harness.reporting.run_labels import labels
from harness.reporting.sections import sections
from harness.reporting.sections.base import GradedRun, Section
from harness.reporting.style import page_css
from harness.runs.files import require_writable
from harness.runs.run import Run
from harness.scoring.comparison import compare_accuracy, remarks
from harness.scoring.grading import Graded, grade
from harness.scoring.headline_score import headline_of

TEMPLATES = Path(__file__).parent / "templates"


def write_report(run: Run) -> Path:
    """Writes report.html and plots/*.svg to the run folder; returns the page.

    Raises UserError if observations are missing or do not match their rows.
    """
    (label,) = labels([run.facts["model"]])
    graded_run = GradedRun(label, run, _graded(run))
    parts = sections([graded_run])
    return write_page(run.folder, "report.html", render_report(graded_run, parts), parts)


def write_comparison(runs: Sequence[Run], out: Path) -> Path:
    """Writes compare.html and plots/*.svg of several runs to `out`; returns the page. The other runs are compared with
    the first."""
    require_writable(out)
    names = labels([run.facts["model"] for run in runs])
    graded_runs = [GradedRun(label, run, _graded(run)) for label, run in zip(names, runs, strict=True)]
    parts = sections(graded_runs)
    return write_page(out, "compare.html", render_comparison(graded_runs, parts), parts)


def render_report(run: GradedRun, parts: list[Section]) -> str:
    """The page of one run."""
    return template("report.html").render(
        css=page_css(), label=run.label, model=run.run.facts["model"], external=run.run.external,
        headlines=[headline for headline in map(headline_of, run.graded.values()) if headline], sections=parts,
        examples=error_examples(list(run.graded.values())), facts=provenance(run.run),
        nonfinite=[graded.job.name for graded in run.graded.values() if not graded.counted.any()],
    )  # fmt: skip


def render_comparison(runs: Sequence[GradedRun], parts: list[Section]) -> str:
    """The page of several runs."""
    keys = dict.fromkeys(key for run in runs for key in run.graded)
    base, *others = runs
    table = []
    for key in keys:
        first = base.graded.get(key)
        cells = []
        for run in runs:
            graded = run.graded.get(key)
            paired = compare_accuracy(graded, first) if graded and first and run is not base else None
            cells.append((headline_of(graded) if graded else None, paired))
        table.append((key, cells))
    sentences = [sentence for other in others for sentence in remarks(base.run, other.run, (base.label, other.label))]
    return template("compare.html").render(
        css=page_css(), remarks=list(dict.fromkeys(sentences)),
        labels=[run.label for run in runs], table=table, sections=parts,
        runs=[(run.label, provenance(run.run)) for run in runs],
    )  # fmt: skip


def provenance(run: Run) -> list[tuple[str, str]]:
    """How a run was made, as names and values, without empty values."""
    facts = run.facts
    entries: list[tuple[str, str]] = [("command", facts["command"]), ("created", facts["created"])]
    # The text of a chat template would fill a page.
    apart = ("chat_template", "training")
    entries += _flat({name: value for name, value in facts["model"].items() if name not in apart}, "model")
    if training := facts["model"].get("training"):
        seeds = f"data seed {training['data_seed']}, weight seed {training['weight_seed']}"
        entries.append(("training", f"{recipe_text(training)}; {seeds}; recipe {training['digest']}"))
        entries.append(("training command", training["command"]))
    entries += _flat(facts["environment"], "environment")
    entries.append(("data generator", str(facts["data"]["generator"])))
    for name, task in facts["data"]["tasks"].items():
        rows = ", ".join(f"{split} {size['rows']:,} of {size['of']:,}" for split, size in task["splits"].items())
        prompting = _prompting(task.get("prompting", {}))
        data = f"data {task['fingerprint'][:12]}"
        entries.append((f"task {name}", f"version {task['version']}; {rows}; {data}{prompting}"))
    return entries


def _prompting(prompting: dict[str, Any]) -> str:
    """The options of prompting of a task, "" for a task without any."""
    if not prompting:
        return ""
    template = prompting["template"]
    options = [
        "plain text" if template is None else f"chat template {template[:12]}",
        f"{prompting['shots']} few-shot examples" if prompting["shots"] else "",
        f"system prompt {prompting['system']!r}" if prompting["system"] else "",
        f"up to {prompting['thinking']:,} tokens for thinking" if prompting["thinking"] else "",
        f"{prompting['turns'] - 1} challenges" if prompting["turns"] > 1 else "",
    ]
    return "".join(f"; {option}" for option in options if option)


def _flat(value: dict[str, Any], name: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        if isinstance(item, dict):
            rows += _flat(item, f"{name}, {key}")
        elif item not in (None, "", [], False):
            rows.append((f"{name}, {key}", "yes" if item is True else f"{item:,}" if type(item) is int else str(item)))
    return rows


def _graded(run: Run) -> dict[tuple[str, str], Graded]:
    return {(job.task.name, job.split): grade(run, job) for job in run.jobs()}


def write_page(folder: Path, name: str, text: str, parts: Sequence[Section], plots: str = "plots") -> Path:
    """Writes a page, and its plots to the folder `plots`; deletes other plots of an earlier page. Returns the page."""
    drawn: list[Plot] = [plot for part in parts for plot in part.plots]
    target = folder / plots
    target.mkdir(exist_ok=True)
    for path in target.glob("*.svg"):
        if path.stem not in {plot.name for plot in drawn}:
            path.unlink()
    for plot in drawn:
        (target / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8", newline="\n")
    page = folder / name
    page.write_text(text, encoding="utf-8", newline="\n")
    return page


def template(name: str) -> Any:
    """A template of the package, which escapes all text and has the filters of this module."""
    return _environment().get_template(name)


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: NO_VALUE if value is None else percent(value)
    environment.filters["points"] = lambda value: typographic(points(value))
    environment.filters["significant"] = significant
    environment.filters["skill"] = lambda value: typographic(skill(value))
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["drawing"] = lambda plot: Markup(plot.inline)
    return environment
