"""Tables of live forecasts: what was said, what came of it, what failed, and how well that is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fxgpt_core.store.models.base import Base
from fxgpt_core.store.models.versions import Model


class LiveForecast(Base):
    """What a model said at one decision time about one horizon (minutes), in log-return units.

    `origin`: `live`, made while the bar was the newest, or `backfill`, made later from the same bars. `served`: this
    was the answer, and not one that was only logged beside it. `novelty`: above 1 the row lies outside what the model
    was trained on, None where that was not judged. `timeframe`: of the base bars, `device`: where it was computed, both
    empty where not known; `batch`: decisions that one call answered. `context`: what it was made from, in few numbers.
    """

    __tablename__ = "forecasts"
    __table_args__ = (
        UniqueConstraint("model_id", "decided_at", "horizon"),
        CheckConstraint("horizon > 0", name="horizon_positive"),
        CheckConstraint("std >= 0", name="std_not_negative"),
        CheckConstraint("batch > 0", name="batch_positive"),
        Index(None, "decided_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    decided_at: Mapped[datetime]
    made_at: Mapped[datetime]
    horizon: Mapped[int]
    mean: Mapped[float]
    std: Mapped[float]
    quantiles: Mapped[dict[str, Any]]  # level as text -> log return
    latency_ms: Mapped[float]
    origin: Mapped[str] = mapped_column(String(16), server_default="live")
    served: Mapped[bool] = mapped_column(server_default=true())
    calibration: Mapped[str] = mapped_column(String(64), server_default="")
    novelty: Mapped[float | None]
    timeframe: Mapped[str] = mapped_column(String(8), server_default="")
    device: Mapped[str] = mapped_column(String(64), server_default="")
    batch: Mapped[int] = mapped_column(server_default="1")
    context: Mapped[dict[str, Any]] = mapped_column(server_default="{}")

    model: Mapped[Model] = relationship(lazy="joined")


class OutcomeRow(Base):
    """What the market did after one decision time, in log-return units; `yardstick` is the volatility of the row."""

    __tablename__ = "outcomes"
    __table_args__ = (
        UniqueConstraint("symbol", "decided_at", "horizon"),
        CheckConstraint("horizon > 0", name="horizon_positive"),
        CheckConstraint("yardstick > 0", name="yardstick_positive"),
        Index(None, "decided_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(6))
    decided_at: Mapped[datetime]
    horizon: Mapped[int]
    known_at: Mapped[datetime]
    log_return: Mapped[float]
    yardstick: Mapped[float]


class ForecastFailure(Base):
    """A forecast that a version owed at one decision time and did not make; counts as an error of that version."""

    __tablename__ = "forecast_failures"
    __table_args__ = (UniqueConstraint("symbol", "version", "decided_at"), Index(None, "at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(6))
    version: Mapped[str] = mapped_column(String(32))
    decided_at: Mapped[datetime]
    at: Mapped[datetime]
    problem: Mapped[str] = mapped_column(Text)


class PerformanceRow(Base):
    """How one version's realised forecasts of one horizon did in the `hours` before `until`; None where not measured.

    `crps` in units of the yardstick; `skill` against a normal of the yardstick's width; `sharpe` (a year) and
    `drawdown` (log return) of trading the sign of the mean; latencies in milliseconds.
    """

    __tablename__ = "performance_metrics"
    __table_args__ = (
        UniqueConstraint("model_id", "until", "hours", "horizon"),
        CheckConstraint("hours > 0", name="hours_positive"),
        Index(None, "until"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    until: Mapped[datetime]
    hours: Mapped[int]
    horizon: Mapped[int]
    outcomes: Mapped[int]
    effective_rows: Mapped[float | None]
    accuracy: Mapped[float | None]
    rmse: Mapped[float | None]
    crps: Mapped[float | None]
    skill: Mapped[float | None]
    coverage: Mapped[float | None]
    sharpe: Mapped[float | None]
    drawdown: Mapped[float | None]
    latency_p50: Mapped[float | None]
    latency_p95: Mapped[float | None]
    latency_p99: Mapped[float | None]
    error_rate: Mapped[float | None]

    model: Mapped[Model] = relationship(lazy="joined")
