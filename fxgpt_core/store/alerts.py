"""The outbox of alerts: written once per cause, delivered to each channel until that worked.

A person reads these rows when the channels are silent, so nothing here is ever deleted by delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from fxgpt_core.store.database import Database
from fxgpt_core.store.models import AlertRow, DeliveryRow

SENT, FAILING, GIVEN_UP = "sent", "failing", "given_up"
_COLUMNS = 255


@dataclass(frozen=True)
class Alert:
    """News for a person: `cause` names what happened uniquely within (kind, symbol); `at` carries a time zone."""

    kind: str
    symbol: str
    cause: str
    severity: str
    title: str
    body: str
    at: datetime


def record_alert(database: Database, alert: Alert, repeats_within: timedelta) -> bool:
    """Put an alert into the outbox; False when the same cause is in it already.

    It counts as repeated when an alert of its kind about its symbol was put in within that time before it.
    """
    said = select(AlertRow.id).where(
        AlertRow.kind == alert.kind,
        AlertRow.symbol == alert.symbol,
        AlertRow.repeated.is_(False),
        AlertRow.at > alert.at - repeats_within,
        AlertRow.at <= alert.at,
        AlertRow.cause != alert.cause[:_COLUMNS],
    )
    values = {
        "kind": alert.kind,
        "symbol": alert.symbol,
        "cause": alert.cause[:_COLUMNS],
        "severity": alert.severity,
        "title": alert.title[:_COLUMNS],
        "body": alert.body,
        "at": alert.at,
    }
    with database.session() as session:
        repeated = session.scalars(said.limit(1)).first() is not None
        insert = (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert(AlertRow)
        adding = insert.values(**values, repeated=repeated).on_conflict_do_nothing(
            index_elements=["kind", "symbol", "cause"]
        )
        return session.scalar(adding.returning(AlertRow.id)) is not None


def undelivered(database: Database, channel: str, severities: Sequence[str], since: datetime) -> list[AlertRow]:
    """Return the alerts since then that `channel` still has to deliver, oldest first; repeated ones are left out."""
    query = _with_delivery(channel).where(
        AlertRow.severity.in_(severities),
        AlertRow.repeated.is_(False),
        AlertRow.at >= since,
        or_(DeliveryRow.id.is_(None), DeliveryRow.status == FAILING),
    )
    with database.reading() as session:
        return list(session.scalars(query.order_by(AlertRow.at, AlertRow.id)))


def deliveries(
    database: Database, alerts: Sequence[int], channel: str | None = None
) -> dict[tuple[int, str], DeliveryRow]:
    """Return what became of alerts, by (alert, channel); of one channel or all."""
    query = select(DeliveryRow).where(DeliveryRow.alert_id.in_(list(alerts)))
    if channel is not None:
        query = query.where(DeliveryRow.channel == channel)
    with database.reading() as session:
        return {(row.alert_id, row.channel): row for row in session.scalars(query)}


def record_delivery(
    database: Database, alerts: Sequence[int], channel: str, status: str, at: datetime, problem: str = ""
) -> None:
    """Record what became of alerts on a channel, adding to the tries made so far."""
    with database.session() as session:
        insert = (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert(DeliveryRow)
        for alert in alerts:
            change = {"status": status, "at": at, "problem": problem}
            adding = insert.values(alert_id=alert, channel=channel, tries=1, **change)
            session.execute(
                adding.on_conflict_do_update(
                    index_elements=["alert_id", "channel"], set_={**change, "tries": DeliveryRow.tries + 1}
                )
            )


def messages_since(database: Database, channel: str, since: datetime) -> int:
    """Return how many messages left by a channel since then: alerts sent together share their time and are one."""
    sent = select(func.count(func.distinct(DeliveryRow.at))).where(
        DeliveryRow.channel == channel, DeliveryRow.status == SENT, DeliveryRow.at > since
    )
    with database.reading() as session:
        return int(session.scalar(sent) or 0)


def alerts_between(
    database: Database, since: datetime, until: datetime, symbol: str | None = None, limit: int = 1000
) -> list[AlertRow]:
    """Return alerts after `since` and up to `until`, newest first."""
    query = select(AlertRow).where(AlertRow.at > since, AlertRow.at <= until)
    if symbol is not None:
        query = query.where(AlertRow.symbol == symbol)
    with database.reading() as session:
        return list(session.scalars(query.order_by(AlertRow.at.desc(), AlertRow.id.desc()).limit(limit)))


def _with_delivery(channel: str) -> Select[AlertRow]:
    mine = and_(DeliveryRow.alert_id == AlertRow.id, DeliveryRow.channel == channel)
    return select(AlertRow).outerjoin(DeliveryRow, mine)
