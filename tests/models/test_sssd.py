import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sssd_data import planted

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import ConfigError, ModelError
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.models.sssd.inputs import Scaling
from fxgpt_core.training.plan import TrainingPlan

MADE = Provenance("v1", np.datetime64("2030-01-01", "ns"))
TINY = {
    "preset": "small",
    "inputs": {"surprises": False},  # the planted bars do not move
    "encoder": {"channels": 8, "state": 8, "layers": 1, "heads": 2, "context": 12, "dropout": 0.1, "chunk": 64},
    "diffusion": {"latent": 16, "layers": 1, "embedding": 4, "samples": 40, "sampling_steps": 8},
    "training": {"epochs": 3, "segment": 128, "burn_in": 64, "batch": 3, "validation_rows": 60},
}


def tiny(**training: object) -> SSSDConfig:
    return SSSDConfig.model_validate({**TINY, "training": {**TINY["training"], **training}})


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(1200, seed=3)


@pytest.fixture(scope="module")
def few() -> Dataset:
    """Enough bars to train on where it does not matter what is learned."""
    return planted(500, seed=3)


@pytest.fixture(scope="module")
def fitted(data: Dataset) -> SSSD:
    model = SSSD(tiny())
    report = model.fit(data, TrainingPlan(seed=7))
    assert report.rows > 0
    assert report.metrics["epochs"] == 3
    return model


def test_presets_are_valid_and_an_unknown_one_is_named() -> None:
    default = family("sssd").config({"preset": "default"})
    assert isinstance(default, Config)
    assert default == SSSDConfig()
    assert (default.encoder.state, default.encoder.context, default.diffusion.samples) == (128, 512, 100)
    small = SSSDConfig.model_validate({"preset": "small", "training": {"epochs": 2}})
    assert small.training.epochs == 2
    assert small.encoder.channels < default.encoder.channels
    assert SSSDConfig.model_validate(small.model_dump()) == small
    with pytest.raises(ConfigError, match="small"):
        SSSDConfig.model_validate({"preset": "smal"})


def test_equal_seeds_give_equal_forecasts_however_rows_are_batched(data: Dataset, fitted: SSSD) -> None:
    rows = np.flatnonzero(data.split.test)[:90]
    whole = fitted.forecast(data, rows, MADE, seed=5)
    assert whole.samples.shape == (90, 40, 2)
    again = fitted.forecast(data, rows, MADE, seed=5)
    assert np.array_equal(whole.samples, again.samples)
    part = fitted.forecast(data, rows[37:60], MADE, seed=5)
    np.testing.assert_allclose(part.samples, whole.samples[37:60], rtol=1e-3, atol=1e-8)
    assert not np.allclose(fitted.forecast(data, rows, MADE, seed=6).samples, whole.samples)


def test_no_rows_make_an_empty_forecast(data: Dataset, fitted: SSSD) -> None:
    made = fitted.forecast(data, np.array([], dtype=np.int64), MADE)
    assert (len(made), made.horizons) == (0, data.horizons)


def test_future_features_change_no_context(data: Dataset, fitted: SSSD) -> None:
    cut = 700
    moment = data.known_at[cut]
    tables = {}
    for code, table in data.tables.items():
        values = table.values.copy()
        values[table.known_at > moment] += 3.0
        tables[code] = replace(table, values=values)
    rows = np.arange(cut - 200, cut + 1)
    before = fitted.contexts(data, rows)
    changed = replace(data, tables=tables)
    np.testing.assert_allclose(fitted.contexts(changed, rows), before, atol=1e-4)
    assert not np.allclose(fitted.contexts(changed, rows + 1)[-1], fitted.contexts(data, rows + 1)[-1], atol=1e-2)


def test_streaming_bar_by_bar_gives_the_dense_contexts(data: Dataset, fitted: SSSD) -> None:
    rows = np.arange(150, 400)
    np.testing.assert_allclose(fitted.contexts(data, rows, by_recurrence=True), fitted.contexts(data, rows), atol=1e-4)


