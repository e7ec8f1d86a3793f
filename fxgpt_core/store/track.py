"""The live record of one version as rows, and its performance as stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.dialects import postgresql, sqlite

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import LiveForecast, Model, OutcomeRow, PerformanceRow


@dataclass(frozen=True)
class TrackRow:
    """One forecast of one horizon with its outcome; the last three are None until that is known."""

    decided_at: datetime
    made_at: datetime
    horizon: int
    mean: float
    std: float
    quantiles: Mapping[str, float]
    latency_ms: float
    origin: str
    calibration: str
    known_at: datetime | None
    log_return: float | None
    yardstick: float | None


def track_rows(database: Database, symbol: str, version: str, since: datetime, until: datetime) -> list[TrackRow]:
    """Return what a version forecast for decisions after `since` and up to `until`, by decision and horizon."""
    joined = and_(
        OutcomeRow.symbol == Model.symbol,
        OutcomeRow.decided_at == LiveForecast.decided_at,
        OutcomeRow.horizon == LiveForecast.horizon,
    )
    columns = (
        LiveForecast.decided_at, LiveForecast.made_at, LiveForecast.horizon, LiveForecast.mean, LiveForecast.std,
        LiveForecast.quantiles, LiveForecast.latency_ms, LiveForecast.origin, LiveForecast.calibration,
        OutcomeRow.known_at, OutcomeRow.log_return, OutcomeRow.yardstick,
    )  # fmt: skip
    query = (
        select(*columns)
        .select_from(LiveForecast)
        .join(Model, LiveForecast.model_id == Model.id)
        .outerjoin(OutcomeRow, joined)
        .where(
            Model.symbol == symbol,
            Model.mlflow_version == version,
            LiveForecast.decided_at > since,
            LiveForecast.decided_at <= until,
        )
        .order_by(LiveForecast.decided_at, LiveForecast.horizon)
    )
    with database.reading() as session:
        return [TrackRow(*row) for row in session.execute(query)]


def save_performance(
    database: Database, symbol: str, version: str, until: datetime, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Store a version's performance at `until`: a mapping per window and horizon, over what was stored for it.

    Raises StoreError for a version that never forecast.
    """
    with database.session() as session:
        model = select(Model.id).where(Model.symbol == symbol, Model.mlflow_version == version)
        number = session.scalar(model)
        if number is None:
            raise StoreError(f"Version {version} of {symbol} is not indexed: it has forecast nothing yet.")
        insert = (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert(PerformanceRow)
        key = ("model_id", "until", "hours", "horizon")
        for row in rows:
            values = {**row, "model_id": number, "until": until}
            change = {name: value for name, value in values.items() if name not in key}
            session.execute(insert.values(**values).on_conflict_do_update(index_elements=list(key), set_=change))


def performance_of(database: Database, symbol: str, limit: int = 50) -> list[PerformanceRow]:
    """Return a symbol's newest stored performance, newest first."""
    query = select(PerformanceRow).join(PerformanceRow.model).where(Model.symbol == symbol)
    newest = query.order_by(PerformanceRow.until.desc(), PerformanceRow.hours, PerformanceRow.horizon).limit(limit)
    with database.reading() as session:
        return list(session.scalars(newest))
