"""The version of the package: a run of another one is not resumed."""

HARNESS_VERSION = "0.5.0"
