"""Tables of strategies that were tried, of orders and fills, and of how far the latter adhere to the former."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fxgpt_core.store.models.base import Base


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
