"""Versions: that of the package, which setup.cfg reads here, and that of the generators."""

PACKAGE_VERSION = "0.5.0"
# Part of every key, so a change of it is a change of every row.
GENERATOR_VERSION = "1.0.0"
