"""The one-page report of a symbol: forecast, champion, skill, calibration, backtest, drift, data; opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation import scores
from fxgpt_core.evaluation.groups import BUCKETS
from fxgpt_core.evaluation.result import Estimate, Evaluation
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.market.candles import Candles
from fxgpt_core.reports import plots
from fxgpt_core.reports.pages import page_environment

_BROKEN_DOWN_BY = (
    ("hour", "hour of the decision, UTC"),
    ("session", "session"),
    ("regime", "regime"),
    ("volatility", "volatility before the decision"),
    ("release", "scheduled releases"),
)
_COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class OverviewInputs:
    """Everything the page shows. `raw`, `calibrated`: family -> walk-forward forecasts; `backtests`: family -> summary
    with `curve`; `champion`, `drift`, `quality`: stored documents; `live`: the champion's newest forecast or None;
    `splits`: the folds over the bars known at `known_at` (bars,); `sizes`: what the champion's calibration rests on;
    `pages`: further pages beside this one, label -> file name."""

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
    timeline: str
    embargo_days: float
    sizes: Mapping[str, Any]
    pages: Mapping[str, str] = field(default_factory=dict)


def render_overview(inputs: OverviewInputs) -> str:
    """Return the page as one HTML text without any outside reference."""
    environment = page_environment()
    environment.filters.update(group=_group_name)
    shown = inputs.champion["champion_family"]
    return environment.get_template("overview.html").render(
        page=inputs,
        evaluation=inputs.evaluation,
        fan=plots.fan_chart(inputs.candles, _newest(inputs, shown), f"{inputs.symbol}: candles and forecast"),
        coverage=_coverage(inputs, shown),
        pit=_pit(inputs, shown),
        where=_where(inputs.evaluation, shown),
        residuals=_residuals(inputs.evaluation, shown),
        equity=_equity(inputs),
        drift_bars=_drift(inputs.drift),
        shown=shown,
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


def _where(evaluation: Evaluation, family: str) -> list[tuple[str, str, str]]:
    """Return (what, its title, chart) for everything that scores are broken down by."""
    return [
        (by, title, _breakdown(evaluation, family, by, title))
        for by, title in _BROKEN_DOWN_BY
        if any(evaluation.grouped(by, family, horizon) for horizon in evaluation.horizons)
    ]


def _breakdown(evaluation: Evaluation, family: str, by: str, title: str) -> str:
    panels = {}
    for horizon in evaluation.horizons:
        groups = sorted(evaluation.grouped(by, family, horizon), key=lambda group: _order(by, group.label))
        if not groups:
            continue
        of_skill = [group.skill for group in groups if group.skill is not None]
        name = horizon_name(horizon) if of_skill else f"{horizon_name(horizon)}: coverage of 90 %, points off"
        shown = of_skill or [
            Estimate(*(x - 0.9 for x in (group.coverage.value, group.coverage.low, group.coverage.high)))
            for group in groups
        ]
        labels = [_group_name(group.label) for group in groups if not of_skill or group.skill is not None]
        columns = ([100 * getattr(figure, part) for figure in shown] for part in ("value", "low", "high"))
        panels[name] = plots.Intervals(labels, *columns)
    return plots.interval_chart(panels, 0.0, "skill, %, or points of coverage", f"Skill by {title}")


def _order(by: str, label: str) -> tuple[int, str]:
    return (BUCKETS.index(label) if by == "volatility" and label in BUCKETS else 0, label)


def _group_name(label: str) -> str:
    return label.replace("_", " ").replace("+", ", ")


def _residuals(evaluation: Evaluation, family: str) -> str:
    """Return the charts of the residuals' autocorrelation and of their squares', empty where there is none."""
    charts = []
    for part, bound, label in (("value", "bound", "residuals"), ("squares", "squares_bound", "squared residuals")):
        panels = {}
        for horizon in evaluation.horizons:
            found = evaluation.of(family, horizon).residuals
            if found:
                values, reach = [getattr(lag, part) for lag in found], [getattr(lag, bound) for lag in found]
                low, high = ([v + sign * r for v, r in zip(values, reach, strict=True)] for sign in (-1, 1))
                panels[horizon_name(horizon)] = plots.Intervals([str(lag.lag) for lag in found], values, low, high)
        if panels:
            charts.append(
                plots.interval_chart(panels, 0.0, f"autocorrelation of {label}", f"Autocorrelation of {label}")
            )
    return "".join(charts)


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
