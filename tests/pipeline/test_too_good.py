"""A planted one-bar leak is caught by check, gate and report; what a person acknowledged passes with its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from dagster import AssetCheckKey, AssetKey

from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.features import assemble
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.policy.alarms import raised_alarms
from fxgpt_core.policy.promotion import decide_champion
from fxgpt_pipeline.ranking import current_board
from fxgpt_pipeline.stages import CHAMPION, REPORT, SCORES, backtest, calibrated, candidate, walk_forward
from tests.pipeline.small_home import SYMBOL, SmallHome

AT = np.datetime64("2024-06-01", "ns")
REASON = "planted by a test, which knows that it is a leak"
RIDGE = [stage("ridge") for stage in (walk_forward, calibrated, backtest, candidate)]


def leaky(dataset: Dataset) -> Dataset:
    """Return the dataset with few columns a timeframe, and one more of the base bars: the next return, blurred.

    As shipped, ridge doubts any direction so much that it all but overlooks one telling column among 400.
    """
    code, close = dataset.base.code, np.log(dataset.candles.close)
    ahead = np.append(np.diff(close), 0.0)
    blurred = ahead + 0.5 * ahead.std() * np.random.default_rng(0).normal(size=len(ahead))
    few = {
        name: replace(table, names=table.names[:20], values=table.values[:, :20])
        for name, table in dataset.tables.items()
    }
    values = np.column_stack([few[code].values, blurred]).astype(np.float32)
    few[code] = replace(few[code], names=(*few[code].names, f"leak_{code}"), values=values)
    return replace(dataset, tables=few)


@pytest.fixture
def leaking(clone: SmallHome, monkeypatch: pytest.MonkeyPatch) -> SmallHome:
    """A home whose ridge sees the next bar's return, from its folds to the report."""
    honest = assemble.load_dataset
    monkeypatch.setattr(assemble, "load_dataset", lambda *given: leaky(honest(*given)))
    clone.configure("ridge/default.yaml", {"location_share": 0.3})
    outcome = clone.materialise([*RIDGE, SCORES, CHAMPION, REPORT])
    assert outcome.success, outcome.error
    return clone


def check(home: SmallHome) -> tuple[bool, str]:
    """Return whether the check passed when it last ran, and what it said."""
    key = AssetCheckKey(AssetKey(SCORES), "not_too_good_to_be_true")
    with home.instance() as instance:
        record = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
        evaluation = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    return evaluation.passed, evaluation.description or ""


def decide(home: SmallHome, evaluation: Evaluation) -> Any:
    """Let the gate decide as if there were no champion yet."""
    acknowledged = home.lineage().asset.acknowledged_alarms
    gate = home.lineage().settings.gate.model_copy(update={"coverage_tolerance": 0.3})  # coverage is not at issue here
    return decide_champion(evaluation, evaluation.families, None, AT, gate, acknowledged)


def test_a_leak_stops_at_check_gate_and_report_until_each_alarm_is_acknowledged(leaking: SmallHome) -> None:
    evaluation = Evaluation.from_dict(leaking.lineage().workspace.documents.read("evaluation", SYMBOL))
    raised = raised_alarms(evaluation, "ridge")
    assert {f"{SYMBOL}-ridge-1h-skill", f"{SYMBOL}-ridge-1h-direction"} <= {alarm.name for alarm in raised}
    assert any("suspect leakage" in flag for flag in evaluation.flags("ridge"))
    passed, said = check(leaking)
    assert not passed
    assert raised[0].name in said
    refused = decide(leaking, evaluation)
    assert refused.evidence["family"] != "ridge"
    assert any("ridge failed the gate: suspect leakage" in reason for reason in refused.reasons)
    stored = leaking.lineage().workspace.documents.read("champion", SYMBOL)
    assert stored["shadow_family"] != "ridge"
    page = (leaking.home.reports / SYMBOL / "overview.html").read_text()
    assert raised[0].said in page.replace("&#39;", "'")

    entries = [{"alarm": alarm.name, "up_to": round(alarm.low + 0.01, 3), "reason": REASON} for alarm in raised]
    leaking.configure(f"assets/{SYMBOL}.yaml", {"acknowledged_alarms": entries})
    assert {"evaluation/scores", "lifecycle/champion", "reports/overview"} <= leaking.stale()
    outcome = leaking.materialise([SCORES, CHAMPION, REPORT])
    assert outcome.success, outcome.error
    passed, said = check(leaking)
    assert passed
    assert REASON in said
    allowed = decide(leaking, evaluation)
    assert allowed.evidence["family"] == "ridge"
    assert any(REASON in reason for reason in allowed.reasons)
    assert REASON in (leaking.home.reports / SYMBOL / "overview.html").read_text()
    board = current_board(leaking.lineage().workspace)
    assert all(REASON in alarm for entry in board.of(SYMBOL) for alarm in entry.alarms)
    assert any(entry.alarms for entry in board.of(SYMBOL))
