"""Tabular families: level with the yardstick where there is nothing, better where there is something."""

import logging
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.optimize import minimize
from tabular_data import SPEC, bars, dataset, with_split, with_targets

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.evaluation.scores import crps
from fxgpt_core.features.alignment import flat
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.models.forecaster import FitReport, Forecaster, Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.models.tabular.design import design
from fxgpt_core.models.tabular.linear import GammaRidge, covariance, gamma_ridge, ridge
from fxgpt_core.models.tabular.location_scale import Labels
from fxgpt_core.models.tabular.residuals import fit_residuals
from fxgpt_core.models.tabular.ridge import Config as RidgeConfig
from fxgpt_core.models.tabular.ridge import RidgeLearner
from fxgpt_core.training.plan import TrainingPlan
from tests.speed import computed_within

FAMILIES = ("ridge", "lightgbm")
PLAN = TrainingPlan(seed=0)
MADE = Provenance("v1", np.datetime64("2024-01-01", "ns"))
DATA = dataset()
ROWS = np.flatnonzero(DATA.split.test)  # type: ignore[union-attr]


def fit(name: str, data: Dataset, **config: Any) -> tuple[Forecaster, FitReport]:
    entry = family(name)
    forecaster = entry.create(entry.config(config))
    return forecaster, forecaster.fit(data, PLAN)


@lru_cache
def fitted(name: str) -> Forecaster:
    return fit(name, DATA)[0]


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(5, size=DATA.targets.shape)


@lru_cache
def learnable() -> Dataset:
    """Return targets whose scale follows a feature, by a factor of about 1.5 a standard deviation."""
    column = DATA.tables["1h"].names.index("rsi_1h_14")
    signal = np.nan_to_num((DATA.tables["1h"].values[:, column] - 50) / 12)
    return with_targets(DATA, noise(0) * np.exp(0.4 * signal)[:, None])


def skill(name: str, data: Dataset) -> np.ndarray:
    entry = family("seasonal_ewma")
    baseline = entry.create(entry.config({}))
    baseline.fit(data, PLAN)
    outcome = data.returns()[ROWS]
    ours, theirs = (
        np.nanmean(crps(outcome, f.forecast(data, ROWS, MADE).quantiles), axis=0)
        for f in (fit(name, data)[0], baseline)
    )
    return np.asarray(1 - ours / theirs)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_scale_that_follows_a_feature_is_found(name: str) -> None:
    assert (skill(name, learnable()) > 0.02).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_with_nothing_to_learn_it_stays_level_with_the_yardstick(name: str) -> None:
    worst = min(skill(name, with_targets(DATA, noise(seed))).min() for seed in (1, 2))
    assert worst > -0.005


def test_a_location_counts_only_where_validation_shows_it() -> None:
    _, without = fit("ridge", with_targets(DATA, noise(4)))
    drift = np.nan_to_num((DATA.tables["1h"].values[:, DATA.tables["1h"].names.index("rsi_1h_14")] - 50) / 12)
    _, there = fit("ridge", with_targets(DATA, noise(3) + 0.8 * drift[:, None]), location_share=0.1)
    assert without.metrics["location_60"] == 0
    assert there.metrics["location_60"] == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_forecasts_fit_the_contract_and_repeat(name: str) -> None:
    made = fitted(name).forecast(DATA, ROWS, MADE)
    again = fit(name, DATA)[0].forecast(DATA, ROWS, MADE)
    np.testing.assert_array_equal(made.quantiles, again.quantiles)
    assert made.family == name
    assert (made.trained_until == DATA.split.trained_until).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", FAMILIES)
def test_saved_and_loaded_forecasts_are_equal_and_nothing_is_pickled(name: str, tmp_path: Path) -> None:
    data = learnable()
    forecaster, entry = fit(name, data)[0], family(name)
    forecaster.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".txt"}
    loaded = entry.create(entry.config({}))
    loaded.load(tmp_path)
    left, right = (f.forecast(data, ROWS, MADE) for f in (forecaster, loaded))
    np.testing.assert_array_equal(left.quantiles, right.quantiles)
    np.testing.assert_array_equal(left.std, right.std)


