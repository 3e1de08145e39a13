"""Run folders: identity and reuse of runs, recorded jobs, observation tables, display names."""
