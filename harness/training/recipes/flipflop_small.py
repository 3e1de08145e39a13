"""A Transformer that learns FFL(0.8) within minutes on a CPU: 2 layers, width 64, 4 heads, ALiBi."""

from harness.training.recipe import Recipe
from harness.training.recipe_parts import Optimizer, Schedule, TransformerModel

RECIPE = Recipe(
    name="flipflop-small",
    title="a Transformer of 100,000 parameters, trained on FFL(0.8)",
    model=TransformerModel(layers=2, width=64, heads=4, positions="alibi"),
    optimizer=Optimizer(learning_rate=1e-3),
    schedule=Schedule(steps=3_000),
)
