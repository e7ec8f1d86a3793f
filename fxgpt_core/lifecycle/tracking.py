"""`Track`: one version's live record over a span of time, and the performance that it adds up to (SPEC 13)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.live_figures import LiveFigures, live_figures
from fxgpt_core.evaluation.performance import ScoredRows
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.forecast_archive import archived_rows
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.market.lake import Lake
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.store.live_log import failures_between
from fxgpt_core.store.track import TrackRow, track_rows

Floats = NDArray[np.float64]

WINDOWS = (24, 24 * 30)
"""Hours of the rolling windows."""


@dataclass(frozen=True)
class Track:
    """What a version said at each decision, what came of it, and what it failed to say.

    `yardstick`: (rows, horizons), NaN where no outcome is known; `latency`: (rows,) milliseconds; `failed`: decisions
    without a forecast.
    """

    forecast: Forecast
    outcomes: Outcomes
    yardstick: Floats
    latency: Floats
    failed: NDArray[np.datetime64]

    def scored(self, coverage: float) -> ScoredRows:
        """Score every decision; what is not known stays NaN."""
        overlaps = tuple(self.outcomes.overlap(column) for column in range(len(self.forecast.horizons)))
        return ScoredRows.of(self.forecast, self.outcomes, self.yardstick, coverage, overlaps)


@dataclass(frozen=True)
class WindowPerformance:
    """Performance over the last `hours`: per horizon; latency (ms), failures and their share over all.

    Latencies are those of live forecasts alone: what is made up for later is made in bulk.
    """

    hours: int
    figures: tuple[LiveFigures, ...]
    decisions: int
    latency: tuple[float, float, float] | None
    error_rate: float | None
    failed: int = 0

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of `performance_metrics` per horizon."""
        p50, p95, p99 = self.latency or (None, None, None)
        return [
            {
                "hours": self.hours,
                "horizon": one.horizon,
                "outcomes": one.outcomes,
                "effective_rows": one.effective_rows,
                "accuracy": None if one.accuracy is None else one.accuracy.value,
                "rmse": one.rmse,
                "crps": one.crps,
                "skill": None if one.skill is None else one.skill.value,
                "coverage": one.coverage,
                "sharpe": None if one.sharpe is None else one.sharpe.value,
                "drawdown": one.drawdown,
                "latency_p50": p50,
                "latency_p95": p95,
                "latency_p99": p99,
                "error_rate": self.error_rate,
            }
            for one in self.figures
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def track_of(database: Database, version: ModelVersion, since: datetime, until: datetime) -> Track | None:
    """Return a version's record for decisions in (`since`, `until`], None where it forecast nothing.

    Raises DataError where a decision lacks horizons that others have: the rows were changed by hand.
    """
    rows = track_rows(database, version.symbol, version.version, since, until)
    failed = failures_between(database, version.symbol, version.version, since, until) if rows else []
    return _track(version, rows, since, np.array(failed, dtype="datetime64[ns]")) if rows else None


def archived_forecast(lake: Lake, version: ModelVersion, since: datetime, until: datetime) -> Forecast | None:
    """Return what a version forecast for decisions in (`since`, `until`] that lies in the lake, None without any."""
    rows = archived_rows(lake, version.symbol, version.version, since, until)
    return _track(version, rows, since, np.empty(0, dtype="datetime64[ns]")).forecast if rows else None


def performance(track: Track, now: datetime, hours: int, coverage: float) -> WindowPerformance:
    """Return the performance over the last `hours` before `now`, of outcomes known by then."""
    start, end = to_datetime64(now - timedelta(hours=hours)), to_datetime64(now)
    forecast = track.forecast
    rows = (forecast.decided_at > start) & (forecast.decided_at <= end)
    live = rows & (forecast.origin == "live")
    latency = None
    if live.any():
        p50, p95, p99 = (float(value) for value in np.percentile(track.latency[live], [50, 95, 99]))
        latency = (p50, p95, p99)
    made = int(rows.sum())
    figures = live_figures(forecast.take(rows), track.outcomes.known_at(end), track.yardstick[rows], coverage)
    failed = int(((track.failed > start) & (track.failed <= end)).sum())
    owed = made + failed
    return WindowPerformance(hours, tuple(figures), made, latency, failed / owed if owed else None, failed)


def _track(version: ModelVersion, rows: list[TrackRow], since: datetime, failed: NDArray[np.datetime64]) -> Track:
    horizons = tuple(sorted({row.horizon for row in rows}))
    if len(rows) % len(horizons) or any(row.horizon != horizons[i % len(horizons)] for i, row in enumerate(rows)):
        raise DataError(f"{version.label}: some live forecasts since {since:%Y-%m-%d %H:%M} lack a horizon.")
    shape = (len(rows) // len(horizons), len(horizons))
    first = rows[:: len(horizons)]
    levels = tuple(sorted(float(level) for level in first[0].quantiles))
    names = sorted(first[0].quantiles, key=float)

    def column(values: list[float | None]) -> Floats:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64).reshape(shape)

    def times(values: list[datetime | None]) -> NDArray[np.datetime64]:
        never = np.datetime64("NaT", "ns")
        return np.array([never if value is None else to_datetime64(value) for value in values], dtype="datetime64[ns]")

    decided = times([row.decided_at for row in first])
    forecast = Forecast(
        symbol=version.symbol,
        family=version.family,
        horizons=horizons,
        decided_at=decided,
        made_at=times([row.made_at for row in first]),
        trained_until=np.full(len(first), np.datetime64(version.tags["trained_until"], "ns")),
        model_version=np.full(len(first), version.label, dtype=object),
        calibration_version=np.array([row.calibration for row in first], dtype=object),
        origin=np.array([row.origin for row in first], dtype=object),
        mean=column([row.mean for row in rows]),
        std=column([row.std for row in rows]),
        quantiles=np.array([[row.quantiles[name] for name in names] for row in rows]).reshape(*shape, len(names)),
        levels=levels,
    )
    outcomes = Outcomes(
        version.symbol,
        decided,
        horizons,
        column([row.log_return for row in rows]),
        times([row.known_at for row in rows]).reshape(shape),
    )
    latency = np.array([row.latency_ms for row in first], dtype=np.float64)
    return Track(forecast, outcomes, column([row.yardstick for row in rows]), latency, failed)
