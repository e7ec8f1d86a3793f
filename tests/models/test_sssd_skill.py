from dataclasses import replace

import numpy as np
import pytest
import scoringrules
import torch
from scipy import stats
from sssd_data import deviation, planted

from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.evaluation.scores import crps
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.adjustment import Adjustment, AdjustmentConfig, sample_crps
from fxgpt_core.models.evidence import Judged, Rows, pairing, shape_gain, trust
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.margins import spread_out
from fxgpt_core.models.sssd.bulk import standing_law
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.training.plan import TrainingPlan

SMALL = SSSDConfig.model_validate({"preset": "small", "inputs": {"surprises": False}})  # planted bars do not move
LONG = {  # these few planted bars make a few steps an epoch, a pair-year a hundred
    "preset": "small",
    "inputs": {"surprises": False},
    "training": {"epochs": 30, "patience": 30, "segment": 128, "head_lr": 0.004},
}
PRIOR = AdjustmentConfig(mean_prior=100, spread_prior=50)
MADE = Provenance("v1", np.datetime64("2030-01-01", "ns"))


def skill(data: Dataset, seed: int = 1) -> np.ndarray:
    """Return 1 - CRPS / CRPS of a normal with the training labels' deviation, per horizon, on test rows."""
    return gains(data, forecast_of(data, seed)[1])


def forecast_of(data: Dataset, seed: int = 1, config: SSSDConfig = SMALL) -> tuple[SSSD, Forecast]:
    """Return the small SSSD fitted to `data`, and its forecast of all test rows."""
    model = SSSD(config)
    model.fit(data, TrainingPlan(seed=seed))
    return model, model.forecast(data, np.flatnonzero(data.split.test), MADE, seed=seed)


def gains(data: Dataset, forecast: Forecast) -> np.ndarray:
    rows = np.flatnonzero(data.split.test)
    out = []
    for h in range(len(data.horizons)):
        y = data.returns()[rows, h]
        spread = data.targets[:, h][data.split.train[:, h]].std() * 1e-3
        out.append(1 - crps(y, forecast.quantiles[:, h]).mean() / scoringrules.crps_normal(y, 0.0, spread).mean())
    return np.asarray(out)


def driven(data: Dataset) -> np.ndarray:
    """Return the slow average of the first hourly feature, standard normal, that plants what is planted: (bars,)."""
    shock, drive = data.tables["1h"].values[:, 0], np.zeros(len(data))
    for i in range(1, len(data)):
        drive[i] = 0.9 * drive[i - 1] + np.sqrt(0.19) * shock[i]
    return drive


def possible(data: Dataset, strength: float) -> float:
    """Return the skill of the planted law itself at the first horizon."""
    drive = driven(data)
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
def test_planted_conditional_mean_proves_itself_and_is_learned() -> None:
    data = planted(25_000, seed=12, strength=0.0)
    drive = driven(data)[:, None]
    data = replace(data, targets=0.3 * drive + np.sqrt(0.91) * data.targets)
    model, forecast = forecast_of(data)
    assert float(model.network.lean.min()) > 0.6
    assert np.corrcoef(forecast.mean[:, 0], drive[data.split.test, 0])[0, 1] > 0.8
    assert gains(data, forecast)[0] > 0.025  # the planted law itself gains 0.042


@pytest.mark.deep
def test_a_law_with_two_modes_under_a_condition_is_recovered() -> None:
    data = planted(5000, seed=13, strength=0.0)
    condition, rng = data.tables["1h"].values[:, 0], np.random.default_rng(5)
    side = rng.choice([-1.0, 1.0], size=(len(data), 1))
    data = replace(data, targets=np.where(condition[:, None] > 0, 1.2 * side + 0.3 * data.targets, data.targets))
    given = {"adjustment": {"shape_errors": None}, "diffusion": {"noises": 8}}
    config = {**LONG, **given, "training": {**LONG["training"], "weight_decay": 0.01, "blind": 0.3, "head_lr": 0.01}}
    _, forecast = forecast_of(data, config=SSSDConfig.model_validate(config))
    near_zero, condition = (np.abs(forecast.samples[:, :, 0] / 1e-3) < 0.4).mean(axis=1), condition[data.split.test]
    assert near_zero[condition > 0.5].mean() < 0.1  # planted: 0.4 %
    assert near_zero[condition < -0.5].mean() > 0.2  # planted: 31 %


