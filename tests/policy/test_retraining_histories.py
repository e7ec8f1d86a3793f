"""The retraining rule over random histories of several pairs, executed as the sensor and the schedule do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fxgpt_core.common.dependence import MeanEstimate
from fxgpt_core.policy.config import RetrainingConfig
from fxgpt_core.policy.degradation import Comparison, PerformanceNews
from fxgpt_core.policy.retraining import DriftNews, RetrainingState, decide_retraining
from fxgpt_core.store.clock import to_datetime64

START = datetime(2024, 1, 1, tzinfo=UTC)
CONFIG = RetrainingConfig(at_once=1, cooldown_hours=30.0, every_days=14.0, min_new_labels=5)
PAIRS = ("AUDUSD", "EURUSD", "GBPUSD")
LAST, STEP = 44 * 24, 6
RUNS = st.integers(1, 40)
HOURS = st.integers(0, 20 * 24 // STEP).map(lambda step: step * STEP)
GOOD, BAD = MeanEstimate(0.5, 0.005, 500, 400.0, 8), MeanEstimate(0.7, 0.005, 500, 400.0, 8)


@dataclass
class Pair:
    """One symbol: when it was trained, what waits, what was answered; hours since the start."""

    trained: int = 0
    version: int = 1
    busy_until: int | None = None
    began: int = 0
    drift: tuple[int, str] | None = None
    degraded_since: int | None = None
    open: dict[str, int] = field(default_factory=dict)
    starts: list[tuple[int, str, bool]] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    hour: int
    pair: int
    kind: str


EVENTS = st.lists(
    st.builds(
        Event,
        HOURS,
        st.integers(0, len(PAIRS) - 1),
        st.sampled_from(["drift", "degraded", "manual"]),
    ),
    max_size=20,
)


def at(hour: int) -> np.datetime64:
    return to_datetime64(START + timedelta(hours=hour))


def state(name: str, pair: Pair, hour: int, others: int, manual: bool) -> RetrainingState:
    drift = None
    if pair.drift is not None:
        drift = DriftNews(pair.drift[1], True, True, START + timedelta(hours=pair.drift[0]), "KS")
    since = pair.degraded_since
    recent = GOOD if since is None else BAD
    news = PerformanceNews(
        str(pair.version), at(hour), (Comparison("crps", 60, recent, GOOD),), (), None if since is None else at(since)
    )
    return RetrainingState(
        name, at(hour), at(pair.trained), drift, pair.busy_until is not None, manual, news,
        new_labels=hour - pair.trained, running_elsewhere=others,
    )  # fmt: skip


def played(events: list[Event], lengths: list[int]) -> dict[str, Pair]:
    """Look every few hours at every pair; a training answers what is known when it begins, and brings a new version."""
    pairs = {name: Pair() for name in PAIRS}
    by_hour: dict[int, list[Event]] = {}
    for event in events:
        by_hour.setdefault(event.hour, []).append(event)
    number = 0
    for hour in range(0, LAST, STEP):
        for pair in pairs.values():
            if pair.busy_until is not None and hour >= pair.busy_until:
                pair.trained, pair.busy_until = pair.began, None
                if pair.degraded_since is not None and pair.degraded_since < pair.began:
                    pair.degraded_since, pair.version = None, pair.version + 1
        asked = set()
        for event in by_hour.get(hour, ()):
            pair = pairs[PAIRS[event.pair]]
            if event.kind == "manual":
                asked.add(PAIRS[event.pair])
            elif event.kind == "drift":
                pair.drift = (hour, f"{hour}")
                pair.open.setdefault(f"drift:{hour}", hour)
            elif pair.degraded_since is None:
                pair.degraded_since = hour
                pair.open.setdefault(f"degradation:{pair.version}", hour)
        for name, pair in pairs.items():
            others = sum(other.busy_until is not None for other in pairs.values() if other is not pair)
            decision = decide_retraining(state(name, pair, hour, others, name in asked), CONFIG)
            if decision.what == "retrain":
                assert others < CONFIG.at_once
                pair.starts.append((hour, decision.cause, name in asked))
                pair.began, pair.busy_until = hour, hour + lengths[number % len(lengths)]
                pair.open = {cause: since for cause, since in pair.open.items() if since >= hour}
                number += 1
    return pairs


@settings(max_examples=20, deadline=None)
@example([Event(342, 0, "drift"), Event(378, 0, "drift")], [31])  # four trainings in a row before the last pair's turn
@given(EVENTS, st.lists(RUNS, min_size=1, max_size=5))
def test_no_history_breaks_a_rule(events: list[Event], lengths: list[int]) -> None:
    pairs = played(events, lengths)
    for pair in pairs.values():
        causes = [cause for _, cause, _ in pair.starts if cause]
        assert len(causes) == len(set(causes)), "one cause started two retrainings"
        for (before, _, _), (hour, _, manual) in zip(pair.starts, pair.starts[1:], strict=False):
            assert manual or hour - before >= CONFIG.cooldown_hours, "within the cooldown"
        assert pair.open == {}, "a cause was never answered"
        others = [hour for other in pairs.values() if other is not pair for hour, _, _ in other.starts]
        turns = [0, *(hour for hour, _, _ in pair.starts), LAST]
        for before, hour in pairwise(turns):
            waited = sum(before <= other < hour for other in others)  # one at once, and whoever asks first comes first
            assert hour - before <= CONFIG.every_days * 24 + 46 * (waited + 1), "the schedule was forgotten"


def test_a_calm_history_retrains_by_the_schedule_alone() -> None:
    for pair in played([], [10]).values():
        assert [cause for _, cause, _ in pair.starts] == [""] * 3
