"""Scoring: observations to grades, grades to scores, two runs to their differences."""
