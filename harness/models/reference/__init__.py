"""The reference models of the package."""

from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"
DEFAULT_MODEL = "fflm/lstm"
MODELS = {DEFAULT_MODEL: CHECKPOINTS / "lstm"}
"""Model ids of reference models, with their folders."""
