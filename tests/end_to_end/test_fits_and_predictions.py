"""What a run shows of its fits, what the launchpad offers, and predictions from Python for any family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.models.forecaster import FitReport
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.fit_facts import fit_facts
from fxgpt_pipeline.serving import predict, resolve
from fxgpt_pipeline.stages import walk_forward
from tests.pipeline.small_home import SYMBOL, SmallHome


def metadata(home: SmallHome, key: tuple[str, ...]) -> dict[str, Any]:
    with home.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(key))
    return dict(event.asset_materialization.metadata)


def test_fits_show_curve_parameters_plan_duration_and_notes() -> None:
    curves = {"train_loss": (3.0, 2.0, 1.5), "validation_crps": (0.6, 0.5, 0.55)}
    fit = FitReport(1000, 2.5, {"validation_crps": 0.5}, curves, ("a column left out",), ("CPU: nothing else here",))
    shown = fit_facts({"fold0": fit, "fold1": fit}, {"training": {"epochs": 3}})
    assert shown["fit_seconds"] == 5.0
    assert shown["epochs"] == 6
    assert shown["parameters"].value == {"training": {"epochs": 3}}
    assert shown["plan"].value == "- CPU: nothing else here"
    assert shown["notes"].value.splitlines() == ["- fold0: a column left out", "- fold1: a column left out"]
    assert shown["fits"].value["fold1"] == {"rows": 1000, "validation_crps": 0.5}
    assert len(shown["loss_curve"].value) > 2000
    plain = fit_facts({"candidate": FitReport(10, 0.1)}, {})
    assert set(plain) == {"parameters", "fit_seconds", "fits"}
    assert fit_facts({}, {"training": {}}) == {}


def test_further_seeds_and_a_fresh_start_are_asked_for_at_the_launchpad(clone: SmallHome) -> None:
    lineage, op = clone.lineage(), "walk_forward__ewma"
    config = {"ops": {op: {"config": {"afresh": True, "seeds": [9]}}}}
    with clone.instance() as instance:
        job = build_definitions(lineage.workspace)
        asset = [one for one in job.assets or () if dg.AssetKey(walk_forward("ewma")) in getattr(one, "keys", ())]
        done = dg.materialize(
            asset,
            partition_key=SYMBOL,
            instance=instance,
            run_config=config,
            resources={"workspace": lineage.workspace},
        )
    assert done.success
    lake = lineage.workspace.lake
    keys = {"symbol": SYMBOL, "family": "ewma"}
    assert lake.parts("walk_forward_seed_9", keys)
    assert lake.parts("walk_forward", keys) == lake.parts("walk_forward_seed_9", keys)
    assert metadata(clone, walk_forward("ewma"))["fits"].value  # finished folds were forgotten and made again


def test_predict_any_model_at_the_last_bar(clone: SmallHome) -> None:
    made = predict("gbp/usd", model="ridge", seed=4)
    assert made.decided_at[0] == clone.lineage().candles().known_at[-1]
    assert made.origin[0] == "live"
    assert made.model_version[0] == resolve(clone.lineage(), "ridge").label
    some = predict(SYMBOL, horizons=["4h"], model="ridge", seed=4)
    assert some.horizons == (240,)
    np.testing.assert_array_equal(some.quantiles[:, 0], made.quantiles[:, 1])
    assert "champion" in resolve(clone.lineage(), str(predict(SYMBOL).model_version[0]).split("/")[1]).aliases
    with pytest.raises(BadInputError, match=r"\(ridge\) draws no samples"):
        predict(SYMBOL, samples=50, model="ridge")


def test_a_family_without_export_says_so(clone: SmallHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "export", SYMBOL, "ridge", "--to", str(tmp_path / "other")]) == 2
    assert "has no export" in capsys.readouterr().err
