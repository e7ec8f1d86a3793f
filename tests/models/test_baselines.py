"""Baselines: calibrated on what they were fitted to, blind to the future, and round-tripping."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tabular_data import dataset, with_split, with_targets

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import LEVELS
from fxgpt_core.evaluation.scores import crps
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.yardstick import Yardstick
from fxgpt_core.models.baselines.student import Student, fit_student
from fxgpt_core.models.forecaster import Forecaster, Provenance
from fxgpt_core.models.registry import FAMILIES, family
from fxgpt_core.training.plan import TrainingPlan

STUDENT = ("ewma", "seasonal_ewma", "garch", "har")
BASELINES = (*STUDENT, "climatology", "filtered_historical")
DATA = dataset()
PLAN = TrainingPlan(seed=0)
MADE = Provenance("v1", np.datetime64("2024-01-01", "ns"))
ROWS = np.flatnonzero(DATA.split.test)  # type: ignore[union-attr]


def fitted(name: str) -> Forecaster:
    entry = family(name)
    forecaster = entry.create(entry.config({}))
    forecaster.fit(DATA, PLAN)
    return forecaster


@pytest.mark.parametrize("name", STUDENT)
def test_forecasts_are_centred_symmetric_and_cover(name: str) -> None:
    made = fitted(name).forecast(DATA, ROWS, MADE)
    assert (made.mean == 0).all()
    np.testing.assert_array_equal(made.quantiles, -made.quantiles[..., ::-1])
    outcome = DATA.returns()[ROWS]
    inside = (outcome >= made.quantile(0.05)) & (outcome <= made.quantile(0.95))
    share = [inside[np.isfinite(outcome[:, i]), i].mean() for i in range(2)]
    np.testing.assert_allclose(share, 0.9, atol=0.05)
    assert (made.trained_until == DATA.split.trained_until).all()  # type: ignore[union-attr]
    assert (made.decided_at == DATA.known_at[ROWS]).all()


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_has_a_direction_however_much_the_training_span_drifted(name: str) -> None:
    drifting = with_targets(DATA, DATA.targets + 0.5)
    entry = family(name)
    forecaster = entry.create(entry.config({}))
    forecaster.fit(drifting, PLAN)
    made = forecaster.forecast(drifting, ROWS[:50], MADE)
    assert (made.mean == 0).all()
    assert (made.probability_up() == 0.5).all()


@pytest.mark.parametrize("name", ["climatology", "filtered_historical"])
def test_empirical_forecasts_cover_and_keep_the_sizes_of_training(name: str) -> None:
    made = fitted(name).forecast(DATA, ROWS, MADE)
    outcome = DATA.returns()[ROWS]
    inside = (outcome >= made.quantile(0.05)) & (outcome <= made.quantile(0.95))
    share = [inside[np.isfinite(outcome[:, i]), i].mean() for i in range(2)]
    np.testing.assert_allclose(share, 0.9, atol=0.06)
    train = DATA.split.train[:, 0]  # type: ignore[union-attr]
    if name == "climatology":
        size = np.abs(DATA.returns()[train, 0])
        np.testing.assert_allclose(made.quantile(0.95)[0, 0], np.quantile(size, 0.9), rtol=0.02)
        np.testing.assert_allclose(made.std[0, 0], np.sqrt((size**2).mean()))


def test_every_baseline_of_the_registry_is_tested_here() -> None:
    assert {name for name, entry in FAMILIES.items() if entry.baseline} == set(BASELINES)


def test_the_seasonal_baseline_beats_the_plain_one() -> None:
    outcome = DATA.returns()[ROWS]
    score = [
        np.nanmean(crps(outcome, fitted(n).forecast(DATA, ROWS, MADE).quantiles)) for n in ("seasonal_ewma", "ewma")
    ]
    assert score[0] < score[1] * 0.99


@pytest.mark.parametrize("name", BASELINES)
def test_bars_after_the_decision_change_nothing(name: str) -> None:
    forecaster = fitted(name)
    last = int(ROWS[100])
    cut = build_dataset(DATA.candles.take(slice(0, last + 1)), DATA.timeframes, DATA.horizons)
    alone = forecaster.forecast(cut, np.array([last]), MADE)
    np.testing.assert_array_equal(alone.quantiles, forecaster.forecast(DATA, ROWS[:101], MADE).quantiles[100:])


@pytest.mark.parametrize("name", BASELINES)
def test_a_session_says_at_each_bar_what_a_batch_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the turn of a month, where yardsticks learn; in between none of them goes over history again."""
    forecaster, months = fitted(name), DATA.candles.ts_utc.astype("datetime64[M]")
    turn = int(np.flatnonzero(np.diff(months[ROWS]))[0]) + int(ROWS[0]) + 1
    feed = Feed(DATA.candles.take(slice(0, turn - 3)), DATA.timeframes, DATA.horizons)
    session = forecaster.open(feed)
    whole = forecaster.forecast(DATA, np.arange(turn - 3, turn + 3), MADE)
    passes, begin = [], Yardstick.begin

    def counted(self: Yardstick, *given: Any) -> Any:
        passes.append(self)
        return begin(self, *given)

    monkeypatch.setattr(Yardstick, "begin", counted)
    for at, bar in enumerate(range(turn - 3, turn + 3)):
        session.update(DATA.candles.take(slice(bar, bar + 1)))
        found = session.forecast(MADE)
        np.testing.assert_array_equal(found.quantiles, whole.quantiles[at : at + 1])
        np.testing.assert_array_equal(session.forecast(MADE, [60]).quantiles, found.quantiles[:, :1])
    assert len(passes) == (2 if name in ("ewma", "har") else 1)  # with the month: the feed's own, and the family's


