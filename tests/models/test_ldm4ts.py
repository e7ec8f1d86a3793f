import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ldm4ts_data import moving, tiny

from fxgpt_core.common.errors import ModelError
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import Drawing, Provenance
from fxgpt_core.models.ldm4ts.forecaster import LDM4TS
from fxgpt_core.models.registry import family
from fxgpt_core.training.plan import TrainingPlan

MADE = Provenance("v1", np.datetime64("2030-01-01", "ns"))


@pytest.fixture(autouse=True, scope="module")
def _few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return moving(700, seed=3)


@pytest.fixture(scope="module")
def model(data: Dataset) -> LDM4TS:
    made = family("ldm4ts").create(tiny())
    assert isinstance(made, LDM4TS)
    made.fit(data, TrainingPlan(seed=1))
    return made


def test_a_forecast_is_a_joint_sample_over_horizons(model: LDM4TS, data: Dataset) -> None:
    rows = np.flatnonzero(data.split.test)[:30]
    made = model.forecast(data, rows, MADE, seed=5)
    assert made.horizons == (60, 240)
    assert made.samples.shape == (30, 20, 2)
    together = np.mean([np.corrcoef(one.T)[0, 1] for one in made.samples])
    assert together > 0.2  # the hour lies within the four
    np.testing.assert_allclose(made.samples.std(axis=1), made.std, rtol=0.15)


def test_a_scale_that_nobody_trusts_leaves_the_yardstick_times_one_number(model: LDM4TS, data: Dataset) -> None:
    rows = np.flatnonzero(data.split.test)[:30]
    plain = copy.deepcopy(model)
    assert plain.network is not None
    plain.network.trust.zero_()
    plain.network.lean.zero_()
    plain.network.informed.zero_()
    made = plain.forecast(data, rows, MADE)
    width = made.std / data.yardstick[rows]
    np.testing.assert_allclose(width, np.broadcast_to(width[0], width.shape), rtol=1e-5)
    assert 0.5 < width.min() < width.max() < 2
    plain.network.trust.fill_(1.0)
    trusted = plain.forecast(data, rows, MADE).std / data.yardstick[rows]
    assert trusted.std(axis=0).min() > 1e-3


def test_no_rows_make_an_empty_forecast(model: LDM4TS, data: Dataset) -> None:
    made = model.forecast(data, np.array([], dtype=np.int64), MADE)
    assert (len(made), made.horizons, made.samples.shape) == (0, (60, 240), (0, 20, 2))


def test_rows_do_not_depend_on_each_other(model: LDM4TS, data: Dataset) -> None:
    rows = np.flatnonzero(data.split.test)[:40]
    together = model.forecast(data, rows, MADE, seed=5)
    alone = model.forecast(data, rows[7:9], MADE, seed=5)
    np.testing.assert_allclose(together.samples[7:9], alone.samples, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(together.quantiles[7:9], alone.quantiles, rtol=1e-4, atol=1e-8)
    assert not np.array_equal(model.forecast(data, rows[7:9], MADE, seed=6).samples, alone.samples)


def test_a_saved_model_forecasts_the_same_without_its_training(model: LDM4TS, data: Dataset, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = family("ldm4ts").create(tiny())
    again.load(tmp_path / "model")
    rows = np.flatnonzero(data.split.test)[:10]
    np.testing.assert_array_equal(
        again.forecast(data, rows, MADE, seed=2).samples, model.forecast(data, rows, MADE, seed=2).samples
    )
    assert isinstance(again, Drawing)
    assert again.with_draws(33).forecast(data, rows, MADE).samples.shape[1] == 33
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"weights\.safetensors is damaged"):
        family("ldm4ts").create(tiny()).load(tmp_path / "model")


def test_other_features_are_refused(model: LDM4TS, data: Dataset) -> None:
    table = data.tables["1h"]
    renamed = replace(table, names=("other", *table.names[1:]))
    with pytest.raises(ModelError, match=r"fitted on other features"):
        model.forecast(replace(data, tables={**data.tables, "1h": renamed}), np.array([600]), MADE)
    with pytest.raises(ModelError, match=r"fitted or loaded"):
        LDM4TS(tiny()).forecast(data, np.array([600]), MADE)


def test_nothing_after_the_training_span_reaches_a_fit(model: LDM4TS, data: Dataset) -> None:
    cut = int(np.searchsorted(data.known_at, data.split.trained_until, side="right"))
    bars = data.candles
    jump = np.where(np.arange(len(bars)) < cut, 1.0, 1.01 ** np.arange(len(bars)))
    later = replace(bars, **{name: getattr(bars, name) * jump for name in ("open", "high", "low", "close")})
    targets = data.targets.copy()
    targets[cut:] *= -3.0
    other = LDM4TS(tiny())
    other.fit(replace(data, candles=later, targets=targets), TrainingPlan(seed=1))
    ours, theirs = (one.fitted()[0].state_dict() for one in (model, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert model.fitted()[0].latents.identity == other.fitted()[0].latents.identity


def test_a_finished_fit_is_loaded_and_another_one_starts_afresh(data: Dataset, tmp_path: Path) -> None:
    plan = TrainingPlan(seed=1, checkpoints=tmp_path)
    first = LDM4TS(tiny())
    done = first.fit(data, plan)
    assert "loaded from a finished fit" not in done.notes
    again = LDM4TS(tiny())
    assert "loaded from a finished fit" in again.fit(data, plan).notes
    rows = np.flatnonzero(data.split.test)[:5]
    np.testing.assert_array_equal(
        first.forecast(data, rows, MADE).quantiles, again.forecast(data, rows, MADE).quantiles
    )
    wider = LDM4TS(tiny(fusion={"features": 12}))
    assert "loaded from a finished fit" not in wider.fit(data, plan).notes
