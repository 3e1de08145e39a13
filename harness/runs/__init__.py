"""Run folders: what was evaluated, observation tables, names for people."""
