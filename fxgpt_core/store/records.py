"""Writing and reading rows of the operational database, each call one transaction.

Every recording is idempotent: a step that is repeated after a crash finds its row and changes nothing. Times are
aware datetimes, or datetime64 meaning UTC as in arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from fxgpt_core.common.errors import StoreError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import Base, DecisionRow, LiveForecast, Model, Promotion, RetrainingEvent

_Row = TypeVar("_Row", bound=Base)


def record_retraining(
    database: Database, *, symbol: str, cause: str, at: datetime | np.datetime64, dagster_run_id: str | None = None
) -> tuple[RetrainingEvent, bool]:
    """Record that `cause` asks for a retraining; returns the row and whether this call made it.

    False means that the same cause was recorded before: nothing is to be started.
    """
    values = {
        "symbol": symbol,
        "cause": cause,
        "at": aware(at),
        "status": "requested",
        "dagster_run_id": dagster_run_id,
    }
    with database.session() as session:
        return insert_once(session, RetrainingEvent, values, ("symbol", "cause"))


def finish_retraining(database: Database, *, symbol: str, cause: str, status: str, dagster_run_id: str) -> None:
    """Set what became of a retraining: `done` or `failed`; raises StoreError when it was never recorded."""
    change = (
        update(RetrainingEvent)
        .where(RetrainingEvent.symbol == symbol, RetrainingEvent.cause == cause)
        .values(status=status, dagster_run_id=dagster_run_id)
        .returning(RetrainingEvent.id)
    )
    with database.session() as session:
        if session.scalar(change) is None:
            raise StoreError(f"No retraining of {symbol} for cause {cause!r} was recorded, so it cannot be {status}.")


def fail_retraining(
    database: Database, *, symbol: str, cause: str, at: datetime, dagster_run_id: str
) -> RetrainingEvent:
    """Record that a retraining ended without candidates, and return its row; one that is `done` stays so."""
    values = {"symbol": symbol, "cause": cause, "at": at, "status": "failed", "dagster_run_id": dagster_run_id}
    with database.session() as session:
        event, _ = insert_once(session, RetrainingEvent, values, ("symbol", "cause"))
        if event.status == "requested":
            event.status, event.dagster_run_id = "failed", dagster_run_id
        return event


def last_retraining(database: Database, symbol: str) -> RetrainingEvent | None:
    """Return the newest retraining of `symbol` that was asked for and did not fail, or None."""
    mine = select(RetrainingEvent).where(RetrainingEvent.symbol == symbol, RetrainingEvent.status != "failed")
    with database.reading() as session:
        return session.scalars(mine.order_by(RetrainingEvent.at.desc()).limit(1)).first()


def record_decision(
    database: Database,
    *,
    kind: str,
    symbol: str,
    what: str,
    reasons: Sequence[str],
    at: datetime | np.datetime64,
    cause: str,
    evidence: Mapping[str, Any] | None = None,
) -> tuple[DecisionRow, bool]:
    """Record a decision of `policy` with its evidence; `cause` names it uniquely within (symbol, kind).

    Returns the row and whether this call made it.
    """
    values = {
        "kind": kind,
        "symbol": symbol,
        "what": what,
        "reasons": list(reasons),
        "at": aware(at),
        "cause": cause,
        "evidence": dict(evidence or {}),
    }
    with database.session() as session:
        return insert_once(session, DecisionRow, values, ("symbol", "kind", "cause"))


def recent_decisions(database: Database, symbol: str, limit: int = 20) -> list[DecisionRow]:
    """Return the newest decisions about `symbol`, newest first."""
    newest = select(DecisionRow).where(DecisionRow.symbol == symbol)
    newest = newest.order_by(DecisionRow.at.desc(), DecisionRow.id.desc()).limit(limit)
    with database.reading() as session:
        return list(session.scalars(newest))


def record_promotion(
    database: Database,
    *,
    symbol: str,
    alias: str,
    from_version: str | None,
    to_version: str,
    at: datetime | np.datetime64,
    evidence: Mapping[str, Any] | None = None,
    cause: str | None = None,
) -> Promotion | None:
    """Record that `alias` moved; None where it did not, because `to_version` held it already.

    With a `cause` the decision in `evidence` (`Decision.to_dict`) is recorded too, in the same transaction.
    """
    values = dict(evidence or {})
    moved = Promotion(
        symbol=symbol,
        alias=alias,
        from_version=from_version,
        to_version=to_version,
        at=aware(at),
        evidence=values,
    )
    with database.session() as session:
        if cause is not None:
            decided = {
                "kind": alias,
                "symbol": symbol,
                "what": values["what"],
                "reasons": list(values["reasons"]),
                "at": aware(at),
                "cause": cause,
                "evidence": dict(values["evidence"]),
            }
            insert_once(session, DecisionRow, decided, ("symbol", "kind", "cause"))
        if from_version == to_version:
            return None
        session.add(moved)
    return moved


def promotion_at(database: Database, symbol: str, alias: str, to_version: str, at: datetime) -> Promotion | None:
    """Return the move of `alias` to that version at that very time, or None where it was not recorded."""
    query = select(Promotion).where(
        Promotion.symbol == symbol, Promotion.at == at, Promotion.alias == alias, Promotion.to_version == to_version
    )
    with database.reading() as session:
        return session.scalars(query.limit(1)).first()


def promotions_between(database: Database, since: datetime, until: datetime) -> list[Promotion]:
    """Return the moves of aliases after `since` and up to `until`, oldest first."""
    moved = select(Promotion).where(Promotion.at > since, Promotion.at <= until).order_by(Promotion.at, Promotion.id)
    with database.reading() as session:
        return list(session.scalars(moved))


def retrainings_between(database: Database, since: datetime, until: datetime) -> list[RetrainingEvent]:
    """Return the retrainings that were asked for after `since` and up to `until`, oldest first."""
    asked = select(RetrainingEvent).where(RetrainingEvent.at > since, RetrainingEvent.at <= until)
    with database.reading() as session:
        return list(session.scalars(asked.order_by(RetrainingEvent.at, RetrainingEvent.id)))


def alias_holders(database: Database, alias: str) -> list[tuple[Promotion, str]]:
    """Return the last move of `alias` of every symbol with the family it went to (empty where it is not indexed)."""
    last = select(func.max(Promotion.id)).where(Promotion.alias == alias).group_by(Promotion.symbol)
    indexed = (Model.symbol == Promotion.symbol) & (Model.mlflow_version == Promotion.to_version)
    held = select(Promotion, Model.family).outerjoin(Model, indexed).where(Promotion.id.in_(last))
    with database.reading() as session:
        return [(moved, family or "") for moved, family in session.execute(held.order_by(Promotion.symbol))]


def save_forecast(
    database: Database, forecast: Forecast, latency_ms: float, config: Mapping[str, Any] | None = None
) -> int:
    """Log live forecasts, one row per decision and horizon; returns how many rows were new.

    The model version is indexed where it was not yet; `EURUSD/3` and `3` name the same version.
    """
    return save_forecasts(database, [LoggedForecast(forecast, latency_ms)], config)


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


def index_model(
    session: Session,
    symbol: str,
    family: str,
    version: str,
    trained_until: datetime | np.datetime64,
    config: Mapping[str, Any],
) -> Model:
    """Return the row of a registered version, made where there is none; raises StoreError where it is another's."""
    values = {
        "symbol": symbol,
        "family": family,
        "mlflow_version": str(version),
        "trained_until": aware(trained_until),
        "config": dict(config),
    }
    model = insert_once(session, Model, values, ("symbol", "mlflow_version"))[0]
    if model.family != family:
        raise StoreError(f"Version {version} of {symbol} is indexed as {model.family}, not {family}: MLflow was reset?")
    return model


