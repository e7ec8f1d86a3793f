import copy

import numpy as np
import torch
from ldm4ts_data import moving, tiny, untrained

from fxgpt_core.models.ldm4ts.finishing import Bars, finish
from fxgpt_core.models.ldm4ts.network import Network

CONFIG = tiny(conditions={"text": True}, training={"finishing": 6, "finishing_lr": 0.02, "weight_decay": 0.0})


def bars(network: Network, seed: int, strength: float, count: int = 3000) -> Bars:
    """Return bars whose first column says how wide the target is."""
    made = torch.Generator().manual_seed(seed)
    features = network.config.fusion.features
    series, noise = torch.randn(count, 5, generator=made), torch.randn(count, 2, generator=made)
    wide = torch.exp(strength * series[:, :1] - strength**2)
    return Bars(torch.randn(count, features, generator=made), series, noise * wide, torch.ones(count, 2))


def test_gate_and_read_outs_learn_from_every_bar_and_the_denoiser_stays() -> None:
    network, data = untrained(CONFIG), moving(300, seed=1)
    before = copy.deepcopy(network.state_dict())
    crps = finish(network, data, bars(network, 1, 0.5), bars(network, 2, 0.5), seed=1)
    assert crps[1] < crps[0] - 0.01
    assert float(network.trust.min()) > 0.8
    moved = {name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {"fuse", "scale"} <= moved
    assert not moved & {"denoiser", "project", "outcome", "bank"}


def test_where_validation_bars_gain_nothing_nothing_is_learned() -> None:
    network, data = untrained(CONFIG), moving(300, seed=1)
    before = copy.deepcopy(network.state_dict())
    taught = bars(network, 1, 0.5)
    elsewhere = bars(network, 2, 0.0)
    crps = finish(network, data, taught, elsewhere, seed=1)
    assert crps[1] <= crps[0]
    assert float(network.trust.max()) < 0.3
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before if name.startswith("denoiser"))


def test_finishing_repeats_itself() -> None:
    data, found = moving(300, seed=1), []
    for _ in range(2):
        network = untrained(CONFIG)
        torch.rand(3)
        finish(network, data, bars(network, 1, 0.5), bars(network, 2, 0.5), seed=1)
        found.append(network.scale.weight.detach().numpy())
    np.testing.assert_array_equal(found[0], found[1])
