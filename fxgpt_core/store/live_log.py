"""The log of a live loop: how far each version came, what the market did afterwards, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import and_, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import Base, ForecastFailure, LiveForecast, Model, OutcomeRow
from fxgpt_core.store.rows import aware


@dataclass(frozen=True)
class Realised:
    """What the market did after a decision: `log_return` over `horizon` minutes, known since `known_at` (UTC).

    `yardstick`: the volatility forecast of that row, in the same units.
    """

    decided_at: np.datetime64
    horizon: int
    known_at: np.datetime64
    log_return: float
    yardstick: float


def last_logged(database: Database, symbol: str, version: str) -> np.datetime64 | None:
    """Return the newest decision that a version has forecast, or failed to, None before its first."""
    # By number and not by a join: the newest of one model is then the last entry of an index.
    model = select(Model.id).where(Model.symbol == symbol, Model.mlflow_version == version).scalar_subquery()
    made = select(func.max(LiveForecast.decided_at)).where(LiveForecast.model_id == model)
    failed = select(func.max(ForecastFailure.decided_at)).where(
        ForecastFailure.symbol == symbol, ForecastFailure.version == version
    )
    with database.reading() as session:
        found = [moment for query in (made, failed) if (moment := session.scalar(query)) is not None]
    return to_datetime64(max(found)) if found else None


def awaited(database: Database, symbol: str, since: datetime) -> list[tuple[np.datetime64, int]]:
    """Return the decisions since then, with their horizons, whose outcome is not recorded; oldest first."""
    known = and_(
        OutcomeRow.symbol == Model.symbol,
        OutcomeRow.decided_at == LiveForecast.decided_at,
        OutcomeRow.horizon == LiveForecast.horizon,
    )
    query = (
        select(LiveForecast.decided_at, LiveForecast.horizon)
        .join(Model, LiveForecast.model_id == Model.id)
        .outerjoin(OutcomeRow, known)
        .where(Model.symbol == symbol, LiveForecast.decided_at >= since, OutcomeRow.id.is_(None))
        .distinct()
        .order_by(LiveForecast.decided_at, LiveForecast.horizon)
    )
    with database.reading() as session:
        return [(to_datetime64(at), horizon) for at, horizon in session.execute(query)]


def record_outcomes(database: Database, symbol: str, found: Sequence[Realised]) -> int:
    """Record outcomes; those that are there stay as they are. Returns how many are new."""
    rows = [
        {
            "symbol": symbol,
            "decided_at": aware(one.decided_at),
            "horizon": one.horizon,
            "known_at": aware(one.known_at),
            "log_return": one.log_return,
            "yardstick": one.yardstick,
        }
        for one in found
    ]
    return _insert(database, OutcomeRow, rows, ("symbol", "decided_at", "horizon"))


def record_failure(
    database: Database, symbol: str, version: str, decided_at: np.datetime64, at: datetime, problem: str
) -> bool:
    """Record that a version owes a forecast; False where that is known."""
    row = {"symbol": symbol, "version": version, "decided_at": aware(decided_at), "at": at, "problem": problem}
    return _insert(database, ForecastFailure, [row], ("symbol", "version", "decided_at")) == 1


def failures_between(
    database: Database, symbol: str, version: str, since: datetime, until: datetime
) -> list[np.datetime64]:
    """Return the decisions after `since` and up to `until` that a version failed to forecast, oldest first."""
    failed = select(ForecastFailure.decided_at).where(
        ForecastFailure.symbol == symbol,
        ForecastFailure.version == version,
        ForecastFailure.decided_at > since,
        ForecastFailure.decided_at <= until,
    )
    with database.reading() as session:
        return [to_datetime64(at) for at in session.scalars(failed.order_by(ForecastFailure.decided_at))]


def forget_outcomes(database: Database, until: datetime) -> int:
    """Delete outcomes of decisions before `until` that no stored forecast asks for; returns how many."""
    kept = (
        select(LiveForecast.id)
        .join(Model, LiveForecast.model_id == Model.id)
        .where(
            Model.symbol == OutcomeRow.symbol,
            LiveForecast.decided_at < until,  # said again for the planner: it would read the whole log
            LiveForecast.decided_at == OutcomeRow.decided_at,
            LiveForecast.horizon == OutcomeRow.horizon,
        )
    )
    gone = delete(OutcomeRow).where(OutcomeRow.decided_at < until, ~kept.exists()).returning(OutcomeRow.id)
    with database.session() as session:
        return len(session.execute(gone).all())


def _insert(database: Database, table: type[Base], rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> int:
    if not rows:
        return 0
    with database.session() as session:
        insert = (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert(table)
        adding = insert.on_conflict_do_nothing(index_elements=list(key)).returning(table.id)  # type: ignore[attr-defined]
        return len(session.execute(adding, list(rows)).all())
