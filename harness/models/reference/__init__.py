"""The reference models that come with the package, and the recipe that makes them."""

from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"
DEFAULT_MODEL = "fflm/lstm"
MODELS = {DEFAULT_MODEL: CHECKPOINTS / "lstm"}
"""Model ids that stand for folders of this package."""
