"""The version of the generators: part of every key, so a change of it is a change of every row."""

GENERATOR_VERSION = "1.0.0"
