"""Tables of the operational database (SPEC 16): an index into MLflow, live forecasts and the audit of decisions.

The registry of models is MLflow; rows here point to its versions and never replace it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    true,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from fxgpt_core.common.errors import StoreError


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its time zone: stored in UTC, read back aware; a naive datetime is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None or value.utcoffset() is None:
            raise StoreError(
                f"The time {value} has no time zone: the database takes aware times only, for example UTC."
            )
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can drop them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012


class Model(Base):
    """One version of the registered MLflow model `fxgpt.<SYMBOL>`."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("symbol", "mlflow_version"), Index(None, "symbol", "trained_until"))

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(6))
    family: Mapped[str] = mapped_column(String(64))
    mlflow_version: Mapped[str] = mapped_column(String(32))
    trained_until: Mapped[datetime]
    config: Mapped[dict[str, Any]]


class TrainingRun(Base):
    """One fit of a family on the data of a symbol; `model_id` is None until it ends in a registered version.

    `name`: the fingerprint of what it was made from; the same training tried again is the same row. `best_epoch` counts
    from 1; losses are those of that epoch, None for families that know no epochs.
    """

    __tablename__ = "training_runs"
    __table_args__ = (
        UniqueConstraint("model_id"),
        UniqueConstraint("symbol", "family", "name"),
        CheckConstraint("status IN ('running', 'done', 'failed')", name="status_known"),
        Index(None, "symbol", "started_at"),
        Index(None, "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int | None] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    dagster_run_id: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    seconds: Mapped[float]
    symbol: Mapped[str] = mapped_column(String(6), server_default="")
    family: Mapped[str] = mapped_column(String(64), server_default="")
    name: Mapped[str] = mapped_column(String(128), server_default="")
    status: Mapped[str] = mapped_column(String(16), server_default="done")
    error: Mapped[str] = mapped_column(Text, server_default="")
    device: Mapped[str] = mapped_column(String(64), server_default="")
    data_start: Mapped[datetime | None]
    data_end: Mapped[datetime | None]
    train_loss: Mapped[float | None]
    validation_loss: Mapped[float | None]
    best_epoch: Mapped[int | None]
    hyperparameters: Mapped[dict[str, Any]] = mapped_column(server_default="{}")

    model: Mapped[Model | None] = relationship(lazy="joined")


class Checkpoint(Base):
    """The weights that a version was registered with; `path` is where MLflow keeps them, `bytes` their size."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("model_id", "path"),
        CheckConstraint("bytes >= 0", name="bytes_not_negative"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(String(255))
    epoch: Mapped[int | None]
    train_loss: Mapped[float | None]
    validation_loss: Mapped[float | None]
    metrics: Mapped[dict[str, Any]]
    bytes: Mapped[int] = mapped_column(BigInteger)
    is_best: Mapped[bool]
    at: Mapped[datetime]


class LiveForecast(Base):
    """What a model said at one decision time about one horizon (minutes), in log-return units.

    `origin`: `live`, made while the bar was the newest, or `backfill`, made later from the same bars. `served`: this
    was the answer, and not one that was only logged beside it. `novelty`: above 1 the row lies outside what the model
    was trained on, None where that was not judged.
    """

    __tablename__ = "forecasts"
    __table_args__ = (
        UniqueConstraint("model_id", "decided_at", "horizon"),
        CheckConstraint("horizon > 0", name="horizon_positive"),
        CheckConstraint("std >= 0", name="std_not_negative"),
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


class DecisionRow(Base):
    """One decision of `policy` with its evidence; `cause` makes a repeated record of the same decision harmless."""

    __tablename__ = "decisions"
    __table_args__ = (UniqueConstraint("symbol", "kind", "cause"), Index(None, "symbol", "at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(6))
    kind: Mapped[str] = mapped_column(String(32))
    cause: Mapped[str] = mapped_column(String(255))
    what: Mapped[str] = mapped_column(String(64))
    reasons: Mapped[list[str]]
    evidence: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class RetrainingEvent(Base):
    """One retraining that was asked for; a cause starts at most one per symbol."""

    __tablename__ = "retraining_events"
    __table_args__ = (
        UniqueConstraint("symbol", "cause"),
        CheckConstraint("status IN ('requested', 'done', 'failed')", name="status_known"),
        Index(None, "symbol", "at"),
        Index(None, "at"),
        Index(None, "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(6))
    cause: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime]
    status: Mapped[str] = mapped_column(String(16))
    dagster_run_id: Mapped[str | None] = mapped_column(String(64))


class Promotion(Base):
    """One move of an alias (`champion`, `shadow`, `previous`); `from_version` is None where nobody held it."""

    __tablename__ = "promotions"
    __table_args__ = (Index(None, "symbol", "at"), Index(None, "at"), Index(None, "alias", "symbol"))

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(6))
    alias: Mapped[str] = mapped_column(String(32))
    from_version: Mapped[str | None] = mapped_column(String(32))
    to_version: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime]
    evidence: Mapped[dict[str, Any]]


class StateRow(Base):
    """One saved state that changes beside a model version: the `number`-th, knowing everything up to `as_of`.

    `owner` says what learns, such as `calibrator`; the number makes two writers of the same next state one.
    """

    __tablename__ = "states"
    __table_args__ = (
        UniqueConstraint("owner", "symbol", "version", "number"),
        CheckConstraint("number > 0", name="number_positive"),
        Index(None, "owner", "symbol", "version", "as_of"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    symbol: Mapped[str] = mapped_column(String(6))
    version: Mapped[str] = mapped_column(String(128))
    number: Mapped[int]
    as_of: Mapped[datetime]
    value: Mapped[dict[str, Any]]


class TrialRow(Base):
    """One strategy that was backtested, however often: a way to forecast and a way to trade what it says.

    The figures are those of its newest run; `sharpe`, `skewness`, `kurtosis` are of its daily returns and None where
    these do not vary. `daily`: the returns by day (`store.trials`).
    """

    __tablename__ = "backtest_trials"
    __table_args__ = (
        UniqueConstraint("symbol", "family", "forecasts", "configuration"),
        CheckConstraint("runs > 0", name="runs_positive"),
        CheckConstraint("ends_at >= starts_at", name="span_not_negative"),
        Index(None, "symbol", "ends_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(255))  # several joined by + for a portfolio
    family: Mapped[str] = mapped_column(String(255))
    forecasts: Mapped[str] = mapped_column(String(64))
    configuration: Mapped[str] = mapped_column(String(64))
    first_at: Mapped[datetime]
    at: Mapped[datetime]
    runs: Mapped[int]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    bars: Mapped[int]
    trades: Mapped[int]
    days: Mapped[int]
    sharpe: Mapped[float | None]
    skewness: Mapped[float | None]
    kurtosis: Mapped[float | None]
    daily: Mapped[bytes] = mapped_column(LargeBinary)


class AlertRow(Base):
    """Something a person should hear of; `cause` makes the same news recorded twice one row.

    `repeated`: much the same was said shortly before, so that it waits for the next digest.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        UniqueConstraint("kind", "symbol", "cause"),
        CheckConstraint("severity IN ('info', 'warning', 'error')", name="severity_known"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(255))  # empty where it concerns all
    cause: Mapped[str] = mapped_column(String(255))
    severity: Mapped[str] = mapped_column(String(16))
    title: Mapped[str] = mapped_column(String(255))
    body: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    repeated: Mapped[bool]


class DeliveryRow(Base):
    """What became of one alert on one channel; no row means that it was not tried yet."""

    __tablename__ = "alert_deliveries"
    __table_args__ = (
        UniqueConstraint("alert_id", "channel"),
        CheckConstraint("status IN ('sent', 'failing', 'given_up')", name="status_known"),
        CheckConstraint("tries > 0", name="tries_positive"),
        Index(None, "channel", "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"))
    channel: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    tries: Mapped[int]
    at: Mapped[datetime]
    problem: Mapped[str] = mapped_column(Text)


class OrderRow(Base):
    """One order of an account, the columns of `backtest.orders.Order`; `number` is its `order`."""

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("account", "number"),
        CheckConstraint("units > 0", name="units_positive"),
        CheckConstraint("direction IN (1, -1)", name="direction_known"),
        CheckConstraint("status IN ('sent', 'open', 'withheld', 'cancelled')", name="status_known"),
        Index(None, "symbol", "decided_at"),
        Index(None, "account", "decided_at"),
        Index(None, "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(String(64))
    number: Mapped[int] = mapped_column(BigInteger)
    position: Mapped[int] = mapped_column(BigInteger)
    symbol: Mapped[str] = mapped_column(String(6))
    decided_at: Mapped[datetime]
    purpose: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    direction: Mapped[int]
    units: Mapped[float]
    signal_price: Mapped[float]
    stop: Mapped[float | None]
    target: Mapped[float | None]
    reason: Mapped[str] = mapped_column(String(255))
    wanted: Mapped[float]
    limited_by: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16))


class FillRow(Base):
    """One fill of an order, the columns of `backtest.orders.Fill`; `number` counts the fills of an order from 0."""

    __tablename__ = "fills"
    __table_args__ = (
        UniqueConstraint("order_id", "number"),
        CheckConstraint("units > 0", name="units_positive"),
        Index(None, "filled_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    number: Mapped[int]
    filled_at: Mapped[datetime]
    units: Mapped[float]
    mid: Mapped[float]
    price: Mapped[float]
    spread: Mapped[float]
    slippage: Mapped[float]
    commission: Mapped[float]
    rate: Mapped[float]


class AdherenceRow(Base):
    """How far the fills of an account adhered to its orders in one period; `figures` as of `backtest.adherence`.

    `account` is `backtest` for those of a family's backtest; `decision`: trade, halve or stop, for the whole span.
    """

    __tablename__ = "adherence"
    __table_args__ = (
        UniqueConstraint("symbol", "family", "account", "period", "starts_at"),
        CheckConstraint("period IN ('day', 'week', 'month', 'all')", name="period_known"),
        Index(None, "symbol", "starts_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(6))
    family: Mapped[str] = mapped_column(String(64))
    account: Mapped[str] = mapped_column(String(64))
    period: Mapped[str] = mapped_column(String(8))
    starts_at: Mapped[datetime]
    figures: Mapped[dict[str, Any]]
    decision: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
