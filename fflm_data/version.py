"""Versions of the package (read by setup.cfg) and of the generators."""

PACKAGE_VERSION = "0.5.0"
# Part of every random key: changing it changes every row.
GENERATOR_VERSION = "1.0.0"
