"""The small Transformer on an equal mixture of FFL(0.8), FFL(0.98) and FFL(0.1) (arXiv 2306.00946, section 5, R4)."""

from dataclasses import replace

from harness.training.recipe_parts import FlipFlopData
from harness.training.recipes.flipflop_small import RECIPE as SMALL

RECIPE = replace(
    SMALL,
    name="flipflop-mixture",
    title="the small Transformer, trained on a mixture of FFL(0.8), FFL(0.98) and FFL(0.1)",
    data=FlipFlopData(p_ignore=(0.8, 0.98, 0.1)),
)
