"""Models run again: on recorded sequences, and on rows that nobody knew beforehand."""
