import numpy as np
import scoringrules
import torch

from fxgpt_core.diffusion.consistency import contradiction
from fxgpt_core.diffusion.fine_tuning import fair_crps, fair_energy_score


def test_fair_scores_are_those_of_a_second_implementation() -> None:
    rng = np.random.default_rng(0)
    samples, outcome = rng.normal(size=(30, 7, 3)), rng.normal(size=(30, 3))
    given = torch.from_numpy(samples), torch.from_numpy(outcome), torch.ones(30, 3, dtype=torch.float64)
    whole = torch.ones(3, dtype=torch.float64)
    expected = scoringrules.crps_ensemble(outcome, samples, m_axis=1, estimator="fair").mean()
    np.testing.assert_allclose(fair_crps(*given, whole), expected)
    expected = scoringrules.es_ensemble(outcome, samples, estimator="fair").mean()
    np.testing.assert_allclose(fair_energy_score(*given, whole), expected, rtol=1e-6)


def test_masked_horizons_count_in_no_score() -> None:
    samples, outcome = torch.randn(20, 6, 3), torch.randn(20, 3)
    mask, weights = torch.tensor([1.0, 0.0, 1.0]).expand(20, 3), torch.ones(3)
    other = samples.clone()
    other[..., 1] = 9.0
    for score in (fair_crps, fair_energy_score):
        torch.testing.assert_close(score(samples, outcome, mask, weights), score(other, outcome, mask, weights))
    one = [
        score(samples[..., :1], outcome[:, :1], mask[:, :1], weights[:1]) for score in (fair_crps, fair_energy_score)
    ]
    torch.testing.assert_close(*one)  # in one dimension they are the same


def test_only_means_of_opposite_signs_contradict() -> None:
    mask = torch.ones(1, 3)
    assert float(contradiction(torch.tensor([[0.1, 0.3, 0.0]]), mask)) == 0.0
    means = torch.tensor([[0.2, -0.1, 0.3]], requires_grad=True)
    penalty = contradiction(means, mask)
    torch.testing.assert_close(penalty.detach(), torch.tensor((0.02 + 0.03) / 3))
    penalty.backward()
    assert bool((means.grad * means > 0).all())  # descent makes every opinion weaker
    assert float(contradiction(means.detach(), torch.tensor([[1.0, 0.0, 1.0]]))) == 0.0
