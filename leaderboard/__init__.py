"""leaderboard: what is published. Records of runs in, a static page out."""
