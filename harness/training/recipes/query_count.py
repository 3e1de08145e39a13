"""How often does the last token occur? One layer with a regression head (arXiv 2407.15160, section 6)."""

from harness.training.recipe import Recipe
from harness.training.recipe_parts import CountingData, Optimizer, Schedule, TransformerModel

RECIPE = Recipe(
    name="query-count",
    title="counts the query token, with a regression head (arXiv 2407.15160)",
    data=CountingData(task="query-count"),
    # With the initial weights of GPT-2, models this small stay at the mean count for thousands of steps.
    model=TransformerModel(layers=1, width=16, heads=1, max_positions=2_048, init_std=0.3),
    optimizer=Optimizer(learning_rate=3e-3, weight_decay=0.0),
    schedule=Schedule(steps=10_000, warmup_steps=100),
)
