"""Training: the recipe of the reference LSTM, and a callback with glitch rates for other models."""
