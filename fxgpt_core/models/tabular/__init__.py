"""Regressions on the flat feature table, made probabilistic by calibrated residuals."""
