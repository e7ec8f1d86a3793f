"""The daily and the weekly digest: what happened, who serves, what could not be delivered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from fxgpt_core.lifecycle.alerts.config import AlertsConfig
from fxgpt_core.lifecycle.alerts.delivery import DIGEST
from fxgpt_core.lifecycle.registry import CHAMPION
from fxgpt_core.store.alerts import SENT, Alert, alerts_between, deliveries
from fxgpt_core.store.audit import alias_holders, retrainings_between
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import AlertRow

_NEW_YORK = ZoneInfo("America/New_York")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHOWN = 40


def due_digest(database: Database, config: AlertsConfig, now: datetime) -> Alert:
    """Return the digest of the last `daily_at` before `now`; its cause is its day, so that it is told once."""
    due = last_due(config, now)
    weekly = _WEEKDAYS[due.weekday()] == config.weekly_on
    days = 7 if weekly else 1
    since = datetime.combine(due.date() - timedelta(days=days), due.timetz())  # the same clock time, over DST too
    name = "weekly" if weekly else "daily"
    body = digest_text(database, since.astimezone(UTC), due.astimezone(UTC))
    title = f"fxgpt: {name} digest of {due:%Y-%m-%d}"
    return Alert(DIGEST, "", f"{name}:{due:%Y-%m-%d}", "info", title, body, due.astimezone(UTC))


def last_due(config: AlertsConfig, now: datetime) -> datetime:
    """Return the last instant, in New York time, at which a digest was due at or before `now`."""
    clock = time.fromisoformat(config.daily_at)
    here = now.astimezone(_NEW_YORK)
    due = datetime.combine(here.date(), clock, _NEW_YORK)
    return due if due <= here else datetime.combine(here.date() - timedelta(days=1), clock, _NEW_YORK)


def digest_text(database: Database, since: datetime, until: datetime) -> str:
    """Return the digest of a span as plain text."""
    told = [row for row in alerts_between(database, since, until) if row.kind != DIGEST]
    parts = [_champions(database), _retrainings(database, since, until), _alerts(told), _undelivered(database, told)]
    return "\n\n".join(part for part in parts if part)


def _champions(database: Database) -> str:
    held = alias_holders(database, CHAMPION)
    if not held:
        return "No pair has a champion yet."
    lines = [f"{moved.symbol}  version {moved.to_version} {family} since {moved.at:%Y-%m-%d}" for moved, family in held]
    return "\n".join(["Champions", *lines])


def _retrainings(database: Database, since: datetime, until: datetime) -> str:
    by_symbol = Counter((event.symbol, event.status) for event in retrainings_between(database, since, until))
    if not by_symbol:
        return "No retraining."
    lines = [f"{symbol}  {count} {status}" for (symbol, status), count in sorted(by_symbol.items())]
    return "\n".join(["Retrainings", *lines])


def _alerts(told: Sequence[AlertRow]) -> str:
    if not told:
        return "No alerts."
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(row.kind for row in told).items()))
    lines = [f"{row.at:%Y-%m-%d %H:%M} UTC  {row.severity:<7}  {row.title}" for row in told[:_SHOWN]]
    more = [f"and {len(told) - _SHOWN} more: fxgpt alerts list"] if len(told) > _SHOWN else []
    return "\n".join([f"Alerts ({counts})", *lines, *more])


def _undelivered(database: Database, told: Sequence[AlertRow]) -> str:
    tried = deliveries(database, [row.id for row in told])
    failed = Counter(channel for (_, channel), row in tried.items() if row.status != SENT)
    problems = {channel: row.problem for (_, channel), row in tried.items() if row.status != SENT}
    lines = [f"{channel}: {count} not delivered. {problems[channel]}" for channel, count in sorted(failed.items())]
    return "\n".join(["Deliveries", *lines]) if lines else ""
