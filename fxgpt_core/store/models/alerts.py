"""Tables of what a person should hear of, and of what became of telling."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fxgpt_core.store.models.base import Base


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