@pytest.mark.parametrize("name", FAMILIES)
def test_bars_after_the_decision_change_nothing(name: str) -> None:
    last = int(ROWS[100])
    cut = build_dataset(DATA.candles.take(slice(0, last + 1)), DATA.timeframes, DATA.horizons, SPEC)
    alone = fitted(name).forecast(cut, np.array([last]), MADE)
    whole = fitted(name).forecast(DATA, np.array([last]), MADE)
    np.testing.assert_array_equal(alone.quantiles, whole.quantiles)


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_outside_the_split_are_not_looked_at(name: str) -> None:
    used = DATA.split.train | DATA.split.validation  # type: ignore[union-attr]
    wild = with_targets(DATA, np.where(used, DATA.targets, 50.0))
    left, right = (fit(name, data)[0].forecast(DATA, ROWS[:20], MADE) for data in (DATA, wild))
    np.testing.assert_array_equal(left.quantiles, right.quantiles)


@pytest.mark.parametrize("name", FAMILIES)
def test_without_validation_labels_it_takes_the_default_share(name: str) -> None:
    _, report = fit(name, with_split(DATA, validation=0.0), default_share=0.25)
    assert report.metrics["share_60"] == 0.25


@pytest.mark.parametrize("name", FAMILIES)
def test_four_thousand_rows_of_two_hundred_columns_fit_in_three_seconds(name: str) -> None:
    layout = (TIMEFRAMES["1h"], TIMEFRAMES["4h"])
    spec = FeatureSpec(groups=("ohlc", "time", "volatility", "oscillators"))
    data = with_split(build_dataset(bars(5500, 4), layout, (60, 240, 1440), spec), test=0.15)
    assert sum(len(table.names) for table in data.tables.values()) > 180
    with computed_within(3.0):
        _, report = fit(name, data)
    assert report.rows > 3000


def test_misuse_is_refused() -> None:
    entry = family("ridge")
    with pytest.raises(ModelError, match="before it can be saved"):
        entry.create(entry.config({})).save(Path("nowhere"))
    with pytest.raises(ModelError, match="at least 100 are needed"):
        fit("ridge", with_split(DATA, test=0.838))
    tables = {
        **DATA.tables,
        "1h": replace(DATA.tables["1h"], names=tuple(f"x{i}" for i in range(len(DATA.tables["1h"].names)))),
    }
    with pytest.raises(ModelError, match="other features"):
        fitted("ridge").forecast(replace(DATA, tables=tables), ROWS, MADE)


def test_gamma_ridge_minimises_its_objective() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)).astype(np.float32)
    size = np.abs(rng.normal(size=500)) * np.exp(x @ np.array([0.5, -0.3, 0.0]))

    def objective(w: np.ndarray) -> float:
        g = x @ w[:3] + w[3]
        return float(np.mean(g + size * np.exp(-g)) + 0.05 * w[:3] @ w[:3] / 2)

    expected = minimize(objective, np.zeros(4)).x
    found = gamma_ridge(x, size, 0.05, steps=50)
    np.testing.assert_allclose([*found.weights, found.intercept], expected, atol=2e-3)


def test_penalised_fits_agree_with_an_optimiser_whatever_the_prior_of_a_column() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    x[:, 4] = x[:, 0] + 0.1 * x[:, 4]  # nearly the same column twice
    size = np.abs(rng.normal(size=400)) * np.exp(0.4 * x[:, 0] - 0.3 * x[:, 2])
    prior = np.array([1.0, 0.3, 0.5, 0.0, 2.0])

    def objective(w: np.ndarray) -> float:
        weights = np.where(prior > 0, w[:5], 0.0)
        g = x @ weights + w[5]
        shrunk = weights / np.where(prior > 0, prior, 1.0)
        return float(np.mean(g + size * np.exp(-g)) + 0.05 * shrunk @ shrunk / 2)

    solver = GammaRidge(x, covariance(x), prior)
    cold = solver.fit(size, 0.05, steps=100)
    warm = solver.fit(size, 0.05, solver.fit(size, 3.0), steps=100)
    expected = minimize(objective, np.zeros(6)).x * np.append(prior > 0, True)
    np.testing.assert_allclose([*cold.weights, cold.intercept], expected, atol=2e-3)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-3)
    assert cold.weights[3] == 0


def wide_labels(rows: int, noise_columns: int) -> tuple[Labels, np.ndarray]:
    """Return labels whose log scale follows two log volatilities, and the true log scale of the validation rows."""
    rng = np.random.default_rng(2)
    core = rng.normal(size=(rows, 2)).astype(np.float32)
    truth = 0.25 * core[:, 0] + 0.15 * core[:, 1]
    size = np.abs(rng.normal(size=rows)) * np.exp(truth)
    x = np.hstack([core, rng.normal(size=(rows, noise_columns)).astype(np.float32)])
    cut = rows * 4 // 5
    names = ("log_a", "log_b", *(f"n{i}" for i in range(noise_columns)))
    return Labels(x[:cut], size[:cut], x[cut:], size[cut:], 1, names), truth[cut:]


