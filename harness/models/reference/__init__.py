"""The reference models of the package, made by `harness train`, with recipe.json and card.

Newer models also have their training curve. `fflm/lstm` does not glitch. `fflm/transformer` (seed 0 of flipflop-small)
is right on val and glitches on the tails. `fflm/transformer-mixture` (seed 0 of flipflop-mixture with 9,000 steps) was
also trained on the tails, and glitches there rarely. `fflm/mamba2`, a state-space model (seed 0 of flipflop-small with
`--architecture mamba2`), is right on val and on the dense tail, and glitches on the sparse one.
"""

from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"
DEFAULT_MODEL = "fflm/lstm"
MODELS = {f"fflm/{name}": CHECKPOINTS / name for name in ("lstm", "transformer", "transformer-mixture", "mamba2")}
"""Model ids of reference models, with their folders."""
