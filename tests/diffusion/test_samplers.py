import numpy as np
import pytest
import torch

from fxgpt_core.diffusion.noise import row_noise
from fxgpt_core.diffusion.samplers import SamplerName, ddim, ddpm, dpm_solver, sample
from fxgpt_core.diffusion.schedules import Schedule, alpha_sigma, sampling_levels, signal_power

SCHEDULE = Schedule()
MEANS, DEVIATIONS, WEIGHTS = torch.tensor([-1.5, 1.0]), torch.tensor([0.3, 0.6]), torch.tensor([0.3, 0.7])


def gaussian(mean: float, deviation: float):
    """The exact denoiser E[clean | x] of N(mean, deviation^2)."""

    def denoise(x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        a, s = alpha_sigma(SCHEDULE, level)
        gain = a * deviation**2 / (a**2 * deviation**2 + s**2)
        return mean + gain * (x - a * mean)

    return denoise


def mixture(x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    a, s = alpha_sigma(SCHEDULE, level)
    variance = a**2 * DEVIATIONS**2 + s**2
    gap = x[..., None] - a * MEANS
    share = torch.softmax(WEIGHTS.log() - 0.5 * variance.log() - gap.square() / (2 * variance), dim=-1)
    return (share * (MEANS + a * DEVIATIONS**2 / variance * gap)).sum(-1)


def start(n: int) -> torch.Tensor:
    moments = np.array(["2020-01-01"], dtype="datetime64[ns]")
    return torch.from_numpy(row_noise(5, moments, n, 1)[0, :, 0])


def test_cosine_schedule_matches_the_published_formula() -> None:
    level = torch.tensor([0.0, 250.0, 500.0, 999.0])
    f = np.cos((level.double().numpy() / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(signal_power(SCHEDULE, level), f / f[0], rtol=1e-9)
    assert float(signal_power(SCHEDULE, torch.tensor(1000.0))) == pytest.approx(1e-12)
    a, s = alpha_sigma(SCHEDULE, torch.arange(1001))
    torch.testing.assert_close(a**2 + s**2, torch.ones(1001))
    assert sampling_levels(SCHEDULE, 20).tolist()[:2] == [1000.0, 950.0]


@pytest.mark.parametrize(
    ("name", "steps", "tolerance"), [("ddim", 100, 0.02), ("dpm++", 20, 0.02), ("ddpm", 200, 0.03)]
)
def test_samplers_reproduce_a_gaussian(name: SamplerName, steps: int, tolerance: float) -> None:
    torch.manual_seed(0)
    out = sample(name, gaussian(2.0, 0.5), start(20_000), SCHEDULE, steps)
    assert float(out.mean()) == pytest.approx(2.0, abs=tolerance)
    assert float(out.std()) == pytest.approx(0.5, abs=tolerance)


@pytest.mark.parametrize(("name", "steps"), [("ddim", 100), ("dpm++", 50), ("ddpm", 200)])
def test_samplers_reproduce_a_mixture(name: SamplerName, steps: int) -> None:
    torch.manual_seed(1)
    out = sample(name, mixture, start(20_000), SCHEDULE, steps).numpy()
    rng = np.random.default_rng(0)
    component = rng.choice(2, size=200_000, p=WEIGHTS.numpy())
    exact = rng.normal(MEANS.numpy()[component], DEVIATIONS.numpy()[component])
    levels = np.linspace(0.02, 0.98, 25)
    gap = np.abs(np.quantile(out, levels) - np.quantile(exact, levels))
    assert gap.mean() < 0.03, gap
    assert np.mean(out < -0.5) == pytest.approx(np.mean(exact < -0.5), abs=0.015)


def test_twenty_ddim_steps_are_close_to_many() -> None:
    x = start(2_000)
    few, many = ddim(mixture, x, SCHEDULE, 20), ddim(mixture, x, SCHEDULE, 400)
    assert float((few - many).abs().mean()) < 0.06
    second_order = dpm_solver(mixture, x, SCHEDULE, 20)
    assert float((second_order - many).abs().mean()) < float((few - many).abs().mean())


def test_samples_beyond_one_are_not_clamped() -> None:
    for sampler in (ddim, ddpm, dpm_solver):
        assert float(sampler(gaussian(0.0, 3.0), start(2_000), SCHEDULE, 50).abs().max()) > 6.0


def test_row_noise_is_keyed_by_time_and_stratified() -> None:
    times = np.array(["2020-01-01T00", "2020-01-01T01", "2020-01-01T02"], dtype="datetime64[ns]")
    whole = row_noise(3, times, 64, 4)
    assert np.array_equal(whole[1:], row_noise(3, times[1:], 64, 4))
    assert not np.array_equal(whole, row_noise(4, times, 64, 4))
    assert not np.array_equal(whole, row_noise(3, times, 64, 4, stream=1))
    assert np.abs(whole.mean(axis=1)).max() < 0.05
    assert np.abs(np.corrcoef(whole[0].T) - np.eye(4)).max() < 0.5
