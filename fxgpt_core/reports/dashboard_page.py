"""The dashboard: every pair on one page, who serves it, how well, and what was decided lately; opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fxgpt_core.reports.pages import page_environment


@dataclass(frozen=True)
class LiveFigures:
    """Live forecasts of one horizon (a name such as `1h`) over the last `hours`; None where nothing was measured.

    `skill` against a normal of the yardstick's width, as a share; latencies in milliseconds.
    """

    hours: int
    horizon: str
    until: str
    outcomes: int
    skill: float | None
    accuracy: float | None
    coverage: float | None
    error_rate: float | None
    latency_p95: float | None


@dataclass(frozen=True)
class DecisionLine:
    """One decision for people: when, of which kind, what, and why."""

    at: str
    kind: str
    what: str
    why: str


@dataclass(frozen=True)
class DashboardRow:
    """One pair. Times are texts in UTC, ages days; None and "" stand for what is not known or not there.

    `skill`: pooled CRPS skill against the best baselines with its interval, `coverage`: mean calibrated coverage of
    90 % intervals, both out of sample; `drift`: a word, `drift_said` the sentence behind it; `bars`: how old the last
    bar is; `problems`: what a person should look into.
    """

    symbol: str
    enabled: bool
    champion: str = ""
    family: str = ""
    trained_until: str = ""
    age_days: float | None = None
    expires: str = ""
    expires_in_days: float | None = None
    shadow: str = ""
    skill: float | None = None
    skill_low: float | None = None
    skill_high: float | None = None
    coverage: float | None = None
    alarms: tuple[str, ...] = ()
    drift: str = ""
    drift_said: str = ""
    drifted: bool = False
    bars: str = ""
    stale: bool = False
    live: tuple[LiveFigures, ...] = ()
    decisions: tuple[DecisionLine, ...] = ()
    next_look: str = ""
    problems: tuple[str, ...] = ()

    @property
    def expired(self) -> bool:
        """Whether the champion may not forecast any more."""
        return self.expires_in_days is not None and self.expires_in_days < 0

    @property
    def calls(self) -> bool:
        """Whether a person should look."""
        return self.enabled and bool(self.problems or self.alarms or self.drifted or self.stale or self.expired)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def render_dashboard(rows: Sequence[DashboardRow], labels: Mapping[str, str], made_at: str) -> str:
    """Return the page as one HTML text without any outside reference; `labels`: family -> what people call it."""
    counts = {
        "pairs": len(rows),
        "with a champion": sum(bool(row.champion) for row in rows),
        "in drift": sum(row.drifted for row in rows),
        "expired": sum(row.expired for row in rows),
        "with old bars": sum(row.stale for row in rows),
        "to look into": sum(row.calls for row in rows),
    }
    template = page_environment().get_template("dashboard.html")
    return template.render(rows=rows, counts=counts, labels=labels, made_at=made_at)
