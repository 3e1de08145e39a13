"""How often does the most frequent token occur? One layer with a regression head (arXiv 2407.15160, section 6)."""

from dataclasses import replace

from harness.training.recipe_parts import CountingData
from harness.training.recipes.query_count import RECIPE as QUERY_COUNT

RECIPE = replace(
    QUERY_COUNT,
    name="most-frequent",
    title="counts the most frequent token, with a regression head (arXiv 2407.15160)",
    data=CountingData(task="most-frequent"),
)
