"""A small denoiser recovers planted laws of the target given the context."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import t as student_t
from torch import Tensor

from fxgpt_core.diffusion.denoiser import Denoiser, Objective
from fxgpt_core.diffusion.extension import extend
from fxgpt_core.diffusion.fine_tuning import FineTuning, fair_crps, fine_tune
from fxgpt_core.diffusion.heads import HEADS, HeadName, HeadSize
from fxgpt_core.diffusion.noise import row_noise
from fxgpt_core.diffusion.samplers import dpm_solver, sampler_levels
from fxgpt_core.diffusion.schedules import Schedule
from fxgpt_core.diffusion.student import Distillation, disagreement, distil, student_of

SCHEDULE = Schedule()
Law = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]  # -> context (n, 1), clean (n, horizons)


def gaussian(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two horizons with correlation 0.8, mean c and deviation 0.5 + c for a context c of 0 or 1."""
    context = torch.randint(0, 2, (n, 1), generator=generator).float()
    noise = torch.randn(n, 2, generator=generator)
    noise[:, 1] = 0.8 * noise[:, 0] + 0.6 * noise[:, 1]
    return context, noise * (0.5 + context) + context


def bimodal(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two narrow bumps at -1 and 1; the context is the odds of the upper one."""
    context = 0.2 + 0.6 * torch.randint(0, 2, (n, 1), generator=generator).float()
    side = 2.0 * (torch.rand(n, 1, generator=generator) < context) - 1
    return context, side + 0.3 * torch.randn(n, 1, generator=generator)


def fat(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Student t with 5 degrees of freedom, unit variance, times 1 + context."""
    context = torch.rand(n, 1, generator=generator)
    chi = torch.randn(n, 5, generator=generator).square().sum(1, keepdim=True)
    return context, (1 + context) * torch.randn(n, 1, generator=generator) / (chi / 5).sqrt() * math.sqrt(3 / 5)


def trained(
    law: Law,
    objective: Objective,
    updates: int,
    horizons: int,
    head: HeadName = "mlp",
    rows: int | None = None,
    size: int = 512,
) -> Denoiser:
    """Train on fresh draws of `law`, or on `rows` fixed ones, `size` at a time; return the average of late weights."""
    torch.manual_seed(0)
    net = Denoiser(HEADS[head](HeadSize(horizons, 1, 32, 2, 8)), SCHEDULE, objective).train()
    mean = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=5e-3)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates, 1e-4)
    fixed = law(rows, generator) if rows else None
    for _ in range(updates):
        pick = torch.randint(rows or 1, (size,), generator=generator)
        context, clean = (part[pick] for part in fixed) if fixed else law(size, generator)
        level = (torch.arange(size) + torch.rand(size, generator=generator)) / size * SCHEDULE.steps
        noise = torch.randn(clean.shape, generator=generator)
        loss = net.loss(clean, torch.ones_like(clean), context, torch.ones(horizons), noise, level)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        annealing.step()
        mean.update_parameters(net)
    return mean.module.eval()


@torch.no_grad()
def drawn(net: Denoiser, context: list[float], draws: int, mask: Tensor | None = None, steps: int = 20) -> Tensor:
    horizons = net.head.size.horizons
    moments = np.datetime64("2020-01-01", "ns") + np.arange(len(context))
    start = torch.from_numpy(row_noise(3, moments, draws, horizons))
    levels = sampler_levels("dpm++", SCHEDULE, steps)[:-1]
    asked = torch.ones(horizons) if mask is None else mask
    return dpm_solver(net.bind(asked, torch.tensor(context)[:, None], levels), start, SCHEDULE, steps)


@pytest.fixture(scope="module")
def learned() -> Denoiser:
    return trained(gaussian, Objective(subsets=0.3), 800, 2, size=256)


def check_gaussian(net: Denoiser) -> None:
    out = drawn(net, [0.0, 1.0], 2000)
    for i, value in enumerate((0.0, 1.0)):
        torch.testing.assert_close(out[i].mean(0), torch.full((2,), value), atol=0.1 * (0.5 + value), rtol=0)
        torch.testing.assert_close(out[i].std(0), torch.full((2,), 0.5 + value), atol=0.0, rtol=0.1)
        assert float(torch.corrcoef(out[i].T)[0, 1]) == pytest.approx(0.8, abs=0.05)


def test_planted_mean_variance_and_correlation_are_learned(learned: Denoiser) -> None:
    check_gaussian(learned)


@pytest.mark.deep
@pytest.mark.parametrize("objective", [Objective("noise"), Objective("x0"), Objective("noise", min_snr=5.0)])
def test_every_objective_learns_the_same_law(objective: Objective) -> None:
    check_gaussian(trained(gaussian, objective, 1500, 2))


@pytest.mark.deep
@pytest.mark.parametrize("head", ["unet", "transformer"])
def test_every_head_learns_the_same_law(head: HeadName) -> None:
    check_gaussian(trained(gaussian, Objective(subsets=0.3), 800, 2, head))


def test_a_subset_has_the_law_it_has_in_the_whole(learned: Denoiser) -> None:
    whole = drawn(learned, [0.0, 1.0], 2000)
    alone = drawn(learned, [0.0, 1.0], 2000, torch.tensor([0.0, 1.0]))
    assert float(disagreement(alone, whole, torch.linspace(0.05, 0.95, 19))[1]) < 0.06