def test_a_segment_with_burn_in_sees_nearly_the_context_of_the_whole_history(data: Dataset, fitted: SSSD) -> None:
    from fxgpt_core.models.sssd.inputs import Inputs

    inputs = Inputs.build(data, fitted.scaling, "cpu")
    rows = torch.arange(800, 864)
    whole = fitted.network.encoder.history(inputs, rows, 4096)
    with torch.no_grad():
        full = fitted.network.encoder.segments(inputs, torch.tensor([800]), 64, inputs.stretch_lengths(64, 5000))[0]
        short = fitted.network.encoder.segments(inputs, torch.tensor([800]), 64, inputs.stretch_lengths(64, 200))[0]
    torch.testing.assert_close(full, whole, atol=1e-4, rtol=1e-3)
    assert float((short - whole).norm() / whole.norm()) < 0.1


def test_save_and_load_give_the_same_forecast_and_guard_names(data: Dataset, fitted: SSSD, tmp_path: Path) -> None:
    rows = np.flatnonzero(data.split.test)[:20]
    fitted.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"weights.safetensors", "model.json"}
    other = SSSD(SSSDConfig())
    other.load(tmp_path)
    expected, got = fitted.forecast(data, rows, MADE, seed=1), other.forecast(data, rows, MADE, seed=1)
    assert np.array_equal(expected.quantiles, got.quantiles)
    table = data.tables["1h"]
    renamed = replace(table, names=("other", *table.names[1:]))
    with pytest.raises(ModelError, match="other"):
        other.forecast(replace(data, tables={**data.tables, "1h": renamed}), rows, MADE)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(ModelError, match="checksum"):
        other.load(tmp_path)


