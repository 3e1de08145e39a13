"""Scoring: grading of observations, scores with intervals, comparison of runs, `evaluate` metrics."""
