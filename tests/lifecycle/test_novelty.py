"""What counts as far from the training distribution."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.novelty import NoveltyReference, novelty_reference
from fxgpt_core.market.providers.simulator import simulate

LAYOUT, HORIZONS = (timeframe("1h"), timeframe("4h")), (60, 240)
SPEC = FeatureSpec(groups=("ohlc", "volatility"))
TRAINED = np.arange(600, 2600)


def data(volatility: float = 0.08) -> Dataset:
    """Bars whose end moves by another volatility."""
    calm = simulate("EURUSD", "1h", start=np.datetime64("2024-01-01"), bars=3400, seed=3)
    wild = simulate("EURUSD", "1h", start=np.datetime64("2024-01-01"), bars=3400, seed=3, volatility=volatility)
    scale = float(calm.close[3000] / wild.close[3000])
    changed = {
        name: np.concatenate([getattr(calm, name)[:3000], getattr(wild, name)[3000:] * scale])
        for name in ("open", "high", "low", "close")
    }
    return build_dataset(replace(calm, **changed), LAYOUT, HORIZONS, SPEC)


@pytest.fixture(scope="module")
def calm() -> Dataset:
    return data()


@pytest.fixture(scope="module")
def reference(calm: Dataset) -> NoveltyReference:
    found = novelty_reference(calm, TRAINED)
    assert found is not None
    return found


def test_later_rows_of_the_same_market_are_seldom_novel(calm: Dataset, reference: NoveltyReference) -> None:
    score = reference.score(calm, np.arange(2600, len(calm)))
    assert score is not None
    assert (score > 1).mean() < 0.05


def test_a_wild_market_is_novel(reference: NoveltyReference) -> None:
    wild = data(volatility=0.8)
    score = reference.score(wild, np.arange(3050, len(wild)))
    assert score is not None
    assert (score > 1).mean() > 0.9


def test_columns_that_go_dark_are_novel(calm: Dataset, reference: NoveltyReference) -> None:
    base = calm.tables["1h"]
    values = base.values.copy()
    values[3000:, ::2] = np.nan
    dark = replace(calm, tables={**calm.tables, "1h": replace(base, values=values)})
    score = reference.score(dark, np.arange(3000, len(calm)))
    assert score is not None
    assert (score > 1).all()


def test_other_columns_cannot_be_judged_and_json_keeps_everything(calm: Dataset, reference: NoveltyReference) -> None:
    other = build_dataset(calm.candles, LAYOUT, HORIZONS, FeatureSpec(groups=("ohlc",)))
    assert reference.score(other, np.arange(10)) is None
    again = NoveltyReference.from_dict(json.loads(json.dumps(reference.to_dict())))
    rows = np.arange(2600, 2700)
    np.testing.assert_allclose(again.score(calm, rows), reference.score(calm, rows))  # type: ignore[arg-type]


def test_a_short_span_has_no_reference(calm: Dataset) -> None:
    assert novelty_reference(calm, np.arange(600, 700)) is None
