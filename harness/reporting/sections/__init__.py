"""The sections of a report, in their order."""

from collections.abc import Sequence

from harness.reporting.sections import counting, fact_recall, flipflop, letters, other_tasks, strawberry
from harness.reporting.sections.base import GradedRun, Section


def sections(runs: Sequence[GradedRun]) -> list[Section]:
    """Every section that has plots."""
    modules = (flipflop, counting, letters, strawberry, fact_recall, other_tasks)
    return [section for module in modules if (section := module.section(runs)).plots]
