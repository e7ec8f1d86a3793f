"""Sending what lies in the outbox: rate-limited, tried again, never twice once a channel has taken it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fxgpt_core.lifecycle.alerts.channels import Channel, DeliveryError
from fxgpt_core.lifecycle.alerts.config import LOG, SEVERITIES, AlertsConfig
from fxgpt_core.store.alerts import (
    FAILING,
    GIVEN_UP,
    SENT,
    deliveries,
    messages_since,
    record_delivery,
    undelivered,
)
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import AlertRow

DIGEST = "digest"
_LONGEST_PAUSE = timedelta(hours=1)
_FIRST_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True)
class Delivered:
    """What one round did on one channel: alerts sent, messages they took, alerts that wait, and what went wrong."""

    sent: int = 0
    messages: int = 0
    waiting: int = 0
    problem: str = ""


def deliver(
    database: Database, channels: Mapping[str, Channel], config: AlertsConfig, now: datetime
) -> dict[str, Delivered]:
    """Send to every channel what it has not taken yet; a channel that fails keeps none of the others waiting."""
    return {name: _deliver(database, name, channel, config, now) for name, channel in channels.items()}


def _deliver(database: Database, name: str, channel: Channel, config: AlertsConfig, now: datetime) -> Delivered:
    settings = config.channels.get(name)
    least = "info" if settings is None else settings.least
    lasting = timedelta(hours=config.give_up_after_hours)
    # Twice the age: what is too old to be tried again must still be found, to be given up in so many words.
    found = undelivered(database, name, SEVERITIES, now - 2 * lasting)
    wanted = [alert for alert in found if _wanted(alert, least, settings is None or settings.digests)]
    wanted = _due(database, name, wanted, now)
    late = [alert for alert in wanted if alert.at < now - lasting]
    if late:
        record_delivery(database, [alert.id for alert in late], name, GIVEN_UP, now, "older than give_up_after_hours")
    fresh = [alert for alert in wanted if alert.at >= now - lasting]
    room = (
        len(fresh)
        if name == LOG
        else config.at_most_per_hour - messages_since(database, name, now - timedelta(hours=1))
    )
    sent = messages = 0
    for number, bundle in enumerate(_messages(fresh, room)):
        ids = [alert.id for alert in bundle]
        try:
            channel.send(*_text(bundle))
        except DeliveryError as error:
            record_delivery(database, ids, name, FAILING, now, str(error))
            return Delivered(sent, messages, len(fresh) - sent, str(error))
        # Messages are told apart by their time; a microsecond each keeps those of one round countable.
        record_delivery(database, ids, name, SENT, now + timedelta(microseconds=number))
        sent, messages = sent + len(ids), messages + 1
    return Delivered(sent, messages, len(fresh) - sent)


def _wanted(alert: AlertRow, least: str, digests: bool) -> bool:
    if alert.kind == DIGEST:
        return digests
    return SEVERITIES.index(alert.severity) >= SEVERITIES.index(least)


def _due(database: Database, channel: str, alerts: Sequence[AlertRow], now: datetime) -> list[AlertRow]:
    """Leave out what failed so recently that trying again would only hammer a channel that is down."""
    tried = deliveries(database, [alert.id for alert in alerts], channel)

    def due(alert: AlertRow) -> bool:
        row = tried.get((alert.id, channel))
        return row is None or now >= row.at + min(_FIRST_PAUSE * 2 ** min(row.tries - 1, 10), _LONGEST_PAUSE)

    return [alert for alert in alerts if due(alert)]


def _messages(alerts: Sequence[AlertRow], room: int) -> list[list[AlertRow]]:
    """Return what goes into each message: one alert each while there is room, the mildest together in the last."""
    if not alerts or room < 1:
        return []
    if len(alerts) <= room:
        return [[alert] for alert in alerts]
    ranked = sorted(alerts, key=lambda alert: (-SEVERITIES.index(alert.severity), alert.at, alert.id))
    return [[alert] for alert in ranked[: room - 1]] + [ranked[room - 1 :]]


def _text(alerts: Sequence[AlertRow]) -> tuple[str, str, str]:
    """Return title, body and severity of one message."""
    if len(alerts) == 1:
        (alert,) = alerts
        return alert.title, f"{alert.body}\n\n{_when(alert)}", alert.severity
    worst = max((alert.severity for alert in alerts), key=SEVERITIES.index)
    lines = "\n".join(f"{_when(alert)}  {alert.title}" for alert in alerts)
    return f"fxgpt: {len(alerts)} alerts at once", f"Held together by at_most_per_hour:\n\n{lines}", worst


def _when(alert: AlertRow) -> str:
    return f"{alert.at:%Y-%m-%d %H:%M} UTC"
