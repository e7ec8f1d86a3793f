"""Tables of ensembles and of searches: weights with their history, studies and their trials."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fxgpt_core.store.models.base import Base


class EnsembleWeight(Base):
    """What one member counts in an ensemble's forecasts of one horizon (minutes), from `at` until the next weights.

    `member`: a family, or `family@version` where one version is meant; `reasons`: of the whole set, on each of its
    rows.
    """

    __tablename__ = "ensemble_weights"
    __table_args__ = (
        UniqueConstraint("symbol", "ensemble", "at", "horizon", "member"),
        CheckConstraint("horizon > 0", name="horizon_positive"),
        CheckConstraint("weight >= 0", name="weight_not_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(6))
    ensemble: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    horizon: Mapped[int]
    member: Mapped[str] = mapped_column(String(128))
    weight: Mapped[float]
    reasons: Mapped[list[str]]


class StudyRow(Base):
    """One search: `name` says what is searched, unique for a symbol, so that an interrupted one is found again.

    `kind`: what it is a search of, such as `strategy`, `architecture`, `training`; `directions`: `minimize` or
    `maximize` by objective, the names of which are the keys.
    """

    __tablename__ = "studies"
    __table_args__ = (
        UniqueConstraint("symbol", "name"),
        CheckConstraint("status IN ('running', 'done', 'failed')", name="status_known"),
        Index(None, "symbol", "started_at"),
        Index(None, "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(255))  # several joined by + where it is of several
    name: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(32))
    space: Mapped[dict[str, Any]]
    directions: Mapped[dict[str, Any]]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(String(16))


class StudyTrialRow(Base):
    """One trial of a study: `key` is the hash of its parameters; `objectives` None where it came to no result."""

    __tablename__ = "study_trials"
    __table_args__ = (
        UniqueConstraint("study_id", "key"),
        CheckConstraint("status IN ('done', 'pruned', 'failed')", name="status_known"),
        CheckConstraint("seconds >= 0", name="seconds_not_negative"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[dict[str, Any]]
    objectives: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(Text)
    seconds: Mapped[float]
    at: Mapped[datetime]
