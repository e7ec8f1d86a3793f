"""Fine-tuning of the sampler's output: it repairs a head that says too little, and harms none that was right."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sssd_data import planted

from fxgpt_core.models.sssd.config import DiffusionConfig, FineTuningConfig, SSSDConfig
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.models.sssd.tuning import Rows, Tuned, tune
from fxgpt_core.training.plan import TrainingPlan

WANTED = FineTuningConfig(updates=60, rows=64, draws=6, sampling_steps=4, lr=5e-3)
TINY = {
    "preset": "small",
    "inputs": {"surprises": False},
    "encoder": {"channels": 4, "state": 4, "heads": 2, "context": 8, "dropout": 0.0, "chunk": 64},
    "diffusion": {"latent": 16, "layers": 1, "embedding": 4, "samples": 20, "sampling_steps": 6},
    "training": {"epochs": 1, "segment": 64, "burn_in": 32, "validation_rows": 60},
}


def network(informed: float) -> Network:
    """Return an untrained network: it forecasts two independent standard normal horizons."""
    torch.manual_seed(0)
    net = Network({"1h": 3}, 2, SSSDConfig.model_validate(TINY)).eval()
    net.informed.fill_(informed)
    return net


def rows(count: int, seed: int, mean: float = 0.0, together: float = 0.0) -> Rows:
    """Return bars whose first context drives the mean, and whose horizons share `together` of their variance."""
    generator = torch.Generator().manual_seed(seed)
    context, noise = torch.randn(count, 8, generator=generator), torch.randn(count, 2, generator=generator)
    shared = together**0.5 * noise[:, :1].repeat(1, 2) + (1 - together) ** 0.5 * torch.randn(
        count, 2, generator=generator
    )
    target = mean * context[:, :1] + (1 - mean**2) ** 0.5 * shared
    return Rows(context, target, torch.ones(count, 2))


@pytest.mark.parametrize("score", ["energy", "crps"])
def test_a_planted_mean_is_learned_by_draws_that_are_given_the_context(score: str) -> None:
    net = network(informed=1.0)
    wanted = WANTED.model_copy(update={"score": score})
    judged = rows(300, 2, mean=0.8)
    found = tune(net, rows(3000, 1, mean=0.8), judged, wanted, seed=3)
    assert found.kept
    assert found.after < 0.85 * found.before  # the planted law itself: 0.6
    drawn = net.draw(judged.context, torch.randn(300, 50, 2, generator=torch.Generator().manual_seed(4)), 6)
    assert np.corrcoef(drawn.mean(dim=1)[:, 0], judged.context[:, 0])[0, 1] > 0.9


def test_without_a_context_it_learns_how_horizons_go_together_and_no_direction() -> None:
    net = network(informed=0.0)
    up = rows(3000, 1, together=0.9)
    up.target.add_(0.5)  # a drift of the training span
    judged = rows(300, 2, together=0.9)
    assert tune(net, up, judged, WANTED, seed=3).kept
    drawn = net.draw(judged.context[:20], torch.randn(20, 200, 2, generator=torch.Generator().manual_seed(4)), 6)
    assert float(torch.corrcoef(drawn.reshape(-1, 2).T)[0, 1]) > 0.6
    assert abs(float(drawn.mean())) < 0.02


def test_a_head_that_was_right_is_put_back_bit_for_bit() -> None:
    net = network(informed=1.0)
    before = {name: values.clone() for name, values in net.state_dict().items()}
    found = tune(net, rows(40, 1), rows(300, 2), WANTED.model_copy(update={"lr": 0.1}), seed=3)  # learns noise by heart
    assert not found.kept
    assert found.after > found.before
    for name, values in net.state_dict().items():
        assert torch.equal(values, before[name]), name
    assert Tuned("crps", 0.5, 0.6).sentence().endswith("0.5000 before, 0.6000 after, taken back")


def test_a_fit_fine_tunes_where_it_is_configured_and_says_so() -> None:
    data = planted(500, seed=3)
    tuning = {"updates": 3, "rows": 16, "draws": 4, "sampling_steps": 4}
    wanted = {**TINY, "diffusion": {**TINY["diffusion"], "fine_tuning": tuning}}
    report = SSSD(SSSDConfig.model_validate(wanted)).fit(data, TrainingPlan(seed=1))
    assert report.metrics["fine_tuning_before"] > 0
    assert any(note.startswith("fine-tuning on the energy score") for note in report.notes)


def test_it_is_off_in_every_preset_and_wants_a_deterministic_sampler() -> None:
    for preset in ("default", "small", "optimized", "production"):
        assert SSSDConfig.model_validate({"preset": preset}).diffusion.fine_tuning is None
    with pytest.raises(ValidationError, match=r"fine_tuning"):
        DiffusionConfig.model_validate({"sampler": "ddpm", "fine_tuning": {}})
