"""What is planted is learned, and nothing is claimed where there is nothing."""

from collections.abc import Iterator

import numpy as np
import pytest
import scoringrules
import torch
from ldm4ts_data import moving, tiny

from fxgpt_core.evaluation.scores import crps
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.ldm4ts.config import LDM4TSConfig
from fxgpt_core.models.ldm4ts.forecaster import LDM4TS
from fxgpt_core.training.plan import TrainingPlan

MADE = Provenance("v1", np.datetime64("2030-01-01", "ns"))
WIDER = {
    "latents": {"vae": {"width": 16, "epochs": 4, "rows": 1500, "validation_rows": 100}},
    "unet": {"width": 16, "tokens": 16},
    "diffusion": {"sampling_steps": 10, "bank": 256},
    "fusion": {"features": 16},
    "training": {"epochs": 8, "stride": 2, "validation_rows": 1000, "shape_rows": 60},
}


@pytest.fixture(autouse=True, scope="module")
def _few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fitted(data: Dataset, config: LDM4TSConfig, seed: int = 1) -> tuple[LDM4TS, np.ndarray]:
    """Return the model and its gain over a normal of the training labels' deviation, per horizon, on test rows."""
    model = LDM4TS(config)
    model.fit(data, TrainingPlan(seed=seed))
    rows = np.flatnonzero(data.split.test & np.isfinite(data.targets).all(axis=1))
    made = model.forecast(data, rows, MADE, seed)
    gains = []
    for h in range(len(data.horizons)):
        outcome = data.returns()[rows, h]
        deviation = np.nanstd(data.targets[:, h][data.split.train[:, h]]) * data.yardstick[0, h]
        plain = scoringrules.crps_normal(outcome, 0.0, deviation).mean()
        gains.append(1 - crps(outcome, made.quantiles[:, h]).mean() / plain)
    return model, np.array(gains)


@pytest.mark.deep
def test_planted_volatility_is_learned_and_so_is_how_horizons_go_together() -> None:
    data = moving(5000, seed=11, strength=0.6)
    model, gains = fitted(data, tiny(**WIDER))
    assert gains[0] > 0.03
    assert gains[1] > 0.015
    network, _ = model.fitted()
    assert float(network.trust.min()) > 0.5
    drawn = np.corrcoef(network.bank.numpy().T)[0, 1]
    assert drawn == pytest.approx(0.5, abs=0.15)  # the hour is a quarter of the variance of four


@pytest.mark.deep
def test_without_fusion_the_picture_alone_tells_of_volatility() -> None:
    data = moving(5000, seed=12, strength=0.8)
    _, gains = fitted(data, tiny(**WIDER | {"fusion": {"gated": False, "features": 16}}))
    assert gains[0] > 0.005


@pytest.mark.deep
def test_pure_noise_yields_no_skill_and_little_harm() -> None:
    found = np.array([fitted(moving(2500, seed=seed, strength=0.0), tiny(**WIDER), seed)[1] for seed in range(3)])
    assert found.mean() < 0.003
    assert found.mean() > -0.01
