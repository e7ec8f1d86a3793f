"""Candlestick patterns, by TA-Lib, as confidences."""