def test_only_training_labels_are_learned_from() -> None:
    wild = with_targets(DATA, np.where(DATA.split.train, DATA.targets, 50.0))  # type: ignore[union-attr]
    entry = family("seasonal_ewma")
    other = entry.create(entry.config({}))
    other.fit(wild, PLAN)
    ours = fitted("seasonal_ewma").forecast(DATA, ROWS[:5], MADE)
    np.testing.assert_array_equal(other.forecast(DATA, ROWS[:5], MADE).quantiles, ours.quantiles)


@pytest.mark.parametrize("name", BASELINES)
def test_saved_and_loaded_forecasts_are_equal(name: str, tmp_path: Path) -> None:
    forecaster, entry = fitted(name), family(name)
    forecaster.save(tmp_path / "model")
    loaded = entry.create(entry.config({}))
    loaded.load(tmp_path / "model")
    left, right = (f.forecast(DATA, ROWS[:50], MADE) for f in (forecaster, loaded))
    np.testing.assert_array_equal(left.quantiles, right.quantiles)
    np.testing.assert_array_equal(left.trained_until, right.trained_until)


@pytest.mark.parametrize(("degrees", "scale"), [(3.0, 1.0), (5.0, 0.3), (50.0, 2.0)])
def test_the_student_fit_finds_what_was_drawn(degrees: float, scale: float) -> None:
    draws = stats.t.rvs(degrees, scale=scale, size=20_000, random_state=0)
    found = fit_student(draws)
    expected = stats.t.ppf(np.asarray(LEVELS), degrees, scale=scale)
    np.testing.assert_allclose(found.quantiles(), expected, rtol=0.06, atol=0.01 * scale)


def test_students_deviation_is_that_of_the_distribution() -> None:
    assert Student(5.0, 2.0).std == pytest.approx(stats.t.std(5, scale=2))


def test_misuse_is_refused() -> None:
    entry = family("seasonal_ewma")
    forecaster = entry.create(entry.config({}))
    with pytest.raises(ModelError, match="fitted or loaded"):
        forecaster.forecast(DATA, ROWS, MADE)
    with pytest.raises(ModelError, match="no split"):
        forecaster.fit(replace(DATA, split=None), PLAN)
    with pytest.raises(ModelError, match="usable rows"):
        fitted("seasonal_ewma").forecast(DATA, np.array([0]), MADE)
    other = with_split(build_dataset(DATA.candles, DATA.timeframes, (120,)))
    with pytest.raises(ModelError, match="120"):
        fitted("ewma").forecast(other, ROWS, MADE)
    with pytest.raises(ModelError, match="do not move"):
        fit_student(np.zeros(10))
