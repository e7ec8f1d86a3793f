import math

import numpy as np
import pytest
import torch
from exact import gaussian, mixture

from fxgpt_core.diffusion.noise import row_noise
from fxgpt_core.diffusion.samplers import SamplerName, ddim, ddpm, dpm_solver, sample
from fxgpt_core.diffusion.schedules import Schedule

SCHEDULE = Schedule()
LINEAR, TERMINAL = Schedule(kind="linear"), Schedule(kind="linear", zero_terminal=True)
LEVELS = np.linspace(0.02, 0.98, 25)


def start(count: int, dimensions: int = 1) -> torch.Tensor:
    moments = np.array(["2020-01-01"], dtype="datetime64[ns]")
    return torch.from_numpy(row_noise(5, moments, count, dimensions)[0])


@pytest.mark.parametrize("schedule", [SCHEDULE, TERMINAL])
@pytest.mark.parametrize(
    ("name", "steps", "tolerance"), [("ddim", 100, 0.02), ("dpm++", 20, 0.01), ("ddpm", 200, 0.03)]
)
def test_samplers_reproduce_a_gaussian(name: SamplerName, steps: int, tolerance: float, schedule: Schedule) -> None:
    torch.manual_seed(0)
    out = sample(name, gaussian(schedule, 2.0, 0.5), start(8_000), schedule, steps).double()
    assert float(out.mean()) == pytest.approx(2.0, abs=tolerance)
    assert float(out.std()) == pytest.approx(0.5, abs=tolerance)
    assert float(((out - out.mean()) / out.std()).pow(4).mean()) == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize("dimensions", [1, 4])
@pytest.mark.parametrize(
    ("name", "steps", "tolerance"),
    [("ddim", 100, 0.03), ("dpm++", 30, 0.03), ("ddpm", 200, 0.04)],  # independent noise at each step adds its own
)
def test_samplers_reproduce_a_mixture(name: SamplerName, steps: int, tolerance: float, dimensions: int) -> None:
    torch.manual_seed(1)
    law = mixture(dimensions)
    out = sample(name, law.exact(SCHEDULE), start(10_000, dimensions), SCHEDULE, steps).numpy()
    exact = law.draw(100_000, seed=0)
    gap = np.abs(np.quantile(out, LEVELS, axis=0) - np.quantile(exact, LEVELS, axis=0))
    assert gap.mean() < tolerance, gap  # the spread of the target is about 1.25
    np.testing.assert_allclose(out.mean(axis=0), exact.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(np.cov(out.T), np.cov(exact.T), atol=0.05)
    np.testing.assert_allclose((out < -0.5).mean(axis=0), (exact < -0.5).mean(axis=0), atol=0.02)


def test_ddim_is_of_first_and_dpm_solver_of_second_order() -> None:
    denoise, x = mixture(1).exact(SCHEDULE), start(1_000).double()
    exact = dpm_solver(denoise, x, SCHEDULE, 1_000)
    for sampler, low, high in ((ddim, 0.9, 1.1), (dpm_solver, 1.7, 2.6)):
        errors = [float((sampler(denoise, x, SCHEDULE, n) - exact).abs().mean()) for n in (10, 20, 40, 80)]
        order = math.log2(errors[0] / errors[-1]) / 3
        assert low < order < high, (sampler.__name__, errors)


@pytest.mark.parametrize("schedule", [SCHEDULE, LINEAR, TERMINAL])
@pytest.mark.parametrize("dimensions", [1, 4])
def test_ten_steps_of_dpm_solver_err_less_than_half_of_ten_of_ddim(schedule: Schedule, dimensions: int) -> None:
    denoise, x = mixture(dimensions).exact(schedule), start(1_000, dimensions).double()
    exact = dpm_solver(denoise, x, schedule, 500)
    first, second = (float((s(denoise, x, schedule, 10) - exact).abs().mean()) for s in (ddim, dpm_solver))
    assert second < 0.5 * first


def test_twenty_steps_of_ddim_are_close_to_a_thousand_of_ddpm() -> None:
    torch.manual_seed(2)
    denoise = mixture(1).exact(SCHEDULE)
    few = ddim(denoise, start(5_000), SCHEDULE, 20).numpy()
    many = ddpm(denoise, start(5_000), SCHEDULE, 1_000).numpy()
    gap = np.abs(np.quantile(few, LEVELS) - np.quantile(many, LEVELS))
    assert gap.mean() < 0.05 * many.std()
    assert few.mean() == pytest.approx(many.mean(), abs=0.04 * many.std())


def test_ddim_with_eta_one_is_ddpm_and_with_half_keeps_the_law() -> None:
    denoise = gaussian(SCHEDULE, 0.5, 0.7)
    fresh = [torch.randn(5_000, 1, generator=torch.Generator().manual_seed(i)) for i in range(60)]
    one = ddim(denoise, start(5_000), SCHEDULE, 60, eta=1.0, noise=lambda i: fresh[i])
    torch.testing.assert_close(one, ddpm(denoise, start(5_000), SCHEDULE, 60, noise=lambda i: fresh[i]))
    half = ddim(denoise, start(5_000), SCHEDULE, 60, eta=0.5, noise=lambda i: fresh[i])
    assert float(half.std()) == pytest.approx(0.7, abs=0.03)
    assert not torch.allclose(half, one)


def test_a_level_without_signal_is_a_start_like_any_other() -> None:
    denoise, x = gaussian(TERMINAL, 1.0, 0.5), start(2_000).double()
    for sampler in (ddim, ddpm, dpm_solver):
        out = sampler(denoise, x, TERMINAL, 40)
        assert bool(out.isfinite().all())
        assert float(out.mean()) == pytest.approx(1.0, abs=0.03)


def test_samples_beyond_one_are_not_clamped() -> None:
    for sampler in (ddim, ddpm, dpm_solver):
        assert float(sampler(gaussian(SCHEDULE, 0.0, 3.0), start(2_000), SCHEDULE, 50).abs().max()) > 6.0


def test_row_noise_is_keyed_by_time_and_stratified() -> None:
    times = np.array(["2020-01-01T00", "2020-01-01T01", "2020-01-01T02"], dtype="datetime64[ns]")
    whole = row_noise(3, times, 64, 4)
    assert np.array_equal(whole[1:], row_noise(3, times[1:], 64, 4))
    assert not np.array_equal(whole, row_noise(4, times, 64, 4))
    assert not np.array_equal(whole, row_noise(3, times, 64, 4, stream=1))
    assert np.abs(whole.mean(axis=1)).max() < 0.05
    assert np.abs(np.corrcoef(whole[0].T) - np.eye(4)).max() < 0.5
