"""The baseline Transformer of arXiv 2306.00946, section 4 and appendix B: 6 layers, width 512, 8 heads, 19,180,032
parameters; 10,000 steps of 16 strings of FFL(0.8), T = 512."""

from harness.training.recipe import Recipe

RECIPE = Recipe(name="flipflop-transformer", title="the baseline Transformer of arXiv 2306.00946, 19M parameters")
