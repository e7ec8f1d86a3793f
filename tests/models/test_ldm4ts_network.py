import copy
from typing import Any, cast

import numpy as np
import pytest
import torch
from ldm4ts_data import tiny, untrained
from torch import Tensor

from fxgpt_core.models.ldm4ts import sampling
from fxgpt_core.models.ldm4ts.conditions import Told
from fxgpt_core.models.ldm4ts.lesson import Labels, Lesson
from fxgpt_core.models.ldm4ts.network import Losses, Network, Rows
from fxgpt_core.models.ldm4ts.projection import GatedFusion
from fxgpt_core.models.ldm4ts.unet import Attention, Block

CONDITIONS = ("vision", "frequency", "text")
TOLD = tiny(conditions={"text": True})
MOMENTS = np.datetime64("2024-01-01", "ns") + np.arange(8) * np.timedelta64(1, "h")


def awake(network: Network) -> Network:
    """Return the network with weights in the places that start at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    return network


def rows_of(network: Network, count: int = 8, seed: int = 3) -> Rows:
    made, layout = torch.Generator().manual_seed(seed), network.layout
    vision = torch.randn(count, layout.channels, layout.side, layout.side, generator=made)
    frequency = torch.randn(count, layout.bands, layout.band_width, generator=made)
    text = torch.randn(count, layout.text_width, generator=made)
    context = layout.pack(Told(vision, frequency, text, torch.ones(count, 3)))
    return Rows(context, torch.randn(count, 5, generator=made))


def losses(network: Network, rows: Rows, kept: Tensor | None = None) -> Losses:
    made, count = torch.Generator().manual_seed(4), len(rows)
    latent = network.layout.latent
    return network.losses(
        rows,
        torch.randn(count, 2, generator=made),
        torch.ones(count, 2),
        torch.ones(2),
        torch.ones(count),
        torch.randn(count, latent, generator=made),
        torch.ones(count, 3) if kept is None else kept,
        torch.randn(2, count, latent, generator=made),
        torch.full((2, count), 300.0),
    )


def gradient(module: torch.nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("which", ["forecast", "denoising"])
def test_each_loss_teaches_the_u_net(which: str) -> None:
    network = awake(untrained(TOLD))
    getattr(losses(network, rows_of(network)), which).backward()
    for block in (module for module in network.denoiser.modules() if isinstance(module, Block)):
        assert gradient(block) > 0
        assert gradient(block.attention) > 0


def test_the_forecast_loss_reaches_the_u_net_through_the_frozen_decoder_alone() -> None:
    network = awake(untrained(TOLD))
    network._latents = (copy.deepcopy(network.latents),)
    decode = network.latents.decode
    network.latents.decode = lambda latents: decode(latents.detach())  # type: ignore[method-assign]
    losses(network, rows_of(network)).forecast.backward()
    assert gradient(network.denoiser) == 0
    assert gradient(network.scale) > 0
    assert all(weight.grad is None for weight in network.latents.parameters())  # type: ignore[attr-defined]


def test_reading_outcomes_off_pictures_teaches_the_projection_alone() -> None:
    network = awake(untrained(TOLD))
    losses(network, rows_of(network)).reading.backward()
    assert gradient(network.denoiser) == 0
    assert gradient(network.project) > 0


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_condition_moves_expected_picture_draws_and_forecast(name: str) -> None:
    network = awake(untrained(TOLD))
    rows = rows_of(network)
    told, other = network.layout.unpack(rows.context), network.layout.unpack(rows_of(network, seed=9).context)
    parts = {part: getattr(other if part == name else told, part) for part in (*CONDITIONS, "given")}
    moved = Rows(network.layout.pack(Told(**parts)), rows.series)
    start = torch.randn(8, 3, network.layout.latent)
    with torch.no_grad():
        assert not torch.allclose(network.expected(rows.context), network.expected(moved.context))
        assert not torch.allclose(network.draw(rows.context, start, 4), network.draw(moved.context, start, 4))
        assert not torch.allclose(network.moments(rows)[1], network.moments(moved)[1])


@pytest.mark.parametrize("place", range(3))
def test_a_condition_withheld_says_nothing(place: int) -> None:
    network = awake(untrained(TOLD))
    rows = rows_of(network)
    kept = torch.ones(3)
    kept[place] = 0
    told, other = network.layout.unpack(rows.context), network.layout.unpack(rows_of(network, seed=9).context)
    name = CONDITIONS[place]
    parts = {part: getattr(other if part == name else told, part) for part in (*CONDITIONS, "given")}
    one, two = (network.layout.withheld(c, kept) for c in (rows.context, network.layout.pack(Told(**parts))))
    with torch.no_grad():
        assert torch.equal(network.expected(one), network.expected(two))
        assert not torch.allclose(network.expected(one), network.expected(rows.context))


def test_what_is_withheld_in_a_step_teaches_what_stands_in_its_place_and_nothing_else() -> None:
    network = awake(untrained(TOLD))
    rows, others = rows_of(network), rows_of(network, seed=9)
    with torch.no_grad():
        blind = [float(losses(network, one, torch.zeros(8, 3)).denoising) for one in (rows, others)]
        told = [float(losses(network, one).denoising) for one in (rows, others)]
    assert blind[0] == blind[1]
    assert told[0] != told[1]
    losses(network, rows, torch.zeros(8, 3)).denoising.backward()
    head = cast(Any, network.denoiser.head)
    assert all(float(part.grad.abs().sum()) > 0 for part in (head.unseen, head.no_bands, head.no_words))
    assert gradient(head.words) == gradient(head.bands) == gradient(head.see) == 0


def test_every_block_attends_to_every_token() -> None:
    network = awake(untrained(TOLD))
    seen: list[Tensor] = []
    blocks = [module for module in network.denoiser.modules() if isinstance(module, Attention)]
    for block in blocks:
        block.register_forward_hook(lambda module, given, out: seen.append(given[1]))
    network.expected(rows_of(network).context)
    assert len(blocks) == len(seen) >= 3
    assert all(tokens.shape[:2] == (8, network.layout.bands + 1) for tokens in seen)


def test_guidance_weighs_what_conditions_add() -> None:
    config = tiny(conditions={"text": True}, diffusion={"guidance": 2.0})
    guided, plain = awake(untrained(config)), awake(untrained(TOLD))
    guided.load_state_dict(plain.state_dict())
    rows, x = rows_of(plain), torch.randn(8, 1, plain.layout.latent)
    level = torch.tensor([500.0], dtype=torch.float64)
    with torch.no_grad():
        told, blind = (plain._guided(c, level)(x, 500.0) for c in (rows.context, plain.without(rows.context)))
        torch.testing.assert_close(guided._guided(rows.context, level)(x, 500.0), 2 * told - blind)


def test_conditions_are_withheld_at_random_while_training() -> None:
    network = untrained(tiny(conditions={"text": True, "drop": 0.2, "blind": 0.3}))
    rows = rows_of(network)
    empty = Labels(rows, torch.zeros(8, 2), torch.ones(8, 2), torch.zeros(8, network.layout.latent), torch.ones(8))
    lesson = Lesson(network, empty, empty, np.ones(2))
    kept = torch.stack([lesson._kept(torch.Generator().manual_seed(i)) for i in range(4000)])
    none = (kept.sum(dim=1) == 0).float().mean()
    assert float(none) == pytest.approx(0.3 + 0.7 * 0.2**3, abs=0.03)
    assert kept.mean(dim=0).numpy() == pytest.approx(np.full(3, 0.7 * 0.8), abs=0.03)


def test_an_untrained_network_forecasts_the_yardstick() -> None:
    network = untrained(TOLD)
    rows = rows_of(network)
    mean, log_scale = sampling.moments_of(network, rows)
    assert float(mean.abs().max()) == float(log_scale.abs().max()) == 0
    drawn = sampling.draw_rows(network, rows, MOMENTS, seed=1, draws=50)
    assert drawn.mean(axis=1) == pytest.approx(0, abs=1e-5)
    assert drawn.std(axis=1) == pytest.approx(1, abs=0.02)


def test_draws_told_conditions_keep_mean_and_scale_of_the_features() -> None:
    network = awake(untrained(TOLD))
    network.informed.fill_(1.0)
    rows = rows_of(network)
    mean, log_scale = (part.numpy() for part in sampling.moments_of(network, rows))
    drawn = sampling.draw_rows(network, rows, MOMENTS, seed=1, draws=50)
    np.testing.assert_allclose(drawn.mean(axis=1), mean, atol=1e-4)
    np.testing.assert_allclose(drawn.std(axis=1), np.exp(log_scale), rtol=0.02)
    alone = sampling.draw_rows(network, rows.take(slice(3, 4)), MOMENTS[3:4], seed=1, draws=50)
    np.testing.assert_allclose(alone[0], drawn[3], atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
def test_the_bank_holds_draws_of_the_reverse_chain_without_conditions(sampler: str) -> None:
    network = awake(untrained(tiny(conditions={"text": True}, diffusion={"sampler": sampler})))
    sampling.fill_bank(network, seed=1)
    first = network.bank.clone()
    with torch.no_grad():
        network.denoiser.head.words.weight.mul_(3.0)  # type: ignore[union-attr, operator]
    sampling.fill_bank(network, seed=1)
    assert torch.equal(network.bank, first)
    sampling.fill_bank(network, seed=2)
    assert not torch.allclose(network.bank, first)


def test_the_gate_lets_both_sides_through_and_may_be_left_out() -> None:
    torch.manual_seed(0)
    fuse = GatedFusion(5, 8, 0.0, gated=True)
    picture, series = torch.randn(4, 8), torch.randn(4, 5)
    assert not torch.allclose(fuse(picture, series), fuse(picture + 1, series))
    assert not torch.allclose(fuse(picture, series), fuse(picture, series + 1))
    assert torch.equal(GatedFusion(5, 8, 0.0, gated=False)(picture, series), picture)
