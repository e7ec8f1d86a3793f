"""Tabular families: level with the yardstick where there is nothing, better where there is something."""

import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.optimize import minimize
from tabular_data import bars, dataset, with_split, with_targets

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.evaluation.scores import crps
from fxgpt_core.features.alignment import flat
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import FitReport, Forecaster, Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.models.tabular.design import design
from fxgpt_core.models.tabular.linear import gamma_ridge, ridge
from fxgpt_core.models.tabular.residuals import fit_residuals
from fxgpt_core.training.plan import TrainingPlan

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
    _, without = fit("ridge", with_targets(DATA, noise(3)))
    drift = np.nan_to_num((DATA.tables["1h"].values[:, DATA.tables["1h"].names.index("rsi_1h_14")] - 50) / 12)
    _, there = fit("ridge", with_targets(DATA, noise(3) + 0.8 * drift[:, None]), location_penalty=0.1)
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
    cut = build_dataset(DATA.candles.take(slice(0, last + 1)), DATA.timeframes, DATA.horizons)
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
def test_four_thousand_rows_fit_in_three_seconds(name: str) -> None:
    layout = (TIMEFRAMES["1h"], TIMEFRAMES["4h"])
    data = with_split(build_dataset(bars(5500, 4), layout, (60, 240, 1440)), test=0.15)
    started = time.perf_counter()
    _, report = fit(name, data)
    assert report.rows > 3000
    assert time.perf_counter() - started < 3.0


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
