"""Honest baselines: random walks with forecast volatility."""