def test_mere_width_does_not_spoil_the_ridge() -> None:
    """700 columns of nothing beside the two that matter: the best candidate is as good as without them."""

    def error(noise_columns: int, **config: Any) -> float:
        labels, truth = wide_labels(5000, noise_columns)
        found = RidgeLearner(RidgeConfig(**config)).learn(labels, PLAN)
        given = [model.predict(labels.x_validation) for model in found]
        return min(float(np.std(g - truth)) for g in given) / float(np.std(truth))

    assert error(700) < 1.05 * error(0) + 0.02
    assert error(700, others=(1.0,)) > 0.3  # one prior for all: what the groups are for


def test_volatilities_of_the_base_bars_are_tried_alone_before_wider_models() -> None:
    labels, _ = wide_labels(500, 3)
    names = ("log_yardstick_1h", "log_surprise_ret_1h_3", "har_ret_1h_12", "har_ret_4h_12", "rsi_1h_14")
    found = RidgeLearner(RidgeConfig()).learn(replace(labels, names=names), PLAN)
    used = [tuple(np.flatnonzero(model.weights)) for model in found]  # type: ignore[attr-defined]
    each = len(RidgeConfig().penalties)
    assert used == [(0, 1, 2)] * each + [(0, 1, 2, 3)] * each + [(0, 1, 2, 3, 4)] * (2 * each)


def test_many_log_volatilities_do_not_spoil_those_of_the_base_bars() -> None:
    """300 log volatilities that say nothing: the best candidate is as good as without them."""

    def error(extra: int) -> float:
        labels, truth = wide_labels(2000, extra)
        names = ("log_yardstick_1h", "log_surprise_ret_1h_1", *(f"log_vol_{i}" for i in range(extra)))
        found = RidgeLearner(RidgeConfig()).learn(replace(labels, names=names), PLAN)
        return min(float(np.std(model.predict(labels.x_validation) - truth)) for model in found) / float(np.std(truth))

    assert error(300) < 1.05 * error(0) + 0.02


def test_principal_components_have_one_prior() -> None:
    labels, _ = wide_labels(500, 3)
    plain = RidgeLearner(RidgeConfig()).learn(replace(labels, names=tuple(f"pc_{i}" for i in range(5))), PLAN)
    assert len(plain) == len(RidgeConfig().penalties)


@pytest.mark.parametrize("name", FAMILIES)
def test_five_thousand_rows_of_700_columns_fit_in_seconds(name: str) -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_t(5, size=5000)
    x = rng.normal(size=(5000, 700)).astype(np.float32)
    labels = Labels(x[:4200], np.abs(z[:4200]), x[4200:], np.abs(z[4200:]), 4, tuple(f"log_{i}" for i in range(700)))
    learner = family(name).create(family(name).config({}))._learner  # type: ignore[attr-defined]
    with computed_within(4.0):
        learner.learn(labels, PLAN)


