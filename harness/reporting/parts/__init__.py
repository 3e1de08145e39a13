"""The parts of a report, in the order of the story."""

from collections.abc import Sequence

from harness.reporting.parts import counting, facts, letters, memory, others, strawberry
from harness.reporting.subjects import Section, Subject


def sections(subjects: Sequence[Subject]) -> list[Section]:
    """Every part for which there are answers."""
    parts = [part.section(subjects) for part in (memory, counting, letters, strawberry, facts, others)]
    return [part for part in parts if part.plots]
