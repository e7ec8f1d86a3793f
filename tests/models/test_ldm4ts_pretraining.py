"""The autoencoder made beforehand is the one that the fit would make, and no other is taken for it."""

from dataclasses import replace

import pytest
import torch
from ldm4ts_data import moving, tiny

from fxgpt_core.models.ldm4ts import pretraining, vae_files
from fxgpt_core.models.ldm4ts.fitting import AUTOENCODER
from fxgpt_core.models.ldm4ts.forecaster import LDM4TS
from fxgpt_core.models.ldm4ts.vae import SmallVae
from fxgpt_core.models.ldm4ts.vae_fit import PictureLesson
from fxgpt_core.training.plan import TrainingPlan


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each epoch that an autoencoder is trained."""
    seen: list[int] = []
    judge = PictureLesson.validate
    monkeypatch.setattr(PictureLesson, "validate", lambda lesson, parts: seen.append(1) or judge(lesson, parts))
    return seen


def test_a_fit_takes_the_autoencoder_that_was_made_of_its_windows(tmp_path, epochs):
    data, plan = moving(700, 0), TrainingPlan(1, checkpoints=tmp_path)
    report = pretraining.fit(tiny(), data, plan)
    assert len(epochs) == 1
    assert report.metrics["unexplained_gaf"] > 0
    made = vae_files.read(tmp_path / AUTOENCODER / "fitted")
    model = LDM4TS(tiny())
    model.fit(data, plan)
    assert len(epochs) == 1
    assert model.fitted()[0].latents.identity == made.identity


def test_a_fit_of_an_earlier_date_trains_its_own(tmp_path, epochs):
    data, plan = moving(700, 0), TrainingPlan(1, checkpoints=tmp_path)
    pretraining.fit(tiny(), data, plan)
    made = vae_files.read(tmp_path / AUTOENCODER / "fitted")
    first = (data.known_at < data.known_at[400])[:, None]
    earlier = data.with_split(replace(data.split, train=data.split.train & first))
    model = LDM4TS(tiny())
    model.fit(earlier, plan)
    assert len(epochs) == 2
    assert model.fitted()[0].latents.identity != made.identity


def test_an_interrupted_fit_does_not_compute_latents_again(tmp_path, monkeypatch):
    config = tiny(training={"finishing": 0})  # which looks at every bar once, after all that may be interrupted
    data, plan = moving(700, 0), TrainingPlan(1, checkpoints=tmp_path)
    first = LDM4TS(config)
    first.fit(data, plan)
    assert len(list((tmp_path / "latents").iterdir())) == 4  # windows and futures of training and of validation rows
    (tmp_path / "fit.json").unlink()
    monkeypatch.setattr(SmallVae, "encode", None)
    again = LDM4TS(config)
    again.fit(data, plan)
    state = again.fitted()[0].state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.fitted()[0].state_dict().items())
