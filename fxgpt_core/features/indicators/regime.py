"""Regimes of a hidden Markov model, filtered: probabilities that know the past only."""
