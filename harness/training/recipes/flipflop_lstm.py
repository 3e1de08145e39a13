"""The LSTM of arXiv 2306.00946, section 4: one layer of width 128, the first 500 steps of the baseline's schedule."""

from harness.training.recipe import Recipe
from harness.training.recipe_parts import RecurrentModel, Schedule

RECIPE = Recipe(
    name="flipflop-lstm",
    title="the LSTM of arXiv 2306.00946, which does not glitch",
    model=RecurrentModel(cell="lstm"),
    schedule=Schedule(steps=500, zero_at=10_001),
)
