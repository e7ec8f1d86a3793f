"""The retraining backtest of a symbol: an asset that nothing waits for, and what the command says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.progress import silent
from fxgpt_core.lifecycle.replay.segments import CALIBRATED, RAW, joined
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.store.trials import counted_trials
from fxgpt_pipeline.auditing import AUDITS, FLAT, IN_TURN, RECONCILED, audit_replay, stored
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.defs import backtest_checks
from fxgpt_pipeline.defs.common import Parts
from fxgpt_pipeline.defs.retrained import build
from fxgpt_pipeline.evaluating import TRADES
from fxgpt_pipeline.replaying import replay_family, replay_name
from fxgpt_pipeline.stages import RETRAINED, build_stages
from tests.pipeline.small_home import SYMBOL, SmallHome


def materialise(home: SmallHome, families: list[str]) -> tuple[dict[str, Any], dict[str, tuple[bool, str]]]:
    """Materialise the asset as the launchpad would, with its checks; return its metadata and what they said."""
    workspace = home.lineage().workspace
    parts = Parts(dg.StaticPartitionsDefinition([SYMBOL]), build_stages(FAMILIES), workspace)
    checks = [made for made in backtest_checks.build(parts) if made.node_def.name == "backtests__retrained_audit"]
    result = dg.materialize(
        [*build(parts), *checks],
        partition_key=SYMBOL,
        resources={"workspace": workspace},
        run_config={"ops": {"__".join(RETRAINED): {"config": {"families": families}}}},
    )
    (made,) = result.asset_materializations_for_node("__".join(RETRAINED))
    said = {one.check_name: (one.passed, one.description or "") for one in result.get_asset_check_evaluations()}
    return {name: value.value for name, value in made.metadata.items()}, said


def leaning(forecast: Forecast) -> Forecast:
    """Forecasts with a mean of a fifth of their standard deviation, up in every other twelve hours."""
    side = np.where(forecast.decided_at.astype("M8[h]").astype(np.int64) // 12 % 2, 1.0, -1.0)[:, None]
    shift = 0.2 * side * forecast.std
    return replace(forecast, mean=forecast.mean + shift, quantiles=forecast.quantiles + shift[:, :, None])


def test_nothing_is_replayed_unless_somebody_asks(clone: SmallHome) -> None:
    facts, checks = materialise(clone, [])
    assert facts["models"] == "none is asked for"
    assert set(checks.values()) == {(True, "No replay of these bars and settings is stored.")}
    assert clone.lineage().workspace.lake.keys(RAW) == []
    assert clone.stale() == set(), "no lineage waits for it"
    clone.configure("pipeline.yaml", {"retraining": {"replay": {"families": ["ewma"]}, "every_days": 20}})
    assert clone.stale() == set(), "nor is anything of it made anew"
    assert set(materialise(clone, [])[0]) >= {"models", "ewma"}


def test_a_replay_is_traded_and_scored_beside_the_fixed_folds(
    clone: SmallHome, capsys: pytest.CaptureFixture[str]
) -> None:
    clone.configure("pipeline.yaml", {"retraining": {"every_days": 10}})
    before = len(counted_trials(clone.lineage().workspace.database, SYMBOL))
    facts, checks = materialise(clone, ["ewma"])
    assert set(checks) == {*AUDITS, IN_TURN}
    assert set(checks.values()) == {(True, "All is right: ewma.")}
    document = clone.lineage().workspace.documents.read(replay_name("ewma"), SYMBOL)
    versions = document["versions"]
    assert facts["ewma"]["versions"] == len(versions) > 3
    assert sum(facts["ewma"]["causes"].values()) == len(versions) - 1 == document["looks"]["retrain"]
    assert all(version["trained_until"] < version["trained_at"] for version in versions)
    assert [row["horizon"] for row in document["scores"]] == ["1h", "4h"]
    for row in document["scores"]:
        # Three parameters, fitted on much the same bars: neither way of training can be far from the other.
        assert abs(row["against_folds"]["value"]) < 0.02
        assert row["best_baseline"] == "seasonal_ewma"
    assert {one["status"] for one in document["backtests"].values()} == {"n/a: no direction"}
    assert len(counted_trials(clone.lineage().workspace.database, SYMBOL)) == before + 1
    late = "select count(*) as n from retrained where trained_until >= decided_at"
    assert clone.lineage().workspace.lake.query(late).to_pylist() == [{"n": 0}]

    assert run(["backtest", SYMBOL, "--retrained", "ewma", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document, "asked again, nothing is trained again"
    assert run(["backtest", SYMBOL, "--retrained", "ewma"]) == 0
    shown = capsys.readouterr().out
    assert "Asked for by a person." in shown
    assert versions[1]["version"] in shown
    assert "days ago, limit 10" in shown
    assert "all is right" in shown
    assert run(["backtest", SYMBOL, "--retrained", "sssd"]) == 2


@pytest.mark.deep
def test_a_model_that_trades_is_traded_on_the_decisions_of_both(clone: SmallHome) -> None:
    clone.configure("pipeline.yaml", {"retraining": {"every_days": 40}})
    lineage = clone.lineage()
    document = replay_family(lineage, "ridge", silent)
    counts = {name: one["forecasts"] for name, one in document["backtests"].items()}
    assert counts["retrained"] == counts["fixed folds"] > 100
    parts = lineage.workspace.lake.read(CALIBRATED, lineage.workspace.lake.keys(RAW)[0])
    assert np.datetime64(document["start"]) >= parts.column("decided_at").to_pandas().dt.tz_localize(None).min()
    with pytest.raises(BadInputError, match=r"GBPUSD has no model 'sssd'"):
        replay_family(lineage, "sssd", silent)


@pytest.mark.deep
def test_what_a_replay_traded_is_kept_and_held_to_its_versions(
    clone: SmallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated bars teach no direction, so the forecasts are made to lean by the hour before they are traded."""
    for module in ("replaying", "auditing"):
        monkeypatch.setattr(f"fxgpt_pipeline.{module}.joined", lambda *given: tuple(map(leaning, joined(*given))))
    clone.configure("pipeline.yaml", {"retraining": {"every_days": 40}})
    lineage = clone.lineage()
    document = replay_family(lineage, "ridge", silent)
    made = document["backtests"]["retrained"]
    trades = stored(lineage, replay_name("ridge"), TRADES)
    assert len(trades) == made["metrics"]["trades"] > 10
    assert audit_replay(lineage, "ridge") == {name: [] for name in (*AUDITS, IN_TURN)}
    lake, keys = lineage.workspace.lake, {"symbol": SYMBOL, "family": replay_name("ridge")}
    richer = trades.assign(pnl=trades["pnl"] + 1.0, exit_time=trades["exit_time"] + pd.Timedelta(days=9))
    lake.write(TRADES, keys, "span=all", pa.Table.from_pandas(richer, preserve_index=False))
    found = audit_replay(lineage, "ridge")
    assert found is not None
    assert found[RECONCILED][0].startswith(f"{len(trades)} trades earned other than gross less costs")
    assert found[FLAT][0].startswith(f"{len(trades)} positions were held over the weekend")
    clone.configure("pipeline.yaml", {"backtest": {"least_edge": 0.1}})
    assert audit_replay(clone.lineage(), "ridge") is None, "it was traded by other rules"
