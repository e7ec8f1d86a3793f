"""Indicator groups, one file each; importing this package registers all of them."""

from fxgpt_core.features.indicators import (
    channels,
    clock,
    cross,
    economic_calendar,
    ohlc,
    oscillators,
    patterns,
    realised,
    regime,
    returns,
    statistics,
    structure,
    trend,
    volatility,
    volume,
    volume_profile,
)

__all__ = [
    "channels",
    "clock",
    "cross",
    "economic_calendar",
    "ohlc",
    "oscillators",
    "patterns",
    "realised",
    "regime",
    "returns",
    "statistics",
    "structure",
    "trend",
    "volatility",
    "volume",
    "volume_profile",
]
