import numpy as np
import pytest
import torch

from fxgpt_core.diffusion.schedules import Schedule, alpha_sigma, amplitudes, sampling_levels, signal_power

KINDS = [Schedule(kind=kind, zero_terminal=zero) for kind in ("cosine", "linear") for zero in (False, True)]


def test_the_cosine_schedule_is_the_published_formula() -> None:
    level = torch.tensor([0.0, 250.0, 500.0, 999.0])
    f = np.cos((level.double().numpy() / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(signal_power(Schedule(), level), f / f[0], rtol=1e-9)
    assert float(signal_power(Schedule(), torch.tensor(1000.0))) == pytest.approx(1e-12)
    assert float(signal_power(Schedule(clip=1e-4), torch.tensor(1000.0))) == pytest.approx(1e-4)


def test_the_linear_schedule_is_the_published_product() -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    expected = np.cumprod(1 - betas)
    np.testing.assert_allclose(signal_power(Schedule(kind="linear"), torch.arange(1, 1001)), expected, rtol=1e-12)
    between = float(signal_power(Schedule(kind="linear"), torch.tensor(500.5)))
    assert expected[500] < between < expected[499]
    coarse = signal_power(Schedule(steps=100, kind="linear"), torch.tensor(100.0))
    np.testing.assert_allclose(coarse, np.cumprod(1 - np.linspace(1e-3, 0.2, 100))[-1])


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_zero_terminal_rescaling_is_that_of_lin_et_al(kind: str) -> None:
    plain, zero = Schedule(kind=kind), Schedule(kind=kind, zero_terminal=True)
    root = signal_power(plain, torch.arange(1, 1001)).sqrt().numpy()
    expected = (root - root[-1]) * root[0] / (root[0] - root[-1])
    np.testing.assert_allclose(signal_power(zero, torch.arange(1, 1001)).sqrt(), expected, atol=1e-6)
    assert float(signal_power(zero, torch.tensor(1000.0))) == 0.0


@pytest.mark.parametrize("schedule", KINDS)
def test_a_schedule_keeps_variance_and_falls_from_clean_to_noise(schedule: Schedule) -> None:
    alpha, sigma = alpha_sigma(schedule, torch.arange(1001))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(1001))
    assert (alpha[0], sigma[0]) == (1.0, 0.0)
    assert bool((alpha.diff() < 0).all())
    exact = amplitudes(schedule, torch.tensor([0.0, 300.0]))
    np.testing.assert_allclose(exact, [part[[0, 300]] for part in (alpha, sigma)], rtol=1e-6)


def test_levels_run_from_noise_to_clean_and_crowd_at_both_ends_on_request() -> None:
    assert sampling_levels(Schedule(), 20).tolist()[:2] == [1000.0, 950.0]
    crowded = sampling_levels(Schedule(), 10, crowding=0.5)
    assert (float(crowded[0]), float(crowded[-1])) == (1000.0, 0.0)
    steps = -crowded.diff()
    assert float(steps[0]) < float(steps[4]) > float(steps[-1]) > 0
