"""A market that can be predicted sets the alarm off too; acknowledged with a reason, its model is promoted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tabular_data import bars, with_split

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.policy.alarms import raised_alarms
from fxgpt_core.policy.config import GateConfig
from fxgpt_core.policy.promotion import decide_champion
from fxgpt_core.store.asset_config import AcknowledgedAlarm
from fxgpt_core.training.plan import TrainingPlan

AT = np.datetime64("2024-01-01", "ns")
MADE = Provenance("v1", AT)
GATE = GateConfig(coverage_tolerance=0.1)  # forecasts are not calibrated here


def autoregressive_bars(strength: float, count: int = 6000) -> Candles:
    """Hourly bars whose log returns follow an AR(1) with Gaussian shocks."""
    shocks = np.random.default_rng(5).normal(scale=5e-4, size=count)
    returns = np.empty(count)
    last = 0.0
    for i in range(count):
        returns[i] = last = strength * last + shocks[i]
    close = 1.1 * np.exp(np.cumsum(returns))
    start = np.append(1.1, close[:-1])
    return replace(
        bars(count), open=start, close=close, high=np.maximum(start, close), low=np.minimum(start, close),
        spread=np.full(count, np.nan),
    )  # fmt: skip


def evaluated(strength: float) -> Evaluation:
    data = with_split(build_dataset(autoregressive_bars(strength), (TIMEFRAMES["1h"],), (60,), SPEC), test=0.5)
    rows = np.flatnonzero(data.split.test)  # type: ignore[union-attr]
    made = {}
    for name, values in (("seasonal_ewma", {}), ("ridge", {"location_share": 0.1})):
        entry = family(name)
        model = entry.create(entry.config(values))
        model.fit(data, TrainingPlan(seed=0))
        made[name] = model.forecast(data, rows, MADE)
    return evaluate(data.symbol, made, made, Outcomes.from_dataset(data), ("seasonal_ewma",))


SPEC = FeatureSpec(groups=("returns",))


def test_a_predictable_market_is_suspected_and_an_acknowledgement_with_a_reason_lets_its_model_through() -> None:
    evaluation = evaluated(0.5)
    alarms = raised_alarms(evaluation, "ridge")
    assert [alarm.name for alarm in alarms] == ["EURUSD-ridge-1h-skill", "EURUSD-ridge-1h-direction"]
    refused = decide_champion(evaluation, evaluation.families, None, AT, GATE)
    assert refused.evidence["family"] == "seasonal_ewma"
    reason = "returns are simulated with autocorrelation one half"
    known = [AcknowledgedAlarm(alarm=alarm.name, up_to=alarm.low + 0.01, reason=reason) for alarm in alarms]
    assert decide_champion(evaluation, evaluation.families, None, AT, GATE, known[:1]).evidence["family"] != "ridge"
    allowed = decide_champion(evaluation, evaluation.families, None, AT, GATE, known)
    assert allowed.evidence["family"] == "ridge"
    assert any(reason in said for said in allowed.reasons)


def test_a_market_without_memory_is_not_suspected() -> None:
    assert raised_alarms(evaluated(0.0), "ridge") == ()
