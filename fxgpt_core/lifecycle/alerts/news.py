"""Alerts about what the audit tables say: promotions, rollbacks, archived shadows and retrainings.

They are derived from the rows, not from the code that writes them, so nothing has to be told twice and a killed process
loses none: whoever looks next finds the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from fxgpt_core.lifecycle.registry import CHAMPION, SHADOW
from fxgpt_core.policy.shadow import ARCHIVE
from fxgpt_core.store.alerts import Alert
from fxgpt_core.store.audit import decisions_between, promotions_between, retrainings_between
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import DecisionRow, Promotion, RetrainingEvent

_RETRAINING = {
    "requested": ("retraining_started", "info", "retraining started"),
    "done": ("retraining_finished", "info", "retraining finished"),
    "failed": ("retraining_failed", "error", "retraining failed"),
}


def audited_news(database: Database, since: datetime, until: datetime) -> Iterator[Alert]:
    """Yield an alert for every move of an alias, every shadow that was archived and every state of a retraining, after
    `since` and up to `until`."""
    for moved in promotions_between(database, since, until):
        yield _promotion(moved)
    for decided in decisions_between(database, SHADOW, since, until):
        if decided.what == ARCHIVE:
            yield _archived(decided)
    for event in retrainings_between(database, since, until):
        yield _retraining(event)


def _promotion(moved: Promotion) -> Alert:
    reasons = " ".join(moved.evidence.get("reasons", ())) or "No reason was recorded."
    before = f" instead of {moved.from_version}" if moved.from_version else ""
    rolled_back = moved.evidence.get("what") == "rollback"
    if moved.alias != CHAMPION:
        kind, severity, said = "shadow", "info", f"version {moved.to_version} enters as {moved.alias}"
    elif rolled_back:
        kind, severity, said = "rolled_back", "warning", f"rolled back to version {moved.to_version}{before}"
    else:
        kind, severity, said = "promoted", "info", f"version {moved.to_version} is champion{before}"
    return Alert(kind, moved.symbol, f"promotion:{moved.id}", severity, f"{moved.symbol}: {said}", reasons, moved.at)


def _archived(decided: DecisionRow) -> Alert:
    title, why = f"{decided.symbol}: the shadow is archived", " ".join(decided.reasons)
    return Alert("shadow", decided.symbol, f"decision:{decided.id}", "info", title, why, decided.at)


def _retraining(event: RetrainingEvent) -> Alert:
    kind, severity, said = _RETRAINING[event.status]
    run = f"\nDagster run {event.dagster_run_id}" if event.dagster_run_id else ""
    return Alert(
        kind,
        event.symbol,
        retraining_cause(event),
        severity,
        f"{event.symbol}: {said}",
        f"Cause: {event.cause}{run}",
        event.at,
    )


def retraining_cause(event: RetrainingEvent) -> str:
    """Name the news that a retraining is in its state, so that whoever tells it first tells it alone."""
    return f"retraining:{event.id}:{event.status}"
