"""Judging a symbol's shadow on its live forecasts, and carrying out what `policy` decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from fxgpt_core.lifecycle.archiving import archive_shadow, finish_archiving
from fxgpt_core.lifecycle.promotion import promote
from fxgpt_core.lifecycle.registry import CHAMPION, SHADOW, ModelVersion
from fxgpt_core.lifecycle.shadowing import Pairs, paired, shadow_evidence
from fxgpt_core.lifecycle.tracking import Track, track_of
from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.serving import expiry
from fxgpt_core.policy.shadow import ARCHIVE, PROMOTE, decide_shadow, trial_cause
from fxgpt_core.reports.shadow_page import render_shadow
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.documents import write_atomically
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.outputs import report_path
from fxgpt_pipeline.performing import DOCUMENT as PERFORMANCE_DOCUMENT
from fxgpt_pipeline.serving import smoke_forecast

DOCUMENT = "shadow"


@dataclass(frozen=True)
class ShadowVerdict:
    """What was decided about a shadow; `decision` is None where there was none to judge, and `note` says why."""

    symbol: str
    decision: Decision | None
    note: str
    page: str = ""

    @property
    def what(self) -> str:
        return "none" if self.decision is None else self.decision.what

    @property
    def sentence(self) -> str:
        """All of it for a person."""
        return self.note if self.decision is None else f"{self.decision.what}: {' '.join(self.decision.reasons)}"


def judge_shadow(lineage: Lineage) -> ShadowVerdict:
    """Judge the shadow of a symbol, write its page, and promote or archive it where `policy` says so.

    Promotion goes the way of every promotion: the model must load and forecast, and whatever fails leaves the old
    champion serving; the error is the caller's.
    """
    workspace, now = lineage.workspace, lineage.workspace.clock.now()
    held = {alias: v for v in workspace.registry.versions(lineage.symbol) for alias in v.aliases}
    if CHAMPION not in held or SHADOW not in held:
        return _none(lineage, "There is no shadow." if CHAMPION in held else "There is no champion.")
    champion, shadow = held[CHAMPION], held[SHADOW]
    if "shadow_at" not in shadow.tags:
        return _none(lineage, f"Nothing says since when {shadow.label} is shadow: its alias was set by hand.")
    since = datetime.fromisoformat(shadow.tags["shadow_at"])
    cause = trial_cause(shadow.label, champion.label, to_datetime64(since), ARCHIVE)
    left = finish_archiving(workspace.registry, workspace.database, shadow, cause, now)
    if left is not None:
        return ShadowVerdict(lineage.symbol, left, "")
    tracks = [track_of(workspace.database, version, since, now) for version in (champion, shadow)]
    newest = None if tracks[1] is None else tracks[1].forecast.decided_at[-1]
    days_left = None if newest is None else _days_left(lineage, champion, newest)
    coverage = lineage.settings.shadow.coverage
    own = _pairs([tracks[1], tracks[1]], to_datetime64(since), coverage)
    pairs = _pairs(tracks, to_datetime64(since), coverage)
    if days_left is not None and days_left < 0:
        pairs = pairs or own  # beside nobody: no better and no worse
    if pairs is None or own is None or tracks[1] is None:
        return _none(lineage, f"{shadow.label} and {champion.label} have forecast nothing together yet.")
    evidence = shadow_evidence(
        pairs,
        (champion.label, shadow.label),
        to_datetime64(since),
        to_datetime64(now),
        lineage.settings.shadow,
        _degraded(lineage, champion),
        days_left,
        own,
    )
    failed = len(tracks[1].failed)
    evidence = replace(evidence, failed=failed, owed=failed + len(own.decided_at))
    decision = decide_shadow(lineage.symbol, evidence, lineage.settings.shadow)
    page = _written(lineage, decision)
    workspace.documents.write(DOCUMENT, lineage.symbol, decision.to_dict(), now.isoformat())
    if decision.what == PROMOTE:
        promote(
            workspace.registry,
            workspace.database,
            shadow,
            decision,
            now,
            lambda bundle: smoke_forecast(lineage, bundle),
            instead_of=champion,
        )
    elif decision.what == ARCHIVE:
        archive_shadow(workspace.registry, workspace.database, shadow, decision, now)
    return ShadowVerdict(lineage.symbol, decision, "", page)


def _pairs(tracks: list[Track | None], since: np.datetime64, coverage: float) -> Pairs | None:
    champion, shadow = tracks
    return None if champion is None or shadow is None else paired(champion, shadow, since, coverage)


def _none(lineage: Lineage, note: str) -> ShadowVerdict:
    return ShadowVerdict(lineage.symbol, None, note)


def _degraded(lineage: Lineage, champion: ModelVersion) -> bool:
    stored: dict[str, Any] | None = lineage.workspace.documents.find(PERFORMANCE_DOCUMENT, lineage.symbol)
    return stored is not None and stored["versions"].get(CHAMPION) == champion.label and bool(stored["degraded"])


def _days_left(lineage: Lineage, champion: ModelVersion, decided_at: np.datetime64) -> float:
    last = expiry(np.datetime64(champion.tags["trained_until"]), champion.family, lineage.settings.live)
    return float((last - decided_at) / np.timedelta64(1, "D"))


def _written(lineage: Lineage, decision: Decision) -> str:
    page = render_shadow(lineage.symbol, decision.what, decision.reasons, decision.evidence)
    path = report_path(lineage).with_name("shadow.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(write_atomically(path, page))
