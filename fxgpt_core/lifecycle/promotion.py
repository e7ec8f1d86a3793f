"""Who serves: champion, shadow, previous; proven before and after, one process at a time, with an audit row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.lifecycle.alias_moves import move, moving
from fxgpt_core.lifecycle.archiving import ARCHIVED
from fxgpt_core.lifecycle.bundle import Bundle, load_bundle
from fxgpt_core.lifecycle.registry import CHAMPION, PREVIOUS, SHADOW, ModelRegistry, ModelVersion
from fxgpt_core.policy.config import GateConfig
from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.promotion import KEEP, decide_champion, in_words, outdone
from fxgpt_core.store.asset_config import AcknowledgedAlarm
from fxgpt_core.store.audit import recent_decisions
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.database import Database

Smoke = Callable[[Bundle], object]


def promote(
    registry: ModelRegistry,
    database: Database,
    version: ModelVersion,
    decision: Decision,
    at: datetime,
    smoke: Smoke,
    instead_of: ModelVersion | None = None,
) -> None:
    """Make `version` champion and remember the old one as `previous`; whatever fails leaves the old one serving.

    The model is loaded and forecasts once before anything moves, and again as consumers will find it. `instead_of`: the
    champion that the decision was about; raises BadInputError where another one serves by now. Any other error is that
    of the step that failed: StoreError for a missing or damaged artefact, a registry or a database that is away.
    """
    with moving(registry, database, version.symbol):
        champion = registry.holder(version.symbol, CHAMPION)
        if instead_of is not None and (champion is None or champion.version != instead_of.version):
            serving = "nobody" if champion is None else champion.label
            raise BadInputError(
                f"{version.label} was to follow {instead_of.label}, but {serving} is champion by now: decide again."
            )
        _promote(registry, database, version, decision, at, smoke)


def enter_shadow(
    registry: ModelRegistry, database: Database, version: ModelVersion, decision: Decision, at: datetime, smoke: Smoke
) -> None:
    """Let `version` run beside the champion; the champion keeps serving."""
    with moving(registry, database, version.symbol):
        _enter_shadow(registry, database, version, decision, at, smoke)


def rollback(
    registry: ModelRegistry, database: Database, symbol: str, at: datetime, smoke: Smoke, reason: str = ""
) -> ModelVersion:
    """Make the previous champion champion again; raises BadInputError when there is none."""
    with moving(registry, database, symbol):
        previous = registry.holder(symbol, PREVIOUS)
        if previous is None:
            raise BadInputError(f"{symbol} has no previous champion to roll back to; see `fxgpt models list {symbol}`.")
        current = registry.holder(symbol, CHAMPION)
        from_label = current.label if current else "nothing"
        why = f": {reason}" if reason else "."
        reasons = (f"Rolled back from {from_label} to {previous.label} by a person{why}",)
        decision = Decision(symbol, "rollback", reasons, to_datetime64(at))
        _promote(registry, database, previous, decision, at, smoke)
    return previous


def _promote(
    registry: ModelRegistry, database: Database, version: ModelVersion, decision: Decision, at: datetime, smoke: Smoke
) -> None:
    smoke(load_bundle(registry.folder(version)))
    held, _ = registry.aliases(version.symbol)
    changes: dict[str, str | None] = {CHAMPION: version.version}
    if held.get(CHAMPION) not in (None, version.version):
        changes = {PREVIOUS: held[CHAMPION], **changes}
    if held.get(SHADOW) == version.version:
        changes[SHADOW] = None
    prove = _as_found(registry, version.symbol, CHAMPION, smoke)
    move(registry, database, version, CHAMPION, changes, decision, at, prove)


def _enter_shadow(
    registry: ModelRegistry, database: Database, version: ModelVersion, decision: Decision, at: datetime, smoke: Smoke
) -> None:
    smoke(load_bundle(registry.folder(version)))
    prove = _as_found(registry, version.symbol, SHADOW, smoke)
    move(registry, database, version, SHADOW, {SHADOW: version.version}, decision, at, prove)


def _as_found(registry: ModelRegistry, symbol: str, alias: str, smoke: Smoke) -> Callable[[], object]:
    """Return the proof that whoever resolves `alias` now gets a model that forecasts."""

    def prove() -> object:
        held, _ = registry.aliases(symbol)
        return smoke(load_bundle(registry.folder(registry.get(symbol, held[alias]))))

    return prove


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
    trial: timedelta = timedelta(0),
) -> Decision:
    """Decide what becomes of newly trained `versions` (by family) and carry it out.

    Doing it again with the same versions, after a crash say, changes nothing: the champion found among them is the
    one that this decision made, or one that a person chose since, and stays either way; a shadow that entered goes on
    with its trial, and one that was archived, or promoted and rolled back, does not come back. `cause` names the
    decision in the audit table. A shadow that entered less than `trial` ago keeps its place against new ones, unless it
    is `outdone`.
    """
    with moving(registry, database, evaluation.symbol):
        return _settle(registry, database, evaluation, versions, config, at, smoke, cause, acknowledged, trial)


def _settle(
    registry: ModelRegistry,
    database: Database,
    evaluation: Evaluation,
    versions: Mapping[str, ModelVersion],
    config: GateConfig,
    at: datetime,
    smoke: Smoke,
    cause: str,
    acknowledged: Sequence[AcknowledgedAlarm],
    trial: timedelta,
) -> Decision:
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
    if decision.what == SHADOW and SHADOW in registry.get(symbol, versions[family].version).aliases and decided:
        return decision
    if decision.what == SHADOW:
        decision = _in_turn(registry, evaluation, versions, decision, decided, config, at, trial)
    if decision.what == CHAMPION:
        _promote(registry, database, versions[family], decision, at, smoke)
    elif decision.what == SHADOW:
        _enter_shadow(registry, database, versions[family], decision, at, smoke)
    return decision


def _in_turn(
    registry: ModelRegistry,
    evaluation: Evaluation,
    versions: Mapping[str, ModelVersion],
    decision: Decision,
    decided: bool,
    config: GateConfig,
    at: datetime,
    trial: timedelta,
) -> Decision:
    """Return the decision to let a shadow in, or why it has to wait: it had its turn, or another one has it."""
    family, symbol = decision.evidence["family"], evaluation.symbol
    version = registry.get(symbol, versions[family].version)
    if decided or version.tags.get(ARCHIVED) == "true":
        reasons = (f"{version.label} had its turn as shadow after this very training.", *decision.reasons)
        return replace(decision, what=KEEP, reasons=reasons)
    tried = registry.holder(symbol, SHADOW)
    if tried is None or _entered(tried, at) <= at - trial:
        return decision
    stamp, until = to_datetime64(at), np.datetime64(tried.tags["trained_until"])
    found = outdone(evaluation, family, tried.family, until, list(versions), stamp, config)
    if found is None:
        reasons = (f"{tried.label} is shadow, and its trial goes on.", *decision.reasons)
        return replace(decision, what=KEEP, reasons=reasons)
    ends = f"The trial of {tried.label} ends for {family}: {in_words(found, evaluation)}."
    evidence = {**decision.evidence, "ends": {"trial": tried.label, **asdict(found)}}
    return replace(decision, reasons=(ends, *decision.reasons), evidence=evidence)


def _entered(shadow: ModelVersion, at: datetime) -> datetime:
    """Return when a shadow entered; one whose alias a person set by hand has only now."""
    return datetime.fromisoformat(shadow.tags.get("shadow_at", at.isoformat()))
