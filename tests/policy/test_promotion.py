"""The gate lets through what is better and sound, and reports the rest as failed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.result import Coverage, Estimate, Evaluation, FamilyScores, PooledScores
from fxgpt_core.policy.config import GateConfig
from fxgpt_core.policy.promotion import alarm, decide_champion

AT = np.datetime64("2024-01-01T00:00", "ns")
GATE = GateConfig()


def family(
    name: str,
    relative: float = 1.0,
    p_value: float = 1.0,
    covered: tuple[float, float, float] = (0.9, 0.88, 0.92),
    flags: tuple[str, ...] = (),
    effective: float = 200.0,
) -> tuple[FamilyScores, PooledScores]:
    baseline = name in ("ewma", "seasonal_ewma")
    coverage = Coverage(0.9, Estimate(0.8, 0.78, 0.82), Estimate(*covered), 1e-3, 1.1e-3)
    scores = FamilyScores(
        family=name, baseline=baseline, horizon=60, rows=2000, effective_rows=effective,
        crps=Estimate(relative * 1e-3, 0.9e-3, 1.1e-3), raw_crps=1e-3, skills=(), best=None, coverage=(coverage,),
        raw_pit_ks=0.05, pit_ks=0.03, pit_p=0.5, direction=None, direction_rows=0, rmse=1e-3, mae=1e-3, flags=flags,
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


def test_an_alarm_that_a_person_looked_into_no_longer_stops_its_model_but_any_other_does() -> None:
    found = evaluation(family("sssd", 0.9, 0.001, flags=("suspect leakage: too good",)))
    assert alarm(found, "sssd") == "EURUSD-sssd-1h"
    assert alarm(found, "ewma") is None
    for acknowledged, chosen in (("EURUSD-sssd-1h", "sssd"), ("EURUSD-sssd-4h", "seasonal_ewma")):
        decision = decide_champion(found, found.families, None, AT, GATE, acknowledged)
        assert decision.evidence["family"] == chosen


def test_beside_a_champion_the_best_sound_challenger_enters_as_shadow_and_nothing_is_replaced() -> None:
    leaky = family("lightgbm", 0.9, 0.001, flags=("suspect leakage: too good",))
    found = evaluation(family("ridge", 1.001, 0.6), family("sssd", 0.999, 0.4), leaky)
    decision = decide_champion(found, found.families, "ewma", AT, GATE)
    assert (decision.what, decision.evidence["family"]) == ("shadow", "sssd")
    only = evaluation(leaky)
    kept = decide_champion(only, only.families, "ewma", AT, GATE)
    assert (kept.what, kept.evidence["family"]) == ("keep", None)


def test_without_baseline_or_passing_model_there_is_no_champion() -> None:
    found = evaluation(family("ridge", 1.0, 0.5))
    with pytest.raises(DataError, match="train a baseline"):
        decide_champion(found, ["ridge"], None, AT, GATE)
    with pytest.raises(DataError, match="no scores of garch"):
        decide_champion(found, ["garch"], None, AT, GATE)
