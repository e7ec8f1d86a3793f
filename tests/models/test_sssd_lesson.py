"""SSSD's lesson keeps the trainer's contract: cuts, recomputation and travel change nothing."""

import pickle

import numpy as np
import pytest
import torch
from sssd_data import planted

from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.presets import merge
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.encoder import Carried
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.models.sssd.lesson import Lesson, validation_scores
from fxgpt_core.training.hardware import GIB, Hardware
from fxgpt_core.training.plan import plan_training

PLAN = plan_training(7, hardware=Hardware(1, 4 * GIB))
SMALL = {
    "preset": "small",
    "encoder": {"channels": 8, "state": 8, "layers": 1, "heads": 2, "context": 12},
    "diffusion": {"latent": 16, "layers": 1, "embedding": 4, "samples": 40, "sampling_steps": 8, "subsets": 0.0},
    "training": {"epochs": 2, "segment": 128, "burn_in": 64, "batch": 3, "validation_rows": 60},
}


def trained(
    data: Dataset, dropout: float = 0.0, augmentation: dict[str, float] | None = None, **hardware: object
) -> SSSD:
    change = {"encoder": {"dropout": dropout}, "training": {"hardware": hardware}, "augmentation": augmentation or {}}
    model = SSSD(SSSDConfig.model_validate(merge(SMALL, change)))
    model.fit(data, PLAN)
    return model


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(1200, seed=3)


@pytest.mark.parametrize("augmentation", [{}, {"noise": 0.1, "shift": 4}])
def test_segments_one_by_one_teach_what_a_whole_batch_teaches(data: Dataset, augmentation: dict[str, float]) -> None:
    rows = np.array([1000, 1100])
    whole = trained(data, augmentation=augmentation).contexts(data, rows)
    cut = trained(data, augmentation=augmentation, pass_items=1).contexts(data, rows)
    np.testing.assert_allclose(cut, whole, atol=1e-3)
    assert np.abs(trained(data, augmentation={"noise": 0.3}).contexts(data, rows) - whole).max() > 8e-3


def test_recomputation_repeats_the_dropout_it_replaces(data: Dataset) -> None:
    rows = np.array([1000, 1100])
    kept, recomputed = (trained(data, 0.3, recompute=switch).contexts(data, rows) for switch in ("off", "on"))
    np.testing.assert_allclose(recomputed, kept, atol=1e-6)


def test_the_lesson_can_travel_to_another_process(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    import fxgpt_core.training.run as run

    seen: list[object] = []
    fit = run._fit

    def spy(trainer: object, course: object, stream: object, resume: str | None) -> None:
        seen.append((course.lesson, stream))
        fit(trainer, course, stream, resume)

    monkeypatch.setattr(run, "_fit", spy)
    trained(data)
    lesson, stream = pickle.loads(pickle.dumps(seen[0]))
    items = next(iter(stream))[:2]
    keys = torch.arange(2)
    for each in (lesson, seen[0][0]):
        each.network.eval()
    assert torch.equal(lesson.loss(items, keys), seen[0][0].loss(items, keys))
    assert not torch.equal(lesson.loss(items, keys), lesson.loss(items, keys + 1))


def test_scores_are_those_of_the_field() -> None:
    rng = np.random.default_rng(0)
    samples, outcome = rng.normal(size=(2000, 100, 1)) + 0.5, rng.normal(size=(2000, 1)) + 0.5
    counted = np.ones((2000, 1), dtype=bool)
    scores = validation_scores(samples, outcome, counted)
    assert scores["crps"] == pytest.approx(1 / np.sqrt(np.pi), rel=0.05)  # of a standard normal
    assert scores["rmse"] == pytest.approx(1.0, rel=0.05)
    assert scores["mae"] == pytest.approx(np.sqrt(2 / np.pi), rel=0.05)
    assert scores["direction"] == pytest.approx(0.69, abs=0.03)  # P(normal > -0.5)
    assert validation_scores(samples * 0, outcome, counted)["direction"] == 0.5


def test_segments_begin_from_the_state_that_streaming_has_there(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory starts at up to 2000 own bars, far more than the burn-in of 64."""
    used: list[Carried | None] = []
    renew = Lesson.renew

    def spy(lesson: Lesson) -> bool:
        done = renew(lesson)
        used.append(lesson.carried)
        return done

    monkeypatch.setattr(Lesson, "renew", spy)
    values = merge(SMALL, {"encoder": {"dt_min": 0.001}, "training": {"epochs": 6, "carry": True, "carry_every": 100}})
    model = SSSD(SSSDConfig.model_validate(values))
    model.fit(data, PLAN)
    assert len(used) == 6
    inputs, starts = Inputs.build(data, model.scaling, "cpu"), torch.arange(300, 900, 60)
    stretches, encoder = inputs.stretch_lengths(64, 64), model.network.encoder
    live = encoder.history(inputs, starts, 10**6, by_recurrence=True)

    def deviation(carried: Carried | None) -> float:
        with torch.no_grad():
            own = encoder.segments(inputs, starts, 64, stretches, carried=carried)[:, 0]
        return float(((own - live).norm(dim=1) / live.norm(dim=1)).max())

    assert deviation(used[-1]) < 0.02  # as old as the last epoch used them
    assert deviation(None) > 0.05
