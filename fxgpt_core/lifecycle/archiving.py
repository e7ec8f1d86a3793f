"""Taking a shadow that did not prove itself off the stage."""

from __future__ import annotations

from datetime import datetime

from fxgpt_core.lifecycle.alias_moves import moving
from fxgpt_core.lifecycle.registry import SHADOW, ModelRegistry, ModelVersion
from fxgpt_core.policy.decision import Decision
from fxgpt_core.store.audit import find_decision, record_decision
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.database import Database

ARCHIVED = "archived"
"""Tag of a version that was shadow and did not prove itself."""
_EVIDENCE = 4000  # characters that MLflow takes in a tag, with room to spare


def archive_shadow(
    registry: ModelRegistry, database: Database, version: ModelVersion, decision: Decision, at: datetime
) -> bool:
    """Take the alias `shadow` from `version` and say why in its tags; the version stays. False where it lost it before.

    The decision is recorded first and the alias goes last; a process that dies in between is finished by
    `finish_archiving`.
    """
    with moving(registry, database, version.symbol):
        held = registry.holder(version.symbol, SHADOW)
        if held is None or held.version != version.version:
            return False
        record_decision(
            database,
            kind=SHADOW,
            symbol=version.symbol,
            what=decision.what,
            reasons=decision.reasons,
            at=at,
            cause=decision.cause,
            evidence=decision.evidence,
        )
        why = " ".join(decision.reasons)[:_EVIDENCE]
        registry.tag(version, {ARCHIVED: "true", "archived_at": at.isoformat(), "archived_reason": why})
        registry.delete_alias(version.symbol, SHADOW)
    return True


def finish_archiving(
    registry: ModelRegistry, database: Database, version: ModelVersion, cause: str, at: datetime
) -> Decision | None:
    """Take off a shadow whose archiving for `cause` was recorded and not carried out; the decision, None without one.

    What is recorded has been told: later outcomes do not change it.
    """
    row = find_decision(database, version.symbol, SHADOW, cause)
    if row is None:
        return None
    decision = Decision(row.symbol, row.what, tuple(row.reasons), to_datetime64(row.at), row.cause, row.evidence)
    archive_shadow(registry, database, version, decision, at)
    return decision
