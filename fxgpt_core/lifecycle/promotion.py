"""Moving aliases: champion, shadow, previous; with a smoke test before and an audit row after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.lifecycle.bundle import Bundle, load_bundle
from fxgpt_core.lifecycle.registry import CHAMPION, PREVIOUS, SHADOW, ModelRegistry, ModelVersion
from fxgpt_core.policy.config import GateConfig
from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.promotion import KEEP, decide_champion
from fxgpt_core.store.asset_config import AcknowledgedAlarm
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.store.records import recent_decisions, record_decision, record_promotion

Smoke = Callable[[Bundle], object]


def promote(
    registry: ModelRegistry, database: Database, version: ModelVersion, decision: Decision, at: datetime, smoke: Smoke
) -> None:
    """Make `version` champion: load it, let it forecast once, remember the old one as `previous`, move the alias.

    Whatever fails before the alias moves leaves the old champion serving; the error is the caller's. The audit row
    and the evidence tag are written last and again when the same promotion is repeated after a crash.
    """
    smoke(load_bundle(registry.folder(version)))
    old = registry.holder(version.symbol, CHAMPION)
    if old is not None and old.version != version.version:
        registry.set_alias(version.symbol, PREVIOUS, old.version)
    registry.set_alias(version.symbol, CHAMPION, version.version)
    shadow = registry.holder(version.symbol, SHADOW)
    if shadow is not None and shadow.version == version.version:
        registry.delete_alias(version.symbol, SHADOW)
    _audit(registry, database, version, CHAMPION, old, decision, at)


def enter_shadow(
    registry: ModelRegistry, database: Database, version: ModelVersion, decision: Decision, at: datetime, smoke: Smoke
) -> None:
    """Let `version` run beside the champion; the champion keeps serving."""
    smoke(load_bundle(registry.folder(version)))
    old = registry.holder(version.symbol, SHADOW)
    registry.set_alias(version.symbol, SHADOW, version.version)
    _audit(registry, database, version, SHADOW, old, decision, at)


def rollback(registry: ModelRegistry, database: Database, symbol: str, at: datetime, smoke: Smoke) -> ModelVersion:
    """Make the previous champion champion again; raises BadInputError when there is none."""
    previous = registry.holder(symbol, PREVIOUS)
    if previous is None:
        raise BadInputError(f"{symbol} has no previous champion to roll back to; see `fxgpt models list {symbol}`.")
    current = registry.holder(symbol, CHAMPION)
    from_label = current.label if current else "nothing"
    reasons = (f"Rolled back from {from_label} to {previous.label} by a person.",)
    promote(registry, database, previous, Decision(symbol, "rollback", reasons, to_datetime64(at)), at, smoke)
    return previous


def _audit(
    registry: ModelRegistry,
    database: Database,
    version: ModelVersion,
    alias: str,
    old: ModelVersion | None,
    decision: Decision,
    at: datetime,
) -> None:
    before = old.version if old is not None and old.version != version.version else None
    record_promotion(
        database,
        symbol=version.symbol,
        alias=alias,
        from_version=before,
        to_version=version.version,
        at=at,
        evidence=decision.to_dict(),
    )
    record_decision(
        database,
        kind=alias,
        symbol=version.symbol,
        what=decision.what,
        reasons=decision.reasons,
        at=at,
        cause=decision.cause or f"{alias}:{version.version}:{at.isoformat()}",
        evidence=decision.evidence,
    )
    registry.tag(version, {f"{alias}_reason": " ".join(decision.reasons)[:4000], f"{alias}_at": at.isoformat()})


def settle(
    registry: ModelRegistry,
    database: Database,
    evaluation: Evaluation,
    versions: Mapping[str, ModelVersion],
    config: GateConfig,
    at: datetime,
    smoke: Smoke,
    cause: str,
    acknowledged: Sequence[AcknowledgedAlarm] = (),
) -> Decision:
    """Decide what becomes of newly trained `versions` (by family) and carry it out.

    Doing it again with the same versions, after a crash say, changes nothing: the champion found among them is the
    one that this decision made, or one that a person chose since, and stays either way. `cause` names the decision in
    the audit table.
    """
    symbol, stamp = evaluation.symbol, to_datetime64(at)
    champion = registry.holder(symbol, CHAMPION)
    decided = any(row.cause == cause for row in recent_decisions(database, symbol, limit=100))
    settled = (
        champion is not None
        and any(v.version == champion.version for v in versions.values())
        and (decided or "champion_at" not in champion.tags)
    )
    current = None if champion is None or settled else champion.family
    decision = decide_champion(evaluation, list(versions), current, stamp, config, acknowledged)
    decision = replace(decision, cause=cause)
    family = decision.evidence["family"]
    if settled and champion is not None and family != champion.family:
        reasons = (f"{champion.label} ({champion.family}) stays champion: it was chosen since.", *decision.reasons)
        return replace(decision, what=KEEP, reasons=reasons)
    if decision.what == CHAMPION:
        promote(registry, database, versions[family], decision, at, smoke)
    elif decision.what == SHADOW:
        enter_shadow(registry, database, versions[family], decision, at, smoke)
    return decision
