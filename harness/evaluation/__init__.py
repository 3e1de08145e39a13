"""Evaluation: inference, distributed processes, shards, progress; single questions; external outputs; glitch rates."""
