"""The verbs that the leaderboard adds to `harness`, one a file."""
