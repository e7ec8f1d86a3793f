"""The standardiser learns from training rows alone."""

import json

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.features.scaler import Standardiser

RNG = np.random.default_rng(0)
VALUES = RNG.normal(3.0, 2.0, (400, 4)).astype(np.float32)
VALUES[:, 1] = 7.0
VALUES[20:, 2] = np.nan
TRAIN = np.arange(400) < 300


def test_training_rows_have_mean_zero_and_deviation_one() -> None:
    out = Standardiser.fit(VALUES, TRAIN).transform(VALUES[TRAIN])
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=0), 1, atol=1e-5)
    assert out.dtype == np.float32


def test_rows_outside_training_change_nothing() -> None:
    other = VALUES.copy()
    other[~TRAIN] *= 100
    assert Standardiser.fit(other, TRAIN).to_dict() == Standardiser.fit(VALUES, TRAIN).to_dict()


def test_useless_columns_are_dropped_with_their_reason() -> None:
    scaler = Standardiser.fit(VALUES, TRAIN)
    assert scaler.dropped == {1: "constant", 2: "mostly missing"}
    assert scaler.names(("a", "b", "c", "d")) == ("a", "d")


def test_missing_becomes_the_mean_and_outliers_are_clipped() -> None:
    scaler = Standardiser.fit(VALUES, TRAIN)
    row = np.array([[np.nan, 0, 0, 1e9]], dtype=np.float32)
    np.testing.assert_array_equal(scaler.transform(row), [[0.0, 8.0]])


def test_tiny_scales_survive() -> None:
    tiny = RNG.normal(0, 1e-5, (300, 1)).astype(np.float32)
    assert Standardiser.fit(tiny, np.arange(300)).transform(tiny).std() == pytest.approx(1, abs=1e-3)


def test_it_round_trips_through_json() -> None:
    scaler = Standardiser.fit(VALUES, TRAIN)
    again = Standardiser.from_dict(json.loads(json.dumps(scaler.to_dict())))
    np.testing.assert_array_equal(again.transform(VALUES), scaler.transform(VALUES))


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="training row"):
        Standardiser.fit(VALUES, np.zeros(400, dtype=bool))
    with pytest.raises(DataError, match="4 columns"):
        Standardiser.fit(VALUES, TRAIN).transform(VALUES[:, :2])
