"""Models asked again: recorded sequences, and rows that nobody knew beforehand."""
