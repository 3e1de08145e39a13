"""Records in the format of Every Eval Ever."""
