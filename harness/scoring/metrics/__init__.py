"""The scores as `evaluate` metrics, for use outside the harness: `ExactCount` and `GlitchRate`. Importing a metric
imports `evaluate`, which takes seconds; no metric needs the network."""

from typing import Any

__all__ = ["ExactCount", "GlitchRate"]


def __getattr__(name: str) -> Any:
    if name == "ExactCount":
        from harness.scoring.metrics.exact_count import ExactCount

        return ExactCount
    if name == "GlitchRate":
        from harness.scoring.metrics.glitch_rate import GlitchRate

        return GlitchRate
    raise AttributeError(name)