@pytest.mark.deep
def test_heavy_tails_are_as_heavy_as_planted() -> None:
    data = planted(4000, seed=14, strength=0.0)
    rng = np.random.default_rng(6)
    planted_tails = rng.standard_t(5, size=data.targets.shape) / np.sqrt(5 / 3)
    _, forecast = forecast_of(replace(data, targets=planted_tails))
    z = forecast.samples[:, :, 0].ravel() / 1e-3
    planted_z = planted_tails[:, 0]
    for values in (z, planted_z):
        values -= values.mean()
    kurtosis, wanted = (np.mean(v**4) / np.mean(v**2) ** 2 for v in (z, planted_z))
    assert wanted > 5
    assert kurtosis == pytest.approx(wanted, rel=0.35)
    assert np.quantile(np.abs(z), 0.99) == pytest.approx(np.quantile(np.abs(planted_z), 0.99), rel=0.1)


@pytest.mark.deep
def test_the_burn_in_of_a_trained_model_leaves_two_percent_to_older_history() -> None:
    data = planted(3000, seed=5)
    model = SSSD(SMALL)
    model.fit(data, TrainingPlan(seed=1))
    inputs = Inputs.build(data, model.scaling, "cpu")
    stretches = inputs.stretch_lengths(64, SMALL.training.burn_in)
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


def judged(swing: np.ndarray, train: np.ndarray, validation: np.ndarray) -> Judged:
    still = np.zeros(swing.shape[1])
    return Judged(Rows(still, swing[0], train), Rows(still, swing[1], validation))


def test_a_scale_is_trusted_as_far_as_it_pays_on_validation_labels() -> None:
    rng = np.random.default_rng(3)
    swing, noise = 0.4 * rng.normal(size=(2, 4000)), rng.normal(size=(2, 4000))
    right = np.exp(swing) * noise
    labels = judged(swing, *right)
    share, lean = trust(labels, 1, 0.5, 2.0)
    assert share > 0.9
    assert lean == 0
    assert labels.score(share, 0.0).mean() < labels.score(0.0, 0.0).mean()
    overfitted = judged(swing, right[0], noise[1])  # it explains training labels only
    assert trust(overfitted, 1, 0.5, 2.0)[0] == 0
    half = np.exp(0.5 * swing) * noise
    assert 0.3 < trust(judged(swing, *half), 1, 0.5, 2.0)[0] < 0.8
    assert trust(labels, 1000, 2.0, 2.0)[0] < trust(labels, 1, 2.0, 2.0)[0]


def test_a_mean_is_trusted_only_beyond_chance() -> None:
    rng = np.random.default_rng(7)
    mean, noise = 0.2 * rng.normal(size=(2, 4000)), rng.normal(size=(2, 4000))
    still, right = np.zeros(4000), mean + noise
    known = Judged(Rows(mean[0], still, right[0]), Rows(mean[1], still, right[1]))
    assert trust(known, 1, 0.5, 2.0)[1] > 0.8
    assert trust(known, 400, 0.5, 2.0)[1] == 0  # ten labels that do not overlap prove nothing
    lucky = [
        trust(Judged(Rows(m[0], still, n[0]), Rows(m[1], still, n[1])), 1, 0.5, 2.0)[1]
        for m, n in ((0.05 * rng.normal(size=(2, 4000)), rng.normal(size=(2, 4000))) for _ in range(60))
    ]
    assert np.mean(np.array(lucky) > 0) < 0.15


