"""The data-quality page of a symbol: coverage by day, months against limits, incidents, sources; opens offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.quality.coverage import DailyCoverage
from fxgpt_core.market.quality.incidents import Incident
from fxgpt_core.market.quality.report import QualityReport
from fxgpt_core.reports.heat_map import COLOURS, LABELS, coverage_heat_map, kinds_of_days
from fxgpt_core.reports.pages import page_environment
from fxgpt_core.store.documents import write_atomically

_FIELDS = ("stamp", "open", "high", "low", "close", "volume")
_INCIDENTS, _ROWS_OF_A_REASON = 200, 10


@dataclass(frozen=True)
class PageFacts:
    """What the page says beside the report: price side, when it was made (ISO 8601), the limits, and the sources
    (`name`, `layout`, `time_zone`, `side`, `first`, `last`, `rows`, `quarantined` by reason; absent facts are left
    out); the report of the faster bars from which these were derived, if they were, and every limit that is exceeded
    (None: those that the page's report exceeds)."""

    side: str
    made_at: str
    limits: QualityConfig
    sources: Sequence[Mapping[str, Any]]
    given: QualityReport | None = None
    failures: Sequence[str] | None = None


def write_quality_page(
    path: Path,
    symbol: str,
    report: QualityReport,
    daily: DailyCoverage,
    incidents: Sequence[Incident],
    quarantine_sample: pd.DataFrame,
    facts: PageFacts,
) -> Path:
    """Write the page (atomically) and return its path.

    `incidents` in the order to show them, `quarantine_sample`: rows with `ts_utc`, `reason` and the text of the row.
    """
    text = render_quality_page(symbol, report, daily, incidents, quarantine_sample, facts)
    return write_atomically(path, text)


def render_quality_page(
    symbol: str,
    report: QualityReport,
    daily: DailyCoverage,
    incidents: Sequence[Incident],
    quarantine_sample: pd.DataFrame,
    facts: PageFacts,
) -> str:
    """Return the page as one HTML text without any outside reference or script."""
    environment = page_environment()
    environment.filters.update(percent=lambda share: f"{share:.2%}", moment=_moment)
    days = Counter(kinds_of_days(daily).tolist())
    columns = [
        name for name in ("stamp", "open", "high", "low", "close", "volume") if name in quarantine_sample.columns
    ]
    return environment.get_template("quality.html").render(
        symbol=symbol,
        report=report,
        facts=facts,
        failures=report.failures(facts.limits) if facts.failures is None else facts.failures,
        set_aside=(facts.given or report).quarantined,
        heat_map=coverage_heat_map(daily),
        legend=[(kind, COLOURS[kind], label, days[kind]) for kind, label in LABELS.items()],
        months=_months(report, facts.limits),
        incidents=incidents[:_INCIDENTS],
        left_out=Counter(incident.kind for incident in incidents[_INCIDENTS:]),
        kinds=Counter(incident.kind for incident in incidents),
        columns=columns,
        rows=_rows(quarantine_sample, columns),
        row_limit=_ROWS_OF_A_REASON,
    )


def _months(report: QualityReport, limits: QualityConfig) -> list[dict[str, Any]]:
    """Return the monthly table, newest first, with the share missing and what exceeds the limits."""
    return [
        {
            "name": month,
            **counts,
            "share": counts["missing"] / counts["expected"] if counts["expected"] else 0.0,
            "failures": report.month_failures(month, limits),
        }
        for month, counts in sorted(report.months.items(), reverse=True)
    ]


def _rows(sample: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    shown = sample.groupby("reason", sort=False).head(_ROWS_OF_A_REASON)
    text = shown[list(columns)].astype(object).where(shown[list(columns)].notna(), "")
    return [
        {"ts_utc": "unreadable" if pd.isna(time) else f"{time:%Y-%m-%d %H:%M}", "reason": reason, "cells": cells}
        for time, reason, cells in zip(shown["ts_utc"], shown["reason"], text.to_numpy().tolist(), strict=True)
    ]


def _moment(time: Any) -> str:
    return str(time)[:16].replace("T", " ")
