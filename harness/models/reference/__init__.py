"""The reference models of the package, as `harness train` made them, with recipe.json, training curve and card.

`fflm/lstm` does not glitch. `fflm/transformer` (seed 0 of flipflop-small) is right on val and glitches on the tails.
"""

from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"
DEFAULT_MODEL = "fflm/lstm"
MODELS = {DEFAULT_MODEL: CHECKPOINTS / "lstm", "fflm/transformer": CHECKPOINTS / "transformer"}
"""Model ids of reference models, with their folders."""