def test_errors_say_what_is_missing(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fit or load"):
        SSSD(tiny()).forecast(data, np.arange(3), MADE)
    with pytest.raises(ModelError, match="no split"):
        SSSD(tiny()).fit(replace(data, split=None), TrainingPlan(seed=1))
    with pytest.raises(ModelError, match=r"model\.json"):
        SSSD(tiny()).load(tmp_path)


class Killed(Exception):
    pass


def kill_at(epoch: int):
    def progress(what: str, done: int, total: int, note: str = "") -> None:
        if done == epoch:
            raise Killed

    return progress


def test_a_killed_fit_resumes_bit_for_bit_and_a_finished_one_is_loaded(few: Dataset, tmp_path: Path) -> None:
    config = tiny(epochs=5, checkpoint_every=2)
    straight = SSSD(config)
    expected = straight.fit(few, TrainingPlan(seed=2))
    plan = TrainingPlan(seed=2, checkpoints=tmp_path / "fit")
    with pytest.raises(Killed):  # progress is told before the checkpoint of that epoch is written
        SSSD(config).fit(few, plan, kill_at(4))
    assert {"last.ckpt", "epoch-2.ckpt"} <= {file.name for file in plan.checkpoints.iterdir()}
    seen: list[int] = []
    resumed = SSSD(config)
    report = resumed.fit(few, plan, lambda what, done, total, note="": seen.append(done))
    assert seen == [4, 5]
    assert report.curves == expected.curves
    for (name, a), b in zip(straight.network.state_dict().items(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not list(plan.checkpoints.glob("*.ckpt"))

    loaded = SSSD(config)
    again = loaded.fit(few, plan, kill_at(1))
    assert again.curves == expected.curves
    rows = np.flatnonzero(few.split.test)[:10]
    assert np.array_equal(loaded.forecast(few, rows, MADE).quantiles, straight.forecast(few, rows, MADE).quantiles)
    with pytest.raises(Killed):  # another seed is another fit
        SSSD(config).fit(few, replace(plan, seed=3), kill_at(1))


def test_training_is_quiet_and_leaves_nothing_behind(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    state = torch.random.get_rng_state()
    SSSD(tiny(epochs=1)).fit(few, TrainingPlan(seed=1))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(state, torch.random.get_rng_state())


def test_dropout_acts_while_training(few: Dataset) -> None:
    curves = []
    for dropout in (0.0, 0.5):
        config = SSSDConfig.model_validate(
            {**tiny(epochs=2).model_dump(), "encoder": {**TINY["encoder"], "dropout": dropout}}
        )
        model = SSSD(config)
        curves.append(model.fit(few, TrainingPlan(seed=1)).curves["train_loss"])
        assert not model.network.training
    assert curves[0] != curves[1]


def spoilt(data: Dataset, code: str, name: str, values: float, rows: slice) -> Dataset:
    """Return the data with `values` in some rows of one column, or of all where `name` is empty."""
    table = data.tables[code]
    out = table.values.copy()
    out[rows, table.names.index(name) if name else slice(None)] = values
    return replace(data, tables={**data.tables, code: replace(table, values=out)})


def test_useless_columns_are_named_and_left_out_in_training_and_forecast(
    data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    train = spoilt(spoilt(data, "1h", "b", 5.0, slice(0, 900)), "4h", "e", np.inf, slice(0, 200))
    model = SSSD(tiny(epochs=1))
    report = model.fit(train, TrainingPlan(seed=7))
    assert [note.split(":")[0] for note in report.notes] == ["b left out", "e left out"]
    assert report.metrics["columns_left_out"] == 2
    assert any("1h columns: 1 of 4 columns left out: constant at 5: b" in m for m in caplog.messages)
    rows = np.flatnonzero(data.split.test)[:20]
    model.save(tmp_path)
    loaded = SSSD(SSSDConfig())
    loaded.load(tmp_path)
    whole = model.forecast(data, rows, MADE, seed=1).samples
    later = spoilt(data, "1h", "b", -3.0, slice(None))
    np.testing.assert_array_equal(loaded.forecast(later, rows, MADE, seed=1).samples, whole)


def test_a_timeframe_without_a_useful_column_does_not_stop_the_fit(data: Dataset) -> None:
    silent = spoilt(data, "4h", "", np.nan, slice(None))
    model = SSSD(tiny(epochs=1))
    assert model.fit(silent, TrainingPlan(seed=7)).metrics["columns_left_out"] == 3
    assert np.isfinite(model.forecast(silent, np.array([1100]), MADE).quantiles).all()


def test_a_column_that_goes_missing_later_is_told_once_and_forecasts_go_on(
    data: Dataset, fitted: SSSD, caplog: pytest.LogCaptureFixture
) -> None:
    rows = np.flatnonzero(data.split.test)[:20]
    gone = spoilt(data, "1h", "c", np.nan, slice(int(rows[0]), None))
    for _ in range(2):
        assert np.isfinite(fitted.forecast(gone, rows, MADE).quantiles).all()
    said = [m for m in caplog.messages if "missing in every row" in m]
    assert said == ["sssd of EURUSD: c missing in every row, taken to be at the mean of training"]


def test_augmentation_is_off_by_default_repeats_with_its_seed_and_disturbs_training_only(few: Dataset) -> None:
    def trained(**augmentation: float) -> SSSD:
        config = {**TINY, "training": {**TINY["training"], "epochs": 1}, "augmentation": augmentation}
        model = SSSD(SSSDConfig.model_validate(config))
        model.fit(few, TrainingPlan(seed=7))
        return model

    rows = np.array([430, 470])
    off, none, on, again, late = (
        trained(**values)
        for values in ({}, {"noise": 0.0, "shift": 0}, {"noise": 0.1}, {"noise": 0.1}, {"noise": 0.0, "shift": 5})
    )
    contexts = [model.contexts(few, rows) for model in (off, none, on, again, late)]
    np.testing.assert_array_equal(contexts[0], contexts[1])
    np.testing.assert_array_equal(contexts[2], contexts[3])
    assert (contexts[0] != contexts[2]).any()
    assert (contexts[0] != contexts[4]).any()


def test_robust_scaling_is_chosen_in_the_configuration(data: Dataset) -> None:
    model = SSSD(SSSDConfig.model_validate({**TINY, "scaling": {"method": "robust"}}))
    scaling = Scaling.fit(data, data.split.train.any(axis=1), model.config.scaling)
    rows = data.split.train.any(axis=1)
    np.testing.assert_allclose(scaling.tables["1h"].mean[0], np.median(data.tables["1h"].values[rows, 0]))
