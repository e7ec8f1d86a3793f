"""Tables of what was decided and what became of it, and of states that change beside a model version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fxgpt_core.store.models.base import Base


class DecisionRow(Base):
    """One decision of `policy` with its evidence; `cause` makes a repeated record of the same decision harmless."""

    __tablename__ = "decisions"
    __table_args__ = (
        UniqueConstraint("symbol", "kind", "cause"),
        Index(None, "symbol", "at"),
        Index(None, "kind", "at"),
    )

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
