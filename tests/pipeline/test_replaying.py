"""The retraining backtest of a symbol: an asset that nothing waits for, and what the command says of it."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import numpy as np
import pytest

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.progress import silent
from fxgpt_core.lifecycle.replay.segments import CALIBRATED, RAW
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.store.trials import counted_trials
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.defs.common import Parts
from fxgpt_pipeline.defs.retrained import build
from fxgpt_pipeline.replaying import replay_family, replay_name
from fxgpt_pipeline.stages import RETRAINED, build_stages
from tests.pipeline.small_home import SYMBOL, SmallHome


def materialise(home: SmallHome, families: list[str]) -> dict[str, Any]:
    """Materialise the asset as the launchpad would; return its metadata."""
    workspace = home.lineage().workspace
    parts = Parts(dg.StaticPartitionsDefinition([SYMBOL]), build_stages(FAMILIES), workspace)
    result = dg.materialize(
        build(parts),
        partition_key=SYMBOL,
        resources={"workspace": workspace},
        run_config={"ops": {"__".join(RETRAINED): {"config": {"families": families}}}},
    )
    (made,) = result.asset_materializations_for_node("__".join(RETRAINED))
    return {name: value.value for name, value in made.metadata.items()}


def test_nothing_is_replayed_unless_somebody_asks(clone: SmallHome) -> None:
    assert materialise(clone, [])["models"] == "none is asked for"
    assert clone.lineage().workspace.lake.keys(RAW) == []
    assert clone.stale() == set(), "no lineage waits for it"
    clone.configure("pipeline.yaml", {"retraining": {"replay": {"families": ["ewma"]}, "every_days": 20}})
    assert clone.stale() == set(), "nor is anything of it made anew"
    assert set(materialise(clone, [])) >= {"models", "ewma"}


def test_a_replay_is_traded_and_scored_beside_the_fixed_folds(
    clone: SmallHome, capsys: pytest.CaptureFixture[str]
) -> None:
    clone.configure("pipeline.yaml", {"retraining": {"every_days": 10}})
    before = len(counted_trials(clone.lineage().workspace.database, SYMBOL))
    facts = materialise(clone, ["ewma"])
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
