"""The evaluation itself: processes, shards, merge, progress; single questions; outputs from elsewhere; glitch rates."""
