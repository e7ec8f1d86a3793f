"""A bundle's live session says what its batch forecast says, calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.fitting import fit_calibrator
from fxgpt_core.common.errors import StoreError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import final_split
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.bundle import Bundle, Card
from fxgpt_core.lifecycle.live import CalibratedSession, forecast_latest
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.training.plan import TrainingPlan

BARS = simulate("EURUSD", "1h", start=np.datetime64("2024-01-01"), bars=1300, seed=5)
SPEC, LAYOUT, HORIZONS = FeatureSpec(groups=("ohlc",)), (timeframe("1h"),), (60, 240)
LIVE = Provenance("v1", np.datetime64("2030-01-01", "ns"), "live")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    data = build_dataset(BARS.take(slice(0, 850)), LAYOUT, HORIZONS, SPEC)
    split = final_split(data, WalkForwardConfig())
    model = family("ewma").create(family("ewma").config({}))
    model.fit(data.with_split(split), TrainingPlan(seed=1))
    known = build_dataset(BARS.take(slice(0, 1200)), LAYOUT, HORIZONS, SPEC)
    past = model.forecast(known, np.arange(860, 1190), Provenance("v1", known.known_at[-1]))
    calibrator = fit_calibrator(past, Outcomes.from_dataset(known), CalibrationConfig(method="split", min_rows=100))
    hash_of = known.definition_hash
    card = Card("EURUSD", "ewma", "f", str(split.trained_until), ("1h",), HORIZONS, "mid", {}, {}, hash_of)
    return Bundle(card, model, calibrator)


def test_live_forecasts_are_those_of_the_batch_calibrated(bundle: Bundle) -> None:
    session = CalibratedSession(bundle, Feed(BARS.take(slice(0, 1250)), LAYOUT, HORIZONS, SPEC))
    session.update(BARS.take(slice(1250, 1260)))
    made = session.forecast(LIVE)
    expected = forecast_latest(bundle, build_dataset(BARS.take(slice(0, 1260)), LAYOUT, HORIZONS, SPEC), LIVE)
    np.testing.assert_array_equal(made.quantiles, expected.quantiles)
    assert made.calibration_version[0] == expected.calibration_version[0] != ""
    some = session.forecast(LIVE, horizons=(240,))
    np.testing.assert_array_equal(some.quantiles[:, 0], expected.quantiles[:, 1])
    session.calibrator = None
    assert session.forecast(LIVE).calibration_version[0] == ""


def test_a_feed_with_other_features_is_refused(bundle: Bundle) -> None:
    other = Feed(BARS.take(slice(0, 900)), LAYOUT, HORIZONS, FeatureSpec(groups=("ohlc", "time")))
    with pytest.raises(StoreError, match=r"was trained on features"):
        CalibratedSession(bundle, other)
