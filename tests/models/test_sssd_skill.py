import numpy as np
import pytest
import scoringrules
import torch
from sssd_data import deviation, planted

from fxgpt_core.evaluation.scores import crps
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.sssd.adjustment import Adjustment, sample_crps
from fxgpt_core.models.sssd.config import AdjustmentConfig, SSSDConfig
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.training.plan import TrainingPlan

PRIOR = AdjustmentConfig(mean_prior=100)
MADE = Provenance("v1", np.datetime64("2030-01-01", "ns"))


def skill(data: Dataset, seed: int = 1) -> np.ndarray:
    """Return 1 - CRPS / CRPS of a normal with the training labels' deviation, per horizon, on test rows."""
    model = SSSD(SSSDConfig.model_validate({"preset": "small"}))
    model.fit(data, TrainingPlan(seed=seed))
    rows = np.flatnonzero(data.split.test)
    forecast = model.forecast(data, rows, MADE, seed=seed)
    out = []
    for h in range(len(data.horizons)):
        y = data.returns()[rows, h]
        spread = data.targets[:, h][data.split.train[:, h]].std() * 1e-3
        out.append(1 - crps(y, forecast.quantiles[:, h]).mean() / scoringrules.crps_normal(y, 0.0, spread).mean())
    return np.asarray(out)


def possible(data: Dataset, strength: float) -> float:
    """Return the skill of the planted law itself at the first horizon."""
    shock, drive = data.tables["1h"].values[:, 0], np.zeros(len(data))
    for i in range(1, len(data)):
        drive[i] = 0.9 * drive[i - 1] + np.sqrt(0.19) * shock[i]
    rows = data.split.test
    y, spread = data.targets[rows, 0], data.targets[:, 0][data.split.train[:, 0]].std()
    exact = scoringrules.crps_normal(y, 0.0, deviation(drive, strength)[rows]).mean()
    return float(1 - exact / scoringrules.crps_normal(y, 0.0, spread).mean())


@pytest.mark.deep
def test_planted_conditional_variance_is_learned() -> None:
    data = planted(4000, seed=11, strength=0.5)
    found = skill(data)
    assert found[0] > 0.4 * possible(data, 0.5)
    assert (found > 0.01).all()


@pytest.mark.deep
def test_the_burn_in_of_a_trained_model_leaves_two_percent_to_older_history() -> None:
    data = planted(3000, seed=5)
    config = SSSDConfig.model_validate({"preset": "small"})
    model = SSSD(config)
    model.fit(data, TrainingPlan(seed=1))
    inputs = Inputs.build(data, model.scaling, "cpu")
    stretches = inputs.stretch_lengths(64, config.training.burn_in)
    for start in (1500, 2000, 2500):
        with torch.no_grad():
            first = model.network.encoder.segments(inputs, torch.tensor([start]), 64, stretches)[0, 0]
        streamed = torch.from_numpy(model.contexts(data, np.array([start]), by_recurrence=True))[0]
        assert float((first - streamed).norm() / streamed.norm()) < 0.02


@pytest.mark.deep
def test_pure_noise_yields_no_skill_and_little_harm() -> None:
    found = np.array([skill(planted(2500, seed=seed, strength=0.0), seed) for seed in range(4)])
    assert found.mean() < 0.003
    assert found.mean() > -0.01


def test_sample_crps_is_the_crps_of_the_drawn_distribution() -> None:
    rng = np.random.default_rng(0)
    samples, outcome = rng.normal(size=(50, 200)), rng.normal(size=50)
    exact = scoringrules.crps_ensemble(outcome, samples, estimator="nrg")
    np.testing.assert_allclose(sample_crps(samples, outcome), exact, rtol=1e-6)


def test_adjustment_finds_a_wrong_spread_and_a_mean_that_knows_nothing() -> None:
    rng = np.random.default_rng(1)
    opinion = rng.normal(size=(3000, 1, 1))
    samples = (0.5 * opinion + 1.5 * rng.normal(size=(3000, 60, 1))).astype(np.float32)
    mask = np.ones((3000, 1), dtype=bool)
    ignorant = Adjustment.fit(samples, rng.normal(size=(3000, 1)), mask, np.ones(1), PRIOR)
    assert ignorant.shrink[0] < 0.1
    assert ignorant.scale[0] == pytest.approx(1 / 1.5, rel=0.06)
    right = 0.5 * opinion[:, 0] + rng.normal(size=(3000, 1))
    assert Adjustment.fit(samples, right, mask, np.ones(1), PRIOR).shrink[0] > 0.8
    few = Adjustment.fit(samples, rng.normal(size=(3000, 1)), mask, np.full(1, 300.0), PRIOR)
    assert 0.9 < few.scale[0] < 1.0  # ten effective rows move the spread only a little


def test_adjustment_keeps_masked_labels_out() -> None:
    rng = np.random.default_rng(2)
    samples, target = rng.normal(size=(400, 50, 2)).astype(np.float32), rng.normal(size=(400, 2))
    mask = np.ones((400, 2), dtype=bool)
    mask[200:, 1] = False
    spoiled = target.copy()
    spoiled[200:, 1] = np.nan
    first = Adjustment.fit(samples, target, mask, np.ones(2), PRIOR)
    second = Adjustment.fit(samples, spoiled, mask, np.ones(2), PRIOR)
    assert np.array_equal(first.scale, second.scale)
    assert np.array_equal(first.shrink, second.shrink)
