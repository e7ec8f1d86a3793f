"""Splits, proper scores, significance tests and effective sample sizes."""
