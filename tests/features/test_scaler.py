"""The standardiser learns from training rows alone."""

import json

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.features.scaler import ScalingConfig, Standardiser

RNG = np.random.default_rng(0)
VALUES = RNG.normal(3.0, 2.0, (400, 4)).astype(np.float32)
VALUES[:, 1] = 7.0
VALUES[20:, 2] = np.nan
TRAIN = np.arange(400) < 300
ROBUST = ScalingConfig(method="robust")


def test_training_rows_have_mean_zero_and_deviation_one() -> None:
    out = Standardiser.fit(VALUES, TRAIN).transform(VALUES[TRAIN])
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=0), 1, atol=1e-5)
    assert out.dtype == np.float32


def test_it_agrees_with_scikit_learn_on_every_width() -> None:
    from sklearn.preprocessing import StandardScaler

    wide = RNG.normal(1, 3, (500, 150)) * RNG.uniform(1e-4, 1e3, 150)
    wide[RNG.random(wide.shape) < 0.1] = np.nan
    theirs = StandardScaler().fit_transform(wide)
    np.testing.assert_allclose(Standardiser.fit(wide, slice(None)).transform(wide), np.nan_to_num(theirs), atol=1e-5)


def test_the_robust_one_uses_the_median_and_does_not_care_for_outliers() -> None:
    values = RNG.normal(3.0, 2.0, (4001, 1))
    spoilt = values.copy()
    spoilt[:400] = 60.0  # a tenth of the rows, none of them beyond the explosive limit
    clean, hurt = (Standardiser.fit(v, slice(None), ROBUST) for v in (values, spoilt))
    assert clean.mean[0] == np.median(values)
    assert clean.std[0] == pytest.approx(2.0, rel=0.05)
    assert hurt.std[0] == pytest.approx(clean.std[0], rel=0.2)
    assert Standardiser.fit(spoilt, slice(None)).std[0] > 5 * clean.std[0]


@pytest.mark.parametrize("config", [ScalingConfig(), ROBUST])
def test_rows_outside_training_change_nothing(config: ScalingConfig) -> None:
    other = VALUES.copy()
    other[~TRAIN] *= 100
    other[390:, 0] = np.inf
    assert Standardiser.fit(other, TRAIN, config).to_dict() == Standardiser.fit(VALUES, TRAIN, config).to_dict()


def test_useless_columns_are_dropped_with_their_reason() -> None:
    scaler = Standardiser.fit(VALUES, TRAIN)
    assert scaler.dropped == {1: "constant at 7", 2: "mostly missing, known in 20 of 300 rows (15% needed)"}
    assert scaler.names(("a", "b", "c", "d")) == ("a", "d")


def test_missing_becomes_the_mean_and_outliers_are_clipped() -> None:
    scaler = Standardiser.fit(VALUES, TRAIN)
    row = np.array([[np.nan, 0, 0, 1e9]], dtype=np.float32)
    np.testing.assert_array_equal(scaler.transform(row), [[0.0, 8.0]])


def test_a_few_explosive_values_do_not_set_the_deviation() -> None:
    spoilt = VALUES.copy()
    spoilt[5, 0], spoilt[6, 3] = 1e30, -np.inf
    clean, hurt = (Standardiser.fit(v, TRAIN) for v in (VALUES, spoilt))
    assert hurt.kept.tolist() == clean.kept.tolist()
    assert hurt.std[0] < 8 * clean.std[0]  # one value at the limit of 100 deviations among 300
    assert hurt.std[1] == pytest.approx(clean.std[1], rel=0.05)


def test_a_column_that_is_missing_later_counts_as_its_mean_and_is_named() -> None:
    scaler = Standardiser.fit(VALUES, TRAIN)
    later = VALUES[300:].copy()
    later[:, 3] = np.nan
    assert scaler.unknown(later).tolist() == [3]
    assert scaler.unknown(VALUES).tolist() == []
    assert scaler.unknown(VALUES[:0]).tolist() == []
    assert (scaler.transform(later)[:, 1] == 0).all()


def test_tiny_scales_survive() -> None:
    tiny = RNG.normal(0, 1e-5, (300, 1)).astype(np.float32)
    assert Standardiser.fit(tiny, np.arange(300)).transform(tiny).std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("config", [ScalingConfig(), ROBUST])
def test_it_round_trips_through_json(config: ScalingConfig) -> None:
    scaler = Standardiser.fit(VALUES, TRAIN, config)
    again = Standardiser.from_dict(json.loads(json.dumps(scaler.to_dict())))
    np.testing.assert_array_equal(again.transform(VALUES), scaler.transform(VALUES))
    assert again.dropped == scaler.dropped


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="training row"):
        Standardiser.fit(VALUES, np.zeros(400, dtype=bool))
    with pytest.raises(DataError, match="4 columns"):
        Standardiser.fit(VALUES, TRAIN).transform(VALUES[:, :2])
