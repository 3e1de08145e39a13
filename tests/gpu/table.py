"""Tables of a check in Markdown, from results.json."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.gpu.results import Results, shown

FILE = "table.md"


def write(out: Path) -> str:
    """Writes the tables beside results.json; returns them."""
    text = "\n".join(lines(Results(out).facts)) + "\n"
    (out / FILE).write_text(text, encoding="utf-8")
    return text


def lines(facts: dict[str, Any]) -> Iterator[str]:
    """A heading, and for each part tables of cases with the same figures, failures and unmeasured cases."""
    machine = facts["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version)
    yield f"### {machine['device']}, {machine['memory_gib']} GiB"
    yield ""
    yield f"Python {machine['python']}, CUDA {machine['cuda']}, {packages}; size {machine['size']}."
    for name, part in facts["parts"].items():
        yield ""
        yield f"**{name}**: {part['status']}, {part['seconds']:.0f} s"
        for columns, cases in groupby(part["figures"].items(), key=lambda pair: tuple(pair[1])):
            yield ""
            yield f"| case | {' | '.join(columns)} |"
            yield f"|{'---|' * (1 + len(columns))}"
            for case, figures in cases:
                yield f"| {case} | {' | '.join(map(shown, figures.values()))} |"
        notes = [f"- {case}: not measured: {reason}" for case, reason in part["not_measured"].items()]
        notes += [f"- {case}: failed: {reason}" for case, reason in part["failures"].items()]
        yield from ["", *notes] if notes else []
