import pytest
import torch

from fxgpt_core.diffusion.denoiser import Denoiser, Prediction
from fxgpt_core.diffusion.heads import MLPHead
from fxgpt_core.diffusion.samplers import ddim
from fxgpt_core.diffusion.schedules import Schedule

SCHEDULE = Schedule()


def denoiser(prediction: Prediction = "velocity", horizons: int = 3, context: int = 2) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(MLPHead(horizons, context, 32, 2, 8, 0.0), SCHEDULE, prediction)


@pytest.mark.parametrize("prediction", ["velocity", "noise"])
def test_an_untrained_denoiser_samples_the_standard_normal(prediction: Prediction) -> None:
    net = denoiser(prediction)
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    mask, context = torch.ones(3), torch.zeros(400, 2)
    with torch.no_grad():
        out = ddim(lambda v, level: net(v, level, mask, context), x, SCHEDULE, 20)
    assert float((out - x).abs().max()) < 0.15 * float(x.abs().max())  # the same value up to discretisation
    assert float(out.std()) == pytest.approx(float(x.std()), rel=0.1)


def test_a_masked_horizon_neither_acts_nor_counts() -> None:
    net = denoiser()
    torch.nn.init.normal_(net.head.output.weight)
    mask = torch.tensor([1.0, 0.0, 1.0]).expand(5, 3)
    noise, clean, level = torch.randn(5, 3), torch.randn(5, 3), torch.full((5,), 300.0)
    context, weights = torch.randn(5, 2), torch.ones(3)
    other = clean.clone()
    other[:, 1] = 50.0
    first = net.loss(clean, mask, context, weights, noise, level)
    assert torch.equal(first, net.loss(other, mask, context, weights, noise, level))
    assert not torch.equal(first, net.loss(other, torch.ones(5, 3), context, weights, noise, level))


@pytest.mark.parametrize("prediction", ["velocity", "noise"])
def test_training_learns_a_conditional_distribution(prediction: Prediction) -> None:
    net = denoiser(prediction, horizons=2, context=1)
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(500):
        context = torch.randint(0, 2, (512, 1), generator=generator).float()
        shared = torch.randn(512, 1, generator=generator)
        clean = torch.cat([shared, 0.8 * shared + 0.6 * torch.randn(512, 1, generator=generator)], 1)
        clean = clean * (0.5 + context) + context
        level = torch.rand(512, generator=generator) * SCHEDULE.steps
        noise = torch.randn(512, 2, generator=generator)
        loss = net.loss(clean, torch.ones(512, 2), context, torch.ones(2), noise, level)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x = torch.randn(4000, 2, generator=generator)
    for value in (0.0, 1.0):
        with torch.no_grad():
            out = ddim(lambda v, level, c=value: net(v, level, torch.ones(2), torch.full((1, 1), c)), x, SCHEDULE, 50)
        assert float(out[:, 0].mean()) == pytest.approx(value, abs=0.15)
        assert float(out[:, 0].std()) == pytest.approx(0.5 + value, rel=0.15)
        assert float(torch.corrcoef(out.T)[0, 1]) == pytest.approx(0.8, abs=0.1)
