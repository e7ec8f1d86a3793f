import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fxgpt_core.common.errors import ModelError
from fxgpt_core.models.sssd.config import DiffusionConfig, SSSDConfig
from fxgpt_core.models.sssd.network import Network

COLUMNS = {"1h": 3}
STUDENT = {"updates": 20, "rows": 8, "draws": 4}


def network(**diffusion: object) -> Network:
    torch.manual_seed(0)
    encoder = {"channels": 4, "state": 4, "layers": 1, "heads": 2, "context": 8, "dropout": 0.0}
    wide = {"latent": 8, "layers": 1, "embedding": 4, "subsets": 0.0, **diffusion}
    net = Network(COLUMNS, 3, SSSDConfig.model_validate({"encoder": encoder, "diffusion": wide})).eval()
    torch.nn.init.normal_(net.denoiser.head.read.weight)
    torch.nn.init.normal_(net.scale.weight, std=0.1)
    return net


def losses(net: Network) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    context, target = torch.randn(20, 8, generator=generator), torch.randn(20, 3, generator=generator)
    noise, level = torch.randn(2, 20, 3, generator=generator), 1000 * torch.rand(2, 20, generator=generator)
    return net.losses(context, target, torch.ones(20, 3), torch.ones(3), noise, level)[1]


@pytest.mark.parametrize("change", [{"head": "unet"}, {"head": "transformer"}, {"zero_terminal": True}, {"eta": 0.5}])
def test_every_choice_of_the_configuration_draws_and_learns(change: dict[str, object]) -> None:
    net = network(**change)
    out = net.draw(torch.randn(5, 8), torch.randn(5, 10, 3), 8)
    assert out.shape == (5, 10, 3)
    assert bool(out.isfinite().all())
    losses(net).backward()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"zero_terminal": True, "prediction": "noise"}, "zero_terminal"),
        ({"sampler": "ddpm", "eta": 0.5}, "eta"),
        ({"sampler": "ddpm", "student": {}}, "student"),
        ({"head": "transformer", "latent": 30}, "attention"),
    ],
)
def test_contradicting_settings_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DiffusionConfig.model_validate(change)


def test_the_consistency_penalty_adds_to_the_loss_only_where_asked_for() -> None:
    plain, penal = losses(network()), losses(network(consistency=2.0))
    assert bool(penal > plain)


def test_a_horizon_that_is_not_asked_for_is_not_answered() -> None:
    net = network()
    out = net.draw(torch.randn(5, 8), torch.randn(5, 10, 3), 8, mask=torch.tensor([1.0, 0.0, 1.0]))
    assert bool(out[..., 1].isnan().all())
    assert bool(out[..., [0, 2]].isfinite().all())


def test_a_student_draws_in_bulk_after_distillation_and_travels_with_the_weights() -> None:
    with pytest.raises(ModelError, match=r"diffusion\.student"):
        network().draw_bulk(torch.randn(2, 8), torch.randn(2, 4, 3))
    net, other = network(student=STUDENT), network(student=STUDENT)
    history = net.distil(torch.randn(50, 8), seed=3)
    assert np.mean(history[-5:]) < np.mean(history[:5])
    other.load_state_dict(net.state_dict())
    given = torch.randn(4, 8), torch.randn(4, 10, 3)
    torch.testing.assert_close(net.draw_bulk(*given), other.draw_bulk(*given))


def test_a_network_takes_one_more_horizon_and_forecasts_the_others_as_before() -> None:
    net = network()
    context, start = torch.randn(5, 8), torch.randn(5, 10, 3)
    before = net.draw(context, start, 8)
    embedding = net.extend(like=1)
    assert [p is embedding for p in net.parameters() if p.requires_grad] == [True]
    wider = torch.cat([start, start[..., 1:2]], dim=-1)
    with torch.no_grad():
        embedding.add_(0.3)
    after = net.draw(context, wider, 8, mask=torch.tensor([1.0, 1.0, 1.0, 0.0]))
    torch.testing.assert_close(after[..., :3], before, atol=1e-5, rtol=1e-5)
    with pytest.raises(ModelError, match="position 9"):
        net.extend(like=9)
