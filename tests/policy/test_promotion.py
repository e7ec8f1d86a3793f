"""The gate lets through what is better and sound, and reports the rest as failed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.result import Alarm, Coverage, Estimate, Evaluation, FamilyScores, PooledScores, Recent
from fxgpt_core.policy.alarms import raised_alarms
from fxgpt_core.policy.config import GateConfig
from fxgpt_core.policy.promotion import decide_champion, outdone
from fxgpt_core.store.asset_config import AcknowledgedAlarm

AT = np.datetime64("2024-01-01T00:00", "ns")
GATE = GateConfig()


def family(
    name: str,
    relative: float = 1.0,
    p_value: float = 1.0,
    covered: tuple[float, float, float] = (0.9, 0.88, 0.92),
    flags: tuple[str, ...] = (),
    effective: float = 200.0,
    alarms: tuple[Alarm, ...] = (),
) -> tuple[FamilyScores, PooledScores]:
    baseline = name in ("ewma", "seasonal_ewma")
    coverage = Coverage(0.9, Estimate(0.8, 0.78, 0.82), Estimate(*covered), 1e-3, 1.1e-3)
    scores = FamilyScores(
        family=name, baseline=baseline, horizon=60, rows=2000, effective_rows=effective,
        crps=Estimate(relative * 1e-3, 0.9e-3, 1.1e-3), raw_crps=1e-3, skills=(), best=None, coverage=(coverage,),
        raw_pit_ks=0.05, pit_ks=0.03, pit_p=0.5, direction=None, direction_rows=0, rmse=1e-3, mae=1e-3, flags=flags,
        alarms=alarms,
    )  # fmt: skip
    pooled = PooledScores(name, baseline, relative, Estimate(1 - relative, 0.0, 0.1), p_value, 2000, effective)
    return scores, pooled


def evaluation(*families: tuple[FamilyScores, PooledScores]) -> Evaluation:
    every = (family("ewma", 1.02), family("seasonal_ewma", 1.0), *families)
    names = tuple(scores.family for scores, _ in every)
    return Evaluation(
        "EURUSD", names, ("ewma", "seasonal_ewma"), (60,), (1.0,), "2023-01-01", "2023-12-31", 2000, 0.95,
        tuple(scores for scores, _ in every), tuple(pooled for _, pooled in every),
    )  # fmt: skip


def test_the_best_of_those_that_pass_becomes_champion() -> None:
    found = evaluation(family("ridge", 0.99, 0.001), family("sssd", 0.98, 0.001), family("lightgbm", 0.97, 0.2))
    decision = decide_champion(found, found.families, None, AT, GATE)
    assert (decision.what, decision.evidence["family"]) == ("champion", "sssd")
    assert any("lightgbm failed the gate" in reason for reason in decision.reasons)
    json.dumps(decision.to_dict(), allow_nan=False)


def test_a_gate_that_nobody_passes_leaves_the_best_baseline_and_says_so() -> None:
    found = evaluation(family("ridge", 0.995, 0.3))
    decision = decide_champion(found, found.families, None, AT, GATE)
    assert (decision.what, decision.evidence["family"]) == ("champion", "seasonal_ewma")
    assert "No model passed the gate" in decision.reasons[0]
    assert "p = 0.300" in decision.reasons[1]


def test_trying_more_models_demands_more_of_each() -> None:
    alone = evaluation(family("ridge", 0.99, 0.03))
    assert decide_champion(alone, alone.families, None, AT, GATE).evidence["family"] == "ridge"
    crowd = evaluation(family("ridge", 0.99, 0.03), family("sssd", 1.01, 0.9))
    assert decide_champion(crowd, crowd.families, None, AT, GATE).evidence["family"] == "seasonal_ewma"


@pytest.mark.parametrize(
    ("weakness", "sentence"),
    [
        ({"covered": (0.8, 0.77, 0.83)}, "90% coverage at 1h is 80.0%"),
        ({"covered": (0.97, 0.95, 0.98)}, "90% coverage at 1h is 97.0%"),
        ({"flags": ("suspect leakage: too good",)}, "suspect leakage"),
        ({"effective": 12.0}, "12 effective rows"),
    ],
)
def test_skill_alone_does_not_pass(weakness: dict[str, object], sentence: str) -> None:
    found = evaluation(family("sssd", 0.97, 0.001, **weakness))  # type: ignore[arg-type]
    decision = decide_champion(found, found.families, None, AT, GATE)
    assert decision.evidence["family"] == "seasonal_ewma"
    assert any(sentence in reason for reason in decision.reasons)


ALARM = {"flags": ("suspect leakage: skill",), "alarms": (Alarm("skill", 0.083, 0.05),)}
REASON = "simulated market whose returns are autocorrelated by design"


def acknowledgement(name: str = "EURUSD-sssd-1h-skill", up_to: float = 0.09) -> tuple[AcknowledgedAlarm, ...]:
    return (AcknowledgedAlarm(alarm=name, up_to=up_to, reason=REASON),)


def test_an_acknowledged_alarm_no_longer_stops_its_model_and_its_reason_is_told() -> None:
    found = evaluation(family("sssd", 0.9, 0.001, **ALARM))
    (raised,) = raised_alarms(found, "sssd")
    assert (raised.name, raised.open) == ("EURUSD-sssd-1h-skill", True)
    assert raised_alarms(found, "ewma") == ()
    decision = decide_champion(found, found.families, None, AT, GATE, acknowledgement())
    assert decision.evidence["family"] == "sssd"
    assert any(REASON in reason for reason in decision.reasons)
    assert decide_champion(found, found.families, "ewma", AT, GATE, acknowledgement()).what == "shadow"


@pytest.mark.parametrize(
    "other",
    [
        acknowledgement(up_to=0.08),  # looked into when it was smaller
        acknowledgement("EURUSD-sssd-1h-direction"),
        acknowledgement("EURUSD-sssd-4h-skill"),
        acknowledgement("EURUSD-ridge-1h-skill"),
        (),
    ],
)
def test_an_acknowledgement_silences_neither_a_larger_nor_another_alarm(other: tuple[AcknowledgedAlarm, ...]) -> None:
    found = evaluation(family("sssd", 0.9, 0.001, **ALARM))
    decision = decide_champion(found, found.families, None, AT, GATE, other)
    assert decision.evidence["family"] == "seasonal_ewma"
    assert any("suspect leakage" in reason and "EURUSD-sssd-1h-skill" in reason for reason in decision.reasons)
    beside = decide_champion(found, found.families, "ewma", AT, GATE, other)
    assert (beside.what, beside.evidence["family"]) == ("shadow", "seasonal_ewma")
    assert decide_champion(found, ["sssd"], "ewma", AT, GATE, other).what == "keep"


def test_a_second_alarm_stays_open_beside_an_acknowledged_one_and_one_without_figures_always_does() -> None:
    both = {"flags": ("skill", "direction"), "alarms": (*ALARM["alarms"], Alarm("direction", 0.56, 0.54))}
    found = evaluation(family("sssd", 0.9, 0.001, **both))
    assert [alarm.open for alarm in raised_alarms(found, "sssd", acknowledgement())] == [False, True]
    old = evaluation(family("sssd", 0.9, 0.001, flags=ALARM["flags"]))
    assert raised_alarms(old, "sssd", acknowledgement())[0].open


def test_a_baseline_that_serves_is_renewed_by_itself_or_by_a_better_one() -> None:
    found = evaluation(family("ridge", 1.001, 0.6))
    decision = decide_champion(found, found.families, "seasonal_ewma", AT, GATE)
    assert (decision.what, decision.evidence["family"]) == ("shadow", "seasonal_ewma")
    assert "seasonal_ewma trained anew" in decision.reasons[0]
    other = decide_champion(found, found.families, "ewma", AT, GATE)
    assert (other.what, other.evidence["family"]) == ("shadow", "seasonal_ewma")
    without = [name for name in found.families if name != "seasonal_ewma"]
    assert decide_champion(found, without, "ewma", AT, GATE).evidence["family"] == "ridge"


def test_beside_a_champion_the_best_sound_challenger_enters_as_shadow_and_nothing_is_replaced() -> None:
    leaky = family("lightgbm", 0.9, 0.001, flags=("suspect leakage: too good",))
    found = evaluation(family("ridge", 1.001, 0.6), family("sssd", 0.999, 0.4), leaky)
    decision = decide_champion(found, found.families, "ewma", AT, GATE)
    assert (decision.what, decision.evidence["family"]) == ("shadow", "sssd")
    only = evaluation(leaky)
    kept = decide_champion(only, ["lightgbm"], "ewma", AT, GATE)
    assert (kept.what, kept.evidence["family"]) == ("keep", None)


NEWEST = {"recent_since": "2023-12-18T00:00:00", "recent_until": "2023-12-31T22:00:00"}


def lately(name: str, rival: str, gain: float, p_value: float, effective: float = 10.0) -> Recent:
    return Recent(name, rival, Estimate(gain, gain - 0.02, gain + 0.02), p_value, 240, effective)


def test_what_is_shown_to_do_better_in_the_newest_days_enters_instead_of_the_best_of_all_history() -> None:
    newest = (lately("ewma", "seasonal_ewma", 0.08, 0.001), lately("ridge", "seasonal_ewma", 0.05, 0.001))
    found = replace(evaluation(family("ridge", 1.001, 0.6)), recent=newest, **NEWEST)
    decision = decide_champion(found, found.families, "seasonal_ewma", AT, GATE)
    assert (decision.what, decision.evidence["family"]) == ("shadow", "ewma")
    assert decision.reasons[0] == (
        "seasonal_ewma stays champion; ewma enters as shadow: from 2023-12-18 to 2023-12-31 its CRPS was 8.00% below "
        "that of seasonal_ewma (p = 0.001), which is the best of all history."
    )
    assert decision.evidence["recent"]["rows"] == 240
    json.dumps(decision.to_dict(), allow_nan=False)
    first = decide_champion(found, found.families, None, AT, GATE)
    assert first.evidence["family"] == "seasonal_ewma"  # the champion's place asks for more than two weeks


@pytest.mark.parametrize(
    "entry",
    [
        lately("ewma", "seasonal_ewma", 0.08, 0.03),  # one of two candidates beside it: 0.06
        lately("ewma", "seasonal_ewma", 0.08, 0.001, effective=7.0),
        lately("seasonal_ewma", "ewma", -0.08, 0.999),
    ],
)
def test_newest_days_that_show_nothing_leave_the_best_of_all_history(entry: Recent) -> None:
    found = replace(evaluation(family("ridge", 1.001, 0.6)), recent=(entry,), **NEWEST)
    decision = decide_champion(found, found.families, "seasonal_ewma", AT, GATE)
    assert (decision.what, decision.evidence["family"]) == ("shadow", "seasonal_ewma")


def test_newest_days_that_are_long_over_say_nothing_of_now() -> None:
    found = replace(evaluation(), recent=(lately("ewma", "seasonal_ewma", 0.08, 0.001),), **NEWEST)
    for days, chosen in ((10, "ewma"), (20, "seasonal_ewma")):
        decision = decide_champion(found, found.families, "seasonal_ewma", AT + np.timedelta64(days, "D"), GATE)
        assert decision.evidence["family"] == chosen


def test_a_trial_is_ended_on_days_alone_that_its_model_has_not_learned_from() -> None:
    found = replace(evaluation(), recent=(lately("ewma", "seasonal_ewma", 0.08, 0.001),), **NEWEST)
    for until, ends in (("2023-12-17", True), ("2023-12-20", False)):
        trained = np.datetime64(until, "ns")
        against = outdone(found, "ewma", "seasonal_ewma", trained, found.families, AT, GATE)
        assert (against is not None) == ends


def test_without_baseline_or_passing_model_there_is_no_champion() -> None:
    found = evaluation(family("ridge", 1.0, 0.5))
    with pytest.raises(DataError, match="train a baseline"):
        decide_champion(found, ["ridge"], None, AT, GATE)
    with pytest.raises(DataError, match="no scores of garch"):
        decide_champion(found, ["garch"], None, AT, GATE)
