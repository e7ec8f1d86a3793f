"""Indicator groups, one file each; importing this package registers all of them."""

from fxgpt_core.features.indicators import clock, ohlc, oscillators, returns, trend, volatility, volume

__all__ = ["clock", "ohlc", "oscillators", "returns", "trend", "volatility", "volume"]
