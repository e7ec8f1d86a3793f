"""Bulk forecasts: bounded pieces, the student where it stays near, the full sampler where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sssd_data import planted

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import LEVELS
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import FitReport, Provenance
from fxgpt_core.models.presets import merge
from fxgpt_core.models.sssd import bulk
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.models.summary import summarise
from fxgpt_core.store.paths import CHECKOUT
from fxgpt_core.training.plan import TrainingPlan

MADE = Provenance("v1", np.datetime64("2030-01-01", "ns"))
TINY = {
    "preset": "small",
    "encoder": {"channels": 8, "state": 8, "layers": 1, "heads": 2, "context": 12, "chunk": 64},
    "diffusion": {"latent": 16, "layers": 1, "embedding": 4, "samples": 40, "sampling_steps": 10},
    "training": {"epochs": 3, "segment": 128, "burn_in": 64, "batch": 3, "validation_rows": 60},
}
STUDENT = {"rows_per_pass": 50, "diffusion": {"student": {"updates": 300, "rows": 32, "lr": 0.01, "tolerance": 0.1}}}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(1200, seed=3)


@pytest.fixture(scope="module")
def fitted(data: Dataset) -> tuple[SSSD, FitReport]:
    model = SSSD(SSSDConfig.model_validate(merge(TINY, STUDENT)))
    return model, model.fit(data, TrainingPlan(seed=7))


def standardised(model: SSSD, data: Dataset, rows: np.ndarray) -> np.ndarray:
    return model.forecast(data, rows, MADE, seed=5).quantiles / data.yardstick[rows][..., None]


def test_a_student_within_its_tolerance_makes_the_bulk_forecasts_and_is_told_of(
    data: Dataset, fitted: tuple[SSSD, FitReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, report = fitted
    assert model.by_student
    assert model.disagreement == tuple(report.metrics[f"student_{h}m"] for h in data.horizons)
    assert "bulk forecasts are the student's" in report.notes[-1]
    rows = np.flatnonzero(data.split.test)
    by_student = standardised(model, data, rows)
    drawn = model.forecast(data, rows, MADE, seed=5).samples
    model.save(tmp_path)
    loaded = SSSD(SSSDConfig())
    loaded.load(tmp_path)
    np.testing.assert_allclose(standardised(loaded, data, rows), by_student, atol=1e-6)

    loaded.disagreement = (0.2, 0.05)  # one horizon beyond the tolerance
    assert not loaded.by_student
    full = standardised(loaded, data, rows)
    assert not np.array_equal(loaded.forecast(data, rows, MADE, seed=5).samples, drawn)
    spread = (full[..., LEVELS.index(0.85)] - full[..., LEVELS.index(0.15)]) / 2.07  # of a normal: one deviation
    assert float((np.abs(full - by_student) / spread[..., None]).mean()) < 0.1  # test rows, that nobody has looked at


def test_a_student_that_strays_is_not_used(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def learns_nothing(network: Network, context: torch.Tensor, seed: int) -> list[float]:
        torch.nn.init.normal_(network.student.head.read.weight, generator=torch.Generator().manual_seed(seed))
        return []

    monkeypatch.setattr(Network, "distil", learns_nothing)
    model = SSSD(SSSDConfig.model_validate(merge(merge(TINY, STUDENT), {"training": {"epochs": 1}})))
    report = model.fit(data, TrainingPlan(seed=7))
    assert max(model.disagreement or ()) > 0.1
    assert not model.by_student
    assert "bulk forecasts ask the full sampler" in report.notes[-1]


def test_pieces_and_memory_do_not_depend_on_how_many_rows_there_are(
    data: Dataset, fitted: tuple[SSSD, FitReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = fitted
    seen: list[int] = []
    draw = bulk.draw_rows

    def watched(network: object, contexts: np.ndarray, *rest: object) -> np.ndarray:
        seen.append(len(contexts))
        return draw(network, contexts, *rest)

    monkeypatch.setattr(bulk, "draw_rows", watched)
    rows = np.flatnonzero(data.split.test)
    assert len(rows) > 3 * 64
    whole = standardised(model, data, rows)
    assert max(seen) <= model.config.rows_per_pass
    assert sum(seen) == len(rows)
    np.testing.assert_allclose(standardised(model, data, rows[33:120]), whole[33:120], atol=1e-5)


def test_quantiles_are_those_of_the_draws() -> None:
    samples = np.random.default_rng(0).normal(size=(30, 40, 2)).astype(np.float32)
    expected = np.quantile(samples.astype(np.float64), LEVELS, axis=1, method="hazen")
    made = summarise(samples.copy(), lambda drawn: drawn, 7)
    np.testing.assert_allclose(made.quantiles, np.moveaxis(expected, 0, -1), atol=1e-12)
    np.testing.assert_allclose(made.std, samples.std(axis=1), atol=1e-6)


def test_more_draws_can_be_asked_of_a_fitted_model(data: Dataset, fitted: tuple[SSSD, FitReport]) -> None:
    model, _ = fitted
    rows = np.flatnonzero(data.split.test)[:5]
    other = model.with_draws(300)
    assert other.forecast(data, rows, MADE).samples.shape == (5, 300, 2)
    assert model.forecast(data, rows, MADE).samples.shape == (5, 40, 2)
    with pytest.raises(ModelError, match=r"5 draws were asked for: a forecast has 10 to 2000"):
        model.with_draws(5)


@pytest.mark.parametrize("preset", sorted(path.stem for path in (CHECKOUT / "configs" / "sssd").glob("*.yaml")))
def test_every_preset_is_valid_and_says_what_it_is_for(preset: str) -> None:
    config = SSSDConfig.model_validate({"preset": preset})
    assert config.diffusion.samples >= 100
    text = (CHECKOUT / "configs" / "sssd" / f"{preset}.yaml").read_text()
    assert text.startswith("# SSSD ")
    if preset != "small":
        assert (config.diffusion.steps, config.diffusion.offset, config.training.gradient_clip) == (1000, 0.008, 1.0)


def test_the_four_presets_are_there() -> None:
    found = {path.stem for path in (CHECKOUT / "configs" / "sssd").glob("*.yaml")}
    assert found >= {"default", "small", "optimized", "production"}
    production = SSSDConfig.model_validate({"preset": "production"})
    assert production.diffusion.student is not None
