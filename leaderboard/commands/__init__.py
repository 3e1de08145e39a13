"""The commands that the leaderboard adds to `harness`, one per file."""