def test_draws_given_the_context_must_beat_one_law_beyond_chance() -> None:
    rng = np.random.default_rng(4)
    plain, counted = np.abs(rng.normal(size=(500, 2))), np.ones((500, 2), dtype=bool)
    chance = plain + 0.2 * rng.normal(size=(500, 2))
    assert abs(shape_gain(plain, chance, counted, np.ones(2))[1]) < 3
    gain, t = shape_gain(plain, 0.8 * plain, counted, np.ones(2))
    assert gain == pytest.approx(0.2)
    assert t > 10
    assert shape_gain(plain, 0.8 * plain, counted, np.array([1.0, 100.0]))[1] == pytest.approx(t / 10, rel=1e-6)
    spoiled = 0.8 * plain
    spoiled[:, 1] = np.nan
    counted[:, 1] = False
    assert shape_gain(plain, spoiled, counted, np.ones(2))[0] == pytest.approx(0.2)


def test_draws_that_go_together_as_outcomes_do_score_better_than_pairs_at_random() -> None:
    rng = np.random.default_rng(8)

    def law(shape: tuple[int, ...], together: float) -> np.ndarray:
        first, own = rng.normal(size=(2, *shape))
        return np.stack([first, together * first + np.sqrt(1 - together**2) * own], axis=-1)

    outcome, counted = law((3000,), 0.8), np.ones((3000, 2), dtype=bool)
    right, weak, none = (pairing(law((3000, 20), share), outcome, counted) for share in (0.8, 0.4, 0.0))
    assert right < weak - 0.005 < none - 0.01
    assert none == pytest.approx(1.0, abs=0.005)
    assert pairing(law((30, 20), 0.8)[..., :1], outcome[:30, :1], counted[:30, :1]) == 1.0
    counted[:, 1] = False
    assert pairing(law((3000, 20), 0.8), outcome, counted) == 1.0


def test_draws_without_a_context_keep_their_order_and_take_the_margins() -> None:
    torch.manual_seed(0)
    net = Network({"1h": 3}, 2, SMALL).eval()
    context, start = torch.randn(3, SMALL.encoder.context), torch.randn(3, 50, 2)
    before = net.draw(context, start, 8)
    net.informed.fill_(0.0)
    net.margins.mul_(2.0)
    after = net.draw(context, start, 8)
    assert torch.equal(before.argsort(dim=1), after.argsort(dim=1))
    level = (torch.arange(50) + 0.5) / 50
    normal = 2 * torch.special.ndtri(level)[1:-1, None].expand(-1, 2)
    torch.testing.assert_close(after[1].sort(dim=0).values[1:-1], normal, atol=0.02, rtol=0.02)
    torch.testing.assert_close(net.draw(context * 3, start, 8), after)  # the untrained scale is the yardstick


def test_a_hundred_draws_keep_mean_and_deviation_of_a_skewed_law_with_fat_tails() -> None:
    level = (np.arange(999) + 0.5) / 999
    law = stats.t(4).ppf(level) + 0.3 * stats.expon.ppf(level)
    drawn = spread_out(torch.from_numpy(law)[:, None], 100)[:, 0].numpy()
    assert drawn.mean() == pytest.approx(law.mean(), abs=1e-9)
    assert drawn.std() == pytest.approx(law.std(), rel=0.015)
    assert np.quantile(law, 0.99) < drawn.max() < law.max()
    middles = np.quantile(law, (np.arange(100) + 0.5) / 100)
    assert middles.std() < 0.97 * law.std()  # what was lost before
    np.testing.assert_allclose(drawn[5:-5], middles[5:-5], atol=0.015)


def test_quantiles_of_one_law_for_all_rows_are_its_own_and_no_draw_moves_them() -> None:
    torch.manual_seed(0)
    net = Network({"1h": 3}, 2, SMALL).eval()
    net.informed.fill_(0.0)
    net.lean.fill_(0.5)
    torch.nn.init.normal_(net.location.weight)
    context = torch.randn(3, SMALL.encoder.context)
    std, quantiles = standing_law(net, context, Adjustment(np.ones(2), np.array([1.0, 2.0])))
    mean = (0.5 * torch.tanh(net.location(context))).detach().numpy()
    for h, width in enumerate((1.0, 2.0)):
        np.testing.assert_allclose(std[:, h], width, rtol=0.01)
        exact = mean[:, h, None] + width * stats.norm.ppf(LEVELS)
        np.testing.assert_allclose(quantiles[:, h], exact, atol=0.01)
    net.informed.fill_(1.0)
    assert standing_law(net, context, Adjustment.none(2)) is None