def spoilt(kind: str) -> Dataset:
    """Return the data with one hourly column ruined: in training, or in the rows to forecast only."""
    table = DATA.tables["1h"]
    values, column = table.values.copy(), table.names.index("rsi_1h_14")
    first = int(ROWS[0])
    if kind == "later":
        values[first - 100 :, column] = np.nan
    else:
        values[:first, column] = {"constant": 3.0, "missing": np.nan, "infinite": np.inf, "explosive": 1e20}[kind]
        if kind == "explosive":
            values[: first // 2, column] = np.linspace(-1, 1, first // 2)
    return replace(DATA, tables={**DATA.tables, "1h": replace(table, values=values)})


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", ["constant", "missing", "infinite"])
def test_a_useless_column_is_named_left_out_and_left_out_of_forecasts(
    name: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data = spoilt(kind)
    before = data.tables["1h"].values.copy()
    forecaster, report = fit(name, data)
    assert [note for note in report.notes if note.startswith("rsi_1h_14 left out: ")]
    assert kind in next(note for note in report.notes if note.startswith("rsi_1h_14 "))
    assert any("columns left out" in m and "rsi_1h_14" in m for m in caplog.messages)
    forecaster.save(tmp_path)
    loaded = family(name).create(family(name).config({}))
    loaded.load(tmp_path)
    made = [f.forecast(d, ROWS, MADE).quantiles for f in (forecaster, loaded) for d in (data, DATA)]
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])  # whatever the column holds by then
    np.testing.assert_array_equal(data.tables["1h"].values, before)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_column_that_goes_missing_later_counts_as_its_mean_and_is_told_once(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    forecaster, gone = fitted(name), spoilt("later")
    mean = replace(gone.tables["1h"], values=gone.tables["1h"].values.copy())
    column = mean.names.index("rsi_1h_14")
    inputs = forecaster._inputs  # type: ignore[attr-defined]
    place = inputs.names.index("rsi_1h_14")
    mean.values[ROWS, column] = inputs.scaler.mean[inputs.scaler.kept.tolist().index(place)]
    caplog.clear()
    missing = forecaster.forecast(gone, ROWS, MADE).quantiles
    forecaster.forecast(gone, ROWS, MADE)
    told = [m for m in caplog.messages if "rsi_1h_14" in m]
    assert told == [f"{name} of EURUSD: rsi_1h_14 missing in every row, taken to be at the mean of training"]
    same = forecaster.forecast(replace(gone, tables={**gone.tables, "1h": mean}), ROWS, MADE).quantiles
    np.testing.assert_allclose(missing, same, rtol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_principal_components_are_chosen_in_the_configuration_and_stored(name: str, tmp_path: Path) -> None:
    data = learnable()
    forecaster, report = fit(name, data, pca={"variance": 0.9, "most": 40})
    assert 1 <= report.metrics["pca_components"] <= 40
    assert 0 < report.metrics["pca_variance"] <= 1
    assert "pca_components" not in fit(name, data)[1].metrics
    forecaster.save(tmp_path)
    assert (tmp_path / "pca.safetensors").is_file()
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".txt"}
    loaded = family(name).create(family(name).config({}))
    loaded.load(tmp_path)
    left, right = (f.forecast(data, ROWS, MADE).quantiles for f in (forecaster, loaded))
    np.testing.assert_array_equal(left, right)
    (tmp_path / "pca.safetensors").unlink()
    with pytest.raises(ModelError, match="no principal components"):
        loaded.load(tmp_path)


def test_rows_dealt_to_training_and_validation_at_random_are_suspected() -> None:
    split = DATA.split
    assert split is not None
    used = split.train | split.validation
    dealt = (np.random.default_rng(0).random(len(DATA)) < 0.2)[:, None] & used
    leaky = replace(split, train=used & ~dealt, validation=dealt)
    _, report = fit("ridge", DATA.with_split(leaky))
    assert any("too alike, a sign of leakage" in note for note in report.notes)
    assert not any("too alike" in note for note in fit("ridge", DATA)[1].notes)


def test_penalties_that_make_no_sense_are_refused() -> None:
    for wrong in ({"penalties": (1.0, 0.0)}, {"others": (0.0,)}, {"others": (-0.1, 1.0)}):
        with pytest.raises(ValueError, match="must"):
            RidgeConfig(**wrong)


def test_ridge_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x, y = rng.normal(2.0, 1.0, (200, 4)).astype(np.float32), rng.normal(size=200)
    theirs = Ridge(alpha=0.3 * 200).fit(x.astype(np.float64), y)
    ours = ridge(x, y, 0.3)
    np.testing.assert_allclose(ours.weights, theirs.coef_, atol=1e-5)
    assert ours.intercept == pytest.approx(float(theirs.intercept_), abs=1e-4)


def test_residual_quantiles_are_symmetric_and_ordered() -> None:
    residuals = fit_residuals(np.random.default_rng(0).standard_t(4, size=5000) + 0.3)
    np.testing.assert_allclose(residuals.quantiles, -residuals.quantiles[::-1])
    assert (np.diff(residuals.quantiles) > 0).all()


def test_the_design_holds_every_timeframe_and_logs_of_the_yardstick() -> None:
    values, names = design(DATA, ROWS[:10])
    plain, _ = flat(DATA, ROWS[:10])
    np.testing.assert_array_equal(values[:, : plain.shape[1]], plain)
    assert len(set(names)) == len(names) == values.shape[1]
    assert {"rsi_4h_14", "log_yardstick_1h", "log_yardstick_4h", "log_atr_4h_14"} <= set(names)
    np.testing.assert_allclose(
        values[:, names.index("log_yardstick_1h")], np.log(DATA.yardstick[ROWS[:10], 0]), rtol=1e-5
    )


@pytest.mark.parametrize("name", [*FAMILIES, "ewma", "seasonal_ewma"])
def test_the_shipped_configuration_says_what_the_code_does(name: str) -> None:
    path = Path(__file__).parents[2] / "configs" / name / "default.yaml"
    assert family(name).config(yaml.safe_load(path.read_text())) == family(name).config({})
