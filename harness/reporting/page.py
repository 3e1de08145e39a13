"""`report.html` of a run and `compare.html` of several: one file each that asks for no other, and plots/*.svg.

What comes from a run is text until the template has escaped it; the only markup let through is that of the plots,
in which text is escaped as well.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.reporting.error_examples import error_examples
from harness.reporting.headline import difference, headline, skill_text
from harness.reporting.labels import labels
from harness.reporting.parts import sections
from harness.reporting.series import NOTHING, Plot, figures
from harness.reporting.style import page_css
from harness.reporting.subjects import Section, Subject
from harness.reporting.table import percent
from harness.runs.files import require_writable
from harness.runs.run import Run
from harness.scoring.comparison import remarks
from harness.scoring.grading import Graded, grade

TEMPLATES = Path(__file__).parent / "templates"


def write_report(run: Run) -> Path:
    """Writes report.html and plots/*.svg into the folder of a run; returns the page.

    Raises UserError if its observations are not there or not those of its rows.
    """
    (label,) = labels([run.facts["model"]])
    subject = Subject(label, run, _graded(run))
    parts = sections([subject])
    return _write(run.folder, "report.html", render_report(subject, parts), parts)


def write_comparison(runs: Sequence[Run], out: Path) -> Path:
    """Writes compare.html and plots/*.svg of several runs to `out`; returns the page. The first run is what the
    others are compared with."""
    require_writable(out)
    names = labels([run.facts["model"] for run in runs])
    subjects = [Subject(label, run, _graded(run)) for label, run in zip(names, runs, strict=True)]
    parts = sections(subjects)
    return _write(out, "compare.html", render_comparison(subjects, parts), parts)


def render_report(subject: Subject, parts: list[Section]) -> str:
    """The page of one run."""
    lines = [line for line in map(headline, subject.graded.values()) if line]
    return _environment().get_template("report.html").render(
        css=page_css(), label=subject.label, model=subject.run.facts["model"], external=subject.run.external,
        lines=lines, sections=parts,
        wrong=error_examples(list(subject.graded.values())), facts=provenance(subject.run),
        mute=[graded.job.name for graded in subject.graded.values() if not graded.counted.any()],
    )  # fmt: skip


def render_comparison(subjects: Sequence[Subject], parts: list[Section]) -> str:
    """The page of several runs."""
    keys = dict.fromkeys(key for subject in subjects for key in subject.graded)
    table = []
    for key in keys:
        first = subjects[0].graded.get(key)
        cells = []
        for subject in subjects:
            graded = subject.graded.get(key)
            paired = difference(graded, first) if graded and first and subject is not subjects[0] else None
            cells.append((headline(graded) if graded else None, paired))
        table.append((key, cells))
    base, *others = subjects
    unequal = [one for other in others for one in remarks(base.run, other.run, (base.label, other.label))]
    return _environment().get_template("compare.html").render(
        css=page_css(), remarks=list(dict.fromkeys(unequal)),
        labels=[subject.label for subject in subjects], table=table, sections=parts,
        runs=[(subject.label, provenance(subject.run)) for subject in subjects],
    )  # fmt: skip


def provenance(run: Run) -> list[tuple[str, str]]:
    """All that is known of how a run was made, as names and values; what is None or empty is left out."""
    facts = run.facts
    told: list[tuple[str, str]] = [("command", facts["command"]), ("created", facts["created"])]
    # The text of a chat template is a page of its own.
    told += _flat({name: value for name, value in facts["model"].items() if name != "chat_template"}, "model")
    told += _flat(facts["environment"], "environment")
    told.append(("data generator", str(facts["data"]["generator"])))
    for name, asked in facts["data"]["tasks"].items():
        rows = ", ".join(f"{split} {part['rows']:,} of {part['of']:,}" for split, part in asked["splits"].items())
        how = _put(asked.get("prompting", {}))
        told.append((f"task {name}", f"version {asked['version']}; {rows}; data {asked['fingerprint'][:12]}{how}"))
    return told


def _put(prompting: dict[str, Any]) -> str:
    """How questions were put, where that is not the same for all models."""
    if not prompting:
        return ""
    template = prompting["template"]
    told = [
        "plain text" if template is None else f"chat template {template[:12]}",
        f"{prompting['shots']} demonstrations" if prompting["shots"] else "",
        f"system prompt {prompting['system']!r}" if prompting["system"] else "",
        f"up to {prompting['thinking']:,} tokens to think" if prompting["thinking"] else "",
        f"{prompting['turns'] - 1} challenges" if prompting["turns"] > 1 else "",
    ]
    return "".join(f"; {one}" for one in told if one)


def _flat(value: dict[str, Any], name: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, one in value.items():
        if isinstance(one, dict):
            rows += _flat(one, f"{name}, {key}")
        elif one not in (None, "", [], False):
            rows.append((f"{name}, {key}", "yes" if one is True else f"{one:,}" if type(one) is int else str(one)))
    return rows


def _graded(run: Run) -> dict[tuple[str, str], Graded]:
    return {(job.task.name, job.split): grade(run, job) for job in run.jobs()}


def _write(folder: Path, name: str, text: str, parts: list[Section]) -> Path:
    """The page and its plots; plots of an earlier page that are not on this one go."""
    plots: list[Plot] = [plot for part in parts for plot in part.plots]
    (folder / "plots").mkdir(exist_ok=True)
    for path in (folder / "plots").glob("*.svg"):
        if path.stem not in {plot.name for plot in plots}:
            path.unlink()
    for plot in plots:
        (folder / "plots" / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8", newline="\n")
    page = folder / name
    page.write_text(text, encoding="utf-8", newline="\n")
    return page


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
    environment.filters["percent"] = lambda value: NOTHING if value is None else percent(value)
    environment.filters["figures"] = lambda value: figures(value).replace("-", "\N{MINUS SIGN}")
    environment.filters["skill"] = skill_text
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["drawing"] = lambda plot: Markup(plot.inline)
    return environment
