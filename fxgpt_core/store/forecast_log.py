"""The live forecasts of the operational database: logging them, and those that move to the lake by age.

A forecast that is logged again after a crash finds its rows and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import LiveForecast
from fxgpt_core.store.rows import aware, insert_once
from fxgpt_core.store.version_index import index_model

_AT_ONCE = 500  # ids in one statement: SQLite takes no more than some ten thousand parameters


@dataclass(frozen=True)
class LoggedForecast:
    """A forecast as it is logged; the others as in `LiveForecast`."""

    forecast: Forecast
    latency_ms: float
    served: bool = True
    novelty: float | None = None
    timeframe: str = ""
    device: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)


def save_forecast(
    database: Database, forecast: Forecast, latency_ms: float, config: Mapping[str, Any] | None = None
) -> int:
    """Log live forecasts, one row per decision and horizon; returns how many rows were new.

    The model version is indexed where it was not yet; `EURUSD/3` and `3` name the same version.
    """
    return save_forecasts(database, [LoggedForecast(forecast, latency_ms)], config)


def save_forecasts(
    database: Database, entries: Sequence[LoggedForecast], config: Mapping[str, Any] | None = None
) -> int:
    """Log what several versions said, all or nothing; returns how many rows were new."""
    with database.session() as session:
        return sum(_log(session, entry, config or {}) for entry in entries)


def _log(session: Session, entry: LoggedForecast, config: Mapping[str, Any]) -> int:
    forecast, new = entry.forecast, 0
    frame = forecast.to_frame()
    levels = [name for name in frame.columns if name.startswith("q")]
    for row in frame.to_dict("records"):
        version = str(row["model_version"]).rpartition("/")[2]
        model = index_model(session, forecast.symbol, forecast.family, version, row["trained_until"], config)
        values = {
            "model_id": model.id,
            "decided_at": aware(row["decided_at"]),
            "made_at": aware(row["made_at"]),
            "horizon": int(row["horizon"]),
            "mean": float(row["mean"]),
            "std": float(row["std"]),
            "quantiles": {name[1:]: float(row[name]) for name in levels},
            "latency_ms": entry.latency_ms,
            "origin": str(row["origin"]),
            "served": entry.served,
            "calibration": str(row["calibration_version"]),
            "novelty": entry.novelty,
            "timeframe": entry.timeframe,
            "device": entry.device,
            "batch": len(forecast),
            "context": dict(entry.context),
        }
        new += insert_once(session, LiveForecast, values, ("model_id", "decided_at", "horizon"))[1]
    return new


def oldest_forecasts(database: Database, until: datetime, limit: int) -> list[LiveForecast]:
    """Return at most `limit` rows decided before `until`, oldest first, each with its model."""
    old = select(LiveForecast).where(LiveForecast.decided_at < until)
    with database.reading() as session:
        return list(session.scalars(old.order_by(LiveForecast.decided_at, LiveForecast.id).limit(limit)))


def delete_forecasts(database: Database, ids: Sequence[int]) -> int:
    """Delete rows by id in one transaction; returns how many were there."""
    gone = 0
    with database.session() as session:
        for first in range(0, len(ids), _AT_ONCE):
            rows = session.execute(
                delete(LiveForecast)
                .where(LiveForecast.id.in_(ids[first : first + _AT_ONCE]))
                .returning(LiveForecast.id)
            )
            gone += len(rows.all())
    return gone
