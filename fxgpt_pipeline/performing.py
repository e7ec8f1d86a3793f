"""Judging how a symbol's live models do, from what they forecast and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.evaluation.archive import CALIBRATED, read_span
from fxgpt_core.evaluation.live_figures import LiveFigures
from fxgpt_core.evaluation.performance import ScoredRows, join
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.registry import CHAMPION, SHADOW, ModelVersion
from fxgpt_core.lifecycle.replay.judging import PerformanceWatch
from fxgpt_core.lifecycle.tracking import (
    WINDOWS,
    Track,
    WindowPerformance,
    archived_forecast,
    performance,
    track_of,
)
from fxgpt_core.market.history import last_close
from fxgpt_core.policy.degradation import PerformanceNews, degradations
from fxgpt_core.policy.floors import Figure
from fxgpt_core.policy.service import failing, slow
from fxgpt_core.policy.serving import expired
from fxgpt_core.store.alerts import Alert
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.live_log import failures_between
from fxgpt_core.store.rows import aware
from fxgpt_core.store.track import save_performance
from fxgpt_pipeline.lineage import Lineage

DOCUMENT = "performance"
_FEWEST = 8


@dataclass(frozen=True)
class Judged:
    """A symbol's live performance: windows by alias, what got worse, and what is wrong with the service."""

    symbol: str
    at: datetime
    versions: dict[str, str]
    windows: dict[str, tuple[WindowPerformance, ...]]
    news: PerformanceNews | None
    degraded: tuple[str, ...]
    service: dict[str, str]
    note: str

    @property
    def passed(self) -> bool:
        return not self.degraded and not any(self.service.values())

    @property
    def sentence(self) -> str:
        """All of it for a person."""
        said = [f"The model got worse: {'; '.join(self.degraded)}."] if self.degraded else []
        said += [text for text in self.service.values() if text]
        return " ".join(said) or self.note

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "symbol": self.symbol,
            "at": self.at.isoformat(),
            "versions": self.versions,
            "windows": {alias: [one.to_dict() for one in windows] for alias, windows in self.windows.items()},
            "news": None if self.news is None else self.news.to_dict(),
            "degraded": list(self.degraded),
            "service": self.service,
            "passed": self.passed,
            "sentence": self.sentence,
        }


def judge_performance(lineage: Lineage) -> Judged:
    """Measure champion and shadow over the rolling windows, compare the champion with its own reference, store both.

    What is stored for the same moment is replaced. Raises StoreError where a store is out of reach.
    """
    workspace, now = lineage.workspace, lineage.workspace.clock.now()
    holders = {alias: v for v in workspace.registry.versions(lineage.symbol) for alias in v.aliases}
    degradation, live = lineage.settings.retraining.degradation, lineage.settings.live
    windows: dict[str, tuple[WindowPerformance, ...]] = {}
    news, service, note = None, {"slow": "", "errors": ""}, "There is no champion."
    for alias in (CHAMPION, SHADOW):
        if alias not in holders:
            continue
        version = holders[alias]
        track = track_of(workspace.database, version, aware(_trained_until(version)), now)
        if track is None:
            if alias == CHAMPION:
                note, service = f"{version.label} has forecast nothing live yet.", _silent(lineage, version, now)
            continue
        found = tuple(performance(track, now, hours, degradation.coverage) for hours in WINDOWS)
        windows[alias] = found
        save_performance(
            workspace.database, version.symbol, version.version, now, [row for one in found for row in one.rows()]
        )
        if alias == CHAMPION:
            service = _service(found[0], live)
            news = _news(lineage, version, track, found[-1], to_datetime64(now))
            note = f"{version.label} forecasts as well as ever, as far as {_known(track)} outcomes say."
    degraded = () if news is None else degradations(news, degradation)
    news = _dated(lineage, news, bool(degraded), to_datetime64(now))
    versions = {alias: holders[alias].label for alias in (CHAMPION, SHADOW) if alias in holders}
    judged = Judged(lineage.symbol, now, versions, windows, news, degraded, service, note)
    workspace.documents.write(DOCUMENT, lineage.symbol, judged.to_dict(), now.isoformat())
    return judged


def stored_news(lineage: Lineage) -> PerformanceNews | None:
    """Return what was judged last, None where nothing was or where another champion serves by now."""
    stored: dict[str, Any] | None = lineage.workspace.documents.find(DOCUMENT, lineage.symbol)
    if stored is None or stored["news"] is None:
        return None
    champion = lineage.workspace.registry.holder(lineage.symbol, CHAMPION)
    news = PerformanceNews.from_dict(stored["news"])
    return news if champion is not None and champion.label == news.version else None


def expiry_alert(lineage: Lineage) -> Iterator[Alert]:
    """Yield the news that a champion has expired at the newest bar, once per version.

    A registry that is away is news of its own, which is told while it is asked.
    """
    champion = lineage.workspace.served.holders(lineage.symbol).get(CHAMPION)
    if champion is None:
        return
    last = last_close(lineage.workspace.lake, lineage.symbol, lineage.timeframes[0])
    said = expired(_trained_until(champion), last, champion.family, lineage.settings.live)
    if said:
        title, now = f"{lineage.symbol}: the champion has expired", lineage.workspace.clock.now()
        yield Alert("expired", lineage.symbol, champion.label, "error", title, f"{champion.label}: {said}", now)


