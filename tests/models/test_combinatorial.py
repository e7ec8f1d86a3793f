"""Cross-validated forecasts join into complete paths, each forecast by a model that never saw its labels."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.combinatorial import combinatorial
from fxgpt_core.evaluation.split_config import CombinatorialConfig
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.models.combinatorial import run_combinatorial
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.training.plan import plan_training
from tests.models.tabular_data import HORIZONS, LAYOUT, bars

DATASET = build_dataset(bars(1500), LAYOUT, HORIZONS, FeatureSpec(groups=("ohlc",)))
SPLITS = combinatorial(DATASET, CombinatorialConfig(min_train_rows=50))
HAR = FAMILIES["har"]


def test_every_path_forecasts_all_usable_bars_by_the_models_that_tested_them(tmp_path: Path) -> None:
    clock = FixedClock(datetime(2024, 1, 1, tzinfo=UTC))
    plan = plan_training(1, tmp_path, accelerated=False)
    paths = run_combinatorial(DATASET, HAR, HAR.config({}), SPLITS, plan, clock)
    assert len(paths) == 4
    usable = DATASET.known_at[DATASET.usable]
    for number, forecast in enumerate(paths):
        np.testing.assert_array_equal(forecast.decided_at, usable)
        assert set(forecast.origin) == {"combinatorial"}
        for split, rows in SPLITS.path(number):
            versions = forecast.model_version[np.isin(usable, DATASET.known_at[rows])]
            assert set(versions) == {f"har/{SPLITS.splits[split].name}"}
    first, second = paths[0], paths[1]
    assert not np.array_equal(first.quantiles, second.quantiles)
    assert list(tmp_path.iterdir()) == []


def test_only_cross_validation_may_have_learned_from_later_bars() -> None:
    clock = FixedClock(datetime(2024, 1, 1, tzinfo=UTC))
    plan = plan_training(1, None, accelerated=False)
    forecast = run_combinatorial(DATASET, HAR, HAR.config({}), SPLITS, plan, clock)[0]
    assert (forecast.trained_until > forecast.decided_at).any()
    with pytest.raises(DataError, match="the model saw the future"):
        type(forecast)(**{**vars(forecast), "origin": np.full(len(forecast), "fold", dtype=object)})
