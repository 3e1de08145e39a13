"""Prompts: a row of a task as the text that a model is given."""
