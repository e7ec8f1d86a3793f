"""A small picture of a pair's history, for places that show one image beside a few numbers."""

from __future__ import annotations

import io

import numpy as np

from fxgpt_core.market.candles import Candles
from fxgpt_core.reports.plots import FAN, GRID, INK

_POINTS = 400


def price_thumbnail(candles: Candles) -> bytes:
    """Return a PNG of the closes over time with the range of each stretch; holes in the history stay holes.

    At most 400 stretches of equal length are drawn, so that a single bar out of line still shows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 1.5), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if len(candles):
        span = np.linspace(0, 1, _POINTS + 1)
        elapsed = (candles.ts_utc - candles.ts_utc[0]) / max(np.ptp(candles.ts_utc), np.timedelta64(1, "ns"))
        stretch = np.searchsorted(span, elapsed, side="right") - 1
        starts = np.flatnonzero(np.r_[True, stretch[1:] != stretch[:-1]])
        low, high = np.minimum.reduceat(candles.low, starts), np.maximum.reduceat(candles.high, starts)
        times = candles.ts_utc[starts]
        axes.vlines(times, low, high, color=FAN, linewidth=0.8)
        axes.plot(times, candles.close[np.r_[starts[1:], len(candles)] - 1], ",", color=INK)
    axes.set_title(f"{candles.symbol} {candles.timeframe} {candles.side}", loc="left", fontsize=8, color=INK)
    axes.grid(color=GRID, linewidth=0.5)
    axes.tick_params(labelsize=7, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