def test_both_bumps_of_a_bimodal_law_are_recovered_with_their_odds() -> None:
    out = drawn(trained(bimodal, Objective(), 500, 1, size=256), [0.2, 0.8], 2000)[..., 0]
    for i, odds in enumerate((0.2, 0.8)):
        assert float((out[i] > 0).float().mean()) == pytest.approx(odds, abs=0.04)
        assert float((out[i].abs() < 0.3).float().mean()) < 0.04  # exactly 0.01: hardly anything between
        assert float(out[i][out[i] > 0].std()) == pytest.approx(0.3, rel=0.2)


@pytest.mark.deep
def test_fat_tails_are_recovered() -> None:
    out = drawn(trained(fat, Objective(), 3000, 1), [0.0, 1.0], 20_000, steps=40)[..., 0].numpy()
    levels = np.array([0.005, 0.025, 0.25, 0.75, 0.975, 0.995])
    for i in range(2):
        exact = (1 + i) * student_t.ppf(levels, 5) * math.sqrt(3 / 5)
        np.testing.assert_allclose(np.quantile(out[i], levels), exact, rtol=0.12)
        assert np.mean((out[i] / out[i].std()) ** 4) > 4.5  # 9 in theory, of which a sample shows a part; normal 3


def test_pure_noise_yields_no_skill() -> None:
    def law(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.randn(n, 1, generator=generator), torch.randn(n, 1, generator=generator)

    net = trained(law, Objective(), 150, 1, rows=20_000)
    context, outcome = law(1000, torch.Generator().manual_seed(9))
    out = drawn(net, context[:, 0].tolist(), 100, steps=10)
    start = drawn(
        Denoiser(HEADS["mlp"](HeadSize(1, 1, 8, 1, 2)), SCHEDULE).eval(), context[:, 0].tolist(), 100, steps=10
    )
    scores = [float(fair_crps(samples, outcome, torch.ones(1000, 1), torch.ones(1))) for samples in (out, start)]
    assert -0.01 < 1 - scores[0] / scores[1] < 0.003


def test_a_new_horizon_takes_its_embedding_only_and_leaves_the_others_alone(learned: Denoiser) -> None:
    net = copy.deepcopy(learned)
    old, new = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    before = drawn(net, [0.0, 1.0], 200)
    embedding = extend(net.head, like=1)
    assert [p is embedding for p in net.parameters() if p.requires_grad] == [True]
    generator = torch.Generator().manual_seed(4)
    optimiser = torch.optim.Adam([embedding], lr=0.02)
    losses = []
    for _ in range(150):
        context, clean = gaussian(512, generator)
        target = torch.cat([clean, 0.5 * clean[:, :1]], dim=1)  # the same law at half the scale
        level = torch.rand(512, generator=generator) * SCHEDULE.steps
        noise = torch.randn(512, 3, generator=generator)
        loss = net.loss(target, new.expand(512, 3), context, torch.ones(3), noise, level)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < 0.95 * np.mean(losses[:5])
    moments = np.datetime64("2020-01-01", "ns") + np.arange(2)
    start = torch.from_numpy(row_noise(3, moments, 200, 2))
    with torch.no_grad():
        levels = sampler_levels("dpm++", SCHEDULE, 20)[:-1]
        bound = net.bind(old, torch.tensor([[0.0], [1.0]]), levels)
        after = dpm_solver(bound, torch.cat([start, torch.randn(2, 200, 1)], dim=-1), SCHEDULE, 20)
    torch.testing.assert_close(after[..., :2], before, atol=1e-4, rtol=1e-4)


def test_a_student_agrees_with_the_full_sampler(learned: Denoiser) -> None:
    generator = torch.Generator().manual_seed(2)
    contexts = gaussian(500, generator)[0]
    student = student_of(learned)
    options = Distillation(updates=300, rows=32, draws=16, sampler="dpm++", sampling_steps=10)
    distil(student, learned, contexts, options, generator)
    full = drawn(learned, [0.0, 1.0], 1000, steps=10)
    moments = np.datetime64("2020-01-01", "ns") + np.arange(2)
    with torch.no_grad():
        fast = student.eval()(
            torch.from_numpy(row_noise(3, moments, 1000, 2)), torch.ones(2), torch.tensor([[0.0], [1.0]])
        )
    levels = torch.linspace(0.01, 0.99, 25)
    assert float(disagreement(fast, full, levels).max()) < 0.05
    assert float(torch.corrcoef(fast[1].T)[0, 1]) == pytest.approx(float(torch.corrcoef(full[1].T)[0, 1]), abs=0.03)


def test_fine_tuning_on_the_energy_score_repairs_the_samples(learned: Denoiser) -> None:
    net = copy.deepcopy(learned)
    with torch.no_grad():
        net.head.read.weight.mul_(0.7)  # a head that says too little
    generator = torch.Generator().manual_seed(5)
    context, clean = gaussian(4000, generator)
    options = FineTuning(updates=50, rows=128, draws=6, sampling_steps=6, lr=3e-3)
    fine_tune(net, context, clean, torch.ones_like(clean), torch.ones(2), options, generator)
    spoilt = copy.deepcopy(learned)
    with torch.no_grad():
        spoilt.head.read.weight.mul_(0.7)
    context, clean = gaussian(1000, torch.Generator().manual_seed(6))
    scores = [
        float(fair_crps(drawn(n, context[:, 0].tolist(), 40, steps=8), clean, torch.ones_like(clean), torch.ones(2)))
        for n in (spoilt, net, learned)
    ]
    assert scores[1] < scores[0] - 0.5 * (scores[0] - scores[2])
