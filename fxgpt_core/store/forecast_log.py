"""The live forecasts of the operational database, by age: those that stay, and those that move to the lake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select

from fxgpt_core.store.database import Database
from fxgpt_core.store.models import LiveForecast

_AT_ONCE = 500  # ids in one statement: SQLite takes no more than some ten thousand parameters


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
