"""What becomes of a shadow, case by case and on random evidence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxgpt_core.common.dependence import MeanEstimate
from fxgpt_core.policy.live_config import LiveConfig
from fxgpt_core.policy.serving import expired, expiry, shadow_answers
from fxgpt_core.policy.shadow import ShadowConfig, ShadowEvidence, decide_shadow

ENTERED = np.datetime64("2024-03-01T00:00", "ns")
CONFIG = ShadowConfig()
GOOD_COVERAGE = {60: (0.9, 0.87, 0.93)}


def evidence(days: float = 10.0, **values: object) -> ShadowEvidence:
    made = ShadowEvidence(
        "EURUSD/1", "EURUSD/2", ENTERED, ENTERED + np.timedelta64(round(days * 1440), "m"), 4, 160, 0.01,
        1.0, 1.0, 1.0, GOOD_COVERAGE,
    )  # fmt: skip
    return replace(made, **values)  # type: ignore[arg-type]


def what(found: ShadowEvidence) -> str:
    return decide_shadow("EURUSD", found, CONFIG).what


def test_superior_crps_promotes_from_the_seventh_day_on_and_not_before() -> None:
    assert what(evidence(6.9, superior=100.0)) == "wait"
    assert what(evidence(7.0, superior=19.9)) == "wait"
    assert what(evidence(7.0, superior=20.0)) == "promote"


def test_few_outcomes_decide_nothing_even_after_a_month() -> None:
    assert what(evidence(40.0, blocks=2, superior=100.0)) == "wait"


@pytest.mark.parametrize("degraded", [True, False])
@pytest.mark.parametrize(("left", "near"), [(6.9, True), (7.1, False), (None, False)])
def test_not_being_worse_is_enough_beside_a_degraded_or_expiring_champion(
    degraded: bool, left: float | None, near: bool
) -> None:
    found = evidence(tolerable=10.0, degraded=degraded, days_to_expiry=left)
    assert what(found) == ("promote" if degraded or near else "wait")
    assert what(replace(found, tolerable=9.9)) == "wait"


def test_coverage_and_trading_have_a_veto() -> None:
    found = evidence(superior=100.0)
    low = {60: (0.9, 0.87, 0.93), 240: (0.8, 0.75, 0.86)}
    assert what(replace(found, coverage=low)) == "wait"
    assert what(replace(found, coverage={})) == "wait"
    assert what(replace(found, coverage={60: (0.8, 0.7, 0.871)})) == "promote"  # its bound reaches 87 %
    assert what(replace(found, trading=MeanEstimate(-0.021, 0.01, 100, 50.0, 8))) == "wait"
    assert what(replace(found, trading=MeanEstimate(-0.019, 0.01, 100, 50.0, 8))) == "promote"
    assert what(replace(found, trading=MeanEstimate(0.5, 0.01, 100, 50.0, 8))) == "promote"
    assert what(evidence(trading=MeanEstimate(0.5, 0.01, 100, 50.0, 8))) == "wait"  # it promotes nobody
    assert what(replace(found, coverage=low, now=ENTERED + np.timedelta64(29, "D"))) == "archive"


def test_who_is_compared_only_where_it_did_not_fail_is_not_promoted() -> None:
    found = evidence(superior=100.0, owed=200)
    assert what(replace(found, failed=60)) == "wait"
    assert what(replace(found, failed=6)) == "wait"
    assert what(replace(found, failed=3)) == "promote"  # at a share of 1 % that happens often enough


def test_worse_is_archived_and_undecided_is_settled_after_a_month() -> None:
    assert what(evidence(8.0, inferior=20.0, difference=-0.02)) == "archive"
    assert what(evidence(27.9)) == "wait"
    assert what(evidence(28.0)) == "promote"
    assert what(evidence(28.0, difference=0.0)) == "archive"
    assert what(evidence(28.0, difference=-0.001)) == "archive"


def test_an_expired_champion_is_followed_by_a_sound_shadow_though_nothing_can_be_compared_any_more() -> None:
    alone = evidence(blocks=0, decisions=0, difference=0.0, days_to_expiry=-0.1)
    assert what(alone) == "promote"
    assert what(replace(alone, days_to_expiry=0.1)) == "wait"
    assert what(replace(alone, coverage={60: (0.8, 0.75, 0.86)})) == "wait"
    assert what(replace(alone, now=ENTERED + np.timedelta64(6, "D"))) == "wait"
    assert what(replace(alone, blocks=4, inferior=20.0)) == "archive"  # it was shown to be worse while it could be


EVALUES = st.floats(0, 1000)


@given(
    st.floats(0, 60), EVALUES, EVALUES, EVALUES, st.floats(-0.2, 0.2), st.integers(0, 20), st.booleans(),
    st.floats(0.5, 1.0), st.floats(0.0, 0.3),
)  # fmt: skip
def test_no_evidence_promotes_early_or_what_does_not_cover(
    days: float,
    superior: float,
    inferior: float,
    tolerable: float,
    difference: float,
    count: int,
    degraded: bool,
    share: float,
    reach: float,
) -> None:
    covers = {60: (share, share - reach, share + reach)}
    found = evidence(
        days, superior=superior, inferior=inferior, tolerable=tolerable, difference=difference, blocks=count,
        degraded=degraded, coverage=covers,
    )  # fmt: skip
    decision = decide_shadow("EURUSD", found, CONFIG)
    assert decision.reasons
    json.dumps(decision.to_dict())
    if decision.what == "promote":
        assert found.days >= CONFIG.min_days
        assert count >= CONFIG.min_blocks
        assert share - reach <= 0.93
        assert share + reach >= 0.87
        assert superior >= 20 or (degraded and tolerable >= 10) or (found.days >= 28 and difference > 0)
    if found.days >= CONFIG.max_days and count >= CONFIG.min_blocks:
        assert decision.what != "wait"


def test_a_tenth_of_decisions_goes_to_the_shadow_and_always_the_same() -> None:
    moments = np.arange("2024-01-01", "2024-12-31", dtype="datetime64[h]").astype("datetime64[ns]")
    routed = np.array([shadow_answers("EURUSD", moment, 0.1) for moment in moments])
    assert routed.mean() == pytest.approx(0.1, abs=0.01)
    assert routed.tolist() == [shadow_answers("EURUSD", moment.astype("datetime64[s]"), 0.1) for moment in moments]
    other = np.array([shadow_answers("GBPUSD", moment, 0.1) for moment in moments])
    assert (routed & other).mean() == pytest.approx(0.01, abs=0.005)  # pairs are routed independently
    assert not any(shadow_answers("EURUSD", moment, 0.0) for moment in moments[:100])
    assert all(shadow_answers("EURUSD", moment, 1.0) for moment in moments[:100])


def test_a_model_expires_by_its_family_and_by_the_bar_that_it_would_forecast() -> None:
    config = LiveConfig(expires_days=60, expires_days_of={"ewma": 365})
    trained = np.datetime64("2024-01-01", "ns")
    assert expiry(trained, "ridge", config) == np.datetime64("2024-03-01", "ns")
    assert expired(trained, np.datetime64("2024-03-01"), "ridge", config) == ""
    assert "ridge has expired" in expired(trained, np.datetime64("2024-03-01T00:01"), "ridge", config)
    assert expired(trained, np.datetime64("2024-12-01"), "ewma", config) == ""
