"""Where all rows share one law, the head learns how horizons go together, apart from the encoder."""

import pytest
import torch

from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.models.sssd.one_law import learn_law
from fxgpt_core.models.sssd.tuning import Rows

SMALL = SSSDConfig.model_validate({"preset": "small"})


def labels(count: int, seed: int, together: float) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    first, own = torch.randn(2, count, generator=generator)
    target = torch.stack([first, together * first + (1 - together**2) ** 0.5 * own], dim=1)
    return Rows(torch.randn(count, SMALL.encoder.context, generator=generator), target, torch.ones(count, 2))


def network() -> Network:
    torch.manual_seed(0)
    made = Network({"1h": 3}, 2, SMALL).eval()
    made.informed.fill_(0.0)
    return made


def test_how_horizons_go_together_is_learned_and_subsets_are_practised(monkeypatch: pytest.MonkeyPatch) -> None:
    net, masks = network(), []
    loss = type(net.denoiser).loss

    def spy(denoiser: torch.nn.Module, clean: torch.Tensor, mask: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        masks.append(mask.sum(dim=1))
        return loss(denoiser, clean, mask, *rest)

    monkeypatch.setattr(type(net.denoiser), "loss", spy)
    law = learn_law(net, labels(4000, 1, 0.8), labels(600, 2, 0.8), 300, seed=3)
    assert law.kept
    assert law.after < law.before - 0.01
    asked = torch.cat(masks)
    assert 0.1 < float((asked < 2).float().mean()) < 0.2  # three quarters of a fifth


def test_what_validation_labels_do_not_confirm_is_taken_back() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not learn_law(net, labels(4000, 1, -0.9), labels(600, 2, 0.9), 100, seed=3).kept
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
