"""Training: the recipe of the reference LSTM, and what is measured while other models train."""
