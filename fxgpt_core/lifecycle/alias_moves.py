"""Moving the aliases of a symbol all or nothing, with its audit rows, whatever fails or dies on the way.

    note what the aliases are -> move them -> prove the result -> write the audit rows -> take the note away

The audit rows, one transaction of the operational database, decide: before them a failure puts every alias back, after
them the move counts. Until the note is gone readers see the aliases of before (`ModelRegistry.versions`), so a process
that dies anywhere leaves the old champion serving, and whoever comes next finishes or undoes what it left (`mend`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.lifecycle.registry import CHAMPION, SHADOW, ModelRegistry, ModelVersion
from fxgpt_core.policy.decision import Decision
from fxgpt_core.store.audit import promotion_at, record_promotion
from fxgpt_core.store.database import Database
from fxgpt_core.store.exclusive import exclusively

Changes = Mapping[str, str | None]
"""Alias -> the version that holds it, None: nobody."""

SERVING_SINCE = "serving_since"
"""Tag of a version: since when it has been champion or shadow without a break."""

_LOG = logging.getLogger("fxgpt.promotion")
_EVIDENCE = 4000  # characters that MLflow takes in a tag, with room to spare


@contextmanager
def moving(registry: ModelRegistry, database: Database, symbol: str, seconds: float = 120.0) -> Iterator[None]:
    """Hold the aliases of `symbol` against every other process, mended first; raises StoreError after `seconds`."""
    with exclusively(database, f"promotion-{symbol}", seconds):
        mend(registry, database, symbol)
        yield


def move(
    registry: ModelRegistry,
    database: Database,
    version: ModelVersion,
    alias: str,
    changes: Changes,
    decision: Decision,
    at: datetime,
    prove: Callable[[], object],
) -> None:
    """Carry out `changes`, which give `version` the `alias`, and record the decision; the caller is `moving`.

    `prove` is called when the aliases have moved and raises where the model must not serve. Any error is the caller's
    and leaves the aliases as they were; where even that fails, readers go on seeing them as they were.
    """
    symbol, (before, _) = version.symbol, registry.aliases(version.symbol)
    note = {"alias": alias, "to": version.version, "at": at.isoformat(), "before": before, "changes": dict(changes)}
    registry.begin_move(symbol, note)
    try:
        _set(registry, symbol, changes)
        prove()
        record_promotion(
            database,
            symbol=symbol,
            alias=alias,
            from_version=before.get(alias),
            to_version=version.version,
            at=at,
            evidence=decision.to_dict(),
            cause=decision.cause or f"{alias}:{version.version}:{at.isoformat()}",
        )
    except BaseException as error:
        _undo(registry, database, symbol, before, error)
        raise
    try:
        _show(registry, version, alias, decision.reasons, at, before)
    except FxgptError as error:
        _LOG.error("%s is %s; the registry shows it after the next command: %s", version.label, alias, error)


def mend(registry: ModelRegistry, database: Database, symbol: str) -> str | None:
    """Finish or undo the move that a process died over; returns a sentence about it, None where there was none.

    The caller holds the aliases (`moving`), so nobody is at it any more.
    """
    if not registry.versions(symbol):
        return None
    held, left = registry.aliases(symbol)
    if left is None:
        return None
    alias, to, at = left["alias"], left["to"], datetime.fromisoformat(left["at"])
    recorded = promotion_at(database, symbol, alias, to, at)
    if recorded is not None:
        _set(registry, symbol, left["changes"])
        _show(registry, registry.get(symbol, to), alias, recorded.evidence.get("reasons", ()), at, left["before"])
        said = f"{symbol}: version {to} is {alias}; the process that made it so stopped before it could say so."
    else:
        before = left["before"]
        _set(registry, symbol, {name: before.get(name) for name in {*before, *held}})
        registry.end_move(symbol)
        said = f"{symbol}: version {to} did not become {alias}: its promotion was broken off and all is as before."
    _LOG.warning("%s", said)
    return said


def _set(registry: ModelRegistry, symbol: str, changes: Changes) -> None:
    held, _ = registry.aliases(symbol)
    for alias, version in changes.items():
        if version is None and alias in held:
            registry.delete_alias(symbol, alias)
        elif version is not None and held.get(alias) != version:
            registry.set_alias(symbol, alias, version)


def _undo(
    registry: ModelRegistry, database: Database, symbol: str, before: Mapping[str, str], error: BaseException
) -> None:
    """Put the aliases back at once, for those who read MLflow itself; then let the audit rows decide.

    A database that cannot say whether it took the rows leaves the note standing, until somebody can ask it.
    """
    try:
        held, _ = registry.aliases(symbol)
        _set(registry, symbol, {name: before.get(name) for name in {*before, *held}})
        mend(registry, database, symbol)
    except FxgptError as second:
        error.add_note(f"The next command that moves aliases of {symbol} mends what is left: {second}")


def _show(
    registry: ModelRegistry,
    version: ModelVersion,
    alias: str,
    reasons: Sequence[str],
    at: datetime,
    before: Mapping[str, str],
) -> None:
    """Write the evidence into the registry and take the note away; the move counts already."""
    moment, tags = at.isoformat(), version.tags
    stayed = version.version in (before.get(CHAMPION), before.get(SHADOW))
    since = tags.get(SERVING_SINCE, tags.get(f"{SHADOW}_at", moment)) if stayed else moment
    why = {f"{alias}_reason": " ".join(reasons)[:_EVIDENCE], f"{alias}_at": moment}
    registry.tag(version, {**why, SERVING_SINCE: since})
    registry.end_move(version.symbol)
