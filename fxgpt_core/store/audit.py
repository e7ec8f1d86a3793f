"""What was decided and what became of it, in the operational database: retrainings, decisions, moves of aliases.

Each call is one transaction, and every recording is idempotent: a step that is repeated after a crash finds its row
and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import func, select, update

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import DecisionRow, Model, Promotion, RetrainingEvent
from fxgpt_core.store.rows import aware, insert_once


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


def find_decision(database: Database, symbol: str, kind: str, cause: str) -> DecisionRow | None:
    """Return the decision of that kind and cause, None where none was recorded."""
    query = select(DecisionRow).where(
        DecisionRow.symbol == symbol, DecisionRow.kind == kind, DecisionRow.cause == cause
    )
    with database.reading() as session:
        return session.scalars(query).first()


def decisions_between(database: Database, kind: str, since: datetime, until: datetime) -> list[DecisionRow]:
    """Return the decisions of one kind after `since` and up to `until`, oldest first."""
    made = select(DecisionRow).where(DecisionRow.kind == kind, DecisionRow.at > since, DecisionRow.at <= until)
    with database.reading() as session:
        return list(session.scalars(made.order_by(DecisionRow.at, DecisionRow.id)))


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
