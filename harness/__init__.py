"""harness: what a model says, and what it scores. Start reading at `harness.cli`."""

HARNESS_VERSION = "0.5.0"
