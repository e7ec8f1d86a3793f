"""Features: registry and indicators, volatility yardstick, alignment across timeframes, scaling, leakage checks."""
