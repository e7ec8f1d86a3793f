"""From calibrated out-of-sample forecasts to a signal per bar, using only what was known at that bar's close."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.sizing import wanted_fraction
from fxgpt_core.backtest.timing import before_weekend, too_late
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.market_hours import MarketHours, market_hours

Floats = NDArray[np.float64]
_BARS_AFTER = 2


@dataclass(frozen=True)
class Signals:
    """What the forecasts say at the close of each bar of `candles` (all arrays: (bars,)).

    `direction`: 1 buy, -1 sell, 0 nothing to do; `confidence`: as configured, NaN without forecast; `strength`:
    |mean| / std of the forecast; `stop`, `target`, `trail`: distances in log return, NaN where there are none;
    `fraction`: wanted notional value as a multiple of equity; `flat`: be out of the market at the next open;
    `late`: no entry is filled at this bar's open.
    `first`: index of the first of these bars in the candles given; `hold_bars`: bars between fill and planned exit.
    `directional` is False when no forecast leans either way. `rows`: forecasts read; `uncalibrated`: rows among them
    that were left out.
    """

    candles: Candles
    first: int
    horizon: int
    direction: NDArray[np.int64]
    confidence: Floats
    strength: Floats
    stop: Floats
    target: Floats
    trail: Floats
    fraction: Floats
    flat: NDArray[np.bool_]
    late: NDArray[np.bool_]
    hold_bars: int
    directional: bool
    rows: int
    uncalibrated: int


class Shared:
    """What many configurations have in common on the same candles and forecasts: each part is computed once."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what `make` gave for this key the first time."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def make_signals(
    candles: Candles,
    forecast: Forecast,
    config: BacktestConfig,
    round_trip: Floats | float = 0.0,
    shared: Shared | None = None,
    hours: MarketHours | None = None,
) -> Signals:
    """Return the signals over the bars from the first forecast until the last one's position has run out.

    `shared`: given for every configuration on the same candles and forecasts it saves what they have in common.
    `round_trip`: (bars,) of `candles`, what entering and leaving costs as a share of the price, known at each close; a
    target within it, a stop within half of it, and a mean towards the traded side below `least_move` times it, is not
    traded. `hours`: when weeks stop trading, by default the hours that ship with the product.
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
    common, open_hours = shared or Shared(), hours or market_hours()
    traded = forecast if usable.all() else common.once("rows", lambda: forecast.take(usable))
    hold = max(1, -(-horizon // candles.timeframe.minutes))
    where = common.once("bars", lambda: _bars_of(candles, traded))
    first = int(where[0])
    bars, at = candles.take(slice(first, int(where[-1]) + hold + _BARS_AFTER)), where - first
    cost = np.broadcast_to(round_trip, len(candles))[where]
    choice = _choose(traded, column, config, cost, common)

    def on_bars(values: Floats, fill: float) -> Floats:
        out = np.full(len(bars), fill)
        out[at] = values
        return out

    std = traded.std[:, column]
    timing = (len(bars), config.exit_before_weekend, config.weekend_lead_minutes, config.entry_gap_minutes)

    def distance(deviations: float | None) -> Floats:
        return on_bars(np.full(len(at), np.nan) if deviations is None else deviations * std, np.nan)

    return Signals(
        candles=bars,
        first=first,
        horizon=horizon,
        direction=on_bars(choice.direction, 0.0).astype(np.int64),
        confidence=on_bars(choice.confidence, np.nan),
        strength=on_bars(np.abs(traded.mean[:, column]) / np.maximum(std, 1e-12), np.nan),
        stop=distance(config.stop_loss),
        target=distance(config.take_profit),
        trail=distance(config.trailing_stop),
        fraction=on_bars(choice.fraction, 0.0),
        flat=(
            common.once(("flat", *timing), lambda: before_weekend(bars.known_at, bars.timeframe, config, open_hours))
            if config.exit_before_weekend
            else np.zeros(len(bars), dtype=bool)
        ),
        late=common.once(("late", *timing), lambda: too_late(bars, config, open_hours)),
        hold_bars=hold,
        directional=choice.directional,
        rows=len(forecast),
        uncalibrated=int((~usable).sum()),
    )


@dataclass(frozen=True)
class _Choice:
    direction: Floats  # (rows,)
    confidence: Floats
    fraction: Floats
    directional: bool


def _choose(forecast: Forecast, column: int, config: BacktestConfig, cost: Floats, common: Shared) -> _Choice:
    """Return which rows are traded, which way, and how large: all (rows,)."""
    up = common.once("up", forecast.probability_up)[:, column]
    mean, std = forecast.mean[:, column], forecast.std[:, column]
    sure = np.maximum(up, 1 - up)
    confidence = sure if config.confidence == "probability" else np.abs(mean) / np.maximum(np.abs(mean) + std, 1e-12)
    leans = np.abs(up - 0.5) > config.least_edge
    asked = (config.confidence, column, config.confidence_quantile, config.history_rows)
    chosen = leans & (confidence >= common.once(asked, lambda: causal_threshold(confidence, *asked[2:])))
    side = np.sign(up - 0.5)
    if config.least_move:
        chosen &= side * mean >= config.least_move * cost
    if config.interval is not None:
        tail = (1 - config.interval) / 2
        low, high = (common.once(("quantile", q), partial(forecast.quantile, q))[:, column] for q in (tail, 1 - tail))
        chosen &= np.where(side > 0, low > 0, high < 0)
    if config.take_profit is not None:
        chosen &= -np.expm1(-config.take_profit * std) > cost
    if config.stop_loss is not None:
        chosen &= -np.expm1(-config.stop_loss * std) > cost / 2
    limit = np.full(len(std), np.inf)
    if config.sizing.method == "shrink":
        most = (config.sizing.uncertainty_quantile, config.history_rows)
        limit = common.once(("limit", column, *most), lambda: causal_threshold(std, *most))
    fraction = wanted_fraction(config, side, mean, std, sure, limit)
    return _Choice(np.where(chosen, side, 0.0), confidence, fraction, bool(leans.any()))


def causal_threshold(values: Floats, quantile: float, history: int) -> Floats:
    """Return, per row, the `quantile` (lower) of all EARLIER values; infinite for the first `history`: (rows,)."""
    from fxgpt_core.backtest.thresholds import earlier_quantile

    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(len(values))
    out: Floats = earlier_quantile(ranks, np.asarray(values[order], dtype=np.float64), quantile, history, np.inf)
    return out


def _bars_of(candles: Candles, forecast: Forecast) -> NDArray[np.int64]:
    """Return the bar at whose close each forecast was decided: (rows,)."""
    known = candles.known_at
    at = np.searchsorted(known, forecast.decided_at)
    stray = (at == len(known)) | (known[np.minimum(at, len(known) - 1)] != forecast.decided_at)
    if stray.any():
        raise DataError(
            f"{int(stray.sum())} forecasts of {forecast.family} for {forecast.symbol} (first "
            f"{forecast.decided_at[stray][0]}) fit no bar's close: backtest on the bars they were made from."
        )
    return np.asarray(at, dtype=np.int64)