def performance_alerts(lineage: Lineage) -> Iterator[Alert]:
    """Yield what a person should hear of a symbol's live performance, once per version or day."""
    stored: dict[str, Any] | None = lineage.workspace.documents.find(DOCUMENT, lineage.symbol)
    if stored is None or CHAMPION not in stored["versions"]:
        return
    symbol, at, version = lineage.symbol, datetime.fromisoformat(stored["at"]), stored["versions"][CHAMPION]
    day = f"{version}:{at.astimezone(UTC):%Y-%m-%d}"
    if stored["degraded"]:
        title = f"{symbol}: the champion got worse"
        yield Alert("degraded", symbol, version, "warning", title, stored["sentence"], at)
    for kind, title in (("slow", "forecasts take too long"), ("errors", "forecasts fail")):
        if stored["service"][kind]:
            yield Alert(kind, symbol, day, "warning", f"{symbol}: {title}", stored["service"][kind], at)


def _trained_until(version: ModelVersion) -> np.datetime64:
    return np.datetime64(version.tags["trained_until"], "ns")


def _known(track: Track) -> int:
    return int(np.isfinite(track.outcomes.returns).sum())


def _service(day: WindowPerformance, live: Any) -> dict[str, str]:
    p95 = None if day.latency is None else day.latency[1]
    return {"slow": slow(p95, day.decisions, live), "errors": failing(day.failed, day.decisions + day.failed, live)}


def _silent(lineage: Lineage, version: ModelVersion, now: datetime) -> dict[str, str]:
    """Judge a version that has not made a single forecast: it may have failed at all of them."""
    since = now - timedelta(hours=WINDOWS[0])
    failed = failures_between(lineage.workspace.database, version.symbol, version.version, since, now)
    return {"slow": "", "errors": failing(len(failed), len(failed), lineage.settings.live)}


def _news(
    lineage: Lineage, version: ModelVersion, track: Track, month: WindowPerformance, now: np.datetime64
) -> PerformanceNews | None:
    """Compare the version's realised forecasts with its reference; None as long as there is too little to compare."""
    config, trained_at = lineage.settings.retraining.degradation, _trained_until(version)
    own = track.scored(config.coverage)
    figures = tuple(figure for one in month.figures for figure in _floored(one))
    first = trained_at + np.timedelta64(round(config.first_days * 24 * 60), "m")
    judged = own.between(first, now).known_at(now)
    found: tuple[Any, ...] = ()
    if len(judged) and max(np.isfinite(judged.values["crps"]).sum(axis=0)) >= _FEWEST:
        before = _reference(lineage, version, track)
        watch = PerformanceWatch(version.label, track.forecast.horizons, trained_at, before, config)
        compared = watch.news(join([*_archived_first(lineage, version, track, trained_at, first), own]), now)
        found = () if compared is None else compared.comparisons
    return PerformanceNews(version.label, now, found, figures) if found or figures else None


def _reference(lineage: Lineage, version: ModelVersion, track: Track) -> list[ScoredRows]:
    """Return what the family forecast out of sample before the version was trained, scored; none without it."""
    try:
        forecast = read_span(lineage.workspace.lake, CALIBRATED, lineage.symbol, version.family)
        return _scored(lineage, forecast, track)
    except DataError:
        return []


def _archived_first(
    lineage: Lineage, version: ModelVersion, track: Track, trained_at: np.datetime64, first: np.datetime64
) -> list[ScoredRows]:
    """Return those of the version's first days that have left the operational database, scored by the candles.

    They are part of its reference as long as it serves.
    """
    known = track.forecast.decided_at[0]
    if known <= trained_at + np.timedelta64(lineage.timeframes[0].minutes, "m"):
        return []
    until = min(first, known - np.timedelta64(1, "us"))
    forecast = archived_forecast(lineage.workspace.lake, version, aware(trained_at), aware(until))
    try:
        return [] if forecast is None else _scored(lineage, forecast, track)
    except DataError:
        return []


def _scored(lineage: Lineage, forecast: Forecast, track: Track) -> list[ScoredRows]:
    """Score forecasts of the past by the lineage's data; none where their horizons are others than the track's.

    Raises DataError where there are no data.
    """
    dataset = lineage.current_dataset()
    if forecast.horizons != track.forecast.horizons:
        return []
    rows = np.searchsorted(dataset.known_at, forecast.decided_at)
    kept = (rows < len(dataset)) & (dataset.known_at[np.minimum(rows, len(dataset) - 1)] == forecast.decided_at)
    outcomes = Outcomes.from_dataset(dataset)
    overlaps = tuple(outcomes.overlap(column) for column in range(len(forecast.horizons)))
    coverage = lineage.settings.retraining.degradation.coverage
    return [ScoredRows.of(forecast.take(kept), outcomes, dataset.yardstick[rows[kept]], coverage, overlaps)]


def _floored(one: LiveFigures) -> Iterator[Figure]:
    rows = one.effective_rows
    if rows is None:
        return
    for measure, bounds in (("sharpe", one.sharpe), ("accuracy", one.accuracy), ("skill", one.skill)):
        if bounds is not None:
            yield Figure(measure, one.horizon, bounds.value, bounds.high, rows)  # type: ignore[arg-type]
    if one.drawdown is not None:
        yield Figure("drawdown", one.horizon, one.drawdown, one.drawdown, rows)


def _dated(
    lineage: Lineage, news: PerformanceNews | None, degraded: bool, now: np.datetime64
) -> PerformanceNews | None:
    """Add since when the version is degraded: from the first time on, so that one version is one cause."""
    if news is None:
        return None
    stored: dict[str, Any] | None = lineage.workspace.documents.find(DOCUMENT, lineage.symbol)
    before = None if stored is None or stored["news"] is None else PerformanceNews.from_dict(stored["news"])
    known = before.since if before is not None and before.version == news.version else None
    return replace(news, since=known if known is not None else (now if degraded else None))
