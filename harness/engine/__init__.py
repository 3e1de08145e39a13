"""The forward passes: plans in, model outputs out. Nothing here knows which answer is right."""
