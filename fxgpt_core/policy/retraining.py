"""Whether to retrain a symbol's models: a pure function of what is known (SPEC 13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fxgpt_core.policy.config import RetrainingConfig
from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.degradation import PerformanceNews, degradations


@dataclass(frozen=True)
class DriftNews:
    """A drift verdict that nobody has acted on yet.

    `cause` identifies what began: the end of the window in which drift set in. The same window judged twice is one
    cause, a later onset another. `judged_at` carries a time zone.
    """

    cause: str
    drifted: bool
    onset: bool
    judged_at: datetime
    summary: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**asdict(self), "judged_at": self.judged_at.isoformat()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DriftNews:
        """Rebuild from `to_dict`."""
        return cls(**{**values, "judged_at": datetime.fromisoformat(values["judged_at"])})


@dataclass(frozen=True)
class RetrainingState:
    """What the rule looks at: times are datetime64[ns] UTC; `last_trained_at` is None before the first training.

    `performance`: how the serving model's realised forecasts did, None where nobody measured it. `new_labels`: fewest
    labels of any horizon that ended since the last training's, None where nobody counted. `running_elsewhere`: other
    symbols that are being retrained.
    """

    symbol: str
    now: np.datetime64
    last_trained_at: np.datetime64 | None
    news: DriftNews | None = None
    running: bool = False
    manual: bool = False
    performance: PerformanceNews | None = None
    new_labels: int | None = None
    running_elsewhere: int = 0


def decide_retraining(state: RetrainingState, config: RetrainingConfig) -> Decision:
    """Return `retrain`, `wait` (nothing calls for it) or `postpone` (something does, but not now) with reasons.

    A manual request, a drift onset judged since the last training, or realised forecasts that are significantly worse
    than the model's own reference call for retraining at once, age after `every_days`. Nothing starts while a
    retraining of the symbol or `at_once` others run, and none but a manual one within `cooldown_hours` of the last
    training or before `min_new_labels` labels have ended since. A symbol that was never trained is left to its first
    full run.
    """
    worse = _degraded(state, config)
    calls = _calls(state, config, worse)
    evidence = {
        "last_trained_at": None if state.last_trained_at is None else str(state.last_trained_at),
        "drift": None if state.news is None else state.news.to_dict(),
        "performance": None if state.performance is None else state.performance.to_dict(),
        "degraded": list(worse),
        "new_labels": state.new_labels,
        "running": state.running,
        "running_elsewhere": state.running_elsewhere,
        "every_days": config.every_days,
        "cooldown_hours": config.cooldown_hours,
        "at_once": config.at_once,
    }

    def decision(what: str, *reasons: str) -> Decision:
        return Decision(state.symbol, what, reasons, state.now, _cause(state, worse), evidence)

    if not calls:
        return decision("wait", _calm(state, config))
    if state.running:
        return decision("postpone", *calls, "A retraining is running already.")
    if state.running_elsewhere >= config.at_once:
        return decision(
            "postpone", *calls, f"{state.running_elsewhere} other pairs are being retrained, at most {config.at_once} "
            "at once."
        )  # fmt: skip
    age = _age(state)
    if age is None and not state.manual:
        return decision("wait", *calls, "There is no model yet; materialise the lineage once.")
    if age is not None and not state.manual and age < np.timedelta64(round(config.cooldown_hours * 3600), "s"):
        return decision(
            "postpone", *calls, f"The last training is {_hours(age):.1f} h ago, cooldown {config.cooldown_hours:g} h."
        )
    if age is not None and not state.manual and _lacks_labels(state, config):
        return decision(
            "postpone", *calls, f"{state.new_labels} labels ended since the last training, {config.min_new_labels} are "
            "needed."
        )  # fmt: skip
    return decision("retrain", *calls)


def _calls(state: RetrainingState, config: RetrainingConfig, worse: tuple[str, ...]) -> list[str]:
    calls = []
    if state.manual:
        calls.append("Asked for by a person.")
    if state.news is not None and config.on_drift and _is_onset(state.news) and not _answered(state):
        calls.append(f"Drift began: {state.news.summary}" if state.news.summary else "Drift began.")
    if worse:
        calls.append(f"The model got worse: {'; '.join(worse)}.")
    age = _age(state)
    if age is not None and age >= np.timedelta64(round(config.every_days * 86400), "s"):
        calls.append(f"The last training is {_hours(age) / 24:.1f} days ago, limit {config.every_days:g}.")
    return calls


def _degraded(state: RetrainingState, config: RetrainingConfig) -> tuple[str, ...]:
    """Return what got worse; what was known before the last training began has been answered by it."""
    news = state.performance
    if news is None or not config.on_degradation or state.last_trained_at is None:
        return ()
    known = news.judged_at if news.since is None else news.since
    return degradations(news, config.degradation) if known > state.last_trained_at else ()


def _cause(state: RetrainingState, worse: tuple[str, ...]) -> str:
    """Name what began: a drift onset, else a version's degradation; "" for age and for what a person asks for."""
    if state.news is not None and _is_onset(state.news) and not _answered(state):
        return f"drift:{state.news.cause}"
    return f"degradation:{state.performance.version}" if worse and state.performance is not None else ""


def _lacks_labels(state: RetrainingState, config: RetrainingConfig) -> bool:
    return state.new_labels is not None and state.new_labels < config.min_new_labels


def _calm(state: RetrainingState, config: RetrainingConfig) -> str:
    age = _age(state)
    if age is None:
        return "There is no model yet; materialise the lineage once."
    return f"Nothing calls for it: trained {_hours(age) / 24:.1f} days ago, limit {config.every_days:g}."


def _is_onset(news: DriftNews) -> bool:
    return news.drifted and news.onset


def _answered(state: RetrainingState) -> bool:
    """Tell whether a training began after the onset was judged: it has seen those bars, so nothing is left to do."""
    if state.news is None or state.last_trained_at is None:
        return False
    judged_at = np.datetime64(state.news.judged_at.astimezone(UTC).replace(tzinfo=None), "ns")
    return bool(judged_at <= state.last_trained_at)


def _age(state: RetrainingState) -> np.timedelta64 | None:
    return None if state.last_trained_at is None else state.now - state.last_trained_at


def _hours(age: np.timedelta64) -> float:
    return float(age / np.timedelta64(1, "h"))
