"""Verification: whether a record that a stranger sends is what it says."""
