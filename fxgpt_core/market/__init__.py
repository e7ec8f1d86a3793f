"""Candles, instruments, the FX calendar, resampling, data quality, the lake and its providers."""
