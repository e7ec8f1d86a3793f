"""Gathering what the dashboard shows, pair by pair; what cannot be read becomes a sentence on the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation.leaderboard import leaderboard
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.policy.alarms import raised_alarms
from fxgpt_core.policy.serving import expiry
from fxgpt_core.reports.dashboard_page import DashboardRow, DecisionLine, LiveFigures, render_dashboard
from fxgpt_core.store.audit import recent_decisions
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.documents import write_atomically
from fxgpt_core.store.track import performance_of
from fxgpt_pipeline.evaluating import EVALUATION
from fxgpt_pipeline.freshness import judge_freshness
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.workspace import Workspace

if TYPE_CHECKING:
    from fxgpt_core.store.models import DecisionRow, PerformanceRow

_DECISIONS = 5
_DAY = np.timedelta64(1, "D")
_WHY = 300  # characters of a decision's reasons; the registry and the database keep them whole
_Row = TypeVar("_Row")


def dashboard_rows(workspace: Workspace) -> list[DashboardRow]:
    """Return every configured pair, the enabled ones first; a pair that cannot be read says why."""
    rows = []
    for symbol, asset in sorted(workspace.assets.items(), key=lambda item: (not item[1].enabled, item[0])):
        row = DashboardRow(symbol, asset.enabled)
        try:
            lineage = workspace.lineage(symbol)
        except FxgptError as error:
            rows.append(replace(row, problems=(str(error),)))
            continue
        for part in (_with_model, _with_evaluation, _with_drift, _with_bars, _with_history):
            row = _or_said(row, part, lineage)
        rows.append(replace(row, next_look=_next_look(lineage) if asset.enabled else ""))
    return rows


def write_dashboard(workspace: Workspace) -> tuple[list[DashboardRow], Path]:
    """Render the page; returns what it shows and where it lies."""
    rows = dashboard_rows(workspace)
    labels = {name: entry.label for name, entry in FAMILIES.items()}
    page = render_dashboard(rows, labels, workspace.clock.now().strftime("%Y-%m-%d %H:%M UTC"))
    return rows, write_atomically(workspace.home.reports / "dashboard.html", page)


def _or_said(
    row: DashboardRow, part: Callable[[DashboardRow, Lineage], DashboardRow], lineage: Lineage
) -> DashboardRow:
    """Return the row with a part filled in, or with the sentence about why it is not."""
    try:
        return part(row, lineage)
    except FxgptError as error:
        said = str(error)
        return row if said in row.problems else replace(row, problems=(*row.problems, said))


def _with_model(row: DashboardRow, lineage: Lineage) -> DashboardRow:
    from fxgpt_core.lifecycle.registry import CHAMPION, SHADOW

    versions = lineage.workspace.registry.versions(lineage.symbol)
    champion = next((version for version in versions if CHAMPION in version.aliases), None)
    shadow = next((version for version in versions if SHADOW in version.aliases), None)
    if champion is None:
        return replace(row, problems=(*row.problems, "No model serves yet.")) if row.enabled else row
    now, until = to_datetime64(lineage.workspace.clock.now()), np.datetime64(champion.tags["trained_until"], "ns")
    last = expiry(until, champion.family, lineage.settings.live)
    return replace(
        row,
        champion=champion.label,
        family=champion.family,
        trained_until=_minute(until),
        age_days=float((now - until) / _DAY),
        expires=_minute(last),
        expires_in_days=float((last - now) / _DAY),
        shadow=shadow.label if shadow is not None else "",
    )


def _with_evaluation(row: DashboardRow, lineage: Lineage) -> DashboardRow:
    found = lineage.workspace.documents.find(EVALUATION, lineage.symbol)
    if found is None or not row.family:
        return row
    evaluation = Evaluation.from_dict(found)
    entry = next((e for e in leaderboard([evaluation], {}).of(lineage.symbol) if e.family == row.family), None)
    if entry is None:
        return row
    raised = raised_alarms(evaluation, row.family, lineage.asset.acknowledged_alarms)
    return replace(
        row,
        skill=entry.skill,
        skill_low=entry.low,
        skill_high=entry.high,
        coverage=entry.coverage,
        alarms=tuple(alarm.sentence for alarm in raised if alarm.open),
    )


def _with_drift(row: DashboardRow, lineage: Lineage) -> DashboardRow:
    from fxgpt_pipeline.stages import DRIFT

    found = lineage.workspace.documents.find(DRIFT[1], lineage.symbol)
    if found is None:
        return row
    verdict = found["verdict"]
    word = "not judged" if verdict.get("note") else "calm"
    if verdict["drifted"]:
        word = "begins" if verdict["onset"] else "goes on"
    return replace(row, drift=word, drift_said=str(found["summary"]), drifted=bool(verdict["drifted"]))


def _with_bars(row: DashboardRow, lineage: Lineage) -> DashboardRow:
    fresh = judge_freshness(lineage)
    return replace(row, bars=fresh.sentence, stale=not fresh.passed)


def _with_history(row: DashboardRow, lineage: Lineage) -> DashboardRow:
    database, version = lineage.workspace.database, row.champion.rpartition("/")[2]
    stored = performance_of(database, lineage.symbol)
    mine = [entry for entry in stored if entry.model.mlflow_version == version]
    newest = [entry for entry in mine if entry.until == mine[0].until]
    decided = recent_decisions(database, lineage.symbol, limit=_DECISIONS)
    return replace(
        row,
        live=tuple(_figures(entry) for entry in newest),
        decisions=tuple(_line(decision) for decision in decided),
    )


def _figures(row: PerformanceRow) -> LiveFigures:
    return LiveFigures(
        hours=row.hours,
        horizon=horizon_name(row.horizon),
        until=f"{row.until:%Y-%m-%d %H:%M}",
        outcomes=row.outcomes,
        skill=row.skill,
        accuracy=row.accuracy,
        coverage=row.coverage,
        error_rate=row.error_rate,
        latency_p95=row.latency_p95,
    )


def _line(row: DecisionRow) -> DecisionLine:
    why = " ".join(row.reasons)
    return DecisionLine(f"{row.at:%Y-%m-%d %H:%M}", row.kind, row.what, why if len(why) <= _WHY else f"{why[:_WHY]} …")


def _next_look(lineage: Lineage) -> str:
    """Return when the retraining schedule looks next; it retrains where `retraining` says that it is due."""
    from dagster._utils.schedules import cron_string_iterator  # what the daemon itself counts with

    now = lineage.workspace.clock.now()
    following = cron_string_iterator(now.timestamp(), lineage.asset.retraining_cron, "UTC")
    moment: datetime = next(tick for tick in following if tick > now)
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _minute(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[m]")).replace("T", " ")
