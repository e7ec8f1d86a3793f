"""Tables that point to MLflow: registered versions, the trainings that made them, their checkpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fxgpt_core.store.models.base import Base


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
