import pytest
import torch

from fxgpt_core.diffusion.denoiser import Denoiser, Objective
from fxgpt_core.diffusion.heads import HEADS, Activation, HeadName, HeadSize
from fxgpt_core.diffusion.parameterisation import Prediction, error_weight, from_velocity, wanted
from fxgpt_core.diffusion.samplers import ddim, sampler_levels
from fxgpt_core.diffusion.schedules import Schedule, alpha_sigma

SCHEDULE = Schedule()
EVERY = pytest.mark.parametrize("name", list(HEADS))


def denoiser(name: HeadName, horizons: int = 3, context: int = 2, trained: bool = True, **more: object) -> Denoiser:
    torch.manual_seed(0)
    size = HeadSize(horizons, context, 16, 2, 8, **more)  # type: ignore[arg-type]
    net = Denoiser(HEADS[name](size), SCHEDULE)
    if trained:
        torch.nn.init.normal_(net.head.read.weight, std=0.5)
    return net.eval()


@EVERY
def test_an_untrained_head_says_standard_normal(name: HeadName) -> None:
    net = denoiser(name, trained=False)
    x = torch.randn(4, 100, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        bound = net.bind(torch.ones(3), torch.randn(4, 2), sampler_levels("ddim", SCHEDULE, 20)[:-1])
        out = ddim(bound, x, SCHEDULE, 20)
    assert float((out - x).abs().max()) < 0.15 * float(x.abs().max())  # the same value up to discretisation
    assert float(out.std()) == pytest.approx(float(x.std()), rel=0.1)


@EVERY
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_the_sampling_path_equals_the_forward_pass(name: HeadName, activation: Activation) -> None:
    net = denoiser(name, activation=activation)
    x, context = torch.randn(5, 7, 3), torch.randn(5, 2)
    masks = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 1, 0]])
    for mask in (torch.ones(3), torch.tensor([1.0, 0, 1]), masks):
        with torch.no_grad():
            bound = net.bind(mask, context, torch.tensor([700.0, 20.0]))(x, 700.0)
        whole = net(x, torch.tensor(700.0), mask[..., None, :], context[:, None])
        torch.testing.assert_close(bound, whole, atol=1e-5, rtol=1e-5)


@EVERY
def test_a_masked_horizon_neither_acts_nor_counts(name: HeadName) -> None:
    net = denoiser(name)
    mask, weights = torch.tensor([1.0, 0.0, 1.0]).expand(5, 3), torch.ones(3)
    noise, clean, level, context = torch.randn(5, 3), torch.randn(5, 3), torch.full((5,), 300.0), torch.randn(5, 2)
    other = clean.clone()
    other[:, 1] = 50.0
    first = net.loss(clean, mask, context, weights, noise, level)
    assert torch.equal(first, net.loss(other, mask, context, weights, noise, level))
    assert not torch.equal(first, net.loss(other, torch.ones(5, 3), context, weights, noise, level))
    shifted = [net(x, level, mask, context)[:, [0, 2]] for x in (clean, other)]
    assert torch.equal(*shifted)


@EVERY
def test_the_name_of_a_masked_horizon_is_not_heard_either(name: HeadName) -> None:
    net = denoiser(name)
    x, level, context, mask = torch.randn(5, 3), torch.tensor(300.0), torch.randn(5, 2), torch.tensor([1.0, 0.0, 1.0])
    before = net(x, level, mask, context)[:, [0, 2]]
    with torch.no_grad():
        net.head.embedding[1].mul_(-3)  # as fine-tuning a new horizon would
    torch.testing.assert_close(net(x, level, mask, context)[:, [0, 2]], before)
    assert not torch.allclose(net(x, level, torch.ones(3), context)[:, [0, 2]], before)


@EVERY
def test_every_parameter_takes_part(name: HeadName) -> None:
    net = denoiser(name)
    level = torch.rand(6) * 1000
    net.loss(torch.randn(6, 3), torch.ones(6, 3), torch.randn(6, 2), torch.ones(3), torch.randn(6, 3), level).backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("name", ["unet", "transformer"])
def test_horizons_see_each_other(name: HeadName) -> None:
    net = denoiser(name, horizons=5)
    x, context = torch.randn(1, 5, requires_grad=True), torch.randn(1, 2)
    net(x, torch.tensor(400.0), torch.ones(5), context)[0, 0].backward()
    assert bool((x.grad[0, 1:].abs() > 0).all())


@pytest.mark.parametrize("prediction", ["velocity", "noise", "x0"])
@pytest.mark.parametrize("gamma", [None, 5.0])
def test_every_parameterisation_weighs_its_own_error_as_published(prediction: Prediction, gamma: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise, velocity = (torch.randn(50, generator=generator).double() for _ in range(3))
    alpha, sigma = (part.double() for part in alpha_sigma(SCHEDULE, torch.linspace(20, 980, 50)))
    x = alpha * clean + sigma * noise
    error = from_velocity(prediction, x, velocity, alpha, sigma) - wanted(prediction, clean, noise, alpha, sigma)
    snr = (alpha / sigma) ** 2
    least = snr.clamp(max=gamma) if gamma else torch.ones_like(snr)
    published = {"x0": least, "noise": least / snr, "velocity": least / (snr + 1)}
    factor = published[prediction] if gamma else 1.0
    found = error_weight(prediction, alpha, sigma, gamma) * (velocity - (alpha * noise - sigma * clean)) ** 2
    torch.testing.assert_close(found, factor * error**2, rtol=1e-4, atol=1e-9)


def test_the_loss_is_the_mean_squared_error_of_the_prediction() -> None:
    for prediction in ("velocity", "noise", "x0"):
        net = denoiser("mlp")
        net.objective = Objective(prediction)
        clean, noise, context = torch.randn(40, 3), torch.randn(40, 3), torch.randn(40, 2)
        level, mask = torch.linspace(30, 970, 40), torch.ones(40, 3)
        alpha, sigma = (part[:, None] for part in alpha_sigma(SCHEDULE, level))
        guess = net.predict(prediction, alpha * clean + sigma * noise, level, mask, context)
        expected = (guess - wanted(prediction, clean, noise, alpha, sigma)).square().mean()
        torch.testing.assert_close(net.loss(clean, mask, context, torch.ones(3), noise, level), expected)


def test_subsets_are_practised_while_training_only() -> None:
    net = denoiser("mlp")
    net.objective = Objective(subsets=1.0)
    given = torch.randn(200, 3), torch.ones(200, 3), torch.randn(200, 2), torch.ones(3), torch.randn(200, 3)
    level = torch.full((200,), 300.0)
    still = net.loss(*given, level)
    assert torch.equal(still, net.loss(*given, level))
    net.train()
    assert not torch.equal(still, net.loss(*given, level))
