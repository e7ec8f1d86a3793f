"""The one-page report of a symbol: forecast, skill, calibration, backtest, drift, registry, data; opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.market.candles import Candles
from fxgpt_core.reports import plots
from fxgpt_core.reports.pages import page_environment

_COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class OverviewInputs:
    """Everything the page shows. `raw`, `calibrated`: family -> walk-forward forecasts; `backtests`: family -> summary
    with `curve`; `champion`, `drift`, `quality`: stored documents; `live`: the champion's newest forecast or None."""

    symbol: str
    made_at: str
    candles: Candles
    outcomes: Outcomes
    evaluation: Evaluation
    raw: Mapping[str, Forecast]
    calibrated: Mapping[str, Forecast]
    backtests: Mapping[str, Mapping[str, Any]]
    champion: Mapping[str, Any]
    drift: Mapping[str, Any]
    quality: Mapping[str, Any]
    labels: Mapping[str, str]
    costs: str
    live: Forecast | None


def render_overview(inputs: OverviewInputs) -> str:
    """Return the page as one HTML text without any outside reference."""
    shown = inputs.champion["champion_family"]
    return (
        page_environment()
        .get_template("overview.html")
        .render(
            page=inputs,
            evaluation=inputs.evaluation,
            fan=plots.fan_chart(inputs.candles, _newest(inputs, shown), f"{inputs.symbol}: candles and forecast"),
            coverage=_coverage(inputs, shown),
            pit=_pit(inputs, shown),
            equity=_equity(inputs),
            drift_bars=_drift(inputs.drift),
            shown=shown,
        )
    )


def _newest(inputs: OverviewInputs, family: str) -> Forecast:
    return inputs.live if inputs.live is not None else inputs.calibrated[family]


def _coverage(inputs: OverviewInputs, family: str) -> str:
    measured = {
        name: np.stack([_covered(inputs, forecast, c) for c in _COVERAGES])
        for name, forecast in (("raw", _common(inputs, family)), ("calibrated", inputs.calibrated[family]))
    }
    return plots.coverage_chart(
        _COVERAGES, measured, inputs.evaluation.horizons, "Coverage before and after calibration"
    )


def _covered(inputs: OverviewInputs, forecast: Forecast, coverage: float) -> NDArray[np.float64]:
    truth = inputs.outcomes.aligned(forecast.decided_at, forecast.horizons).returns
    hit = scores.covered(truth, forecast.quantiles, coverage, forecast.levels)
    return np.asarray(np.nanmean(hit, axis=0))


def _common(inputs: OverviewInputs, family: str) -> Forecast:
    """Return the raw forecasts on the decisions that are calibrated too, so that both are judged on the same rows."""
    raw = inputs.raw[family]
    return raw.take(np.isin(raw.decided_at, inputs.calibrated[family].decided_at))


def _pit(inputs: OverviewInputs, family: str) -> str:
    values = {}
    for name, forecast in (("raw", _common(inputs, family)), ("calibrated", inputs.calibrated[family])):
        truth = inputs.outcomes.aligned(forecast.decided_at, forecast.horizons).returns
        values[name] = scores.pit(truth, forecast.quantiles, forecast.levels)
    return plots.pit_histograms(values, inputs.evaluation.horizons, "Probability integral transform")


def _equity(inputs: OverviewInputs) -> str:
    series: dict[str, tuple[NDArray[np.generic], NDArray[np.float64]]] = {}
    for family, result in inputs.backtests.items():
        if result["status"] != "traded":
            continue
        equity = np.asarray(result["curve"]["equity"], dtype=np.float64)
        times = np.asarray(result["curve"]["times"], dtype="datetime64[s]")
        series[inputs.labels[family]] = (times, (equity / result["initial_cash"] - 1) * 100)
    return plots.line_chart(series, "return after costs, %", "Equity") if series else ""


def _drift(drift: Mapping[str, Any]) -> str:
    columns: Sequence[Mapping[str, Any]] = drift["verdict"]["top"]
    if not columns:
        return ""
    names, values = [c["name"] for c in columns], [float(c["score"]) for c in columns]
    label = "KS distance in standard deviations of the training weeks, dashed: threshold"
    return plots.bar_chart(names, values, float(drift["verdict"]["threshold"]), label, "Drift")
