"""What happened in a rehearsal, read from the stores that the product keeps, and how well its answers covered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select

from fxgpt_core.lifecycle.registry import SHADOW
from fxgpt_core.policy.shadow import ARCHIVE
from fxgpt_core.store.alerts import alerts_between
from fxgpt_core.store.audit import decisions_between, promotions_between, retrainings_between
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import LiveForecast, Model, OutcomeRow


@dataclass(frozen=True)
class Event:
    """Something that happened at a time of the rehearsal; `kind`: retraining, alias, archive, or that of an alert."""

    at: datetime
    symbol: str
    kind: str
    text: str

    @property
    def line(self) -> str:
        """One line of the timeline."""
        return f"{self.at:%Y-%m-%d %H:%M}  {self.symbol:<7} {self.kind:<12} {self.text}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self) | {"at": self.at.isoformat()}


def events_between(database: Database, since: datetime, until: datetime) -> list[Event]:
    """Return what happened after `since` and up to `until`, oldest first."""
    return sorted(_events(database, since, until), key=lambda one: (one.at, one.symbol))


def _events(database: Database, since: datetime, until: datetime) -> Iterator[Event]:
    for asked in retrainings_between(database, since, until):
        yield Event(asked.at, asked.symbol, "retraining", f"{asked.cause.rpartition(':')[0]} ({asked.status})")
    for moved in promotions_between(database, since, until):
        before = f"v{moved.from_version}" if moved.from_version else "nobody"
        after = f"v{moved.to_version}" if moved.to_version else "nobody"
        yield Event(moved.at, moved.symbol, "alias", f"{moved.alias}: {before} -> {after}")
    for decided in decisions_between(database, SHADOW, since, until):
        if decided.what == ARCHIVE:
            yield Event(decided.at, decided.symbol, "archive", f"shadow: {' '.join(decided.reasons)}")
    for told in alerts_between(database, since, until):
        if told.kind in ("drift", "degraded", "stale_data", "failed_run", "expired"):
            yield Event(told.at, told.symbol, told.kind, told.title)


@dataclass(frozen=True)
class Week:
    """How many answers of a week, of one symbol and horizon, held in the central interval."""

    symbol: str
    begin: datetime
    answers: int
    coverage: float


def answered(
    database: Database, symbol: str, begin: datetime, end: datetime, level: float, horizon: int
) -> Week | None:
    """Return the coverage of what was answered in (begin, end], None where no outcome is known."""
    joined = and_(
        OutcomeRow.symbol == Model.symbol,
        OutcomeRow.decided_at == LiveForecast.decided_at,
        OutcomeRow.horizon == LiveForecast.horizon,
    )
    query = (
        select(LiveForecast.quantiles, OutcomeRow.log_return)
        .join(Model, LiveForecast.model_id == Model.id)
        .join(OutcomeRow, joined)
        .where(
            Model.symbol == symbol,
            LiveForecast.served,
            LiveForecast.horizon == horizon,
            LiveForecast.decided_at > begin,
            LiveForecast.decided_at <= end,
        )
    )
    low, high = f"{(1 - level) / 2:g}", f"{(1 + level) / 2:g}"
    with database.reading() as session:
        rows = session.execute(query).all()
    hits = [_at(said, low) <= value <= _at(said, high) for said, value in rows]
    return Week(symbol, begin, len(hits), sum(hits) / len(hits)) if hits else None


def _at(quantiles: dict[str, Any], level: str) -> float:
    found = {f"{float(name):g}": float(value) for name, value in quantiles.items()}
    return found[level]