def insert_once(session: Session, table: type[_Row], values: dict[str, Any], key: Sequence[str]) -> tuple[_Row, bool]:
    """Insert a row unless its key is there; return the row and whether it is new. Safe against a concurrent twin."""
    adding = _insert(session, table).values(**values).on_conflict_do_nothing(index_elements=list(key))
    made = session.scalar(adding.returning(table.id))  # type: ignore[attr-defined]
    found = select(table).where(*(getattr(table, name) == values[name] for name in key))
    return session.scalars(found).one(), made is not None


def upsert(
    session: Session,
    table: type[Base],
    values: dict[str, Any],
    key: Sequence[str],
    where: ColumnElement[bool] | None = None,
    only: Sequence[str] | None = None,
) -> None:
    """Insert a row, or change the one that has its key: all columns given, or `only` some, where `where` holds."""
    changed = {name: value for name, value in values.items() if name not in key and (only is None or name in only)}
    adding = _insert(session, table).values(**values)
    session.execute(adding.on_conflict_do_update(index_elements=list(key), set_=changed, where=where))


def _insert(session: Session, table: type[Base]) -> Any:
    """Return an INSERT that knows conflicts; SQLite and PostgreSQL each have their own."""
    return (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert(table)


def aware(moment: datetime | np.datetime64) -> datetime:
    """Return array time (UTC by convention) as an aware datetime; a naive datetime passes on and is refused."""
    if isinstance(moment, np.datetime64):
        made: datetime = moment.astype("datetime64[us]").astype(datetime)
        return made.replace(tzinfo=UTC)
    return moment
