"""From calibrated out-of-sample forecasts to a signal per bar, using only what was known at that bar's close."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.calendar import week_close
from fxgpt_core.market.candles import Candles

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Signals:
    """What the forecasts say at the close of each bar of `candles` (all arrays: (bars,)).

    `direction`: 1 buy, -1 sell, 0 nothing to do; `confidence`: max(P(up), P(down)), NaN without forecast; `strength`:
    |mean| / std of the forecast; `stop`, `target`: distances in log return, NaN where there are none; `flat`: be out of
    the market at the next open. `hold_bars`: bars between fill and planned exit. `directional` is False when no
    forecast leans either way. `rows`: forecasts read; `uncalibrated`: rows among them that were left out.
    """

    candles: Candles
    horizon: int
    direction: NDArray[np.int64]
    confidence: Floats
    strength: Floats
    stop: Floats
    target: Floats
    flat: NDArray[np.bool_]
    hold_bars: int
    directional: bool
    rows: int
    uncalibrated: int


def make_signals(candles: Candles, forecast: Forecast, config: BacktestConfig) -> Signals:
    """Return the signals over the bars from the first forecast until the last one's position has run out.

    Raises DataError when a forecast belongs to no bar of `candles`, to another symbol, or when none is calibrated.
    """
    if forecast.symbol != candles.symbol:
        raise DataError(f"Forecasts of {forecast.symbol} cannot be traded on candles of {candles.symbol}.")
    usable = np.asarray(forecast.calibration_version != "", dtype=bool)  # (rows,)
    if not usable.any():
        raise DataError(
            f"None of the {len(forecast)} forecasts of {forecast.family} for {forecast.symbol} is calibrated: "
            "calibrate them before the backtest."
        )
    horizon = config.horizon_of(forecast.horizons)
    column = forecast.column(horizon)
    traded = forecast.take(usable)
    hold = max(1, -(-horizon // candles.timeframe.minutes))
    bars, at = _span(candles, traded, hold)

    up = traded.probability_up()[:, column]  # (rows,)
    leans = np.abs(up - 0.5) > config.least_edge
    sure = np.maximum(up, 1 - up)
    chosen = leans & (sure >= causal_threshold(sure, config.confidence_quantile, config.history_rows))
    spread = traded.std[:, column]

    def on_bars(values: Floats, fill: float) -> Floats:
        out = np.full(len(bars), fill)
        out[at] = values
        return out

    nothing = np.full(len(at), np.nan)
    return Signals(
        candles=bars,
        horizon=horizon,
        direction=on_bars(np.where(chosen, np.sign(up - 0.5), 0.0), 0.0).astype(np.int64),
        confidence=on_bars(sure, np.nan),
        strength=on_bars(np.abs(traded.mean[:, column]) / np.maximum(spread, 1e-12), np.nan),
        stop=on_bars(nothing if config.stop_loss is None else config.stop_loss * spread, np.nan),
        target=on_bars(nothing if config.take_profit is None else config.take_profit * spread, np.nan),
        flat=_before_weekend(bars) if config.exit_before_weekend else np.zeros(len(bars), dtype=bool),
        hold_bars=hold,
        directional=bool(leans.any()),
        rows=len(forecast),
        uncalibrated=int((~usable).sum()),
    )


def causal_threshold(confidence: Floats, quantile: float, history: int) -> Floats:
    """Return, per row, the `quantile` (lower) of all EARLIER confidences; infinite for the first `history`: (rows,)."""
    out = np.full(len(confidence), np.inf)
    seen: list[float] = []
    for row, value in enumerate(confidence):
        if row >= history:
            out[row] = seen[int(quantile * (len(seen) - 1))]
        insort(seen, float(value))
    return out


def _span(candles: Candles, forecast: Forecast, hold: int) -> tuple[Candles, NDArray[np.int64]]:
    """Return the bars that can matter and the row in them of each forecast: (rows,)."""
    known = candles.known_at
    at = np.searchsorted(known, forecast.decided_at)
    stray = (at == len(known)) | (known[np.minimum(at, len(known) - 1)] != forecast.decided_at)
    if stray.any():
        raise DataError(
            f"{int(stray.sum())} forecasts of {forecast.family} for {forecast.symbol} (first "
            f"{forecast.decided_at[stray][0]}) fit no bar's close: backtest on the bars they were made from."
        )
    first = int(at[0])
    return candles.take(slice(first, int(at[-1]) + hold + 2)), np.asarray(at - first, dtype=np.int64)


def _before_weekend(candles: Candles) -> NDArray[np.bool_]:
    """Return where the bar that opens next is the week's last or opens after the week: (bars,)."""
    known = candles.known_at
    return np.asarray(known + candles.timeframe.duration >= week_close(known))
