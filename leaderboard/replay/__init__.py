"""Running recorded models again: on recorded sequences, and on fresh rows."""
