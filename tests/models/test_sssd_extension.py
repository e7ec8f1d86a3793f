"""A trained SSSD takes one more horizon without being trained again."""

from dataclasses import replace

import numpy as np
import pytest
from sssd_data import planted

from fxgpt_core.common.errors import ModelError
from fxgpt_core.evaluation.scores import crps
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.extension import extended
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.training.plan import TrainingPlan

MADE = Provenance("v1", np.datetime64("2030-01-01", "ns"))
SMALL = {"preset": "small", "inputs": {"surprises": False}, "training": {"epochs": 12}}


def with_two_hours(data: Dataset) -> Dataset:
    """The same bars with a horizon of 120 minutes whose returns go with those of 60 and 240 and are as wild."""
    rng, place = np.random.default_rng(9), 1

    def widened(values: np.ndarray, column: np.ndarray) -> np.ndarray:
        return np.insert(values, place, column, axis=1)

    middle = 0.5 * data.targets.sum(axis=1) + 0.5 * np.abs(data.targets[:, 0]) * rng.normal(size=len(data))
    ends = data.label_end[:, 0] + (data.label_end[:, 1] - data.label_end[:, 0]) // 3
    split = data.split
    return replace(
        data,
        horizons=(60, 120, 240),
        targets=widened(data.targets, middle),
        yardstick=widened(data.yardstick, data.yardstick[:, 0] * 1.4),
        label_end=widened(data.label_end, ends),
        mask=widened(data.mask, data.mask[:, 1]),
        split=replace(
            split,
            train=widened(split.train, split.train[:, 1]),
            validation=widened(split.validation, split.validation[:, 1]),
        ),
    )


@pytest.fixture(scope="module")
def fitted() -> tuple[SSSD, Dataset]:
    data = planted(3000, seed=21)
    model = SSSD(SSSDConfig.model_validate(SMALL))
    model.fit(data, TrainingPlan(seed=1))
    return model, data


def test_the_new_horizon_is_forecast_like_the_others_and_those_stay(fitted: tuple[SSSD, Dataset]) -> None:
    model, data = fitted
    wide = with_two_hours(data)
    made, rows = extended(model, wide, seed=3), np.flatnonzero(data.split.test)
    before, after = model.forecast(data, rows, MADE), made.forecast(wide, rows, MADE)
    assert after.horizons == (60, 120, 240)
    np.testing.assert_allclose(after.quantiles[:, [0, 2]], before.quantiles, rtol=1e-5)
    truth = wide.returns()[rows, 1]
    covered = (truth >= after.quantiles[:, 1, after.levels.index(0.05)]) & (
        truth <= after.quantiles[:, 1, after.levels.index(0.95)]
    )
    assert 0.85 < covered.mean() < 0.95
    gains = []
    for h in (0, 1):
        plain = np.quantile(wide.returns()[wide.split.train[:, h], h], after.levels)[None].repeat(len(rows), axis=0)
        truth = wide.returns()[rows, h]
        gains.append(1 - crps(truth, after.quantiles[:, h]).mean() / crps(truth, plain).mean())
    assert gains[1] > 0.5 * gains[0] > 0.005  # the planted variance is seen
    together = np.mean([np.corrcoef(draws[:, 0], draws[:, 1])[0, 1] for draws in after.samples[::50]])
    assert together > 0.5  # planted: 0.8
    assert model.horizons == (60, 240)


def test_an_extended_model_is_kept_in_files(fitted: tuple[SSSD, Dataset], tmp_path) -> None:
    model, data = fitted
    wide = with_two_hours(data)
    made, rows = extended(model, wide, seed=3), np.arange(2900, 2950)
    made.save(tmp_path)
    again = SSSD(SSSDConfig())
    again.load(tmp_path)
    np.testing.assert_array_equal(again.forecast(wide, rows, MADE).samples, made.forecast(wide, rows, MADE).samples)


def test_other_than_one_more_horizon_is_refused(fitted: tuple[SSSD, Dataset]) -> None:
    model, data = fitted
    with pytest.raises(ModelError, match=r"takes one more at a time; the dataset of EURUSD has \(60, 240\)"):
        extended(model, data, seed=0)
