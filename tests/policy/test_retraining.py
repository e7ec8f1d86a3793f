"""Retraining rules on random histories: cooldown, one at a time, once per cause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.policy.config import RetrainingConfig
from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.retraining import DriftNews, RetrainingState, decide_retraining
from fxgpt_core.store.clock import to_datetime64

START = datetime(2024, 1, 1, tzinfo=UTC)
CONFIG = RetrainingConfig()


def news(
    cause: str = "2020-01-06T00:00:00Z", drifted: bool = True, onset: bool = True, judged_at: datetime = START
) -> DriftNews:
    return DriftNews(cause, drifted, onset, judged_at, "KS 0.4 above 0.2")


def decide(
    hours_since_training: float | None, verdict: DriftNews | None = None, running: bool = False, manual: bool = False
) -> Decision:
    trained = None if hours_since_training is None else to_datetime64(START - timedelta(hours=hours_since_training))
    return decide_retraining(
        RetrainingState("EURUSD", to_datetime64(START), trained, verdict, running=running, manual=manual), CONFIG
    )


def test_the_schedule_retrains_after_fourteen_days_and_not_before() -> None:
    assert decide(13.9 * 24).what == "wait"
    assert decide(14 * 24).what == "retrain"


def test_drift_retrains_at_its_onset_only() -> None:
    assert decide(48, news()).what == "retrain"
    assert decide(48, news(onset=False)).what == "wait"
    assert decide(48, news(drifted=False)).what == "wait"
    assert decide(48, news("7")).cause == "drift:7"


def test_nothing_starts_within_the_cooldown_but_what_a_person_asks_for() -> None:
    assert decide(23.9, news()).what == "postpone"
    assert decide(24.0, news()).what == "retrain"
    assert decide(1.0, manual=True).what == "retrain"


def test_an_onset_that_a_later_training_has_seen_is_answered() -> None:
    state = RetrainingState("EURUSD", to_datetime64(START), to_datetime64(START), news())
    assert decide_retraining(state, RetrainingConfig(cooldown_hours=0)).what == "wait"


def test_nothing_starts_while_one_runs() -> None:
    for manual in (False, True):
        assert decide(20 * 24, news(), running=True, manual=manual).what == "postpone"


def test_a_symbol_never_trained_waits_for_a_person() -> None:
    assert decide(None, news()).what == "wait"
    assert decide(None, manual=True).what == "retrain"


def test_decisions_say_why_and_can_be_written_down() -> None:
    values = decide(48, news()).to_dict()
    assert "Drift began" in values["reasons"][0]
    assert values["evidence"]["drift"]["cause"] == "2020-01-06T00:00:00Z"


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 40), st.one_of(st.none(), st.integers(0, 5)), st.booleans(), st.floats(0, 30)),
        max_size=60,
    )
)
def test_no_history_retrains_within_the_cooldown_or_while_running(
    ticks: list[tuple[float, int | None, bool, float]],
) -> None:
    """Each tick: hours since the last, a drift event or none, whether it is an onset, hours that a training takes."""
    now, trained, busy_until = START, START, START
    starts: list[datetime] = []
    for wait, event, onset, duration in ticks:
        now += timedelta(hours=wait)
        verdict = None if event is None else news(str(event), onset=onset, judged_at=now)
        running = now < busy_until
        state = RetrainingState("EURUSD", to_datetime64(now), to_datetime64(trained), verdict, running=running)
        decision = decide_retraining(state, CONFIG)
        called = (verdict is not None and onset) or now - trained >= timedelta(days=14)
        assert (decision.what == "wait") == (not called)
        if decision.what == "retrain":
            assert not running
            starts.append(now)
            trained, busy_until = now, now + timedelta(hours=duration)
    assert all(gap >= timedelta(hours=24) for gap in np.diff(np.array(starts, dtype=object)))
