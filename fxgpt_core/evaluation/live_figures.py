"""Figures of realised forecasts over a window of time: scores, and what trading their sign would have earned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.dependence import estimate_mean, share_interval
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.scores import covered, crps, direction_hit
from fxgpt_core.evaluation.sharpe import SharpeRatio, sharpe_ratio
from fxgpt_core.features.outcomes import Outcomes

Floats = NDArray[np.float64]

_FEWEST = 8
_DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Bounds:
    """A figure with one-sided 95 % bounds by the effective number of outcomes."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LiveFigures:
    """How forecasts of one horizon (minutes) did; None where too few outcomes say anything.

    `rmse`: of the mean, log return; `crps`: in units of the yardstick; `skill`: of CRPS against a normal of the
    yardstick's width, by the same estimator; `coverage`: of the central interval; `sharpe`: a year, `drawdown`: log
    return, both of holding the sign of the mean over the horizon with capital spread over the decisions that overlap.
    """

    horizon: int
    outcomes: int
    effective_rows: float | None = None
    accuracy: Bounds | None = None
    rmse: float | None = None
    crps: float | None = None
    skill: Bounds | None = None
    coverage: float | None = None
    sharpe: Bounds | None = None
    drawdown: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def live_figures(forecast: Forecast, outcomes: Outcomes, yardstick: Floats, coverage: float) -> list[LiveFigures]:
    """Return the figures of every horizon; `yardstick`: (rows, horizons) of the forecast's rows, log-return units."""
    truth = outcomes.aligned(forecast.decided_at, forecast.horizons)
    return [
        _figures(forecast, truth, yardstick, coverage, column, horizon)
        for column, horizon in enumerate(forecast.horizons)
    ]


def _figures(
    forecast: Forecast, truth: Outcomes, yardstick: Floats, coverage: float, column: int, horizon: int
) -> LiveFigures:
    known = np.isfinite(truth.returns[:, column]) & np.isfinite(yardstick[:, column])
    rows = int(known.sum())
    if rows < _FEWEST:
        return LiveFigures(horizon, rows)
    returns, size = truth.returns[known, column], yardstick[known, column]
    mean, quantiles = forecast.mean[known, column], forecast.quantiles[known, column]
    overlap = truth.overlap(column)
    own = crps(returns, quantiles, forecast.levels) / size
    hits = direction_hit(returns, mean)
    hits = hits[np.isfinite(hits)]
    inside = covered(returns, quantiles, coverage, forecast.levels)
    span = (forecast.decided_at[known][-1] - forecast.decided_at[known][0]) / np.timedelta64(1, "D")
    earned = np.sign(mean) * returns
    return LiveFigures(
        horizon,
        rows,
        effective_rows=estimate_mean(own, overlap).effective_rows,
        accuracy=_share(hits, overlap),
        rmse=float(np.sqrt(((returns - mean) ** 2).mean())),
        crps=float(own.mean()),
        skill=_skill(own, returns / size, forecast.levels, overlap),
        coverage=float(np.nanmean(inside)),
        sharpe=_sharpe(earned, overlap, span),
        drawdown=_drawdown(earned / overlap),
    )


def _share(hits: Floats, overlap: int) -> Bounds | None:
    if len(hits) < _FEWEST:
        return None
    share = estimate_mean(hits, overlap)
    return Bounds(share.mean, *share_interval(share.mean, share.effective_rows, 0.9, share.terms))


def _skill(own: Floats, standardised: Floats, levels: Sequence[float], overlap: int) -> Bounds:
    """Return 1 − CRPS / CRPS of the normal, with bounds of the difference over the mean of the latter."""
    from scipy.stats import norm

    quantiles = np.broadcast_to(norm.ppf(np.asarray(levels)), (len(standardised), len(levels)))
    plain = crps(standardised, np.asarray(quantiles), levels)
    gain = estimate_mean(plain - own, overlap)
    low, high = gain.interval(0.9)
    scale = float(plain.mean())
    return Bounds(gain.mean / scale, low / scale, high / scale)


def _sharpe(earned: Floats, overlap: int, days: float) -> Bounds | None:
    """Return the Sharpe ratio a year: that of one decision times the root of the effective decisions in a year."""
    from scipy.stats import norm

    try:
        ratio: SharpeRatio = sharpe_ratio(earned, overlap)
    except BadInputError:  # a model without an opinion on direction earns nothing, always
        return None
    if days <= 0:
        return None
    scale = np.sqrt(ratio.effective_rows * _DAYS_A_YEAR / days)
    moments = 1 - ratio.skewness * ratio.value + (ratio.kurtosis - 1) / 4 * ratio.value**2
    reach = float(norm.ppf(0.95)) * np.sqrt(max(moments, 0.0) / max(ratio.effective_rows - 1, 1.0))
    return Bounds(*(float(value * scale) for value in (ratio.value, ratio.value - reach, ratio.value + reach)))


def _drawdown(earned: Floats) -> float:
    equity = np.concatenate([[0.0], np.cumsum(earned)])
    return float((np.maximum.accumulate(equity) - equity).max())
