"""Ratios and positions between a timeframe and the slower ones of its layout."""
