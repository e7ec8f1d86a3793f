"""Trainings and the checkpoints they end in, as rows that point to MLflow: begun, failed, or done with a version.

A row is one training: symbol, family and the fingerprint of what it is made from. A process that is killed leaves it
`running`, and the training that carries on where it was is the same row, so that one training is counted once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import select, update

from fxgpt_core.store.database import Database
from fxgpt_core.store.models import Checkpoint, Model, TrainingRun
from fxgpt_core.store.rows import aware, insert_once, upsert
from fxgpt_core.store.version_index import index_model

_ERROR = 4000
Moment = datetime | np.datetime64


@dataclass(frozen=True)
class Fitted:
    """What a fit came to: `best_epoch` from 1 and the losses of that epoch, None for families that know no epochs."""

    seconds: float
    best_epoch: int | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


def begin_training(
    database: Database,
    *,
    symbol: str,
    family: str,
    name: str,
    started_at: Moment,
    data_start: Moment | None = None,
    data_end: Moment | None = None,
    device: str = "",
    hyperparameters: Mapping[str, Any] | None = None,
    dagster_run_id: str = "",
) -> None:
    """Record that a training runs, for the first time or again after it failed or was killed; one done stays so."""
    values = {
        "symbol": symbol,
        "family": family,
        "name": name,
        "dagster_run_id": dagster_run_id,
        "started_at": aware(started_at),
        "seconds": 0.0,
        "device": device,
        "data_start": None if data_start is None else aware(data_start),
        "data_end": None if data_end is None else aware(data_end),
        "hyperparameters": dict(hyperparameters or {}),
        "status": "running",
        "error": "",
    }
    with database.session() as session:
        upsert(session, TrainingRun, values, ("symbol", "family", "name"), TrainingRun.status != "done")


def fail_training(database: Database, symbol: str, family: str, name: str, error: str, seconds: float) -> None:
    """Record why a training that runs has ended without a version."""
    change = update(TrainingRun).where(
        TrainingRun.symbol == symbol, TrainingRun.family == family, TrainingRun.name == name,
        TrainingRun.status == "running",
    )  # fmt: skip
    with database.session() as session:
        session.execute(change.values(status="failed", error=error[:_ERROR], seconds=seconds))


def record_training(
    database: Database,
    *,
    symbol: str,
    family: str,
    mlflow_version: str,
    trained_until: Moment,
    started_at: Moment,
    fitted: Fitted,
    name: str = "",
    dagster_run_id: str = "",
    config: Mapping[str, Any] | None = None,
    path: str = "",
    size: int = 0,
) -> TrainingRun:
    """Index a registered version, the training that made it, and its checkpoint; doing it again changes nothing.

    `path`, `size`: where the artefact of the version lies, and its bytes; without a path there is no checkpoint row.
    """
    done = {
        "symbol": symbol,
        "family": family,
        "name": name or f"version {mlflow_version}",
        "dagster_run_id": dagster_run_id,
        "started_at": aware(started_at),
        "seconds": fitted.seconds,
        "data_end": aware(trained_until),
        "status": "done",
        "error": "",
        "train_loss": fitted.train_loss,
        "validation_loss": fitted.validation_loss,
        "best_epoch": fitted.best_epoch,
    }
    with database.session() as session:
        model = index_model(session, symbol, family, mlflow_version, trained_until, config or {})
        mine = select(TrainingRun).where(TrainingRun.model_id == model.id)
        if session.scalars(mine).first() is None:
            values = {**done, "model_id": model.id, "hyperparameters": dict(config or {})}
            upsert(session, TrainingRun, values, ("symbol", "family", "name"), TrainingRun.model_id.is_(None))
        if path:
            kept = {
                "model_id": model.id,
                "path": path,
                "epoch": fitted.best_epoch,
                "train_loss": fitted.train_loss,
                "validation_loss": fitted.validation_loss,
                "metrics": dict(fitted.metrics),
                "bytes": size,
                "is_best": True,
                "at": aware(started_at),
            }
            insert_once(session, Checkpoint, kept, ("model_id", "path"))
        return session.scalars(mine.execution_options(populate_existing=True)).one()


def last_training(database: Database, symbol: str, family: str | None = None) -> TrainingRun | None:
    """Return the training of `symbol` that started last and made a version, its `model`; None where there is none."""
    query = select(TrainingRun).join(TrainingRun.model).where(Model.symbol == symbol, TrainingRun.symbol == symbol)
    if family is not None:
        query = query.where(Model.family == family)
    with database.reading() as session:
        return session.scalars(query.order_by(TrainingRun.started_at.desc(), TrainingRun.id.desc()).limit(1)).first()


def trainings(database: Database, symbol: str, limit: int = 20) -> list[TrainingRun]:
    """Return the newest trainings of `symbol`, whatever became of them, newest first."""
    query = select(TrainingRun).where(TrainingRun.symbol == symbol)
    with database.reading() as session:
        return list(session.scalars(query.order_by(TrainingRun.started_at.desc(), TrainingRun.id.desc()).limit(limit)))
